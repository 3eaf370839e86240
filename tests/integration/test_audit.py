"""The audit is a chain that only grows: whatever is done to one of 10,000 rows behind its back is found and named."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jobs_helpers import accepted
from servers import PostgresServer
from sqlalchemy import bindparam, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from tampering import unguarded

from vidlm.audit.anchors import Anchor
from vidlm.audit.verifying import Flaw, verify
from vidlm.errors import InputError
from vidlm.store.chain import HASHED, audit, chained, time_text
from vidlm.store.columns import UtcDateTime
from vidlm.store.engine import Database, migrate
from vidlm.store.ledger import Audit, json_text
from vidlm.store.tables import DEFAULT_TENANT, Tenant

ROWS, OTHERS = 10_000, 300
OTHER = "ten_other"
SOME = (2, 5000)
NOBODY = {"id": 10**8, "actor": "key_nobody"}  # a row of the forger's own


def noted(session: Session, count: int, tenant_id: str = DEFAULT_TENANT) -> None:
    for number in range(count):
        details = {"flag": f"flg_{number}", "score": number / 7, "before": {"review": 0.5}} if number % 3 == 0 else None
        audit(
            session,
            tenant_id=tenant_id,
            actor="key_é",
            event="flag.decided",
            target_id=f"vid_{number}",
            details=details,
        )


@dataclass
class Chains:
    """A database with `ROWS` rows of one tenant and `OTHERS` of another, and anchors of every thousandth row."""

    database: Database
    anchors: list[Anchor]

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Said past the triggers, as somebody would who owns the database; `:tenant` is the bigger one."""
        query = text(statement)
        if "at" in values:
            query = query.bindparams(bindparam("at", type_=UtcDateTime))
        with self.database.write() as session, unguarded(session):
            result = session.connection().execute(query, values)
            return list(result.mappings().all()) if result.returns_rows else []

    def row(self, number: int) -> dict[str, Any]:
        with self.database.read() as session:
            row = session.exec(select(Audit).where(Audit.tenant_id == DEFAULT_TENANT, Audit.number == number)).one()
            return row.model_dump() | {"details": json_text(row.details)}

    def put(self, row: dict[str, Any]) -> None:
        """The row as given, in the place of its id."""
        changes = ", ".join(f"{name} = :{name}" for name in row if name != "id")
        self.sql(f"UPDATE audit SET {changes} WHERE id = :id", **row)

    def insert(self, row: dict[str, Any]) -> None:
        self.sql(f"INSERT INTO audit ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", **row)

    def found(self, *, anchored: bool = False) -> set[tuple[str, int, Flaw]]:
        """The first fault of each chain."""
        report = verify(self.database, anchors=self.anchors if anchored else ())
        return {(fault.tenant_id, fault.number, fault.flaw) for fault in report.faults}

    def head(self, number: int, hash_: str) -> None:
        self.sql(
            "UPDATE audit_head SET number = :n, hash = :h WHERE tenant_id = :t", n=number, h=hash_, t=DEFAULT_TENANT
        )


def ours(number: int, flaw: Flaw) -> set[tuple[str, int, Flaw]]:
    return {(DEFAULT_TENANT, number, flaw)}


