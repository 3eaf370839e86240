"""The tables. SQLModel does not validate on assignment, so whatever must never be wrong is a constraint here.

    tenant -< api_key
           -< video -- job -< span -< segment        one job a video and pipeline version
                           -- analysis               the finished document, once
                           -< flag
                    -< question
    outbox   wake-ups that are owed: one row for every job, span and question that still wants a worker
    audit    what was accepted and deleted; only ever appended to

Every row belongs to a tenant. `Claimable` rows are worked on by whoever holds the lease and the newest token
(`vidlm.jobs.claims`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from vidlm.domain import Action, JobState, Severity, WorkState
from vidlm.store.columns import CleanText, UtcDateTime, new_id, utc_now

DEFAULT_TENANT = "ten_default"

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Tenant(SQLModel, table=True):
    """Who owns rows. There is one, `DEFAULT_TENANT`, until somebody makes more."""

    __tablename__: ClassVar[Any] = "tenant"

    id: str = Field(primary_key=True)
    name: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A key's SHA-256; the key itself is shown once, when it is made, and kept nowhere."""

    __tablename__: ClassVar[Any] = "api_key"

    id: str = Field(default_factory=lambda: new_id("key"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    name: str
    key_sha256: str = Field(unique=True)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Video(SQLModel, table=True):
    """An uploaded file. After deletion the row stays as a tombstone: no name, no bytes, `deleted_at` set."""

    __tablename__: ClassVar[Any] = "video"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
        CheckConstraint("(deleted_at IS NULL) = (blob IS NOT NULL)", name="blob_until_deleted"),
        Index(None, "tenant_id", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("vid"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    filename: str | None = Field(default=None, sa_type=CleanText)  # opaque; no path is ever made of it
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)
    blob: str | None = None
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    purged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # the sweeper saw that no file is left


class Claimable(SQLModel):
    """What a row needs so that one worker at a time, and after a crash another one, can work on it."""

    id: str
    tenant_id: str = Field(foreign_key="tenant.id")
    state: str
    token: int = 0  # grows with every claim; a write that carries an older one is dropped
    attempts: int = 0
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error_code: str | None = None
    error_detail: str | None = Field(default=None, sa_type=CleanText)


class Job(Claimable, table=True):
    """The work on one video. Its own claim covers preparing and finishing; the spans between have theirs."""

    __tablename__: ClassVar[Any] = "job"
    __table_args__ = (
        UniqueConstraint("video_id", "pipeline_version"),
        _one_of("state", JobState),
        _one_of("verdict_action", Action),
        CheckConstraint("spans_done >= 0 AND spans_done <= spans_total", name="spans_counted"),
        CheckConstraint("state NOT IN ('rejected', 'failed') OR error_code IS NOT NULL", name="end_explained"),
        Index(None, "state", "lease_until"),
    )

    id: str = Field(default_factory=lambda: new_id("job"), primary_key=True)
    video_id: str = Field(foreign_key="video.id")
    pipeline_version: str
    state: str = JobState.QUEUED.value
    work_folder: str | None = None  # below the data folder; holds proxy and poster
    prepared: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    prepared_share: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    duration_s: float | None = None
    spans_total: int = 0
    spans_done: int = 0
    verdict_action: str | None = None
    verdict_reason: str | None = Field(default=None, sa_type=CleanText)
    toy_model: bool | None = None
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SpanWork(Claimable, table=True):
    """A run `[first_window, last_window)` of a job's windows, about a minute of video: one GPU task."""

    __tablename__: ClassVar[Any] = "span"
    __table_args__ = (
        UniqueConstraint("job_id", "index"),
        _one_of("state", WorkState),
        CheckConstraint("first_window >= 0 AND first_window < last_window", name="windows_ordered"),
        Index(None, "state", "lease_until"),
    )

    id: str = Field(default_factory=lambda: new_id("spn"), primary_key=True)
    job_id: str = Field(foreign_key="job.id")
    index: int
    first_window: int
    last_window: int
    state: str = WorkState.WAITING.value


class SegmentRow(SQLModel, table=True):
    """A `vidlm.domain.Segment`, written as soon as its span is analysed."""

    __tablename__: ClassVar[Any] = "segment"
    __table_args__ = (
        UniqueConstraint("job_id", "index"),
        CheckConstraint("0 <= start_s AND start_s <= end_s", name="interval"),
    )

    id: str = Field(default_factory=lambda: new_id("seg"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    job_id: str = Field(foreign_key="job.id")
    span_id: str = Field(foreign_key="span.id", index=True)
    index: int
    start_s: float
    end_s: float
    frame_times_s: list[float] = Field(sa_type=JSON)
    caption: str = Field(sa_type=CleanText)
    scores: dict[str, float] = Field(sa_type=JSON)


class FlagRow(SQLModel, table=True):
    """A `vidlm.domain.Flag` of a finished job, to be searched by policy."""

    __tablename__: ClassVar[Any] = "flag"
    __table_args__ = (
        UniqueConstraint("job_id", "policy_id", "start_s"),
        CheckConstraint("0 <= start_s AND start_s <= end_s", name="interval"),
        CheckConstraint("0 <= score AND score <= 1", name="score_is_probability"),
        _one_of("severity", Severity),
        _one_of("action", Action),
        Index(None, "tenant_id", "policy_id"),
    )

    id: str = Field(default_factory=lambda: new_id("flg"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    job_id: str = Field(foreign_key="job.id")
    policy_id: str
    start_s: float
    end_s: float
    score: float
    severity: str
    action: str


class AnalysisRow(SQLModel, table=True):
    """The finished document, as `domain.to_document` gave it. The primary key makes a second result impossible."""

    __tablename__: ClassVar[Any] = "analysis"

    job_id: str = Field(foreign_key="job.id", primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    document: dict[str, Any] = Field(sa_type=JSON)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Question(Claimable, table=True):
    """A question about a ready video and, once `done`, its answer document. Those of one conversation share its id."""

    __tablename__: ClassVar[Any] = "question"
    __table_args__ = (
        _one_of("state", WorkState),
        CheckConstraint("(state = 'done') = (answer IS NOT NULL)", name="done_has_answer"),
        CheckConstraint("state NOT IN ('rejected', 'failed') OR error_code IS NOT NULL", name="end_explained"),
        Index(None, "state", "lease_until"),
    )

    id: str = Field(default_factory=lambda: new_id("qst"), primary_key=True)
    video_id: str = Field(foreign_key="video.id", index=True)
    conversation_id: str | None = Field(default=None, index=True)  # None: older than conversations
    text: str = Field(sa_type=CleanText)
    state: str = WorkState.WAITING.value
    answer: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Outbox(SQLModel, table=True):
    """A wake-up owed to one unit of work, from its birth to its end: to be sent at `due_at` while `sent_at` is unset.

    While a worker holds the unit, `due_at` lies just after its lease: a worker that dies is replaced by this very row.
    """

    __tablename__: ClassVar[Any] = "outbox"
    __table_args__ = (UniqueConstraint("task", "target_id"), Index(None, "sent_at", "due_at"))

    id: str = Field(default_factory=lambda: new_id("out"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    task: str
    target_id: str
    due_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Audit(SQLModel, table=True):
    """Who did what, when. Rows are only ever added."""

    __tablename__: ClassVar[Any] = "audit"

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    actor: str  # an API key's id
    event: str  # "video.accepted", "video.deleted"
    target_id: str
