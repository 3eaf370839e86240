"""What an owner, or a deadline, does to a job: cancel, retry, delete, hold. Each is called inside ONE transaction.

Whoever is at work meanwhile is fenced off by a newer token, so nothing late is ever written. Knows rows, not files
(`disposal` takes those away).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from vidlm.domain import JobState, WorkState
from vidlm.errors import ConflictError
from vidlm.jobs import backfills, events, outbox, tallies, turns
from vidlm.jobs.claims import call_off
from vidlm.jobs.life import let_go
from vidlm.jobs.states import ACTIVE, OPEN, RETRIABLE
from vidlm.moderation.decisions import ItemState
from vidlm.queue import Task
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.likeness import FingerprintRow, MatchRow
from vidlm.store.review import Appeal, GoldenAnswer, ReviewDecision, ReviewItem
from vidlm.store.tables import AnalysisRow, FlagRow, Job, Question, SecondLookRow, SegmentRow, SpanWork, Video
from vidlm.store.words import VideoWord


def cancel(session: Session, job: Job, *, actor: str) -> None:
    """Call the job off, at once and for good unless it is retried. The caller holds its lock.

    A cancelled job may be cancelled again. Raises `ConflictError` (`already_ended`) for one that ended otherwise.
    """
    if job.state == JobState.CANCELLED:
        return
    if JobState(job.state) not in OPEN:
        raise ConflictError(f"the job has ended already: it is {job.state}", code="already_ended")
    _stop(session, job, JobState.CANCELLED)
    audit(session, tenant_id=job.tenant_id, actor=actor, event="video.cancelled", target_id=job.video_id)


def retry(session: Session, job: Job, *, actor: str, deadline_s: float | None = None) -> None:
    """Go on where a failed, cancelled or expired job stopped, with fresh attempts. The caller holds its lock.

    Raises `ConflictError`: `not_retriable` in any other state, `original_removed` where the bytes are not there (any
    more).
    """
    if JobState(job.state) not in RETRIABLE:
        raise ConflictError(f"a job that is {job.state} cannot be retried", code="not_retriable")
    job.deadline_at = None if deadline_s is None else clock(session) + timedelta(seconds=deadline_s)
    audit(session, tenant_id=job.tenant_id, actor=actor, event="video.retried", target_id=job.video_id)
    if job.work_folder is None or job.prepared is None:
        _start_over(session, job)
    elif job.spans_done < job.spans_total:
        _reopen(session, job, JobState.ANALYZING)
        _wake_spans(session, job)
    else:
        _reopen(session, job, JobState.FINISHING)
        outbox.owe(session, Task.FINISH, job.id, job.tenant_id)


def expire_due(session: Session) -> list[str]:
    """End the jobs whose deadline has passed, uploads that never became whole among them; the ids of their videos."""
    overdue = (col(Job.state).in_(OPEN), col(Job.deadline_at) < clock(session))
    query = select(Job).where(*overdue).order_by(col(Job.deadline_at)).limit(outbox.BATCH)
    jobs = session.exec(query.with_for_update(skip_locked=True)).all()
    for job in jobs:
        job.error_code, job.error_detail = "deadline_exceeded", "the deadline passed before the result was there"
        _stop(session, job, JobState.EXPIRED)
    return [job.video_id for job in jobs]


def deleted(session: Session, video: Video, *, actor: str) -> None:
    """Remove every text and result of `video`, leave a tombstone, fence off whoever is at work.

    Its files go after the commit (`disposal.dispose`; the sweeper makes sure of it). Nothing happens to one that is
    deleted already. Raises `ConflictError` (`legal_hold`) for a video that must be kept.
    """
    job = session.exec(select(Job).where(Job.video_id == video.id).with_for_update()).one()  # first, as everywhere
    session.refresh(video, with_for_update=True)
    if video.deleted_at is not None:
        return
    if video.legal_hold:
        raise ConflictError("the video is under a legal hold and must be kept", code="legal_hold")
    spans = list(session.exec(select(SpanWork.id).where(SpanWork.job_id == job.id)).all())
    questions = list(session.exec(select(Question.id).where(Question.video_id == video.id)).all())
    tallies.keep(session, job)
    backfills.video_gone(session, video.id, job.id)
    for table in (FlagRow, SecondLookRow, SegmentRow, AnalysisRow, SpanWork):
        session.exec(delete(table).where(col(table.job_id) == job.id))
    for table_ in (Question, MatchRow, FingerprintRow, VideoWord):
        session.exec(delete(table_).where(col(table_.video_id) == video.id))
    outbox.settle_all(session, [job.id, *spans, *questions])
    job.token += 1
    _forget_review(session, video.id)
    job.prepared = job.verdict_action = job.verdict_reason = job.error_code = job.error_detail = None
    job.work_folder = job.duration_s = job.webhook_url = None
    job.spans_done = job.spans_total = 0
    let_go(job)
    video.filename = video.client_id = None
    video.deleted_at = clock(session)
    events.moved(session, job, JobState.DELETED)
    session.flush()
    events.forget(session, video.id)
    audit(session, tenant_id=video.tenant_id, actor=actor, event="video.deleted", target_id=video.id)


def hold(session: Session, video: Video, on: bool, *, actor: str) -> None:
    """Put a legal hold on a video, or lift it: while it lasts nothing of the video goes, asked for or by age."""
    if video.deleted_at is not None:
        raise ConflictError("the video was deleted", code="deleted")
    if video.legal_hold != on:
        video.legal_hold = on
        event = "video.held" if on else "video.released"
        audit(session, tenant_id=video.tenant_id, actor=actor, event=event, target_id=video.id)


def _forget_review(session: Session, video_id: str) -> None:
    """Nobody has to look any more. What was decided stays, without what people wrote."""
    open_states = (ItemState.WAITING.value, ItemState.CLAIMED.value)
    gone = (col(ReviewItem.video_id) == video_id, col(ReviewItem.state).in_(open_states))
    session.exec(update(ReviewItem).where(*gone).values(state=ItemState.WITHDRAWN.value))
    for table in (ReviewDecision, GoldenAnswer, Appeal):
        session.exec(update(table).where(col(table.video_id) == video_id).values(note=""))


def _stop(session: Session, job: Job, end: JobState) -> None:
    job.token += 1
    let_go(job)
    outbox.settle_all(session, [job.id])
    if JobState(job.state) in ACTIVE:
        call_off(session, SpanWork, col(SpanWork.job_id) == job.id)
    events.moved(session, job, end)


def _reopen(session: Session, job: Job, state: JobState) -> None:
    job.error_code = job.error_detail = None
    events.moved(session, job, state)


def _start_over(session: Session, job: Job) -> None:
    """Back to the line, from the bytes."""
    video = session.get_one(Video, job.video_id)
    if video.blob is None:
        raise ConflictError("the bytes of this video are not here (any more): upload it again", code="original_removed")
    for table in (FlagRow, SecondLookRow, SegmentRow, SpanWork):
        session.exec(delete(table).where(col(table.job_id) == job.id))
    job.prepared, job.prepared_share, job.spans_done, job.spans_total = None, 0.0, 0, 0
    job.started_at = job.prepared_at = job.analyzed_at = None
    _reopen(session, job, JobState.QUEUED)
    job.turn = turns.next_turn(session, Job, (JobState.QUEUED.value,), job.tenant_id, job.priority)
    outbox.owe(session, Task.PREPARE, job.id, job.tenant_id)


def _wake_spans(session: Session, job: Job) -> None:
    """What was analysed before is kept; the other spans wait again."""
    undone = col(SpanWork.state).in_((WorkState.CANCELLED.value, WorkState.FAILED.value, WorkState.REJECTED.value))
    turn = turns.next_turn(session, SpanWork, (WorkState.WAITING.value,), job.tenant_id, job.priority)
    woken = session.exec(
        update(SpanWork)
        .where(col(SpanWork.job_id) == job.id, undone)
        .values(
            state=WorkState.WAITING.value,
            attempts=0,
            not_before=None,
            error_code=None,
            error_detail=None,
            turn=turn + col(SpanWork.index),
        )
        .returning(col(SpanWork.id))
        .execution_options(synchronize_session=False)
    ).all()
    for row in woken:
        outbox.owe(session, Task.ANALYZE_SPAN, row.id, job.tenant_id)