def rehashed(row: dict[str, Any], previous: str | None = None) -> dict[str, Any]:
    """A row with the hash that fits it."""
    return chained([row], row["number"] - 1, row["previous"] if previous is None else previous)[0]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chains]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('audit') / 'vidlm.db'}"
        migrate(url)
    else:
        url = request.getfixturevalue("postgres_server").new_database()
    database = Database(url)
    with database.write() as session:
        session.add(Tenant(id=OTHER, name="other"))
        noted(session, ROWS // 2)
    with database.write() as session:
        noted(session, OTHERS, OTHER)
    with database.write() as session:
        noted(session, ROWS // 2)
    with database.read() as session:
        thousandth = select(Audit.at, Audit.tenant_id, Audit.number, Audit.hash).where(col(Audit.number) % 1000 == 0)
        kept = [Anchor(time_text(at), *rest) for at, *rest in session.exec(thousandth).all()]
    with database.write() as session:
        for table in ("audit", "audit_head"):
            session.connection().execute(text(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}"))
    yield Chains(database, kept)
    database.close()


@pytest.fixture
def chains(built: Chains) -> Iterator[Chains]:
    """The chains, whole; put right again afterwards."""
    yield built
    with built.database.write() as session, unguarded(session):
        for table in ("audit", "audit_head"):
            session.connection().execute(text(f"DELETE FROM {table}"))
            session.connection().execute(text(f"INSERT INTO {table} SELECT * FROM kept_{table}"))


def test_chains_that_nobody_touched_are_whole(chains: Chains) -> None:
    report = verify(chains.database, anchors=chains.anchors)
    assert (report.rows, report.tenants, report.faults) == (ROWS + OTHERS, 2, ())
    assert verify(chains.database, OTHER).rows == OTHERS
    with pytest.raises(InputError, match="ten_none"):
        verify(chains.database, "ten_none")


@pytest.mark.parametrize("number", [1, *SOME, ROWS])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 10**8),
        ("actor", "key_e"),
        ("event", "flag.decided "),
        ("target_id", ""),
        ("details", '{"flag": "flg_0"}'),
        ("previous", "0" * 63 + "1"),
        ("hash", "f" * 64),
    ],
)
def test_a_column_that_was_altered_is_found(chains: Chains, number: int, column: str, value: object) -> None:
    chains.sql(
        f"UPDATE audit SET {column} = :value WHERE tenant_id = :t AND number = :n",
        value=value,
        t=DEFAULT_TENANT,
        n=number,
    )
    assert chains.found() == ours(number, Flaw.ALTERED)


@pytest.mark.parametrize("number", [1, *SOME, ROWS])
def test_a_time_that_was_altered_by_a_microsecond_is_found(chains: Chains, number: int) -> None:
    row = chains.row(number)
    chains.put(row | {"at": row["at"] + timedelta(microseconds=1)})
    assert chains.found() == ours(number, Flaw.ALTERED)


@pytest.mark.parametrize("number", [1, *SOME, ROWS])
def test_a_row_that_was_renumbered_is_missed(chains: Chains, number: int) -> None:
    chains.put(chains.row(number) | {"number": ROWS + 5})
    assert chains.found() == ours(number, Flaw.MISSING)


def test_a_row_that_was_given_to_another_tenant_is_missed_by_one_and_extra_for_the_other(chains: Chains) -> None:
    chains.put(chains.row(7000) | {"tenant_id": OTHER})
    assert chains.found() == ours(7000, Flaw.MISSING) | {(OTHER, 7000, Flaw.EXTRA)}


@pytest.mark.parametrize("number", [1, *SOME, ROWS])
def test_a_row_that_was_deleted_is_missed(chains: Chains, number: int) -> None:
    chains.sql("DELETE FROM audit WHERE tenant_id = :t AND number = :n", t=DEFAULT_TENANT, n=number)
    assert chains.found() == ours(number, Flaw.MISSING)


@pytest.mark.parametrize("number", [1, *SOME])
def test_a_deleted_row_is_found_though_the_rows_after_it_moved_up(chains: Chains, number: int) -> None:
    chains.sql("DELETE FROM audit WHERE tenant_id = :t AND number = :n", t=DEFAULT_TENANT, n=number)
    renumbered(chains, number, -1)
    chains.head(ROWS - 1, chains.row(ROWS - 1)["hash"])
    assert chains.found() == ours(number, Flaw.OUT_OF_ORDER)


def renumbered(chains: Chains, after: int, by: int) -> None:
    """Rows after number `after` move; in two steps, for no two may ever have the same."""
    chains.sql(
        "UPDATE audit SET number = -number - :by WHERE tenant_id = :t AND number > :n", t=DEFAULT_TENANT, n=after, by=by
    )
    chains.sql("UPDATE audit SET number = -number WHERE tenant_id = :t AND number < 0", t=DEFAULT_TENANT)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (5, 6), (5, 7), (17, 9000), (ROWS - 1, ROWS)])
