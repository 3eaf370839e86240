"""What workers make of a job, each step one function to be called inside ONE transaction.

    prepared -> span_analyzed ... span_analyzed (the last one) -> finished
    gave_up: to be tried again, or the end
    ask    -> answered

How a job comes in stands in `intake`, what its owner does to it in `control`. Knows the rows; not the files, the model
or HTTP. The caller commits, so a result and everything that follows from it become true together. Everything a worker
calls begins with `hold`, and raises `LeaseLost` when it is too late.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from vidlm.domain import Analysis, Answer, JobState, Priority, Segment, WorkState, to_document
from vidlm.errors import InputError, LeaseLost, VidlmError
from vidlm.jobs import backfills, events, outbox, turns, wording
from vidlm.jobs.claims import STAGES, Claim, call_off, hold
from vidlm.jobs.states import ACTIVE, backoff_s
from vidlm.queue import Task
from vidlm.store.backfill import BackfillWork
from vidlm.store.columns import new_id
from vidlm.store.engine import clock
from vidlm.store.tables import AnalysisRow, Claimable, FlagRow, Job, Question, SecondLookRow, SegmentRow, SpanWork

WORKER_LOST: Final = "worker_lost"
"""The code of work that took its worker down on every attempt."""


def preparing(session: Session, held: Claim, share: float) -> None:
    """So much of the video is decoded, 0..1. Raises `LeaseLost`."""
    hold(session, held, Job).prepared_share = share


def prepared(
    session: Session,
    held: Claim,
    *,
    document: dict[str, Any],
    recipe: str,
    work_folder: str,
    duration_s: float,
    spans: Sequence[tuple[int, int]],
    policy_set_id: str | None = None,
) -> None:
    """The proxy is there: plan its spans `[first, last)` of windows and wake a worker for each.

    All of it is scored under one set of policies, the tenant's `policy_set_id` or the service's own.
    """
    job = hold(session, held, Job)
    job.prepared_at = clock(session)
    job.prepared, job.recipe, job.work_folder, job.duration_s = document, recipe, work_folder, duration_s
    job.policy_set_id = policy_set_id
    job.prepared_share, job.spans_total, job.spans_done = 1.0, len(spans), 0
    let_go(job)
    events.moved(session, job, JobState.ANALYZING)
    outbox.settle(session, held.task, held.target_id)
    turn = turns.next_turn(session, SpanWork, (WorkState.WAITING.value,), job.tenant_id, job.priority)
    for index, (first, last) in enumerate(spans):
        span = SpanWork(
            tenant_id=job.tenant_id,
            job_id=job.id,
            index=index,
            first_window=first,
            last_window=last,
            priority=job.priority,
            turn=turn + index,
        )
        session.add(span)
        outbox.owe(session, Task.ANALYZE_SPAN, span.id, job.tenant_id)


def carried_over(
    session: Session, held: Claim, analysis: Analysis, *, document: dict[str, Any], work_folder: str
) -> None:
    """The job is `ready` with an earlier decision's verdict; what was prepared of it is kept, for people to look at.

    It has no recipe: what nobody looked at is not taken over by others.
    """
    job = hold(session, held, Job)
    job.prepared, job.recipe, job.work_folder = document, None, work_folder
    job.duration_s = analysis.video.duration_s
    job.prepared_share, job.spans_total, job.spans_done = 1.0, 0, 0
    job.verdict_action, job.verdict_reason = analysis.verdict.action.value, analysis.verdict.reason
    job.prepared_at = job.analyzed_at = clock(session)
    let_go(job)
    outbox.settle(session, held.task, held.target_id)
    _keep(session, job, analysis)
    events.moved(session, job, JobState.READY)


def span_analyzed(session: Session, held: Claim, segments: Sequence[Segment]) -> None:
    """Keep a span's segments. The last span to finish, counted here under the job's lock, wakes the finish."""
    job = _lock_job_of_span(session, held.target_id)
    if job is None or job.state != JobState.ANALYZING:
        raise LeaseLost("the job has ended meanwhile")
    span = hold(session, held, SpanWork)
    span.state = WorkState.DONE.value
    let_go(span)
    outbox.settle(session, held.task, held.target_id)
    session.add_all(_segment_row(segment, span) for segment in segments)
    session.flush()
    done = (col(SpanWork.job_id) == job.id, col(SpanWork.state) == WorkState.DONE.value)
    job.spans_done = session.exec(select(func.count()).select_from(SpanWork).where(*done)).one()
    if job.spans_done == job.spans_total:
        job.analyzed_at = clock(session)
        events.moved(session, job, JobState.FINISHING)
        outbox.owe(session, Task.FINISH, job.id, job.tenant_id)


def finished(session: Session, held: Claim, analysis: Analysis) -> None:
    """The document and its flags are kept and the job is `ready`, all at once and once only."""
    job = hold(session, held, Job)
    job.verdict_action, job.verdict_reason = analysis.verdict.action.value, analysis.verdict.reason
    job.toy_model = analysis.provenance.toy_model
    let_go(job)
    outbox.settle(session, held.task, held.target_id)
    _keep(session, job, analysis)
    _keep_looks(session, job, analysis)
    for flag in analysis.flags:
        row = FlagRow.of(job, flag)
        session.add(row)
        events.flag_told(session, job, row)
    events.moved(session, job, JobState.READY)  # the last word: whoever hears it has heard of the flags


def _keep(session: Session, job: Job, analysis: Analysis) -> None:
    """The document, and the words by which it is found."""
    document = to_document(analysis)
    session.add(AnalysisRow(job_id=job.id, tenant_id=job.tenant_id, document=document))
    wording.keep(session, job, document)


def _keep_looks(session: Session, job: Job, analysis: Analysis) -> None:
    """What was looked at again, and the scores that decide since in the place of the first ones."""
    scores = {segment.index: segment.scores for segment in analysis.segments}
    looked_at = {look.segment for look in analysis.second_looks if look.second_score is not None}
    which = (col(SegmentRow.job_id) == job.id, col(SegmentRow.index).in_(looked_at))
    for segment in session.exec(select(SegmentRow).where(*which)).all() if looked_at else ():
        segment.scores = dict(scores[segment.index])
    for look in analysis.second_looks:
        named = {field.name: getattr(look, field.name) for field in fields(look)}
        row = SecondLookRow(tenant_id=job.tenant_id, job_id=job.id, **named | {"outcome": look.outcome.value})
        session.add(row)


def ask(session: Session, *, tenant_id: str, video_id: str, text: str, conversation_id: str | None = None) -> Question:
    """A question about a ready video, and the wake-up it needs. Without a conversation to go on with it begins one.

    The caller makes sure that the conversation is about this video and that all its earlier questions have ended.
    """
    if conversation_id is None:
        conversation_id = new_id("cnv")
    question = Question(
        tenant_id=tenant_id,
        video_id=video_id,
        text=text,
        conversation_id=conversation_id,
        turn=turns.next_turn(session, Question, (WorkState.WAITING.value,), tenant_id, Priority.NORMAL.rank),
    )
    session.add(question)
    outbox.owe(session, Task.ANSWER, question.id, tenant_id)
    return question


def answered(session: Session, held: Claim, answer: Answer) -> None:
    """The answer document is kept."""
    question = hold(session, held, Question)
    question.state, question.answer = WorkState.DONE.value, to_document(answer)
    let_go(question)
    outbox.settle(session, held.task, held.target_id)


def gave_up(session: Session, held: Claim, error: Exception, *, max_attempts: int) -> str:
    """An attempt failed. The input's fault ends the work; ours is tried again, later each time, until attempts run out.

    Returns what became of it: "rejected", "failed" or "waiting".
    """
    _lock_above(session, held.task, held.target_id)
    unit = hold(session, held, STAGES[held.task].table)
    code = error.code if isinstance(error, VidlmError) else "internal"
    detail = error.detail if isinstance(error, VidlmError) else "something went wrong inside"
    if isinstance(error, InputError):
        _end(session, held.task, unit, WorkState.REJECTED, code=code, detail=detail)
        return WorkState.REJECTED.value
    if held.attempt >= max_attempts:
        _end(session, held.task, unit, WorkState.FAILED, code=code, detail=detail)
        return WorkState.FAILED.value
    again_at = clock(session) + timedelta(seconds=backoff_s(held.attempt, random.random()))
    unit.state, unit.lease_until, unit.not_before = STAGES[held.task].waiting, None, again_at
    if isinstance(unit, Job) and held.task is Task.PREPARE:
        events.state_told(session, unit)
    outbox.postpone(session, held.task, held.target_id, again_at)
    return WorkState.WAITING.value


def given_back(session: Session, held: Claim) -> None:
    """The worker has to end before the work is done: as if it had never begun, and to be taken up at once."""
    unit = hold(session, held, STAGES[held.task].table)
    unit.state, unit.lease_until, unit.not_before = STAGES[held.task].waiting, None, None
    unit.token, unit.attempts = unit.token + 1, unit.attempts - 1
    if isinstance(unit, Job) and held.task is Task.PREPARE:
        events.state_told(session, unit)
    outbox.postpone(session, held.task, held.target_id, clock(session))


def end_exhausted(session: Session, task: Task, *, max_attempts: int) -> list[str]:
    """End the units of `task` whose last attempt took its worker down, and give their ids: the end of a poison job."""
    stage = STAGES[task]
    table = stage.table
    exhausted = (
        col(table.state) == stage.running,
        col(table.attempts) >= max_attempts,
        col(table.lease_until) < clock(session),
    )
    ended = []
    for unit_id in session.exec(select(table.id).where(*exhausted).limit(outbox.BATCH)).all():
        _lock_above(session, task, unit_id)
        found = select(table).where(col(table.id) == unit_id, *exhausted)
        unit = session.exec(found.with_for_update(), execution_options={"populate_existing": True}).first()
        if unit is not None:  # nobody revived it before we had the lock
            unit.token += 1
            _end(session, task, unit, WorkState.FAILED, code=WORKER_LOST, detail="the worker was lost on every attempt")
            ended.append(unit.id)
    return ended


def _lock_above(session: Session, task: Task, unit_id: str) -> None:
    """Lock what a unit belongs to and changes as it ends, before the unit itself is."""
    if task is Task.ANALYZE_SPAN:
        _lock_job_of_span(session, unit_id)
    elif task is Task.BACKFILL:
        backfills.lock_of(session, unit_id)


def _lock_job_of_span(session: Session, span_id: str) -> Job | None:
    """A span's job, locked. Jobs are locked before spans, spans before wake-ups, everywhere: no deadlock."""
    job_id = session.exec(select(SpanWork.job_id).where(SpanWork.id == span_id)).first()
    return session.get(Job, job_id, with_for_update=True, populate_existing=True) if job_id else None


