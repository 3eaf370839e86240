"""Rows join their tenant's chain when their transaction is committed: in order, without holes, whoever else writes."""

import random
import threading
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from jobs_helpers import accepted
from servers import PostgresServer
from sqlalchemy import bindparam, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from test_jobs_life import ready

from vidlm.audit.verifying import verify
from vidlm.jobs import control, life
from vidlm.jobs.intake import Wishes
from vidlm.store.chain import START, audit
from vidlm.store.columns import UtcDateTime
from vidlm.store.engine import Database, migrate, migration, open_engine
from vidlm.store.ledger import Audit, AuditHead
from vidlm.store.tables import DEFAULT_TENANT, Tenant, Video

TENANTS = [DEFAULT_TENANT, "ten_a", "ten_b"]


@pytest.fixture
def tenants(database: Database) -> list[str]:
    with database.write() as session:
        session.add_all(Tenant(id=name, name=name) for name in TENANTS[1:])
    return TENANTS


def note(session: Session, target_id: str = "vid_1", tenant_id: str = DEFAULT_TENANT) -> None:
    audit(session, tenant_id=tenant_id, actor="key_1", event="video.accepted", target_id=target_id)


def chain(database: Database, tenant_id: str = DEFAULT_TENANT) -> list[Audit]:
    with database.read() as session:
        return list(session.exec(select(Audit).where(Audit.tenant_id == tenant_id).order_by(col(Audit.number))).all())


def test_rows_follow_each_other_from_nothing(database: Database) -> None:
    details = {"flag": "flg_1", "frame_times_s": [0.5, 1.0], "before": {"review": 0.4}, "said": "é\0"}
    with database.write() as session:
        note(session, "vid_1")
        audit(session, tenant_id=DEFAULT_TENANT, actor="a", event="e", target_id="t", details=details)
    with database.write() as session:
        note(session, "vid_2")
    rows = chain(database)
    assert [row.number for row in rows] == [1, 2, 3]
    assert [row.previous for row in rows] == [START, rows[0].hash, rows[1].hash]
    assert [row.details for row in rows] == [{}, details, {}]
    with database.read() as session:
        head = session.get_one(AuditHead, DEFAULT_TENANT)
    assert (head.number, head.hash) == (3, rows[-1].hash)
    assert verify(database).faults == ()


def test_a_row_may_be_the_first_of_a_tenant_made_with_it(database: Database) -> None:
    with database.write() as session:
        session.add(Tenant(id="ten_new", name="new"))
        note(session, tenant_id="ten_new")
    assert [row.number for row in chain(database, "ten_new")] == [1]


def test_what_is_rolled_back_leaves_no_hole(database: Database) -> None:
    for number in range(6):
        try:
            with database.write() as session:
                note(session, f"vid_{number}")
                session.flush()
                if number % 2:
                    raise LookupError
        except LookupError:
            continue
    assert [(row.number, row.target_id) for row in chain(database)] == [(1, "vid_0"), (2, "vid_2"), (3, "vid_4")]
    assert verify(database).faults == ()


def test_a_session_that_goes_on_after_a_rollback_forgets_what_it_noted(database: Database) -> None:
    with database.read() as session:  # not begun for writing: so that it may end more than once
        note(session, "vid_lost")
        session.connection()
        session.rollback()
        note(session, "vid_kept")
        session.commit()
    assert [row.target_id for row in chain(database)] == ["vid_kept"]


def test_a_savepoint_releases_nothing_and_takes_no_rows(database: Database) -> None:
    with database.write() as session:
        note(session)
        with session.begin_nested():
            session.add(Tenant(id="ten_new", name="new"))
            with pytest.raises(RuntimeError, match="savepoint"):
                note(session)
        assert session.exec(select(Audit)).all() == []
    assert [row.number for row in chain(database)] == [1]


@pytest.mark.parametrize("details", [{"score": float("nan")}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}])
def test_details_that_json_cannot_say_are_refused_at_once(database: Database, details: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)), database.write() as session:
        audit(session, tenant_id=DEFAULT_TENANT, actor="a", event="e", target_id="t", details=details)
    assert chain(database) == []


def test_eight_threads_make_chains_without_holes(database: Database, tenants: list[str]) -> None:
    """Each transaction writes for several tenants, named in any order: nobody waits for somebody who waits for them."""
    wrong: list[Exception] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(25):
                with database.write() as session:
                    for tenant_id in chance.sample(tenants, k=chance.randint(1, 3)):
                        note(session, f"vid_{seed}", tenant_id)
        except Exception as exc:  # noqa: BLE001  a thread's errors are seen by nobody else
            wrong.append(exc)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    report = verify(database)
    assert (report.faults, report.tenants) == ((), 3)
    for tenant_id in tenants:
        rows = chain(database, tenant_id)
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        assert [row.id for row in rows] == sorted(row.id or 0 for row in rows)
    assert report.rows == sum(len(chain(database, tenant_id)) for tenant_id in tenants) >= 200


