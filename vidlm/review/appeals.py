"""Somebody says that a decision about a video was wrong: another person looks again. Inside ONE transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, func, select

from vidlm.errors import ConflictError
from vidlm.moderation.decisions import FINAL, ItemState, Occasion, Outcome, ReviewState
from vidlm.review import filing
from vidlm.review.settings import settings_of
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.review import Appeal, ReviewDecision, ReviewItem
from vidlm.store.tables import Job

_SETTLED = frozenset(FINAL.values())


def appeal(session: Session, caller: Caller, job: Job, *, note: str) -> Appeal:
    """Ask for another look at a video that was decided about. The caller holds the job's lock.

    Raises `ConflictError`: `not_decided` while nobody decided, or somebody is about to; `too_many_appeals`.
    """
    if ReviewState(job.review_state) not in _SETTLED:
        raise ConflictError(f"there is no decision to appeal against: review is {job.review_state}", code="not_decided")
    made = select(func.count()).select_from(Appeal).where(Appeal.video_id == job.video_id)
    if session.exec(made).one() >= settings_of(session, caller.tenant_id).appeals_most:
        raise ConflictError("no more appeals are heard about this video", code="too_many_appeals")
    if _is_open(session, job):
        raise ConflictError("somebody is to look at this video already", code="not_decided")
    decision = _newest_decision(session, job)
    if decision is None:  # carried over from a video that this one is a copy of
        item = filing.appealed(session, job)
    else:
        item = filing.after(session, session.get_one(ReviewItem, decision.item_id), Occasion.APPEAL)
    session.flush()
    row = Appeal(
        tenant_id=caller.tenant_id,
        video_id=job.video_id,
        decision_id=None if decision is None else decision.id,
        item_id=item.id,
        note=note.strip(),
        created_by=caller.id,
        created_at=clock(session),
    )
    session.add(row)
    audit(
        session,
        tenant_id=caller.tenant_id,
        actor=caller.id,
        event="review.appealed",
        target_id=row.id,
        details={"video": job.video_id, "decision": row.decision_id},
    )
    return row


def of_video(session: Session, tenant_id: str, video_id: str) -> list[tuple[Appeal, Outcome | None]]:
    """The appeals about a video, oldest first, each with what was decided then."""
    query = (
        select(Appeal, ReviewDecision.outcome)
        .join(
            ReviewDecision,
            (col(ReviewDecision.item_id) == col(Appeal.item_id)) & col(ReviewDecision.undone_at).is_(None),
            isouter=True,
        )
        .where(Appeal.video_id == video_id, Appeal.tenant_id == tenant_id)
    )
    rows: Sequence[tuple[Appeal, str | None]] = session.exec(query.order_by(col(Appeal.id))).all()
    return [(row, None if outcome is None else Outcome(outcome)) for row, outcome in rows]


def _newest_decision(session: Session, job: Job) -> ReviewDecision | None:
    """What stands: the newest outcome that settled the video."""
    query = select(ReviewDecision).where(
        ReviewDecision.job_id == job.id,
        ReviewDecision.occasion != Occasion.GOLDEN.value,
        col(ReviewDecision.outcome).in_([outcome.value for outcome in FINAL]),
        col(ReviewDecision.undone_at).is_(None),
    )
    return session.exec(query.order_by(col(ReviewDecision.id).desc()).limit(1)).first()


def _is_open(session: Session, job: Job) -> bool:
    query = select(ReviewItem.id).where(
        ReviewItem.job_id == job.id,
        col(ReviewItem.state).in_((ItemState.WAITING.value, ItemState.CLAIMED.value)),
        ReviewItem.occasion != Occasion.GOLDEN.value,
    )
    return session.exec(query).first() is not None
