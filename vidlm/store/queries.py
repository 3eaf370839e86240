"""What is read from the tables: a video's status, documents, the segments of a job. Pages of videos: `listing`.

Every question that comes from outside names a tenant, and another tenant's rows are simply not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from vidlm.domain import JobState, Segment, WorkState
from vidlm.store.tables import AnalysisRow, FlagRow, Job, Question, SegmentRow, Video


@dataclass(frozen=True, slots=True)
class VideoStatus:
    """A video, and from `state` on where its job stands, by the names of their columns. `filename` is None once the
    video is deleted."""

    id: str
    client_id: str | None
    filename: str | None
    sha256: str
    size_bytes: int
    language: str | None
    legal_hold: bool
    created_at: datetime
    state: JobState
    priority: int
    turn: int
    not_before: datetime | None
    deadline_at: datetime | None
    error_code: str | None
    error_detail: str | None
    duration_s: float | None
    prepared_share: float
    spans_total: int
    spans_done: int
    verdict_action: str | None
    verdict_reason: str | None
    toy_model: bool | None
    review_state: str
    started_at: datetime | None
    prepared_at: datetime | None
    analyzed_at: datetime | None
    finished_at: datetime | None


_NAMES: Final = [field.name for field in fields(VideoStatus)]
_STATE: Final = _NAMES.index("state")
_COLUMNS: Final = [getattr(Video if place < _STATE else Job, name) for place, name in enumerate(_NAMES)]
STATUSES: Final[Select[Any]] = (  # made once: making a statement takes longer than answering it
    select(*_COLUMNS)
    .join(Job, col(Job.video_id) == col(Video.id))
    .where(col(Video.tenant_id) == bindparam("tenant_id"))
)
"""Finds the rows that `status_of` reads: the videos of the tenant `tenant_id`, a parameter, with their jobs."""
_STATUS: Final = STATUSES.where(col(Video.id) == bindparam("video_id"))


def status_of(row: Any) -> VideoStatus:
    """A row that `STATUSES` found."""
    values = list(row)
    values[_STATE] = JobState(values[_STATE])
    return VideoStatus(*values)


def video_status(session: Session, tenant_id: str, video_id: str) -> VideoStatus | None:
    """The status of one of the tenant's videos; deleted ones have one too."""
    row = session.execute(_STATUS, {"tenant_id": tenant_id, "video_id": video_id}).first()
    return status_of(row) if row else None


def find_video(session: Session, tenant_id: str, video_id: str, *, lock: bool = False) -> Video | None:
    """One of the tenant's videos, deleted ones included; with `lock`, nobody else changes it meanwhile."""
    query = select(Video).where(Video.id == video_id, Video.tenant_id == tenant_id)
    return session.exec(query.with_for_update() if lock else query).first()


def find_document(session: Session, tenant_id: str, video_id: str) -> dict[str, Any] | None:
    """The finished analysis document of a video, if there is one."""
    query = select(AnalysisRow.document).join(Job, col(Job.id) == col(AnalysisRow.job_id))
    found = session.exec(query.where(Job.video_id == video_id, AnalysisRow.tenant_id == tenant_id)).first()
    return dict(found) if found is not None else None


def find_prepared(session: Session, tenant_id: str, video_id: str) -> tuple[str, dict[str, Any]] | None:
    """A prepared video's work folder and the document that says what is in it, as soon as there is one."""
    query = select(Job).join(Video, col(Video.id) == col(Job.video_id))
    job = session.exec(query.where(Job.video_id == video_id, Video.tenant_id == tenant_id)).first()
    if job is None or job.work_folder is None or job.prepared is None:
        return None
    return job.work_folder, job.prepared


def find_question(session: Session, tenant_id: str, question_id: str) -> Question | None:
    """One of the tenant's questions."""
    return session.exec(select(Question).where(Question.id == question_id, Question.tenant_id == tenant_id)).first()


def questions_of(session: Session, tenant_id: str, video_id: str, most: int) -> Sequence[Question]:
    """The last `most` questions about one of the tenant's videos, newest first."""
    query = select(Question).where(Question.video_id == video_id, Question.tenant_id == tenant_id)
    return session.exec(query.order_by(col(Question.created_at).desc(), col(Question.id).desc()).limit(most)).all()


def find_conversation(
    session: Session, tenant_id: str, video_id: str, conversation_id: str
) -> list[tuple[str, WorkState]]:
    """(id, state) of every question of a conversation about one of the tenant's videos, oldest first; or nothing."""
    query = select(Question.id, Question.state).where(
        Question.conversation_id == conversation_id, Question.video_id == video_id, Question.tenant_id == tenant_id
    )
    rows = session.exec(query.order_by(col(Question.created_at), col(Question.id))).all()
    return [(question_id, WorkState(state)) for question_id, state in rows]


def turns_before(session: Session, question: Question, most: int) -> list[tuple[str, str]]:
    """(question, answer) of the last `most` turns of a question's conversation that found something, oldest first.

    A conversation's next question is taken only when all its others have ended, so what is done came before.
    """
    if question.conversation_id is None:
        return []
    found = (
        Question.conversation_id == question.conversation_id,
        Question.video_id == question.video_id,
        Question.state == WorkState.DONE.value,
        col(Question.answer)["abstained"].as_boolean().is_(False),
    )
    newest_first = (col(Question.created_at).desc(), col(Question.id).desc())
    rows = session.exec(select(Question.answer).where(*found).order_by(*newest_first).limit(most)).all()
    return [(answer["question"], answer["text"]) for answer in reversed(rows) if answer is not None]


def job_of(session: Session, video_id: str, *, lock: bool = False) -> Job:
    """The job of a video that exists; with `lock`, nobody else changes it before the transaction ends."""
    query = select(Job).where(Job.video_id == video_id)
    return session.exec(query.with_for_update() if lock else query).one()


def flags_of(session: Session, job_id: str) -> Sequence[FlagRow]:
    """What was flagged in a job's video, in order of time."""
    ordered = (col(FlagRow.start_s), col(FlagRow.policy_id))
    return session.exec(select(FlagRow).where(FlagRow.job_id == job_id).order_by(*ordered)).all()


def segments_of(session: Session, job_id: str) -> list[Segment]:
    """The segments a job has so far, in order."""
    rows = session.exec(select(SegmentRow).where(SegmentRow.job_id == job_id).order_by(col(SegmentRow.index))).all()
    return [
        Segment(
            index=row.index,
            start_s=row.start_s,
            end_s=row.end_s,
            frame_times_s=tuple(row.frame_times_s),
            caption=row.caption,
            scores=dict(row.scores),
        )
        for row in rows
    ]
