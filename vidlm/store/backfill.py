"""The tables of scoring a whole library under one more policy, from what the model saw before.

    backfill -< backfill_work           a video each, planned a page at a time
             -< backfilled_score >- segment

A segment's own `scores` are what its analysis found and stay so; what was asked later stands beside them, each score
with the question, the model and the backfill it came of.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from vidlm.domain import WorkState
from vidlm.moderation.additions import BackfillState
from vidlm.store.columns import UtcDateTime, new_id, utc_now
from vidlm.store.tables import Claimable, one_of

_RUNNING = text("state = 'running'")


class Backfill(SQLModel, table=True):
    """A policy under which a tenant's videos are scored. Counts are of videos; they move in the transactions that end
    the units. While `planned_all` is unset, more units follow those up to the video `planned_after`."""

    __tablename__: ClassVar[Any] = "backfill"
    __table_args__ = (
        one_of("state", BackfillState),
        CheckConstraint("(state = 'running') = (ended_at IS NULL)", name="ended_when"),
        Index(None, "tenant_id", "id"),
        Index(
            "uq_backfill_running",
            "tenant_id",
            "policy_id",
            "question_version",
            unique=True,
            sqlite_where=_RUNNING,
            postgresql_where=_RUNNING,
        ),
    )

    id: str = Field(default_factory=lambda: new_id("bfl"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    policy_id: str
    question_version: str  # of what the model is asked (`vidlm.policy.backfills.question_version`)
    policy: dict[str, Any] = Field(sa_type=JSON)  # as in a policies' file
    policy_set_id: str | None = None  # the tenant's; None: the service's own policies
    filters: dict[str, Any] = Field(sa_type=JSON)  # which videos (`vidlm.jobs.backfills.filters_of`)
    apply: bool = False  # also make flags, and verdicts stronger
    state: str = BackfillState.RUNNING.value
    planned_after: str | None = None
    planned_all: bool = False
    videos_total: int = 0  # an estimate until all are planned
    videos_planned: int = 0
    videos_done: int = 0
    videos_need_decode: int = 0  # of some or all of them no tokens are kept
    videos_failed: int = 0
    videos_gone: int = 0  # deleted meanwhile
    videos_flagged: int = 0
    seconds_total: float = 0.0
    scored_s: float = 0.0
    needs_decode_s: float = 0.0
    flags_added: int = 0
    verdicts_raised: int = 0
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str  # an API key's id
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancelled_by: str | None = None


class BackfillWork(Claimable, table=True):
    """One video of a backfill: scored from window `next_window` on, some minutes of it at a time."""

    __tablename__: ClassVar[Any] = "backfill_work"
    __table_args__ = (
        UniqueConstraint("backfill_id", "video_id"),
        one_of("state", WorkState),
        CheckConstraint("next_window >= 0", name="window_not_negative"),
        Index(None, "state", "lease_until"),
        Index(None, "state", "priority", "turn"),
        Index(None, "tenant_id", "state", "priority", "turn"),
        Index(None, "video_id", "state"),
    )

    id: str = Field(default_factory=lambda: new_id("bfw"), primary_key=True)
    backfill_id: str = Field(foreign_key="backfill.id")
    video_id: str = Field(foreign_key="video.id")
    next_window: int = 0
    needs_decode_s: float = 0.0
    state: str = WorkState.WAITING.value


class BackfilledScore(SQLModel, table=True):
    """P(Yes) of a segment to a policy's question that was asked after its analysis; the newest answer to it."""

    __tablename__: ClassVar[Any] = "backfilled_score"
    __table_args__ = (
        CheckConstraint("0 <= score AND score <= 1", name="score_is_probability"),
        Index(None, "job_id", "policy_id"),
    )

    segment_id: str = Field(foreign_key="segment.id", primary_key=True)
    policy_id: str = Field(primary_key=True)
    question_version: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    job_id: str = Field(foreign_key="job.id")
    backfill_id: str = Field(foreign_key="backfill.id")
    model_revision: str
    score: float
