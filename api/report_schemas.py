"""The transparency report as the API shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from vidlm.domain import Action, JobState, Severity
from vidlm.moderation.decisions import Occasion, Outcome


class PolicyCountsOut(BaseModel):
    """One policy in the period. `overturned`: the share of decided flags that were wrong."""

    flags: int
    blocked: int
    confirmed: int
    rejected: int
    other_policy: int
    missed: int
    overturned: float | None


class WaitsOut(BaseModel):
    """Seconds from when somebody was asked to look until it was decided."""

    count: int
    median_s: float | None
    p90_s: float | None


class TransparencyOut(BaseModel):
    """What happened in `[since, until)`."""

    since: datetime
    until: datetime
    videos_received: int
    videos_deleted: int
    videos_by_end: dict[JobState, int]
    minutes_analysed: float
    verdicts: dict[Action, int]
    policies: dict[str, PolicyCountsOut]
    decisions: dict[Outcome, int]
    decisions_by_occasion: dict[Occasion, int]
    decisions_undone: int
    blocks_overturned: int = Field(description="Videos that the machine blocked and people let pass.")
    appeals: int
    appeals_granted: int
    waits: WaitsOut
    waits_by_severity: dict[Severity, WaitsOut]