@pytest.mark.parametrize(
    ("swapped", "flaw"),
    [
        (("at", "actor", "event", "target_id", "details"), Flaw.ALTERED),
        (("at", "actor", "event", "target_id", "details", "previous", "hash"), Flaw.OUT_OF_ORDER),
        (("number",), Flaw.OUT_OF_ORDER),
        (("id",), Flaw.ALTERED),
    ],
    ids=["words", "contents", "numbers", "ids"],
)
def test_rows_that_changed_places_are_found(
    chains: Chains, first: int, second: int, swapped: tuple[str, ...], flaw: Flaw
) -> None:
    one, two = chains.row(first), chains.row(second)
    chains.sql("DELETE FROM audit WHERE id IN (:one, :two)", one=one["id"], two=two["id"])
    chains.insert(one | {name: two[name] for name in swapped})
    chains.insert(two | {name: one[name] for name in swapped})
    assert chains.found() == ours(first, flaw)


@pytest.mark.parametrize("number", [1, *SOME, ROWS])
def test_a_row_that_was_altered_and_hashed_anew_is_found(chains: Chains, number: int) -> None:
    chains.put(rehashed(chains.row(number) | {"actor": "key_nobody"}))
    assert chains.found() == ours(number, Flaw.ALTERED)


def test_a_row_altered_and_hashed_anew_is_known_by_its_anchor(chains: Chains) -> None:
    chains.put(rehashed(chains.row(4000) | {"actor": "key_nobody"}))
    assert chains.found(anchored=True) == ours(4000, Flaw.NOT_ANCHORED)


def test_a_row_forged_onto_the_end_is_extra(chains: Chains) -> None:
    last = chains.row(ROWS)
    chains.insert(rehashed(last | {"id": 10**8, "number": ROWS + 1}, last["hash"]))
    assert chains.found() == ours(ROWS + 1, Flaw.EXTRA)


@pytest.mark.parametrize("number", [1, *SOME, ROWS])
def test_a_forged_row_that_was_pushed_in_is_extra(chains: Chains, number: int) -> None:
    """The forged row follows the one before and its hash fits; those after it have made room."""
    pushed_aside = chains.row(number)
    renumbered(chains, number - 1, 1)
    chains.insert(rehashed(pushed_aside | {"id": 10**8, "actor": "key_nobody"}))
    assert chains.found() == ours(number, Flaw.EXTRA)


def test_a_forged_row_in_front_of_the_first_is_extra(chains: Chains) -> None:
    chains.insert(rehashed(chains.row(1) | {"id": 10**8, "number": 0}))
    assert chains.found() == ours(0, Flaw.EXTRA)


def test_a_chain_forged_for_another_tenant_has_no_head(chains: Chains) -> None:
    with chains.database.write() as session:
        session.add(Tenant(id="ten_forged", name="forged"))
    chains.insert(rehashed(chains.row(1) | {"id": 10**8, "tenant_id": "ten_forged"}))
    assert chains.found() == {("ten_forged", 2, Flaw.HEADLESS)}
    chains.sql("DELETE FROM audit WHERE tenant_id = 'ten_forged'")
    chains.sql("DELETE FROM tenant WHERE id = 'ten_forged'")


@pytest.mark.parametrize("number", [1, *SOME])
def test_a_tail_that_was_cut_off_is_missed(chains: Chains, number: int) -> None:
    chains.sql("DELETE FROM audit WHERE tenant_id = :t AND number >= :n", t=DEFAULT_TENANT, n=number)
    assert chains.found() == ours(number, Flaw.MISSING)
    assert chains.found(anchored=True) == ours(number, Flaw.MISSING)


def test_a_tail_that_was_cut_off_together_with_the_head_is_found_by_the_anchor(chains: Chains) -> None:
    chains.sql("DELETE FROM audit WHERE tenant_id = :t AND number > 8765", t=DEFAULT_TENANT)
    chains.sql("DELETE FROM audit_head WHERE tenant_id = :t", t=DEFAULT_TENANT)
    assert chains.found() == ours(8766, Flaw.HEADLESS)
    assert chains.found(anchored=True) == ours(8766, Flaw.MISSING)
    chains.sql(
        "INSERT INTO audit_head (tenant_id, number, hash) VALUES (:t, 8765, :hash)",
        t=DEFAULT_TENANT,
        hash=chains.row(8765)["hash"],
    )
    assert chains.found() == set()  # which is why anchors are kept elsewhere
    assert chains.found(anchored=True) == ours(8766, Flaw.MISSING)