@pytest.mark.postgres
def test_a_chain_is_locked_for_the_commit_alone(postgres_server: PostgresServer) -> None:
    """What is noted, and flushed, in an open transaction keeps nobody from writing to the same chain."""
    database = Database(postgres_server.new_database())
    with database.write() as slow:
        note(slow, "vid_slow")
        slow.add(Tenant(id="ten_new", name="new"))
        slow.flush()
        with database.write() as quick:
            note(quick, "vid_quick")
    assert [row.target_id for row in chain(database)] == ["vid_quick", "vid_slow"]
    assert verify(database).faults == ()
    database.close()


def test_nothing_of_a_video_stays_in_the_audit_when_it_is_deleted(database: Database) -> None:
    job = ready(database)
    named = accepted(database, wishes=Wishes(filename="secret-name.mp4", client_id="secret-order"))
    with database.write() as session:
        life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="secret question?")
    before = [row.model_dump() for row in chain(database)]
    for video_id in (job.video_id, named.video_id):
        with database.write() as session:
            control.deleted(session, session.get_one(Video, video_id), actor="key_test")
    after = [row.model_dump() for row in chain(database)]
    assert after[:-2] == before
    assert "secret" not in str(after)
    assert verify(database).faults == ()


def test_rows_that_were_there_before_are_chained_up_and_down_and_up(database_url: str, database: Database) -> None:
    shape = shape_of(database_url)
    with migration(database_url) as config:
        command.downgrade(config, "0004")
    written_by_older_code(database_url, range(1, 12_001))
    migrate(database_url)
    assert_chained(database, 12_000)
    first = chain(database, "ten_a")
    with migration(database_url) as config:
        command.downgrade(config, "0004")
    with open_engine(database_url).execution_options(vidlm_writes=True).begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE id = -1"))  # no trigger is left to refuse it
    written_by_older_code(database_url, range(12_001, 12_004))
    migrate(database_url)
    assert shape_of(database_url) == shape
    assert_chained(database, 12_003)
    assert [row.hash for row in chain(database, "ten_a")[: len(first)]] == [row.hash for row in first]
    with pytest.raises(IntegrityError), database.write() as session:  # and the triggers are back
        session.connection().execute(text("DELETE FROM audit"))
    with database.write() as session:
        note(session, tenant_id="ten_a")
    assert_chained(database, 12_004)


def shape_of(url: str) -> list[str]:
    """Columns, keys and indexes of the audit, in words."""
    found = inspect(open_engine(url))
    columns = [f"{table}.{column['name']} {column['type']} {column['nullable']}" for table in ("audit", "audit_head")
               for column in found.get_columns(table)]  # fmt: skip
    keys = [found.get_unique_constraints("audit"), found.get_pk_constraint("audit"), found.get_foreign_keys("audit")]
    return [*sorted(columns), *map(str, keys), str(found.get_indexes("audit"))]


def written_by_older_code(url: str, ids: range) -> None:
    """Every third row is another tenant's; times differ by a microsecond, the first is a whole second."""
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    rows = [
        {
            "id": id_,
            "tenant_id": "ten_a" if id_ % 3 == 0 else DEFAULT_TENANT,
            "at": at + timedelta(microseconds=id_ - 1),
        }
        for id_ in ids
    ]
    insert = text(
        "INSERT INTO audit (id, tenant_id, at, actor, event, target_id)"
        " VALUES (:id, :tenant_id, :at, 'key_1', 'video.accepted', 'vid_1')"
    ).bindparams(bindparam("at", type_=UtcDateTime))
    tenant = text(
        "INSERT INTO tenant (id, name, created_at) VALUES ('ten_a', 'a', '2026-01-01') ON CONFLICT DO NOTHING"
    )
    with open_engine(url).execution_options(vidlm_writes=True).begin() as connection:
        connection.execute(tenant)
        connection.execute(insert, rows)
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT setval('audit_id_seq', (SELECT max(id) FROM audit))"))


def assert_chained(database: Database, rows: int) -> None:
    report = verify(database)
    assert (report.rows, report.tenants, report.faults) == (rows, 2, ())
    for tenant_id in (DEFAULT_TENANT, "ten_a"):
        ids = [row.id or 0 for row in chain(database, tenant_id)]
        assert ids == sorted(ids)
