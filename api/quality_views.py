"""Figures of quality as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from api.quality_schemas import (
    AtThresholdOut,
    CalibrationBinOut,
    CalibrationOut,
    CountsOut,
    DriftOut,
    DriftTestOut,
    EstimateOut,
    LeftOutOut,
    PolicyDriftOut,
    PolicyQualityOut,
    ProposalOut,
    ReviewQualityOut,
    SourceOut,
)
from vidlm.moderation.drift import FALSE_ALARMS
from vidlm.moderation.intervals import Estimate
from vidlm.review.drifting import Asked, PolicyDrift
from vidlm.review.quality import AtThreshold, Calibration, PolicyQuality
from vidlm.review.reviewers import ReviewQuality
from vidlm.store.moderation import ThresholdProposal


def quality_out(found: PolicyQuality) -> PolicyQualityOut:
    """A policy's figures."""
    judged, golden = found.judged, found.golden.flagged
    return PolicyQualityOut(
        policy_id=found.policy.id,
        source=None if judged.source is None else SourceOut.model_validate(judged.source, from_attributes=True),
        counts=CountsOut(
            decisions=len(judged.ids),
            violations=int(judged.decisions.violations.sum()),
            at_random=int(judged.drawn.sum()),
            golden_violations=golden.violations,
            golden_clean=golden.clean,
            left_out=LeftOutOut.model_validate(judged.left_out, from_attributes=True),
        ),
        prevalence=_estimate(found.prevalence),
        at=[_at(one) for one in found.at],
        calibration=_calibration(found.calibration),
    )


def proposal_out(row: ThresholdProposal) -> ProposalOut:
    """A proposal."""
    return ProposalOut.model_validate(row.model_dump(exclude={"tenant_id", "question"}))


def drift_out(found: Sequence[PolicyDrift], until: datetime, hours: float, past_days: float) -> DriftOut:
    """All policies' tests."""
    today = until - timedelta(hours=hours)
    return DriftOut(
        past_from=today - timedelta(days=past_days),
        today_from=today,
        until=until,
        false_alarms=FALSE_ALARMS,
        alarms=[one.policy_id for one in found if one.alarm],
        policies=[
            PolicyDriftOut(
                policy_id=one.policy_id,
                alarm=one.alarm,
                distance=_test(one.distance),
                stability=_test(one.stability),
                overturned=_test(one.overturned),
            )
            for one in found
        ],
    )


def review_quality_out(found: ReviewQuality) -> ReviewQualityOut:
    """Reviewers and their agreement."""
    return ReviewQualityOut.model_validate(found, from_attributes=True)


def _at(one: AtThreshold) -> AtThresholdOut:
    does = one.performance
    return AtThresholdOut(
        action=one.action,
        threshold=does.threshold,
        precision=_estimate(does.precision),
        recall=_estimate(does.recall),
        flagged=_estimate(does.flagged),
        true_precision=None if one.true_precision is None else _estimate(one.true_precision),
        true_recall=None if one.true_recall is None else _estimate(one.true_recall),
    )


def _calibration(one: Calibration) -> CalibrationOut:
    return CalibrationOut(
        at_random=one.at_random,
        bins=[CalibrationBinOut.model_validate(part, from_attributes=True) for part in one.table],
        error=one.error,
        method=one.method,
        calibrator=None if one.calibrator is None else one.calibrator.to_document(),
        error_after=one.error_after,
    )


def _estimate(one: Estimate) -> EstimateOut:
    return EstimateOut.model_validate(one, from_attributes=True)


def _test(one: Asked) -> DriftTestOut:
    drift = one.drift
    return DriftTestOut(
        statistic=drift.statistic,
        expected=drift.expected,
        p_value=drift.p_value,
        p_corrected=one.p_corrected,
        alarm=one.alarm,
        reason=drift.reason if drift.p_value is None else None,
    )
