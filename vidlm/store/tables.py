"""The tables of videos and what is made of them. SQLModel does not validate on assignment, so whatever must never be
wrong is a constraint here.

    tenant -< api_key
           -< video -- job -< span -< segment        one job a video and pipeline version
                           -- analysis               the finished document, once
                           -< flag
                           -< second_look            scores that were looked at again
                    -< question

Every row belongs to a tenant. `Claimable` rows are worked on by whoever holds the lease and the newest token
(`vidlm.jobs.claims`). What is owed, was said and has happened stands in `vidlm.store.ledger`, webhooks in
`vidlm.store.hooks`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from vidlm.domain import Action, Flag, JobState, LookOutcome, Priority, Role, Severity, WorkState
from vidlm.moderation.decisions import ReviewState
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
_UNFILED = text("state = 'ready' AND review_state = 'none' AND verdict_action <> 'allow'")
_UNWORDED = text("state = 'ready' AND NOT worded")
_KEPT, _GONE = text("deleted_at IS NULL"), text("deleted_at IS NOT NULL")


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The column holds one of the enum's values, or NULL."""
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Tenant(SQLModel, table=True):
    """Who owns rows. There is one, `DEFAULT_TENANT`, until somebody makes more."""

    __tablename__: ClassVar[Any] = "tenant"

    id: str = Field(primary_key=True)
    name: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    webhook_secret: str | None = None  # signs what goes to addresses that a single job named; made when first needed


class ApiKey(SQLModel, table=True):
    """A key's SHA-256; the key itself is shown once, when it is made, and kept nowhere. Keys are revoked, not removed:
    what was done with them names them."""

    __tablename__: ClassVar[Any] = "api_key"
    __table_args__ = (one_of("role", Role),)

    id: str = Field(default_factory=lambda: new_id("key"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    name: str
    key_sha256: str = Field(unique=True)
    role: str = Field(default=Role.ADMIN.value, sa_column_kwargs={"server_default": Role.ADMIN.value})
    # may see videos with flags of `child_safety` in review
    restricted: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # to the hour (`vidlm.store.keys.USED_EVERY`)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # since then it opens nothing


class Video(SQLModel, table=True):
    """A file, from the first byte to the last. After deletion the row stays as a tombstone: no name, no bytes.

    `blob` is where its bytes lie; unset while they arrive, and once they were removed. Videos of one tenant that hold
    the same bytes share them. `sha256` is empty until all have arrived.
    """

    __tablename__: ClassVar[Any] = "video"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
        CheckConstraint("blob IS NULL OR sha256 <> ''", name="blob_has_digest"),
        CheckConstraint("purged_at IS NULL OR (deleted_at IS NOT NULL AND blob IS NULL)", name="purged_holds_nothing"),
        CheckConstraint("NOT legal_hold OR deleted_at IS NULL", name="hold_keeps"),
        Index(None, "deleted_at", sqlite_where=_GONE, postgresql_where=_GONE),
        Index("ix_video_tenant_id_id_kept", "tenant_id", "id", sqlite_where=_KEPT, postgresql_where=_KEPT),
        Index(None, "tenant_id", "client_id", "id"),
        Index(None, "tenant_id", "sha256", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("vid"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    client_id: str | None = Field(default=None, sa_type=CleanText)  # what its owner calls it; opaque, not unique
    filename: str | None = Field(default=None, sa_type=CleanText)  # opaque; no path is ever made of it
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)  # while it is uploaded, what it will be
    blob: str | None = Field(default=None, index=True)
    language: str | None = None  # BCP 47, as its owner says; who reviews it may depend on it
    legal_hold: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    purged_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # the sweeper saw that no file is left


class Claimable(SQLModel):
    """What a row needs so that one worker at a time, and after a crash another one, can work on it."""

    id: str
    tenant_id: str = Field(foreign_key="tenant.id")
    state: str
    priority: int = Field(default=Priority.NORMAL.rank, sa_column_kwargs={"server_default": "2"})  # 0 is most urgent
    turn: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})  # `vidlm.jobs.turns`
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
        one_of("state", JobState),
        one_of("verdict_action", Action),
        one_of("review_state", ReviewState),
        CheckConstraint("spans_done >= 0 AND spans_done <= spans_total", name="spans_counted"),
        CheckConstraint("state NOT IN ('rejected', 'failed') OR error_code IS NOT NULL", name="end_explained"),
        Index(None, "state", "lease_until"),
        Index(None, "state", "priority", "turn"),
        Index(None, "tenant_id", "state", "priority", "turn"),
        Index(None, "tenant_id", "state", "video_id"),
        Index(None, "tenant_id", "verdict_action", "video_id"),
        Index(None, "tenant_id", "review_state", "video_id"),
        Index(None, "tenant_id", "priority", "video_id"),
        Index("ix_job_unfiled", "state", "review_state", "id", sqlite_where=_UNFILED, postgresql_where=_UNFILED),
        Index("ix_job_unworded", "id", sqlite_where=_UNWORDED, postgresql_where=_UNWORDED),
        Index(None, "deadline_at"),
        Index(None, "finished_at"),
    )

    id: str = Field(default_factory=lambda: new_id("job"), primary_key=True)
    video_id: str = Field(foreign_key="video.id")
    pipeline_version: str
    state: str = JobState.QUEUED.value
    recipe: str | None = None  # all that decides what comes of the bytes (`vidlm.provenance.recipe`)
    policy_set_id: str | None = None  # the tenant's, pinned when it was prepared; None: the service's own policies
    work_folder: str | None = None  # below the data folder; holds proxy and poster
    prepared: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    prepared_share: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    duration_s: float | None = None
    spans_total: int = 0
    spans_done: int = 0
    verdict_action: str | None = None
    verdict_reason: str | None = Field(default=None, sa_type=CleanText)
    toy_model: bool | None = None
    # what people make of it (`vidlm.store.review`)
    review_state: str = Field(default=ReviewState.NONE.value, sa_column_kwargs={"server_default": "none"})
    # its words are in `vidlm.store.words`
    worded: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    webhook_url: str | None = None  # told of this job's end, beside the registered endpoints
    deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    prepared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    analyzed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SpanWork(Claimable, table=True):
    """A run `[first_window, last_window)` of a job's windows, about a minute of video: one GPU task."""

    __tablename__: ClassVar[Any] = "span"
    __table_args__ = (
        UniqueConstraint("job_id", "index"),
        one_of("state", WorkState),
        CheckConstraint("first_window >= 0 AND first_window < last_window", name="windows_ordered"),
        Index(None, "state", "lease_until"),
        Index(None, "state", "priority", "turn"),
        Index(None, "tenant_id", "state", "priority", "turn"),
    )

    id: str = Field(default_factory=lambda: new_id("spn"), primary_key=True)
    job_id: str = Field(foreign_key="job.id")
    index: int
    first_window: int
    last_window: int
    state: str = WorkState.WAITING.value
    # of a span that is done, when it was: nothing changes in it any more
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime, sa_column_kwargs={"onupdate": utc_now})