def test_a_tenant_that_was_wiped_out_is_found_by_the_anchor(chains: Chains) -> None:
    chains.sql("DELETE FROM audit WHERE tenant_id = :t", t=DEFAULT_TENANT)
    chains.sql("DELETE FROM audit_head WHERE tenant_id = :t", t=DEFAULT_TENANT)
    assert chains.found() == set()
    assert chains.found(anchored=True) == ours(1, Flaw.MISSING)


def test_a_past_that_was_rewritten_up_to_the_head_is_found_by_the_anchor(chains: Chains) -> None:
    with chains.database.read() as session:
        later = select(Audit).where(Audit.tenant_id == DEFAULT_TENANT, Audit.number > 9500).order_by(col(Audit.number))
        tail = [row.model_dump() | {"details": "{}"} for row in session.exec(later).all()]
    forged = chained(tail, 9500, chains.row(9500)["hash"])
    with chains.database.write() as session, unguarded(session):
        change = text("UPDATE audit SET details = :details, previous = :previous, hash = :hash WHERE id = :id")
        session.connection().execute(change, forged)
    chains.head(ROWS, forged[-1]["hash"])
    assert chains.found() == set()
    assert chains.found(anchored=True) == ours(ROWS, Flaw.NOT_ANCHORED)


def test_any_change_to_any_row_is_found(chains: Chains) -> None:
    chance = random.Random(5)
    for _ in range(5):
        number = chance.randint(1, ROWS)
        column = chance.choice([name for name in (*HASHED, "hash") if name not in ("tenant_id", "number", "id", "at")])
        row = chains.row(number)
        chains.put(row | {column: row[column] + "x"})
        assert chains.found() == ours(number, Flaw.ALTERED)
        chains.put(row)
    assert chains.found() == set()


CHANGES = [
    "UPDATE audit SET actor = 'x' WHERE number = 1",
    "UPDATE audit SET number = number",
    "DELETE FROM audit WHERE number = 1",
    "DELETE FROM audit",
    "DELETE FROM audit_head",
    "UPDATE audit_head SET number = number - 1",
    "UPDATE audit_head SET tenant_id = 'ten_other'",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_the_database_refuses_to_change_the_audit(database: Database, statement: str) -> None:
    accepted(database)
    with pytest.raises(IntegrityError, match="only ever added to"), database.write() as session:
        session.connection().execute(text(statement))
    assert verify(database).faults == ()


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["audit", "audit_head", "tenant CASCADE"])
def test_postgres_refuses_to_empty_the_audit(postgres_server: PostgresServer, table: str) -> None:
    database = Database(postgres_server.new_database())
    accepted(database)
    with pytest.raises(IntegrityError, match="only ever added to"), database.write() as session:
        session.connection().execute(text(f"TRUNCATE {table}"))
    database.close()


@pytest.mark.parametrize("column", ["actor = CAST(x'ff' AS TEXT)", "actor = x'61'", "at = 'never'", "number = 'x'"])
def test_what_only_sqlite_would_keep_is_found(tmp_path: Path, column: str) -> None:
    """Text that is no text, times that are none: SQLite takes anything."""
    url = f"sqlite:///{tmp_path / 'vidlm.db'}"
    migrate(url)
    chains = Chains(Database(url), [])
    with chains.database.write() as session:
        noted(session, 3)
    chains.sql(f"UPDATE audit SET {column} WHERE number = 3")
    assert chains.found() == ours(3, Flaw.ALTERED)
    chains.database.close()


def test_sqlite_refuses_to_replace_a_row(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'vidlm.db'}"
    migrate(url)
    database = Database(url)
    accepted(database)
    for id_, number in (("id", "number"), ("id", "number + 1"), ("id + 1", "number")):
        replace = text(
            "INSERT OR REPLACE INTO audit (id, number, actor, tenant_id, at, event, target_id, details, previous, hash)"
            f" SELECT {id_}, {number}, 'x', tenant_id, at, event, target_id, details, previous, hash FROM audit"
        )
        with pytest.raises(IntegrityError, match="only ever added to"), database.write() as session:
            session.connection().execute(replace)
    assert verify(database).faults == ()
    database.close()
