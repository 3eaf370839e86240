"""Quality as the API shows it: how well policies and reviewers do, thresholds that decisions suggest, drift."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.policy_schemas import MAX_REASON
from vidlm.domain import Action
from vidlm.moderation.calibration import Method
from vidlm.moderation.decisions import Outcome
from vidlm.moderation.proposals import Goal, ProposalState, Wish


class EstimateOut(BaseModel):
    """A share and its 95% interval `[low, high]`, resting on `n` decisions; null where nothing is known of it."""

    value: float | None
    low: float
    high: float
    n: int


class SourceOut(BaseModel):
    """What made the scores."""

    model: str
    prompts: str


class LeftOutOut(BaseModel):
    """Videos that were filed for review and do not count."""

    waiting: int = Field(description="Not decided yet.")
    unreached: int = Field(description="Of these, where nobody decided anything of like urgency.")
    question: int = Field(description="Scored when the policy asked something else.")
    source: int = Field(description="Scored by another model or other prompts.")
    unscored: int = Field(description="Their scores are gone, as with deleted videos.")


class CountsOut(BaseModel):
    """What the figures rest on."""

    decisions: int = Field(description="Videos whose last decision counts.")
    violations: int = Field(description="Of these, such that violate the policy.")
    at_random: int = Field(description="Of these, such that stand for all videos, flagged or not.")
    golden_violations: int = Field(description="Looks at golden videos that violate the policy.")
    golden_clean: int = Field(description="Looks at golden videos that were flagged and are clean.")
    left_out: LeftOutOut


class AtThresholdOut(BaseModel):
    """What the policy does from this action's threshold on.

    `true_precision` and `true_recall` take back what golden items say of reviewers' errors; null without enough.
    """

    action: Action
    threshold: float
    precision: EstimateOut
    recall: EstimateOut
    flagged: EstimateOut = Field(description="The share of all videos with such scores.")
    true_precision: EstimateOut | None
    true_recall: EstimateOut | None


class CalibrationBinOut(BaseModel):
    """Decided videos with scores in `[low, high]`; calibrated are those with `mean_score` in the interval."""

    low: float
    high: float
    count: int
    weight: float = Field(description="The share of all videos that they stand for.")
    mean_score: float
    violations: EstimateOut


class CalibrationOut(BaseModel):
    """Whether scores are probabilities. `error_after`: of scores calibrated by decisions other than their own."""

    at_random: bool = Field(description="False: known of flagged videos only.")
    bins: list[CalibrationBinOut]
    error: float | None
    method: Method | None = Field(description="What the decisions suffice for.")
    calibrator: dict[str, Any] | None
    error_after: float | None


class PolicyQualityOut(BaseModel):
    """How well a policy does, by the decisions about it."""

    policy_id: str
    source: SourceOut | None
    counts: CountsOut
    prevalence: EstimateOut = Field(description="The share of all videos that violate it.")
    at: list[AtThresholdOut]
    calibration: CalibrationOut


class ProposalIn(BaseModel):
    """What the threshold is to have. `value`: the precision or the recall, in (0, 1), or videos a day."""

    goal: Goal
    value: float
    confidence: float | None = Field(
        default=None,
        description="How sure the promise is to be. Left out: 0.9 for a precision, an average for a recall.",
    )
    since: datetime | None = Field(default=None, description="Only videos filed from then on.")
    until: datetime | None = None

    def wish(self) -> Wish:
        """The same as a value. Raises `InputError`."""
        return Wish(self.goal, self.value, self.confidence)


class ReasonIn(BaseModel):
    reason: str = Field(min_length=1, max_length=MAX_REASON, description="Why; kept with the proposal.")


class QueueLengthOut(BaseModel):
    """Videos flagged a day, with a 95% interval of the mean day."""

    items_per_day: float
    low: float
    high: float


class ExpectedOut(BaseModel):
    """What the threshold is expected to do. `queue` is null where nothing was analysed lately."""

    precision: EstimateOut
    recall: EstimateOut
    flagged: EstimateOut
    queue: QueueLengthOut | None


class BasisOut(BaseModel):
    """What the proposal rests on. `digest`: SHA-256 of the ids of all decisions that were read, sorted, a line each."""

    method: str
    decisions: int
    violations: int
    at_random: bool
    first_decision: str | None
    last_decision: str | None
    digest: str
    since: datetime | None
    until: datetime | None
    source: SourceOut | None
    traffic: int | None = Field(description="Videos whose scores stand for what comes in.")
    expected: ExpectedOut


class ProposalOut(BaseModel):
    """A review threshold for a policy, and what it promises of fresh videos, judged by reviewers like these."""

    id: str
    policy_id: str
    state: ProposalState
    goal: Goal
    value: float
    confidence: float | None
    threshold: float
    threshold_before: float
    promise: str
    basis: BasisOut
    created_at: datetime
    created_by: str
    settled_at: datetime | None
    settled_by: str | None
    reason: str | None
    policy_set_id: str | None = Field(description="The set that it put in force.")


class ProposalsOut(BaseModel):
    """The newest first."""

    proposals: list[ProposalOut]


class DriftTestOut(BaseModel):
    """One test. The first three are null where there is too little to tell, which `reason` then says.

    `p_corrected`: the p-value for all that are asked together (Holm); `alarm`: it is at most the rate of false alarms.
    """

    statistic: float | None
    expected: float | None = Field(description="Of the statistic, when nothing has changed.")
    p_value: float | None
    p_corrected: float | None
    alarm: bool | None
    reason: str | None


class PolicyDriftOut(BaseModel):
    """A policy's scores today against the past's, and its overturned flags."""

    policy_id: str
    alarm: bool
    distance: DriftTestOut = Field(description="Of the distributions of scores: Kolmogorov and Smirnov.")
    stability: DriftTestOut = Field(description="The population stability index of the scores.")
    overturned: DriftTestOut = Field(description="The share of videos whose flags of it are all rejected.")


class DriftOut(BaseModel):
    """Whether today is like the past. `false_alarms`: the share of quiet days with an alarm, at most."""

    past_from: datetime
    today_from: datetime
    until: datetime
    false_alarms: float
    alarms: list[str] = Field(description="The policies with an alarm.")
    policies: list[PolicyDriftOut]


class GoldenRecordOut(BaseModel):
    """Against golden items: of all, of those to be removed, of those to be approved."""

    accuracy: EstimateOut
    sensitivity: EstimateOut
    specificity: EstimateOut


class ReviewerOut(BaseModel):
    """One person's decisions."""

    actor: str
    decisions: int
    outcomes: dict[Outcome, int]
    undone: int
    golden: GoldenRecordOut
    overturned: EstimateOut = Field(description="Of those that somebody else decided again.")
    median_watched_s: float | None


class AgreementOut(BaseModel):
    """A kappa in [-1, 1] with its standard error and 95% interval; null where there is none."""

    kappa: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    observed: float | None = Field(description="The share of pairs of answers that agree.")
    expected: float | None = Field(description="That share by chance.")
    items: int


class PairOut(BaseModel):
    first: str
    second: str
    agreement: AgreementOut = Field(description="Cohen's kappa.")


class ReviewQualityOut(BaseModel):
    """How well reviewers do, and how far they agree."""

    reviewers: list[ReviewerOut]
    agreement: AgreementOut = Field(description="Fleiss' kappa of all who decided the same videos independently.")
    pairs: list[PairOut]
