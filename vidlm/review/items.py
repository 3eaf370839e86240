"""What waits for people: filed when a video's analysis ends, taken by one of them at a time. Inside ONE transaction.

    file     a ready job -> an item in the first queue whose rule it meets, or none
    take     the most urgent item that the caller may work on, locked for them until `claimed_until`
    keep     a sign of life: the lock is pushed on
    release  back into the line

A lock that ran out holds nobody up: the item is anybody's again, and a decision that comes late is still taken as long
as nobody else took the item. What happens to rows here is in `decide`; golden items are made in `golden`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, literal_column, or_
from sqlmodel import Session, col, func, select

from vidlm.domain import Action, Flag, JobState, Severity
from vidlm.errors import ConflictError
from vidlm.moderation import routing
from vidlm.moderation.decisions import ItemState, Occasion, ReviewState
from vidlm.review import queues
from vidlm.review.settings import settings_of
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import ReviewDecision, ReviewItem, ReviewQueue
from vidlm.store.tables import FlagRow, Job, Video

MOST_HELD: Final = 5
"""Items that one person holds at a time: the one looked at, and some that are loaded ahead."""
BATCH: Final = 200
_SEVERITIES: Final = tuple(Severity)


def file(session: Session, job: Job) -> ReviewItem | None:
    """Ask people to look at a video that is `ready`, if anybody has to. The caller holds the job's lock."""
    if job.review_state != ReviewState.NONE or job.state != JobState.READY or job.verdict_action is None:
        return None
    facts = _facts(session, job)
    lines = [(queue, rule) for queue in queues.all_of(session, job.tenant_id) if (rule := queues.rule_in(queue))]
    rules = [rule for _, rule in lines]
    place = routing.first_met(rules, facts)
    if place is None:
        return None
    occasion = Occasion.SAMPLED if facts.verdict is Action.ALLOW else Occasion.FLAGGED
    severity, score = _worst(facts.flags)
    # what was not looked at may be anything: it does not wait behind all that is known
    rank = rank_of(severity, score) if facts.flags else rank_of(Severity.MEDIUM, 0.0)
    item = ReviewItem(
        tenant_id=job.tenant_id,
        queue_id=lines[place][0].id,
        video_id=job.video_id,
        job_id=job.id,
        occasion=occasion.value,
        severity=severity.value,
        score=score,
        rank=rank,
        restricted=routing.is_restricted(facts),
        inclusion=routing.chance(rules, facts),
        created_at=clock(session),
    )
    session.add(item)
    if occasion is Occasion.FLAGGED:
        job.review_state = ReviewState.PENDING.value
    return item


def any_missing(session: Session) -> bool:
    """Whether a video is ready, not cleared, and was not filed, such as what an older version analysed."""
    return session.exec(select(Job.id).where(*_unfiled()).limit(1)).first() is not None


def file_missing(session: Session) -> int:
    """File those; how many, at most `BATCH`."""
    query = select(Job).where(*_unfiled()).order_by(col(Job.id)).limit(BATCH).with_for_update(skip_locked=True)
    return sum(file(session, job) is not None for job in session.exec(query).all())


def _unfiled() -> tuple[ColumnElement[bool], ...]:
    """Said as the index `ix_job_id_unfiled` says it."""
    return (
        col(Job.state) == literal_column(f"'{JobState.READY.value}'"),
        col(Job.review_state) == literal_column(f"'{ReviewState.NONE.value}'"),
        col(Job.verdict_action) != literal_column(f"'{Action.ALLOW.value}'"),
    )


def after(session: Session, item: ReviewItem, occasion: Occasion) -> ReviewItem:
    """Another look at the same video, because of what was decided on `item`."""
    lines = queues.all_of(session, item.tenant_id)
    names = {Occasion.ESCALATED: queues.ESCALATED, Occasion.APPEAL: queues.APPEALS}
    queue_id = queues.named(lines, names[occasion]).id if occasion in names else item.queue_id
    copied = item.model_dump(include={"tenant_id", "video_id", "job_id", "severity", "score", "rank", "restricted"})
    again = ReviewItem(
        **copied,
        queue_id=queue_id,
        occasion=occasion.value,
        inclusion=item.inclusion,
        parent_id=item.id,
        created_at=clock(session),
    )
    session.add(again)
    return again


def rank_of(severity: Severity, score: float) -> int:
    """The least is the most urgent: by severity first, then by how sure the model is, 0..4999."""
    return (len(_SEVERITIES) - 1 - _SEVERITIES.index(severity)) * 1000 + round((1 - score) * 999)


def take(session: Session, caller: Caller, lines: Sequence[ReviewQueue]) -> ReviewItem | None:
    """Lock the first item that the caller may work on, out of these queues in their order; None where there is none."""
    now = clock(session)
    for queue in lines:
        if not queues.may_work(queue, caller):
            continue
        found = [row for row in (_first(session, queue, caller, free) for free in _free(now)) if row is not None]
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
        ReviewItem.claimed_by == caller.key_id,
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
        caller.key_id,
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
    if item.state != ItemState.CLAIMED or item.claimed_by != caller.key_id or item.token != token:
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


def visible(caller: Caller) -> list[ColumnElement[bool]]:
    """What the caller may see."""
    mine = [
        col(ReviewItem.tenant_id) == caller.tenant_id,
        or_(col(ReviewItem.occasion) != Occasion.GOLDEN.value, col(ReviewItem.claimed_by) == caller.key_id),
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
        col(ReviewDecision.actor) == caller.key_id,
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


def _facts(session: Session, job: Job) -> routing.Facts:
    assert job.verdict_action is not None
    language = session.get_one(Video, job.video_id).language
    flags = tuple(_flag(row) for row in flags_of(session, job.id))
    return routing.Facts(flags, Action(job.verdict_action), language, random.random())


def _flag(row: FlagRow) -> Flag:
    return Flag(
        policy_id=row.policy_id,
        start_s=row.start_s,
        end_s=row.end_s,
        score=row.score,
        mean_score=row.score,
        severity=Severity(row.severity),
        action=Action(row.action),
        evidence=(),
    )


def _worst(flags: Sequence[Flag]) -> tuple[Severity, float]:
    """The severity that a video is ranked by, and how sure the model is of it; none was flagged: nobody knows."""
    if not flags:
        return Severity.NONE, 0.0
    worst = max((flag.severity for flag in flags), key=_SEVERITIES.index)
    return worst, max(flag.score for flag in flags if flag.severity is worst)
