"""The audit as a chain: every row holds the hash of its tenant's row before, so none can be changed unseen.

    number      1            2            3         audit_head
    previous    000...  .->  9f1...  .->  c07...
    hash        9f1... -'    c07... -'    4be...    3, 4be...

Knows how a row is hashed and added; checking and exporting chains is `vidlm.audit`'s. Rows are noted while a
transaction runs and chained just before its commit, after everything else is written: whoever adds to the same chain
meanwhile waits for one commit, not for a whole transaction. A transaction that is rolled back leaves no hole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, bindparam, event, text
from sqlalchemy.orm import Session as AnySession
from sqlalchemy.orm import SessionTransaction
from sqlmodel import Session

from vidlm.store import ledger
from vidlm.store.columns import UtcDateTime, utc_now

FORMAT: Final = "vidlm-audit-1"
"""Stands in every hash: rows hashed in another way, some day, will say so."""
HASHED: Final = ("tenant_id", "number", "id", "at", "actor", "event", "target_id", "details", "previous")
"""The columns that are hashed, in this order."""
START: Final = "0" * 64
"""What the first row of a chain holds as the hash of the row before."""

_NOTED: Final = "vidlm.audit"
# Takes the chain's lock (the head's row) and `count` ids. What RETURNING says is reckoned when the lock is held; the
# hash it returns is still that of the row before.
_TAKE: Final = """
    INSERT INTO audit_head (tenant_id, number, hash) VALUES (:tenant_id, :count, :start)
    ON CONFLICT (tenant_id) DO UPDATE SET number = audit_head.number + excluded.number
    RETURNING number, hash, """
# said in every transaction that changes something, so made once: making them takes longer than running them
_TAKES: Final = {
    "sqlite": text(_TAKE + "(SELECT coalesce(max(id), 0) FROM audit)"),
    "postgresql": text(_TAKE + "ARRAY(SELECT nextval('audit_id_seq') FROM generate_series(1, CAST(:count AS int)))"),
}
_ADD: Final = text(
    f"INSERT INTO audit ({', '.join(HASHED)}, hash) VALUES ({', '.join(f':{name}' for name in HASHED)}, :hash)"
).bindparams(bindparam("at", type_=UtcDateTime))
_MOVE: Final = text("UPDATE audit_head SET hash = :hash WHERE tenant_id = :tenant_id")


def audit(
    session: Session,
    *,
    tenant_id: str,
    actor: str,
    event: str,
    target_id: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Who does what in this transaction; the row is there once it is committed.

    `details`: ids, codes, versions and numbers, never text that a client or a model wrote. Raises `TypeError`,
    `ValueError` for details that JSON cannot say. Inside a savepoint it may not be called.
    """
    if session.in_nested_transaction():
        raise RuntimeError("a savepoint may be rolled back alone: audit what it did after it")
    row = {
        "tenant_id": tenant_id,
        "at": utc_now(),
        "actor": actor,
        "event": event,
        "target_id": target_id,
        "details": ledger.json_text(dict(details or {})),
    }
    session.info.setdefault(_NOTED, []).append(row)


def digest(values: Iterable[object]) -> str:
    """The hash of a row from its `HASHED` values in order, `at` as `time_text` writes it: 64 hex digits.

    SHA-256 of netstrings (D. J. Bernstein, 1997), `length:bytes,`, of UTF-8: no value can run into the next.
    """
    written = [str(value).encode() for value in (FORMAT, *values)]
    return hashlib.sha256(b"".join([b"%d:%b," % (len(value), value) for value in written])).hexdigest()


def time_text(at: datetime) -> str:
    """`2025-11-21T23:59:00.123456Z`: UTC, always six digits. Raises `ValueError` for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError("a time without a time zone")
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def chained(rows: Iterable[Mapping[str, Any]], number: int, previous: str) -> list[dict[str, Any]]:
    """`rows`, which have ids, with their places in a chain whose last row is `number` (0: none) and hashes so."""
    links = []
    for number_, row in enumerate(rows, number + 1):
        link = {**row, "number": number_, "previous": previous}
        previous = link["hash"] = digest(time_text(row["at"]) if name == "at" else link[name] for name in HASHED)
        links.append(link)
    return links


@event.listens_for(Session, "before_commit")
def _before_commit(session: AnySession) -> None:
    if session.in_nested_transaction() or _NOTED not in session.info:
        return
    session.flush()  # first, so that nothing is left to wait for once a chain is locked
    noted = sorted(session.info.pop(_NOTED), key=itemgetter("tenant_id"))  # everybody locks in this order
    for tenant_id, rows in groupby(noted, key=itemgetter("tenant_id")):
        _append(session.connection(), tenant_id, list(rows))


@event.listens_for(Session, "after_soft_rollback")
def _after_rollback(session: AnySession, ended: SessionTransaction) -> None:
    if not ended.nested:
        session.info.pop(_NOTED, None)


def _append(connection: Connection, tenant_id: str, rows: list[dict[str, Any]]) -> None:
    values = {"tenant_id": tenant_id, "count": len(rows), "start": START}
    number, previous, taken = connection.execute(_TAKES[connection.dialect.name], values).one()
    ids = taken if isinstance(taken, list) else range(taken + 1, taken + 1 + len(rows))
    with_ids = [{**row, "id": id_} for row, id_ in zip(rows, ids, strict=True)]
    links = chained(with_ids, number - len(rows), previous)
    connection.execute(_ADD, links)
    connection.execute(_MOVE, {"tenant_id": tenant_id, "hash": links[-1]["hash"]})
