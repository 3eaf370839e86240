"""Filters that somebody comes back to. Inside ONE transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session, col, select

from vidlm.errors import ConflictError, InputError
from vidlm.store.engine import clock
from vidlm.store.people import SavedView

MOST: Final = 30
"""Of one person on one page."""


def of(session: Session, person_id: str, page: str) -> Sequence[SavedView]:
    query = select(SavedView).where(SavedView.person_id == person_id, SavedView.page == page)
    return session.exec(query.order_by(col(SavedView.name), col(SavedView.id))).all()


def save(session: Session, person_id: str, page: str, name: str, query: str) -> SavedView:
    """Keep `query` under a name, in place of what was kept under it. Raises `InputError`, `ConflictError`."""
    name = " ".join(name.split())
    if not name:
        raise InputError("a view needs a name", code="invalid_name")
    kept = of(session, person_id, page)
    row = next((one for one in kept if one.name == name), None)
    if row is None and len(kept) >= MOST:
        raise ConflictError(f"there are {MOST} views already: remove one", code="too_many_views")
    row = row or SavedView(person_id=person_id, page=page, name=name, query=query, created_at=clock(session))
    row.query = query
    session.add(row)
    return row


def remove(session: Session, person_id: str, view_id: str) -> None:
    """Nothing happens where it is gone, or somebody else's."""
    row = session.exec(select(SavedView).where(SavedView.id == view_id, SavedView.person_id == person_id)).first()
    if row is not None:
        session.delete(row)
