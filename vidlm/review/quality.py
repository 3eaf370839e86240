"""How well a policy does, by the decisions about it: the figures of `GET /v1/policies/{policy_id}/quality`.

Reads rows through `judged` and `golden_looks`, leaves the arithmetic to `vidlm.moderation`. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from vidlm.domain import Action, Policy
from vidlm.errors import InputError
from vidlm.moderation.calibration import (
    CalibrationBin,
    Method,
    allowed_method,
    calibration_error,
    cross_fitted,
    fit_calibrator,
    reliability_table,
)
from vidlm.moderation.calibrators import Calibrator
from vidlm.moderation.estimates import Decisions, Performance, precision_at, prevalence
from vidlm.moderation.intervals import Estimate
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.reviewer_errors import GoldenCounts, true_precision_at, true_recall_at
from vidlm.moderation.routing import RESTRICTED, is_restricted
from vidlm.policy import policy_sets
from vidlm.review.golden_looks import GoldenLooks, looks
from vidlm.review.judged import Judged, judged, library
from vidlm.review.standing import Window
from vidlm.store.review import FlagDecision


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What the policy does from the threshold of one action on. `precision` and `recall` in `performance` take
    reviewers at their word; the `true_` ones take back what golden items say of their errors, None without enough."""

    action: Action
    performance: Performance
    true_precision: Estimate | None
    true_recall: Estimate | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether scores are probabilities. `at_random`: the decisions stand for all videos, and not only for flagged ones.

    `error_after`: of scores that were calibrated by decisions other than their own; None, like `method` and
    `calibrator`, where there are too few decisions for any.
    """

    at_random: bool
    table: tuple[CalibrationBin, ...]
    error: float | None
    method: Method | None
    calibrator: Calibrator | None
    error_after: float | None


@dataclass(frozen=True, slots=True)
class PolicyQuality:
    """All figures of one policy."""

    policy: Policy
    judged: Judged
    prevalence: Estimate
    at: tuple[AtThreshold, ...]
    calibration: Calibration
    golden: GoldenLooks


def policy_quality(session: Session, tenant_id: str, policy: Policy, own: PolicySet, window: Window) -> PolicyQuality:
    """The figures of a policy that is in force (`find_policy`). `own`: the service's policies."""
    found = judged(session, tenant_id, policy, own.get(policy.id), window)
    golden = looks(session, tenant_id, policy.id, window)
    thresholds = [(Action.REVIEW, policy.review_threshold), (Action.BLOCK, policy.block_threshold)]
    return PolicyQuality(
        policy=policy,
        judged=found,
        prevalence=prevalence(found.at_random()),
        at=tuple(_at(found, golden, action, threshold) for action, threshold in thresholds if threshold <= 1),
        calibration=calibrated(found.evenly(), at_random=bool(found.drawn.any())),
        golden=golden,
    )


def precisions(
    session: Session, tenant_id: str, policies: Sequence[Policy], own: PolicySet, window: Window
) -> dict[str, Estimate]:
    """By id, the precision of each of these policies, in force, from its review threshold on; only where it is known.

    As `policy_quality` tells it, for many at once. Restricted ones are left out.
    """
    known = library(session, tenant_id, window)
    spoken = select(col(FlagDecision.policy_id)).where(col(FlagDecision.tenant_id) == tenant_id).distinct()
    some = set(session.scalars(spoken)) if known.last_of else set()
    found = {}
    for policy in policies:
        if policy.enabled and policy.id in some and not is_restricted(policy.id):
            decided = judged(session, tenant_id, policy, own.get(policy.id), window, of=known)
            threshold = policy.review_threshold
            found[policy.id] = precision_at(decided.known_above(threshold), threshold)
    return {policy_id: estimate for policy_id, estimate in found.items() if estimate.value is not None}


def find_policy(session: Session, tenant_id: str, policy_id: str, own: PolicySet) -> Policy | None:
    """The policy of this id that is in force for the tenant, if there is one.

    Raises `InputError` (`restricted_policy`) for one whose videos only some may see: nothing is learned from those.
    """
    found = policy_sets.in_force(session, tenant_id, own).policies.get(policy_id)
    if found is not None and is_restricted(found.id):
        raise InputError(f"decisions about {RESTRICTED} are counted nowhere", code="restricted_policy")
    return found


def calibrated(decisions: Decisions, *, at_random: bool) -> Calibration:
    """How far scores are from probabilities, and how far they would be after calibration."""
    table = reliability_table(decisions)
    after = cross_fitted(decisions)
    return Calibration(
        at_random=at_random,
        table=table,
        error=calibration_error(table),
        method=allowed_method(decisions),
        calibrator=fit_calibrator(decisions),
        error_after=None if after is None else calibration_error(reliability_table(after)),
    )


def _at(found: Judged, golden: GoldenLooks, action: Action, threshold: float) -> AtThreshold:
    above: GoldenCounts = golden.flagged
    precision = true_precision_at(found.known_above(threshold), threshold, above) if golden.suffice_above else None
    recall = true_recall_at(found.at_random(), threshold, above, golden.unflagged) if golden.suffice_below else None
    return AtThreshold(action, found.performance(threshold), precision, recall)
