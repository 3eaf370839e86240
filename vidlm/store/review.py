"""The tables of review: what waits for people, where, what they decided, and what they looked at.

review_queue -< review_item -< review_decision -< flag_decision
                     |  '-- parent: the item whose decision asked for this one
                golden_answer          a video whose decision is known, shown as any other
review_settings                        one row a tenant; none: the defaults

A decision is a row that stays. Undone, it says so and counts no more; the audit keeps both.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from vidlm.domain import Role, Severity
from vidlm.moderation.decisions import FlagVerdict, ItemState, Occasion, Outcome, RejectReason
from vidlm.store.columns import CleanText, UtcDateTime, new_id, utc_now
from vidlm.store.tables import one_of

_COUNTS = text("undone_at IS NULL")


class ReviewQueue(SQLModel, table=True):
    """A line of items. The first queue, by `position`, whose rule a video meets takes it."""

    __tablename__: ClassVar[Any] = "review_queue"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        one_of("needs_role", Role),
        CheckConstraint("opinions IN (1, 2)", name="opinions_one_or_two"),
    )

    id: str = Field(default_factory=lambda: new_id("rvq"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    name: str  # a short word for addresses and filters
    title: str = Field(sa_type=CleanText)
    position: int
    rule: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))  # None: nothing comes by a rule
    needs_role: str = Role.REVIEWER.value
    restricted: bool = False  # only for those who may see `child_safety`
    opinions: int = 1  # people who have to agree before it counts
    built_in: bool = False  # cannot be removed: without it something would go nowhere
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ReviewItem(SQLModel, table=True):
    """A video that somebody is asked to look at, on one occasion. Taken in order of `rank`, then of age."""

    __tablename__: ClassVar[Any] = "review_item"
    __table_args__ = (
        one_of("state", ItemState),
        one_of("occasion", Occasion),
        one_of("severity", Severity),
        CheckConstraint(
            "state <> 'claimed' OR (claimed_by IS NOT NULL AND claimed_until IS NOT NULL)", name="claimant"
        ),
        CheckConstraint("0 < inclusion AND inclusion <= 1", name="inclusion_is_probability"),
        CheckConstraint("(occasion = 'golden') = (golden_id IS NOT NULL)", name="golden_known"),
        Index(None, "queue_id", "state", "rank", "id"),
        Index(None, "tenant_id", "state", "rank", "id"),
        # all that counting what waits needs (`./run bench desk`)
        Index(
            "ix_review_item_counts",
            "tenant_id",
            "queue_id",
            "state",
            "severity",
            "occasion",
            "restricted",
            "created_at",
        ),
        Index(None, "video_id"),
        Index(None, "claimed_by", "state"),
        # one open item a video; golden ones come and go beside it
        Index(
            "uq_review_item_open",
            "video_id",
            unique=True,
            sqlite_where=text("state IN ('waiting', 'claimed') AND occasion <> 'golden'"),
            postgresql_where=text("state IN ('waiting', 'claimed') AND occasion <> 'golden'"),
        ),
    )

    id: str = Field(default_factory=lambda: new_id("rvi"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    queue_id: str = Field(foreign_key="review_queue.id")
    video_id: str = Field(foreign_key="video.id")
    job_id: str = Field(foreign_key="job.id")
    occasion: str
    state: str = ItemState.WAITING.value
    severity: str  # of the worst that was flagged
    score: float  # of the surest flag of that severity
    rank: int  # the least is the most urgent (`vidlm.review.items.rank_of`)
    restricted: bool = False
    inclusion: float = 1.0  # how probable it was to be looked at at all; what estimates weigh its decisions with
    parent_id: str | None = Field(default=None, foreign_key="review_item.id", index=True)
    golden_id: str | None = Field(default=None, foreign_key="golden_answer.id", index=True)
    token: int = 0  # grows with every claim; a decision that carries an older one is refused
    claimed_by: str | None = None
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    claimed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ReviewDecision(SQLModel, table=True):
    """What somebody decided about a video, and all it rested on."""

    __tablename__: ClassVar[Any] = "review_decision"
    __table_args__ = (
        one_of("outcome", Outcome),
        one_of("occasion", Occasion),
        CheckConstraint("watched_s >= 0", name="watched_not_negative"),
        CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone_by_somebody"),
        Index("uq_review_decision_item", "item_id", unique=True, sqlite_where=_COUNTS, postgresql_where=_COUNTS),
        Index(None, "tenant_id", "id"),
        Index(None, "tenant_id", "actor", "id"),
        Index(None, "video_id", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("dec"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    item_id: str = Field(foreign_key="review_item.id")
    video_id: str = Field(foreign_key="video.id")
    job_id: str = Field(foreign_key="job.id")
    actor: str
    occasion: str
    outcome: str
    state_before: str  # of the video (`ReviewState`), to go back to
    note: str = Field(default="", sa_type=CleanText)
    watched_s: float
    severity: str  # of the worst that was looked at
    restricted: bool = False  # never exported, never learned from
    inclusion: float = 1.0
    pinned: dict[str, Any] = Field(sa_type=JSON)  # model, prompt, policy set, sampling (`domain.Provenance`), verdict
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    undone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    undone_by: str | None = None


class FlagDecision(SQLModel, table=True):
    """What a decision says about one flag, or about something that was not flagged (`verdict` "missed")."""

    __tablename__: ClassVar[Any] = "flag_decision"
    __table_args__ = (
        CheckConstraint(
            f"verdict IN ({', '.join(repr(one.value) for one in FlagVerdict)}, 'missed')", name="verdict_known"
        ),
        one_of("reason", RejectReason),
        one_of("severity", Severity),
        CheckConstraint("0 <= start_s AND start_s <= end_s", name="interval"),
        CheckConstraint("score IS NULL OR (0 <= score AND score <= 1)", name="score_is_probability"),
        Index(None, "tenant_id", "policy_id", "id"),
        Index(None, "decision_id"),
    )

    id: str = Field(default_factory=lambda: new_id("fdc"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    decision_id: str = Field(foreign_key="review_decision.id")
    flag_id: str | None = None  # None: nobody had flagged it
    policy_id: str
    start_s: float
    end_s: float
    score: float | None = None  # the flag's; of what was missed, the policy's highest in the video
    severity: str
    review_threshold: float | None = None  # of the policy as it was then
    verdict: str
    reason: str | None = None
    evidence_s: list[float] = Field(default_factory=list, sa_type=JSON)  # the frames that the flag rested on
    right_policy_id: str | None = None
    right_start_s: float | None = None
    right_end_s: float | None = None


class GoldenAnswer(SQLModel, table=True):
    """What is right about a video, by a lead's word: a reviewer who gets it without knowing is measured by it."""

    __tablename__: ClassVar[Any] = "golden_answer"
    __table_args__ = (
        one_of("outcome", Outcome),
        Index(
            "uq_golden_answer_video",
            "video_id",
            unique=True,
            sqlite_where=text("retired_at IS NULL"),
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: str = Field(default_factory=lambda: new_id("gld"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    video_id: str = Field(foreign_key="video.id")
    job_id: str = Field(foreign_key="job.id")
    outcome: str
    violated: list[str] = Field(sa_type=JSON)  # the flags that are right; all others are wrong
    note: str = Field(default="", sa_type=CleanText)
    restricted: bool = False
    created_by: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Appeal(SQLModel, table=True):
    """Somebody says that a decision was wrong. `item_id`: the look that it led to."""

    __tablename__: ClassVar[Any] = "appeal"
    __table_args__ = (Index(None, "tenant_id", "id"), Index(None, "video_id", "id"))

    id: str = Field(default_factory=lambda: new_id("apl"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    video_id: str = Field(foreign_key="video.id")
    decision_id: str | None = Field(default=None, foreign_key="review_decision.id")  # None: one about another copy
    item_id: str = Field(foreign_key="review_item.id", unique=True)
    note: str = Field(default="", sa_type=CleanText)
    created_by: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class ReviewSettings(SQLModel, table=True):
    """How a tenant reviews; set by its leads."""

    __tablename__: ClassVar[Any] = "review_settings"
    __table_args__ = (
        CheckConstraint("10 <= lock_s AND lock_s <= 86400", name="lock_in_reason"),
        CheckConstraint("0 <= undo_s AND undo_s <= 86400", name="undo_in_reason"),
        CheckConstraint("0 <= golden_share AND golden_share <= 0.5", name="golden_is_share"),
        CheckConstraint("0 <= doubled_share AND doubled_share <= 1", name="doubled_is_share"),
    )

    tenant_id: str = Field(foreign_key="tenant.id", primary_key=True)
    lock_s: float = 600.0  # without a sign of life an item is anybody's again
    undo_s: float = 300.0
    golden_share: float = 0.0  # of what reviewers get
    doubled_share: float = 0.0  # of decisions that somebody else makes as well, for quality
    weighted_minutes: float = 120.0  # `vidlm.moderation.exposure.Budget`
    stretch_minutes: float = 50.0
    severe_in_a_row: int = 5
    appeals_most: int = 3  # of one video


class ReviewLook(SQLModel, table=True):
    """That somebody looked at a video for so long: what exposure is reckoned from."""

    __tablename__: ClassVar[Any] = "review_look"
    __table_args__ = (
        one_of("severity", Severity),
        CheckConstraint("seconds >= 0", name="seconds_not_negative"),
        Index(None, "tenant_id", "actor", "at"),
    )

    id: str = Field(default_factory=lambda: new_id("lok"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    actor: str
    item_id: str = Field(foreign_key="review_item.id")
    seconds: float
    severity: str
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
