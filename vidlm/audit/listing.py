"""The audit looked through: one tenant's rows, the newest first, by who, what, to what and when.

Raw values, as in `vidlm.audit.reading`: what somebody put there behind vidlm's back is shown as it is.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, Final

from sqlalchemy import TextClause, bindparam, text
from sqlmodel import Session

from vidlm.audit.reading import COLUMNS, Entry
from vidlm.store.columns import UtcDateTime

MOST_EVENTS: Final = 200
"""Kinds that are listed: vidlm knows some fifty."""
_TIMES: Final = ("since", "until")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one tenant, what is not None. `actors`: done by any of them, by id. Done in `[since, until)`.

    `before`: of smaller numbers alone.
    """

    tenant_id: str
    actors: tuple[str, ...] | None = None
    event: str | None = None
    target_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


def page(session: Session, wanted: Wanted, limit: int) -> list[Entry]:
    """Up to `limit` rows, the newest first. In a `reading.snapshot`."""
    if wanted.actors is None:
        return _found(session, wanted, None, limit)
    # one index range each, already in order: IN would sort everything that one of them ever did
    ranges = [_found(session, wanted, actor, limit) for actor in wanted.actors]
    return list(islice(heapq.merge(*ranges, key=_newest_first), limit))


def events(session: Session, tenant_id: str) -> list[str]:
    """What kinds of things were ever done, in order: one look into the index for each, however many rows."""
    query = text("SELECT min(event) FROM audit WHERE tenant_id = :tenant_id AND event > :after")
    found: list[str] = []
    while len(found) < MOST_EVENTS:
        after = {"tenant_id": tenant_id, "after": found[-1] if found else ""}
        event = session.connection().execute(query, after).scalar_one()
        if event is None:
            break
        found.append(event)
    return found


def facts(details: object) -> list[tuple[str, str]]:
    """Details as names and values, what lies inside others under both names: `{"a": {"b": [1, 2]}}` -> `a.b: 1, 2`.

    Text that is no JSON object is one value without a name.
    """
    try:
        document = json.loads(str(details))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return [("", str(details))]
    return _flat("", document)


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [fact for key, one in value.items() for fact in _flat(f"{name}.{key}" if name else key, one)]
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        return [(name, ", ".join(map(_said, value)) or "–")]
    return [(name, _said(value))] if name else []


def _said(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def _newest_first(entry: Entry) -> tuple[int, ...]:
    return tuple(-value if isinstance(value, int) else 0 for value in (entry.number, entry.id))


def _found(session: Session, wanted: Wanted, actor: str | None, limit: int) -> list[Entry]:
    asked = {
        "actor": actor,
        "event": wanted.event,
        "target_id": wanted.target_id,
        "since": wanted.since,
        "until": wanted.until,
        "before": wanted.before,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    connection = session.connection()
    query = _query(connection.dialect.name, tuple(given))
    return list(map(Entry._make, connection.execute(query, given | {"tenant_id": wanted.tenant_id, "limit": limit})))


_CONDITIONS: Final = {
    "actor": "actor = :actor",
    "event": "event = :event",
    "target_id": "target_id = :target_id",
    "since": "at >= :since",
    "until": "at < :until",
    "before": "number < :before",
}


@cache
def _query(dialect: str, given: Sequence[str]) -> TextClause:
    where = " AND ".join(("tenant_id = :tenant_id", *(_CONDITIONS[name] for name in given)))
    times = [bindparam(name, type_=UtcDateTime) for name in _TIMES if name in given]
    return text(
        f"SELECT {COLUMNS[dialect]} FROM audit WHERE {where} ORDER BY number DESC, id DESC LIMIT :limit"
    ).bindparams(*times)
