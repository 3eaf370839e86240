"""What the API's own documents look like. Analyses and answers are `vidlm.domain`'s documents, unchanged."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from vidlm.domain import Action, JobState, Priority, WorkState
from vidlm.jobs.progress import Progress, progress_of
from vidlm.moderation.decisions import ReviewState
from vidlm.store.queries import VideoStatus
from vidlm.store.tables import Question


class ErrorOut(BaseModel):
    """Why something ended without a result."""

    code: str
    detail: str


class ProgressOut(BaseModel):
    """How far a job is. Spans are about a minute of video each; there are none before preparing is done."""

    stage: JobState
    spans_done: int
    spans_total: int
    stage_fraction: float = Field(ge=0, le=1, description="How much of this stage is done.")
    fraction: float = Field(ge=0, le=1, description="How much of the whole is done.")
    eta_s: float | None = Field(
        ge=0,
        description="Seconds until it is ready, estimated from jobs before it, its own pace and what waits before it. "
        "Null where nothing is known yet, and where it will not be.",
    )


class VerdictOut(BaseModel):
    action: Action
    reason: str


class VideoLinks(BaseModel):
    self: str
    analysis: str
    content: str
    questions: str


class VideoOut(BaseModel):
    """A video and where its job stands."""

    id: str
    client_id: str | None = Field(description="What its owner calls it.")
    filename: str = Field(description="As the client called it. Opaque: escape it wherever it is shown.")
    sha256: str | None = Field(description="Null until all bytes are here.")
    size_bytes: int
    language: str | None = Field(description="BCP 47, as its owner says.")
    legal_hold: bool = Field(description="True: nothing of it can be deleted.")
    created_at: datetime
    finished_at: datetime | None
    state: JobState
    priority: Priority
    deadline_at: datetime | None = Field(description="When the job expires unless it has ended.")
    error: ErrorOut | None
    progress: ProgressOut
    duration_s: float | None
    verdict: VerdictOut | None
    review: ReviewState = Field(description="What people make of it.")
    toy_model: bool | None = Field(description="True: judged by the embedded toy model, which knows toy clips only.")
    links: VideoLinks


class VideoPage(BaseModel):
    """In the order asked for. `next_cursor` is null on the last page."""

    items: list[VideoOut]
    next_cursor: str | None


class ThumbnailsOut(BaseModel):
    """Number n, from 0, is on screen at `n * interval_s` seconds."""

    interval_s: float
    width: int
    height: int
    count: int


class QuestionIn(BaseModel):
    question: str = Field(description="One question in plain words about what can be seen.")
    conversation_id: str | None = Field(
        default=None,
        max_length=64,
        description='Of an earlier question about this video, which this one follows: it may say "it" of what that '
        "was about. Without one a conversation begins.",
    )


class QuestionOut(BaseModel):
    """A question and, once `ready`, its answer document."""

    id: str
    video_id: str
    conversation_id: str | None = Field(
        description="What the next question names to follow this one; null where it was asked before there were any."
    )
    question: str
    created_at: datetime
    state: Literal["queued", "answering", "ready", "rejected", "failed"]
    error: ErrorOut | None
    answer: dict[str, Any] | None
    toy_model: bool | None


class HealthOut(BaseModel):
    status: Literal["ok", "ready"]


_QUESTION_STATE: Final[dict[WorkState, Literal["queued", "answering", "ready", "rejected", "failed"]]] = {
    WorkState.WAITING: "queued",
    WorkState.RUNNING: "answering",
    WorkState.DONE: "ready",
    WorkState.REJECTED: "rejected",
    WorkState.FAILED: "failed",
}


def video_out(status: VideoStatus, progress: Progress | None = None) -> VideoOut:
    """A status as the API shows it. Without `progress` it says how far the job is, but not how long it may take."""
    here = f"/v1/videos/{status.id}"
    verdict = None
    if status.verdict_action is not None:
        verdict = VerdictOut(action=Action(status.verdict_action), reason=status.verdict_reason or "")
    return VideoOut(
        id=status.id,
        client_id=status.client_id,
        filename=status.filename or "",
        sha256=status.sha256 or None,
        size_bytes=status.size_bytes,
        language=status.language,
        legal_hold=status.legal_hold,
        created_at=status.created_at,
        finished_at=status.finished_at,
        state=status.state,
        priority=list(Priority)[status.priority],
        deadline_at=status.deadline_at,
        error=_error(status.error_code, status.error_detail),
        progress=progress_out(status, progress or progress_of(status)),
        duration_s=None if status.duration_s is None else round(status.duration_s, 3),
        verdict=verdict,
        review=ReviewState(status.review_state),
        toy_model=status.toy_model,
        links=VideoLinks(
            self=here, analysis=f"{here}/analysis", content=f"{here}/content", questions=f"{here}/questions"
        ),
    )


def progress_out(status: VideoStatus, progress: Progress) -> ProgressOut:
    """How far a job is, as the API shows it."""
    return ProgressOut(
        stage=progress.stage,
        spans_done=status.spans_done,
        spans_total=status.spans_total,
        stage_fraction=progress.stage_fraction,
        fraction=progress.fraction,
        eta_s=progress.eta_s,
    )


def question_out(row: Question) -> QuestionOut:
    """A question's row as the API shows it."""
    return QuestionOut(
        id=row.id,
        video_id=row.video_id,
        conversation_id=row.conversation_id,
        question=row.text,
        created_at=row.created_at,
        state=_QUESTION_STATE[WorkState(row.state)],
        error=_error(row.error_code, row.error_detail),
        answer=row.answer,
        toy_model=row.answer["provenance"]["toy_model"] if row.answer else None,
    )


def _error(code: str | None, detail: str | None) -> ErrorOut | None:
    return ErrorOut(code=code, detail=detail or "") if code else None
