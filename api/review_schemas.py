"""Review as the API takes and shows it: items, decisions, appeals, golden answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, StringConstraints

from api.queue_schemas import QueueName
from vidlm.domain import Action, Severity
from vidlm.moderation.decisions import (
    MAX_MISSED,
    MAX_NOTE,
    FlagDecision,
    FlagVerdict,
    ItemState,
    Missed,
    Occasion,
    Outcome,
    RejectReason,
    ReviewState,
    Submission,
)

MAX_QUEUES: Final = 20
Note = Annotated[str, Field(default="", max_length=MAX_NOTE)]


class FlagToReviewOut(BaseModel):
    """A flag in `[start_s, end_s)`, and the frames that it rests on."""

    id: str
    policy_id: str
    start_s: float
    end_s: float
    score: float
    severity: Severity
    action: Action
    evidence_s: list[float]


class LockOut(BaseModel):
    """The item is yours until then; `token` goes with all you do to it."""

    token: int
    until: datetime


class ReviewItemOut(BaseModel):
    """A video that somebody is asked to look at."""

    id: str
    video_id: str
    queue: str
    occasion: Occasion
    state: ItemState
    severity: Severity = Field(description="Of the worst that was flagged.")
    score: float = Field(description="Of the surest flag of that severity.")
    restricted: bool
    waiting_since: datetime
    claimed_by: str | None
    lock: LockOut | None = Field(description="Set where the item is yours.")


class ReviewCaseOut(ReviewItemOut):
    """An item with all that is to be decided."""

    duration_s: float
    reason: str = Field(description="Why the video was not cleared.")
    flags: list[FlagToReviewOut]
    links: dict[str, str]


class ReviewItemPage(BaseModel):
    """The most urgent first."""

    items: list[ReviewItemOut]
    next_cursor: str | None


class ExposureOut(BaseModel):
    """What you looked at lately. `break_because`: "budget", "stretch", "severe", or null while no break is due."""

    minutes: float
    weighted_minutes: float = Field(description="Minutes in 24 hours, by the weight of what was there.")
    stretch_minutes: float = Field(description="Since your last pause of ten minutes.")
    severe_in_a_row: int
    break_because: Literal["budget", "stretch", "severe"] | None


class ClaimIn(BaseModel):
    """What to take from; without queues, from all that you may work on, in their order."""

    queues: list[QueueName] = Field(default_factory=list, max_length=MAX_QUEUES)
    without: list[Annotated[str, StringConstraints(max_length=64)]] = Field(
        default_factory=list, max_length=200, description="Items not to be given: what you put back."
    )


class ClaimOut(BaseModel):
    """The next item, if anything waits."""

    item: ReviewCaseOut | None
    exposure: ExposureOut


class TokenIn(BaseModel):
    token: int = Field(ge=0, le=2**31 - 1, description="The lock's.")


class FlagDecisionIn(BaseModel):
    flag_id: str = Field(max_length=64)
    verdict: FlagVerdict
    reason: RejectReason | None = Field(default=None, description="With `reject`.")
    policy_id: str | None = Field(default=None, max_length=200, description="With `wrong_policy`: the right one.")
    start_s: float | None = Field(default=None, ge=0, description="With `wrong_time`.")
    end_s: float | None = Field(default=None, ge=0, description="With `wrong_time`.")


class MissedIn(BaseModel):
    """Something in `[start_s, end_s)` that violates a policy and was not flagged."""

    policy_id: str = Field(max_length=200)
    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)


class DecisionIn(TokenIn):
    """All that you say about a video at once."""

    outcome: Outcome
    flags: list[FlagDecisionIn] = Field(default_factory=list, max_length=1000)
    missed: list[MissedIn] = Field(default_factory=list, max_length=MAX_MISSED)
    note: Note
    watched_s: float = Field(default=0.0, ge=0, le=86_400, description="How long you looked at it.")
    advance: ClaimIn | None = Field(default=None, description="Set: take the next item in the same breath.")

    def said(self) -> Submission:
        """The same as a value."""
        return Submission(
            outcome=self.outcome,
            flags=tuple(FlagDecision(**one.model_dump()) for one in self.flags),
            missed=tuple(Missed(**one.model_dump()) for one in self.missed),
            note=self.note,
            watched_s=self.watched_s,
        )


class FlagDecisionOut(BaseModel):
    """`verdict` is "missed" where nobody had flagged it."""

    flag_id: str | None
    policy_id: str
    start_s: float
    end_s: float
    score: float | None
    severity: Severity
    review_threshold: float | None
    verdict: FlagVerdict | Literal["missed"]
    reason: RejectReason | None
    evidence_s: list[float]
    right_policy_id: str | None
    right_start_s: float | None
    right_end_s: float | None


class DecisionOut(BaseModel):
    """A decision, pinned to what made the scores."""

    id: str
    item_id: str
    video_id: str
    actor: str
    occasion: Occasion
    outcome: Outcome
    note: str
    watched_s: float
    flags: list[FlagDecisionOut]
    pinned: dict[str, Any] = Field(description="The provenance and the verdict of the analysis.")
    created_at: datetime
    undone_at: datetime | None
    undone_by: str | None


class DecidedOut(BaseModel):
    """What became of it. `asked_next`: on what occasion somebody else is asked, if anybody."""

    decision: DecisionOut
    review: ReviewState
    asked_next: Occasion | None
    next: ClaimOut | None = Field(description="Where you asked for it.")


class HistoryOut(BaseModel):
    """All that people decided about a video, oldest first."""

    review: ReviewState
    decisions: list[DecisionOut]


class AppealIn(BaseModel):
    note: str = Field(min_length=1, max_length=MAX_NOTE, description="What its owner says.")


class AppealOut(BaseModel):
    """`outcome`: what was decided then; null while it waits."""

    id: str
    video_id: str
    decision_id: str | None
    note: str
    created_by: str
    created_at: datetime
    outcome: Outcome | None


class AppealsOut(BaseModel):
    appeals: list[AppealOut]


class GoldenIn(BaseModel):
    """What is right about a video."""

    video_id: str = Field(max_length=64)
    outcome: Outcome
    violated: list[str] = Field(default_factory=list, max_length=1000, description="The flags that are right, by id.")
    note: Note


class GoldenOut(BaseModel):
    id: str
    video_id: str
    outcome: Outcome
    violated: list[str]
    note: str
    restricted: bool
    created_by: str
    created_at: datetime
    retired_at: datetime | None


class GoldensOut(BaseModel):
    golden: list[GoldenOut]
