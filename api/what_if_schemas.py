"""A trial of other policies as the API takes and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.policy_schemas import MAX_POLICIES, ChangeOut
from vidlm.domain import Action
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.revisions import Change
from vidlm.policy.trials import Trial


class ThresholdsIn(BaseModel):
    """Other numbers for one policy, by the names of a policies' file. What is left out stays."""

    model_config = ConfigDict(extra="forbid")

    review: float | None = None
    block: float | Literal["never"] | None = None
    keep: float | None = None
    at_least_s: float | None = None
    enabled: bool | None = None


class WhatIfIn(BaseModel):
    """What to try: a set of policies (one of `policy_set_id`, `policies` and `yaml`; without any, what is in force) and
    other `thresholds` over it. On which videos: all, or those created in `[created_from, created_until)`."""

    policy_set_id: str | None = Field(default=None, max_length=64, description="A draft, or any other set.")
    policies: list[dict[str, Any]] | None = Field(
        default=None, max_length=MAX_POLICIES, description="All policies, with a policies' file's fields."
    )
    yaml: str | None = Field(default=None, description="The same as the text of a policies' file.")
    thresholds: dict[str, ThresholdsIn] = Field(
        default_factory=dict, max_length=MAX_POLICIES, description="By the policies' ids."
    )
    created_from: AwareDatetime | None = None
    created_until: AwareDatetime | None = None


class FlagsOut(BaseModel):
    """How many flags a policy has on each side; null where it is not on that side or was never asked of any video."""

    policy_id: str
    before: int | None
    after: int | None


class MoveOut(BaseModel):
    """So many videos go from one verdict to another, or keep theirs."""

    before: Action
    after: Action
    videos: int


class MissingOut(BaseModel):
    """A policy that was not asked of so many videos: they are judged by the others alone."""

    policy_id: str
    videos: int
    duration_s: float = Field(description="Of these videos together.")


class CostOut(BaseModel):
    """What it takes to score what is missing, in one go for all such policies."""

    duration_s: float = Field(description="Seconds of video.")
    gpu_minutes: float | None = Field(
        description="Minutes of one worker with the model, at most: as if these videos were analysed anew, at the "
        "speed of the last jobs. Scoring kept visual tokens takes less. Null where no job was finished yet."
    )


class OverturnedOut(BaseModel):
    """Past decisions about something that would be no flag any more."""

    missed: int = Field(description="Confirmed ones.")
    spared: int = Field(description="Rejected ones.")


class WhatIfOut(BaseModel):
    """Both sides, judged from the same stored scores; `before` is what is in force now."""

    before_version: str
    after_version: str
    changes: list[ChangeOut]
    videos: int
    segments: int
    queue_before: int = Field(description="Videos that a person has to look at.")
    queue_after: int
    flags: list[FlagsOut]
    verdicts: list[MoveOut] = Field(description="All nine pairs.")
    missing: list[MissingOut]
    missing_cost: CostOut | None = Field(description="Null where nothing is missing.")
    overturned: OverturnedOut


def what_if_out(trial: Trial, before: PolicySet, after: PolicySet, made: Sequence[Change]) -> WhatIfOut:
    """A trial as the API shows it."""
    cost = CostOut(
        duration_s=round(trial.missing_s, 3),
        gpu_minutes=None if trial.gpu_s is None else round(trial.gpu_s / 60, 2),
    )
    told = trial.overturned
    return WhatIfOut(
        before_version=before.version,
        after_version=after.version,
        changes=[ChangeOut(policy_id=one.policy_id, field=one.field, text=str(one)) for one in made],
        videos=trial.videos,
        segments=trial.segments,
        queue_before=trial.queue_before,
        queue_after=trial.queue_after,
        flags=[FlagsOut(policy_id=name, before=one, after=other) for name, one, other in trial.flags],
        verdicts=[MoveOut(before=Action(one), after=Action(other), videos=n) for one, other, n in trial.moved],
        missing=[
            MissingOut(policy_id=one.policy_id, videos=one.videos, duration_s=round(one.duration_s, 3))
            for one in trial.missing
        ],
        missing_cost=cost if trial.missing else None,
        overturned=OverturnedOut(missed=told.missed, spared=told.spared),
    )
