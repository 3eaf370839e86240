"""Pages of review items: in one state, the most urgent first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlmodel import Session, col

from vidlm.domain import Severity
from vidlm.errors import InputError
from vidlm.moderation.decisions import ItemState, Occasion
from vidlm.review.items import visible
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewItem
from vidlm.store.tables import Job


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items. `after`: (rank, id) of the last one of the page before."""

    state: ItemState = ItemState.WAITING
    queue_id: str | None = None
    severity: Severity | None = None
    mine: bool = False
    after: tuple[int, str] | None = None


def cursor_of(last: ReviewItem) -> str:
    """Where the page after this item begins."""
    return f"{last.rank}:{last.id}"


def place_of(cursor: str) -> tuple[int, str]:
    """The same as (rank, id). Raises `InputError` for what `cursor_of` never said."""
    rank, _, item_id = cursor.partition(":")
    if not (
        rank.isascii() and rank.isdigit() and len(rank) < 10 and item_id.startswith("rvi_") and item_id.isprintable()
    ):
        raise InputError("cursor: this is no cursor of ours", code="invalid_request")
    return int(rank), item_id


def list_items(session: Session, caller: Caller, wanted: Wanted, most: int) -> list[tuple[ReviewItem, Job]]:
    """Up to `most` items that the caller may see, with the jobs they are about."""
    where = [*visible(caller), col(ReviewItem.state) == wanted.state.value]
    if wanted.queue_id is not None:
        where.append(col(ReviewItem.queue_id) == wanted.queue_id)
    if wanted.severity is not None:
        where.append(col(ReviewItem.severity) == wanted.severity.value)
    if wanted.mine:
        where.append(col(ReviewItem.claimed_by) == caller.id)
    else:
        where.append(col(ReviewItem.occasion) != Occasion.GOLDEN.value)  # nobody lists what only one person gets
    if wanted.after is not None:
        where.append(tuple_(col(ReviewItem.rank), col(ReviewItem.id)) > wanted.after)
    query = select(ReviewItem, Job).join(Job, col(Job.id) == col(ReviewItem.job_id)).where(*where)
    rows = session.execute(query.order_by(col(ReviewItem.rank), col(ReviewItem.id)).limit(most)).all()
    return [(item, job) for item, job in rows]