class SegmentRow(SQLModel, table=True):
    """A `vidlm.domain.Segment`, written as soon as its span is analysed; scores that a second look changed are replaced
    when the job is finished, and stand as they were in `second_look`."""

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
        one_of("severity", Severity),
        one_of("action", Action),
        one_of("second_look", LookOutcome),
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
    second_look: str | None = None
    backfill_id: str | None = None  # the backfill that made it or made it stronger; None: the analysis

    @classmethod
    def of(cls, job: Job, flag: Flag) -> FlagRow:
        """The row of a flag in the job's video, not added yet."""
        return cls(
            tenant_id=job.tenant_id,
            job_id=job.id,
            policy_id=flag.policy_id,
            start_s=flag.start_s,
            end_s=flag.end_s,
            score=flag.score,
            severity=flag.severity.value,
            action=flag.action.value,
            second_look=flag.second_look.value if flag.second_look else None,
        )


class SecondLookRow(SQLModel, table=True):
    """A `vidlm.domain.SecondLook` of a finished job."""

    __tablename__: ClassVar[Any] = "second_look"
    __table_args__ = (
        UniqueConstraint("job_id", "segment", "policy_id"),
        CheckConstraint("0 <= start_s AND start_s <= end_s", name="interval"),
        CheckConstraint("(outcome = 'unverified') = (second_score IS NULL)", name="seen_is_scored"),
        one_of("outcome", LookOutcome),
        Index(None, "tenant_id", "policy_id", "outcome"),
    )

    id: str = Field(default_factory=lambda: new_id("slk"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    job_id: str = Field(foreign_key="job.id")
    policy_id: str
    segment: int
    start_s: float
    end_s: float
    first_score: float
    outcome: str
    second_score: float | None = None
    peak_score: float | None = None
    peak_start_s: float | None = None
    peak_end_s: float | None = None
    reason: str = ""


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
        one_of("state", WorkState),
        CheckConstraint("(state = 'done') = (answer IS NOT NULL)", name="done_has_answer"),
        CheckConstraint("state NOT IN ('rejected', 'failed') OR error_code IS NOT NULL", name="end_explained"),
        Index(None, "state", "lease_until"),
        Index(None, "state", "priority", "turn"),
        Index(None, "tenant_id", "state", "priority", "turn"),
    )

    id: str = Field(default_factory=lambda: new_id("qst"), primary_key=True)
    video_id: str = Field(foreign_key="video.id", index=True)
    conversation_id: str | None = Field(default=None, index=True)  # None: older than conversations
    text: str = Field(sa_type=CleanText)
    state: str = WorkState.WAITING.value
    answer: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
