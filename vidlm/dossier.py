"""Jobs one by one, for whoever runs the service: a list, all there is to say of one, retry and cancel by id.

Knows rows of every tenant; shows nothing (`vidlm.board` does). What a retry or a cancel does stands in `jobs.control`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from vidlm.domain import JobState, Priority
from vidlm.errors import InputError, VidlmError
from vidlm.jobs import control, presence
from vidlm.store.engine import Database
from vidlm.store.hooks import Delivery, DeliveryAttempt
from vidlm.store.ledger import Event
from vidlm.store.tables import FlagRow, Job, Question, SegmentRow, SpanWork, Video

ACTOR: Final = "cli"
"""Who did it, in the audit."""


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job and its video, in short. `filename` is None once the video is deleted."""

    video_id: str
    job_id: str
    tenant_id: str
    filename: str | None
    state: str
    priority: str
    created_at: datetime
    finished_at: datetime | None
    prepared_share: float
    spans_done: int
    spans_total: int
    error_code: str | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """The job came into `state`, from `queued` on; a state it came into more than once stands there as often."""

    state: str
    at: datetime
    error_code: str | None


@dataclass(frozen=True, slots=True)
class SpanLine:
    """A span of windows `[first_window, last_window)`. `worker` holds it, until `lease_until` at least."""

    span_id: str
    index: int
    first_window: int
    last_window: int
    state: str
    attempts: int
    lease_until: datetime | None
    not_before: datetime | None
    worker: str | None
    error_code: str | None
    error_detail: str | None


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """A webhook: what it tells, where, and how its last attempt went."""

    delivery_id: str
    event: str
    url: str
    state: str
    attempts: int
    created_at: datetime
    delivered_at: datetime | None
    not_before: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Dossier:
    """All there is to say of one job. `attempts`, lease and worker are of its own claim: preparing or finishing.

    `original_kept`: the file as it was uploaded is still there.
    """

    job: JobLine
    client_id: str | None
    sha256: str
    size_bytes: int
    original_kept: bool
    legal_hold: bool
    deleted_at: datetime | None
    purged_at: datetime | None
    pipeline_version: str
    duration_s: float | None
    deadline_at: datetime | None
    webhook_url: str | None
    error_detail: str | None
    verdict_reason: str | None
    toy_model: bool | None
    attempts: int
    lease_until: datetime | None
    not_before: datetime | None
    worker: str | None
    segments: int
    flags: dict[str, int]
    questions: dict[str, int]
    moments: tuple[Moment, ...]
    spans: tuple[SpanLine, ...]
    deliveries: tuple[DeliveryLine, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one id: the job's new state, or a code and a sentence that say why not."""

    given: str
    state: str | None
    code: str | None = None
    detail: str | None = None


def list_jobs(session: Session, states: Sequence[JobState], limit: int) -> list[JobLine]:
    """The newest jobs in one of `states`; without any named, all but those of deleted videos."""
    wanted = col(Job.state).in_(states) if states else col(Job.state) != JobState.DELETED.value
    query = select(Video, Job).join(Job, col(Job.video_id) == col(Video.id)).where(wanted)
    rows = session.exec(query.order_by(col(Video.id).desc()).limit(limit)).all()
    return [_line(video, job) for video, job in rows]


def describe(session: Session, given: str) -> Dossier:
    """Everything of the job with that id, its own or its video's. Raises `InputError` (`not_found`)."""
    job = _find(session, given)
    video = session.get_one(Video, job.video_id)
    holders = {row.target_id: f"{row.host}:{row.pid}" for row in presence.fresh(session)}
    spans = session.exec(select(SpanWork).where(SpanWork.job_id == job.id).order_by(col(SpanWork.index))).all()
    events = session.exec(select(Event).where(Event.video_id == video.id).order_by(col(Event.id))).all()
    segments = select(func.count()).select_from(SegmentRow).where(SegmentRow.job_id == job.id)
    return Dossier(
        job=_line(video, job),
        client_id=video.client_id,
        sha256=video.sha256,
        size_bytes=video.size_bytes,
        original_kept=video.blob is not None,
        legal_hold=video.legal_hold,
        deleted_at=video.deleted_at,
        purged_at=video.purged_at,
        pipeline_version=job.pipeline_version,
        duration_s=job.duration_s,
        deadline_at=job.deadline_at,
        webhook_url=job.webhook_url,
        error_detail=job.error_detail,
        verdict_reason=job.verdict_reason,
        toy_model=job.toy_model,
        attempts=job.attempts,
        lease_until=job.lease_until,
        not_before=job.not_before,
        worker=holders.get(job.id),
        segments=session.exec(segments).one(),
        flags=_counted(session, FlagRow.action, col(FlagRow.job_id) == job.id),
        questions=_counted(session, Question.state, col(Question.video_id) == video.id),
        moments=tuple(_moment(event) for event in events if event.kind.startswith("video.")),
        spans=tuple(_span(span, holders) for span in spans),
        deliveries=_deliveries(session, video.id),
    )


def retry_each(database: Database, ids: Sequence[str]) -> list[Outcome]:
    """Let every job go on where it stopped, each for itself."""
    return [_each(database, given, lambda session, job: control.retry(session, job, actor=ACTOR)) for given in ids]


def cancel_each(database: Database, ids: Sequence[str]) -> list[Outcome]:
    """Call every job off, each for itself."""
    return [_each(database, given, lambda session, job: control.cancel(session, job, actor=ACTOR)) for given in ids]


def _each(database: Database, given: str, do: Callable[[Session, Job], None]) -> Outcome:
    try:
        with database.write() as session:
            job = _find(session, given, lock=True)
            do(session, job)
            return Outcome(given, job.state)
    except VidlmError as exc:
        return Outcome(given, None, exc.code, exc.detail)


def _find(session: Session, given: str, *, lock: bool = False) -> Job:
    query = select(Job).where(Job.id == given if given.startswith("job_") else Job.video_id == given)
    job = session.exec(query.with_for_update() if lock else query).first()
    if job is None:
        raise InputError("there is no such video or job", code="not_found")
    return job


def _line(video: Video, job: Job) -> JobLine:
    return JobLine(
        video_id=video.id,
        job_id=job.id,
        tenant_id=video.tenant_id,
        filename=video.filename,
        state=job.state,
        priority=list(Priority)[job.priority].value,
        created_at=video.created_at,
        finished_at=job.finished_at,
        prepared_share=job.prepared_share,
        spans_done=job.spans_done,
        spans_total=job.spans_total,
        error_code=job.error_code,
        verdict=job.verdict_action,
    )


def _moment(event: Event) -> Moment:
    return Moment(event.kind.removeprefix("video."), event.at, event.document.get("error_code"))


def _span(span: SpanWork, holders: dict[str | None, str]) -> SpanLine:
    return SpanLine(
        span_id=span.id,
        index=span.index,
        first_window=span.first_window,
        last_window=span.last_window,
        state=span.state,
        attempts=span.attempts,
        lease_until=span.lease_until,
        not_before=span.not_before,
        worker=holders.get(span.id),
        error_code=span.error_code,
        error_detail=span.error_detail,
    )


def _counted(session: Session, column: Any, where: ColumnElement[bool]) -> dict[str, int]:
    rows = session.exec(select(column, func.count()).where(where).group_by(column).order_by(column)).all()
    return {str(value): int(count) for value, count in rows}


def _deliveries(session: Session, video_id: str) -> tuple[DeliveryLine, ...]:
    query = select(Delivery, Event.kind).join(Event, col(Event.id) == col(Delivery.event_id))
    rows = session.exec(query.where(Event.video_id == video_id).order_by(col(Delivery.id))).all()
    return tuple(_delivery(session, delivery, kind) for delivery, kind in rows)


def _delivery(session: Session, delivery: Delivery, kind: str) -> DeliveryLine:
    attempts = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery.id)
    last = session.exec(attempts.order_by(col(DeliveryAttempt.number).desc()).limit(1)).first()
    return DeliveryLine(
        delivery_id=delivery.id,
        event=kind,
        url=delivery.url,
        state=delivery.state,
        attempts=last.number if last else 0,
        created_at=delivery.created_at,
        delivered_at=delivery.delivered_at,
        not_before=delivery.not_before,
        last_status=last.status if last else None,
        last_error=last.error if last else None,
    )
