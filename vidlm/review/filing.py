"""Asking people to look at a video: when its analysis ends, when somebody decided so, when its owner appeals.

    file       a ready job -> an item in the first queue whose rule it meets, or none
    after      another item for the same video, because of what was decided
    carried    nobody is asked: what was decided about another copy holds

Inside ONE transaction. Who gets the items, and when, stands in `items`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, literal_column
from sqlmodel import Session, col, select

from vidlm.domain import Action, Flag, JobState, Severity
from vidlm.moderation import routing
from vidlm.moderation.decisions import Occasion, ReviewState
from vidlm.review import grants, queues
from vidlm.store.engine import clock
from vidlm.store.queries import flags_of
from vidlm.store.review import ReviewItem, ReviewQueue
from vidlm.store.tables import FlagRow, Job, Video

BATCH: Final = 200
_SEVERITIES: Final = tuple(Severity)


def file(session: Session, job: Job) -> ReviewItem | None:
    """Ask people to look at a video that is `ready`, if anybody has to. The caller holds the job's lock."""
    if job.review_state != ReviewState.NONE or job.state != JobState.READY or job.verdict_action is None:
        return None
    facts = facts_of(session, job)
    lines = queues.all_of(session, job.tenant_id)
    by_rule = [(queue, rule) for queue in lines if (rule := queues.rule_in(queue)) is not None]
    rules = [rule for _, rule in by_rule]
    place = routing.first_met(rules, facts)
    if place is None:
        return None
    occasion = Occasion.SAMPLED if facts.verdict is Action.ALLOW else Occasion.FLAGGED
    item = made(session, job, facts, by_rule[place][0], occasion)
    item.inclusion = routing.chance(rules, facts)
    session.add(item)
    if occasion is Occasion.FLAGGED:
        job.review_state = ReviewState.PENDING.value
    return item


def carried(job: Job) -> None:
    """An earlier decision holds for this copy of its video: nobody is asked again, unless its owner appeals."""
    settled = {Action.ALLOW: ReviewState.APPROVED, Action.BLOCK: ReviewState.REMOVED}
    job.review_state = settled[Action(job.verdict_action or Action.REVIEW)].value


def any_missing(session: Session) -> bool:
    """Whether a video is ready, not cleared, and was not filed, such as what an older version analysed."""
    return session.exec(select(Job.id).where(*_unfiled()).limit(1)).first() is not None


def file_missing(session: Session) -> int:
    """File those; how many, at most `BATCH`."""
    query = select(Job).where(*_unfiled()).order_by(col(Job.id)).limit(BATCH).with_for_update(skip_locked=True)
    return sum(file(session, job) is not None for job in session.exec(query).all())


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


def appealed(session: Session, job: Job) -> ReviewItem:
    """A look at a video that nobody here decided about: what was decided about another copy was carried over."""
    line = queues.named(queues.all_of(session, job.tenant_id), queues.APPEALS)
    item = made(session, job, facts_of(session, job), line, Occasion.APPEAL)
    session.add(item)
    return item


def rank_of(severity: Severity, score: float) -> int:
    """The least is the most urgent: by severity first, then by how sure the model is, 0..4999."""
    return (len(_SEVERITIES) - 1 - _SEVERITIES.index(severity)) * 1000 + round((1 - score) * 999)


def made(session: Session, job: Job, facts: routing.Facts, queue: ReviewQueue, occasion: Occasion) -> ReviewItem:
    """An item that is not added yet. What is restricted waits where those who may can see it, whatever else it is."""
    restricted = grants.is_restricted(session, job.video_id)
    if restricted:
        queue = queues.named(queues.all_of(session, job.tenant_id), routing.RESTRICTED)
    severity, score = _worst(facts.flags)
    # what was not looked at may be anything: it does not wait behind all that is known
    rank = rank_of(severity, score) if facts.flags else rank_of(Severity.MEDIUM, 0.0)
    return ReviewItem(
        tenant_id=job.tenant_id,
        queue_id=queue.id,
        video_id=job.video_id,
        job_id=job.id,
        occasion=occasion.value,
        severity=severity.value,
        score=score,
        rank=rank,
        restricted=restricted,
        created_at=clock(session),
    )


def _unfiled() -> tuple[ColumnElement[bool], ...]:
    """Said as the index `ix_job_unfiled` says it."""
    return (
        col(Job.state) == literal_column(f"'{JobState.READY.value}'"),
        col(Job.review_state) == literal_column(f"'{ReviewState.NONE.value}'"),
        col(Job.verdict_action) != literal_column(f"'{Action.ALLOW.value}'"),
    )


def facts_of(session: Session, job: Job) -> routing.Facts:
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
