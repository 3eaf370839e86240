"""What waits for people, taken by one of them at a time. Inside ONE transaction.

    take     the most urgent item that the caller may work on, locked for them until `claimed_until`
    keep     a sign of life: the lock is pushed on
    release  back into the line

A lock that ran out holds nobody up: the item is anybody's again, and a decision that comes late is still taken as long
as nobody else took the item. What puts items here is `filing`; what is decided about them, `deciding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlmodel import Session, col, func, select

from vidlm.errors import ConflictError
from vidlm.moderation.decisions import ItemState, Occasion, ReviewState
from vidlm.review import queues
from vidlm.review.settings import settings_of
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewDecision, ReviewItem, ReviewQueue
from vidlm.store.tables import Job

MOST_HELD: Final = 5
"""Items that one person holds at a time: the one looked at, and some that are loaded ahead."""


def take(
    session: Session, caller: Caller, lines: Sequence[ReviewQueue], *, without: Sequence[str] = ()
) -> ReviewItem | None:
    """Lock the first item that the caller may work on, out of these queues in their order; None where there is none.

    `without`: ids of items that are left to others.
    """
    now = clock(session)
    for queue in lines:
        if not queues.may_work(queue, caller):
            continue
        wanted = [free if not without else and_(free, col(ReviewItem.id).not_in(without)) for free in _free(now)]
        found = [row for row in (_first(session, queue, caller, free) for free in wanted) if row is not None]
        if found:
            item = min(found, key=lambda row: (row.rank, row.id))
            lock(session, item, caller, now)
            job = session.get_one(Job, item.job_id)  # locked together with the item
            if item.occasion == Occasion.FLAGGED and job.review_state == ReviewState.PENDING:
                job.review_state = ReviewState.IN_REVIEW.value
            return item
    return None


def check_room(session: Session, caller: Caller, now: datetime) -> None:
    """Raises `ConflictError` (`too_many_claims`) for somebody who holds `MOST_HELD` items already."""
    held = select(func.count()).where(
        ReviewItem.claimed_by == caller.id,
        ReviewItem.state == ItemState.CLAIMED.value,
        col(ReviewItem.claimed_until) > now,
    )
    if session.exec(held).one() >= MOST_HELD:
        raise ConflictError(f"you hold {MOST_HELD} items already: decide or release one", code="too_many_claims")


def lock(session: Session, item: ReviewItem, caller: Caller, now: datetime) -> None:
    """The item is the caller's, until the tenant's lock time is over. Whoever held it before does so no more."""
    until = now + timedelta(seconds=settings_of(session, caller.tenant_id).lock_s)
    item.state, item.claimed_by, item.claimed_at, item.claimed_until = (
        ItemState.CLAIMED.value,
        caller.id,
        now,
        until,
    )
    item.token += 1


def keep(session: Session, item: ReviewItem, caller: Caller, token: int) -> None:
    """Somebody is still at it; the item is locked (`find`). Raises `ConflictError` (`claim_lost`)."""
    check_held(item, caller, token)
    item.claimed_until = clock(session) + timedelta(seconds=settings_of(session, caller.tenant_id).lock_s)


def release(session: Session, item: ReviewItem, caller: Caller, token: int) -> None:
    """Back into the line, at its old place; the item is locked (`find`). Raises `ConflictError` (`claim_lost`)."""
    check_held(item, caller, token)
    golden = item.occasion == Occasion.GOLDEN
    job = session.get_one(Job, item.job_id)
    item.state = (ItemState.WITHDRAWN if golden else ItemState.WAITING).value
    item.claimed_by = item.claimed_at = item.claimed_until = None
    if item.occasion == Occasion.FLAGGED and job.review_state == ReviewState.IN_REVIEW:
        job.review_state = ReviewState.PENDING.value


def check_held(item: ReviewItem, caller: Caller, token: int) -> None:
    """The item is the caller's, under this token.

    Raises `ConflictError` (`withdrawn`, `already_decided`, `claim_lost`) where it is not (any more).
    """
    if item.state == ItemState.WITHDRAWN:
        raise ConflictError("nobody has to look at this any more", code="withdrawn")
    if item.state == ItemState.DECIDED:
        raise ConflictError("this was decided already", code="already_decided")
    if item.state != ItemState.CLAIMED or item.claimed_by != caller.id or item.token != token:
        raise ConflictError("this item is not yours (any more): claim it again", code="claim_lost")


def find(session: Session, caller: Caller, item_id: str, *, locked: bool = False) -> ReviewItem | None:
    """One of the tenant's items that the caller may see. A golden one is seen by whoever claimed it.

    `locked`: nobody else changes it or its job before the transaction ends. The job is locked first, as everywhere.
    """
    item = session.exec(select(ReviewItem).where(ReviewItem.id == item_id, *visible(caller))).first()
    if item is not None and locked:
        session.get_one(Job, item.job_id, with_for_update=True, populate_existing=True)
        session.refresh(item, with_for_update=True)
    return item


def open_of(session: Session, caller: Caller, video_id: str) -> ReviewItem | None:
    """What waits to be decided about a video, or is being decided, as far as the caller may see it."""
    query = select(ReviewItem).where(
        ReviewItem.video_id == video_id,
        col(ReviewItem.state).in_((ItemState.WAITING.value, ItemState.CLAIMED.value)),
        ReviewItem.occasion != Occasion.GOLDEN.value,
        *visible(caller),
    )
    return session.exec(query).first()


def visible(caller: Caller) -> list[ColumnElement[bool]]:
    """What the caller may see."""
    mine = [
        col(ReviewItem.tenant_id) == caller.tenant_id,
        or_(col(ReviewItem.occasion) != Occasion.GOLDEN.value, col(ReviewItem.claimed_by) == caller.id),
    ]
    return mine if caller.restricted else [*mine, col(ReviewItem.restricted).is_(False)]


def _free(now: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """What waits, and what somebody left behind. Golden items are left to whoever got them."""
    left = and_(
        col(ReviewItem.state) == ItemState.CLAIMED.value,
        col(ReviewItem.claimed_until) <= now,
        col(ReviewItem.occasion) != Occasion.GOLDEN.value,
    )
    return col(ReviewItem.state) == ItemState.WAITING.value, left


def _first(session: Session, queue: ReviewQueue, caller: Caller, free: ColumnElement[bool]) -> ReviewItem | None:
    """The first in line that nobody is just taking. A second opinion, or an appeal's, is another person's."""
    judged = exists().where(
        col(ReviewDecision.video_id) == col(ReviewItem.video_id),
        col(ReviewDecision.actor) == caller.id,
        col(ReviewDecision.undone_at).is_(None),
        col(ReviewDecision.occasion) != Occasion.GOLDEN.value,
    )
    another = col(ReviewItem.occasion).in_((Occasion.SECOND.value, Occasion.APPEAL.value))
    query = (
        select(ReviewItem)
        .join(Job, col(Job.id) == col(ReviewItem.job_id))
        .where(ReviewItem.queue_id == queue.id, free, ~and_(another, judged), *visible(caller))
        .order_by(col(ReviewItem.rank), col(ReviewItem.id))
        .limit(1)
    )
    # both rows or none, and without waiting: whoever deletes a video locks the job first
    return session.exec(query.with_for_update(skip_locked=True, of=[ReviewItem, Job])).first()
