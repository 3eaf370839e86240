"""Review queues and how a tenant reviews, as the API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from vidlm.domain import Role, Severity

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]


class WaitingOut(BaseModel):
    """How much waits, and since when the oldest does."""

    total: int
    by_severity: dict[Severity, int]
    claimed: int
    oldest: datetime | None


class QueueOut(BaseModel):
    name: str
    title: str
    position: int
    rule: dict[str, Any] | None = Field(description="Null: nothing comes here by a rule.")
    needs_role: Role
    restricted: bool
    opinions: int = Field(description="People who have to agree before a decision counts.")
    built_in: bool
    waiting: WaitingOut


class QueuesOut(BaseModel):
    """In the order in which their rules are asked."""

    queues: list[QueueOut]


class QueueIn(BaseModel):
    name: QueueName
    title: str = Field(min_length=1, max_length=120)
    rule: dict[str, Any] = Field(
        description="All parts that are given must be met: policies, severities, score_from, score_to, verdicts, "
        "languages, share."
    )
    needs_role: Role = Role.REVIEWER
    opinions: Literal[1, 2] = 1
    position: int | None = Field(default=None, ge=1, le=1000, description="Among the queues that leads made, from 1.")


class QueueChange(BaseModel):
    """Fields that are left out stay."""

    title: str | None = Field(default=None, min_length=1, max_length=120)
    rule: dict[str, Any] | None = None
    needs_role: Role | None = None
    opinions: Literal[1, 2] | None = None
    position: int | None = Field(default=None, ge=1, le=1000)


class ReviewSettingsOut(BaseModel):
    """How the tenant reviews."""

    lock_s: float = Field(description="Without a sign of life an item is anybody's again.")
    undo_s: float
    golden_share: float = Field(description="Of what reviewers get.")
    doubled_share: float = Field(description="Of decisions that somebody else makes as well, for quality.")
    weighted_minutes: float = Field(description="In 24 hours, before a break is due.")
    stretch_minutes: float
    severe_in_a_row: int
    appeals_most: int = Field(description="About one video.")


class ReviewSettingsChange(BaseModel):
    """Fields that are left out stay."""

    lock_s: float | None = None
    undo_s: float | None = None
    golden_share: float | None = None
    doubled_share: float | None = None
    weighted_minutes: float | None = None
    stretch_minutes: float | None = None
    severe_in_a_row: int | None = None
    appeals_most: int | None = None
