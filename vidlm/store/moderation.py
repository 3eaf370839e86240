"""The tables of moderation: which policies were in force, when, and by whose decision.

policy_set            a tenant's policies as they were, are, or may become; one set at a time is active
threshold_proposal    a threshold that decisions suggest, with its promise; a lead accepts or declines it
day_tally             what deleted videos came to, by the day their jobs ended: numbers for reports, and nothing else
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from vidlm.moderation.proposals import Goal, ProposalState
from vidlm.moderation.revisions import SetState
from vidlm.store.columns import CleanText, UtcDateTime, new_id, utc_now
from vidlm.store.tables import one_of

_ACTIVE = text("state = 'active'")
_PROPOSED = text("state = 'proposed'")


class PolicySetRow(SQLModel, table=True):
    """A set of policies. What is not a draft is never changed again: results name it."""

    __tablename__: ClassVar[Any] = "policy_set"
    __table_args__ = (
        one_of("state", SetState),
        UniqueConstraint("tenant_id", "number"),
        CheckConstraint("state <> 'active' OR activated_at IS NOT NULL", name="active_since"),
        Index("uq_policy_set_active", "tenant_id", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    )

    id: str = Field(default_factory=lambda: new_id("pst"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    number: int  # 1, 2, 3, ... for people
    name: str = Field(sa_type=CleanText)
    state: str = SetState.DRAFT.value
    version: str  # of what is enabled in it (`vidlm.moderation.policies.PolicySet`)
    policies: list[dict[str, Any]] = Field(sa_type=JSON)  # as in a policies' file
    based_on: str | None = Field(default=None, foreign_key="policy_set.id")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str  # whoever did it: an API key's id
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    changed_by: str | None = None
    activated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    activated_by: str | None = None
    reason: str | None = Field(default=None, sa_type=CleanText)  # why it was activated
    retired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retired_by: str | None = None


class ThresholdProposal(SQLModel, table=True):
    """A review threshold for one policy, and all that speaks for it. Nothing follows from it before it is accepted."""

    __tablename__: ClassVar[Any] = "threshold_proposal"
    __table_args__ = (
        one_of("state", ProposalState),
        one_of("goal", Goal),
        CheckConstraint("0 < threshold AND threshold <= 1", name="threshold_is_probability"),
        CheckConstraint("(state = 'accepted') = (policy_set_id IS NOT NULL)", name="accepted_is_in_force"),
        CheckConstraint("(state = 'proposed') = (settled_at IS NULL)", name="settled_once"),
        Index(None, "tenant_id", "policy_id", "id"),
        Index(
            "uq_threshold_proposal_open",
            "tenant_id",
            "policy_id",
            unique=True,
            sqlite_where=_PROPOSED,
            postgresql_where=_PROPOSED,
        ),
    )

    id: str = Field(default_factory=lambda: new_id("tpr"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    policy_id: str
    state: str = ProposalState.PROPOSED.value
    goal: str
    value: float
    confidence: float | None = None  # None: promised on average
    threshold: float
    threshold_before: float  # what was in force when it was proposed
    question: str  # SHA-256 of the policy's question, which the scores answer
    promise: str  # a sentence
    basis: dict[str, Any] = Field(sa_type=JSON)  # `vidlm.review.proposals`: method, decisions, what is expected
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    settled_by: str | None = None
    reason: str | None = Field(default=None, sa_type=CleanText)
    policy_set_id: str | None = Field(default=None, foreign_key="policy_set.id")  # what it put in force


class DayTally(SQLModel, table=True):
    """So many of something, of a tenant's videos that were deleted since, by the day (UTC) when their jobs ended."""

    __tablename__: ClassVar[Any] = "day_tally"
    __table_args__ = (CheckConstraint("amount >= 0", name="amount_not_negative"),)

    tenant_id: str = Field(foreign_key="tenant.id", primary_key=True)
    day: str = Field(primary_key=True)  # 2026-11-20
    what: str = Field(primary_key=True)  # `vidlm.jobs.tallies.Told`
    name: str = Field(primary_key=True)  # a state, a verdict, a policy's id
    amount: float