def _end(session: Session, task: Task, unit: Claimable, end: WorkState, *, code: str, detail: str) -> None:
    """The unit ends as `end`; where it is a span, so does its job, and nothing else of the job is owed."""
    outbox.settle(session, task, unit.id)
    let_go(unit)
    unit.error_code, unit.error_detail = code, detail
    if isinstance(unit, Job):
        events.moved(session, unit, JobState(end.value))
        return
    unit.state = end.value
    if isinstance(unit, SpanWork):
        job = session.get_one(Job, unit.job_id, with_for_update=True)
        if JobState(job.state) in ACTIVE:
            job.error_code, job.error_detail = code, detail
            events.moved(session, job, JobState(end.value))
        call_off(session, SpanWork, col(SpanWork.job_id) == job.id)
    elif isinstance(unit, BackfillWork):
        backfills.ended(session, unit)


def let_go(unit: Claimable) -> None:
    """No lease any more, and a fresh count of attempts for the next stage."""
    unit.lease_until = unit.not_before = None
    unit.attempts = 0


def _segment_row(segment: Segment, span: SpanWork) -> SegmentRow:
    return SegmentRow(
        tenant_id=span.tenant_id,
        job_id=span.job_id,
        span_id=span.id,
        index=segment.index,
        start_s=segment.start_s,
        end_s=segment.end_s,
        frame_times_s=list(segment.frame_times_s),
        caption=segment.caption,
        scores=dict(segment.scores),
    )
