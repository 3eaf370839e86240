"""Chains as they stand in the database, row by row: raw values, since what somebody put there may be anything.

Knows SQL; judges nothing (`vidlm.audit.verifying` does).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import TextClause, bindparam, text
from sqlmodel import Session, col, select

from vidlm.store.chain import HASHED
from vidlm.store.columns import UtcDateTime
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit, AuditHead
from vidlm.store.tables import Tenant

BATCH: Final = 5000
"""Rows that are held in memory at once."""
_BEFORE_ALL: Final = (-(2**63), -(2**31))
# the time as it is hashed (`vidlm.store.chain.time_text`)
_TIME_TEXT: Final = {
    "sqlite": "replace(at, ' ', 'T') || 'Z'",
    "postgresql": r"""to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\:MI\:SS.US"Z"')""",
}
COLUMNS: Final = {
    dialect: ", ".join(f"{at} AS at" if name == "at" else name for name in (*HASHED, "hash"))
    for dialect, at in _TIME_TEXT.items()
}
"""What a SELECT names, by dialect, to have the values of an `Entry`."""


class Entry(NamedTuple):
    """A row of the audit: what is hashed, in the order it is hashed in, and the hash."""

    tenant_id: str
    number: int
    id: int
    at: str
    actor: str
    event: str
    target_id: str
    details: str
    previous: str
    hash: str


class Head(NamedTuple):
    """Where a chain ends."""

    number: int
    hash: str


@contextmanager
def snapshot(database: Database) -> Iterator[Session]:
    """A session that sees the database as it is now, however long it lasts."""
    with database.read() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session
            return
        driver = session.connection().connection.driver_connection  # on SQLite every transaction is a snapshot
        assert isinstance(driver, sqlite3.Connection)
        driver.text_factory = _readable
        try:
            yield session
        finally:
            driver.text_factory = str


def heads(session: Session) -> dict[str, Head]:
    """Of every tenant that has a chain, where it ends."""
    found = session.exec(select(AuditHead.tenant_id, AuditHead.number, AuditHead.hash)).all()
    return {tenant_id: Head(number, hash_) for tenant_id, number, hash_ in found}


def tenants(session: Session) -> set[str]:
    """Whose rows there are: one look into the index for each, however many rows."""
    found: set[str] = set()
    after = ""
    query = text("SELECT min(tenant_id) FROM audit WHERE tenant_id > :after")
    while (tenant_id := session.connection().execute(query, {"after": after}).scalar_one()) is not None:
        found.add(tenant_id)
        after = tenant_id
    return found


def is_tenant(session: Session, tenant_id: str) -> bool:
    """Whether there is such a tenant."""
    return session.get(Tenant, tenant_id) is not None


def entries(
    session: Session, tenant_id: str, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Entry]:
    """A tenant's chain by number, `BATCH` rows at a time; only what was done in `[since, until)`, where given."""
    connection = session.connection()
    query = _query(connection.dialect.name, since is not None, until is not None)
    values = {"tenant_id": tenant_id, "since": since, "until": until, "batch": BATCH}
    number, id_ = _BEFORE_ALL
    while rows := connection.execute(query, values | {"number": number, "id": id_}).all():
        yield from map(Entry._make, rows)
        number, id_ = rows[-1].number, rows[-1].id


def places(session: Session, entry: Entry) -> list[tuple[int, int]]:
    """Numbers and ids under which an entry that does not fit its own may have been written: those of its neighbours,
    and of whatever follows the row it says it follows."""
    same = col(Audit.tenant_id) == entry.tenant_id
    followed = session.exec(select(Audit.number).where(same, col(Audit.hash) == entry.previous)).all()
    numbers = {entry.number - 1, entry.number + 1, *(number + 1 for number in followed)}
    ids = session.exec(select(Audit.number, Audit.id).where(same, col(Audit.number).in_(numbers))).all()
    return [*((number, entry.id) for number in sorted(numbers)), *((number, id_ or 0) for number, id_ in ids)]


def _readable(data: bytes) -> str:
    """SQLite keeps any bytes as text; such as are no UTF-8 must not end the reading."""
    return data.decode(errors="backslashreplace")


@cache
def _query(dialect: str, since: bool, until: bool) -> TextClause:
    timed = (" AND at >= :since" if since else "") + (" AND at < :until" if until else "")
    times = [bindparam(name, type_=UtcDateTime) for name, given in (("since", since), ("until", until)) if given]
    return text(
        f"SELECT {COLUMNS[dialect]} FROM audit WHERE tenant_id = :tenant_id AND (number, id) > (:number, :id){timed}"
        " ORDER BY number, id LIMIT :batch"
    ).bindparams(*times)
