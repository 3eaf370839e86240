"""Are scores probabilities? A reliability table, the calibration error, and which calibrator decisions suffice for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.moderation.calibrators import Calibrator, fit_isotonic, fit_platt
from vidlm.moderation.estimates import Decisions
from vidlm.moderation.intervals import Estimate, Tally, effective_count, share_interval

BINS: Final = 10
PLATT_OF_EACH: Final = 20
"""Violations, and as many others, from which on two parameters are fitted: ten for each, the rule of Peduzzi et al.
1996, "A simulation study of the number of events per variable in logistic regression analysis"."""
FOLDS: Final = 5
"""Parts that decisions are cut into, to judge a calibrator on what it was not fitted to."""
ISOTONIC_OF_EACH: Final = 100
ISOTONIC_DECISIONS: Final = 1000
"""With fewer, Platt's two parameters do better than any monotone curve: Niculescu-Mizil and Caruana 2005, "Predicting
good probabilities with supervised learning"."""


class Method(StrEnum):
    """How scores are turned into probabilities."""

    PLATT = "platt"
    ISOTONIC = "isotonic"


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Decisions with scores in `[low, high]`, in which both occur.

    `count`: how many; `weight`: the share in (0, 1] of all items that they stand for; `mean_score` in [0, 1], of those
    items; `violations`: the share of violations among them. Calibrated scores have `mean_score` inside its interval,
    in 19 of 20 bins.
    """

    low: float
    high: float
    count: int
    weight: float
    mean_score: float
    violations: Estimate


def reliability_table(decisions: Decisions, bins: int = BINS) -> tuple[CalibrationBin, ...]:
    """At most `bins` >= 1 bins with about equally many decisions each, in order of score; none of no decisions.

    Equal scores stay together (DeGroot and Fienberg 1983; equal-mass bins as in Nguyen and O'Connor 2015), so that
    there are fewer bins where there are few different scores. Raises `ValueError` for fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, not {bins}")
    if not len(decisions):
        return ()
    _, which, counts = np.unique(decisions.scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2  # the rank of a group of equal scores
    index = (middle * bins / len(decisions)).astype(int)[which]
    return tuple(_bin(decisions, np.flatnonzero(index == number)) for number in np.unique(index))


def calibration_error(table: tuple[CalibrationBin, ...]) -> float | None:
    """Expected calibration error in [0, 1]: the mean over items of |share of violations - mean score| of their bin.

    Guo et al. 2017, arXiv:1706.04599. It cannot fall below zero, so chance alone makes it larger than it is: by about
    0.4 / sqrt(decisions a bin) where half are violations. None of no bins.
    """
    known = [(part.weight, part.violations.value, part.mean_score) for part in table]
    apart = [weight * abs(value - mean) for weight, value, mean in known if value is not None]
    return sum(apart) if apart else None


def allowed_method(decisions: Decisions) -> Method | None:
    """What these decisions suffice for: isotonic regression, Platt scaling, or None for neither.

        of the rarer class   < 20    20..99         >= 100
        < 1,000 decisions    None    Platt          Platt
        >= 1,000             None    Platt          isotonic

    Decisions count as what they are worth: (sum w)^2 / (sum w^2) of each class, as a few heavy ones decide everything.
    """
    yes, no = _worth(decisions)
    if min(yes, no) < PLATT_OF_EACH:
        return None
    return Method.ISOTONIC if min(yes, no) >= ISOTONIC_OF_EACH and yes + no >= ISOTONIC_DECISIONS else Method.PLATT


def fit_calibrator(decisions: Decisions) -> Calibrator | None:
    """The calibrator of the allowed method; None where there are too few decisions for any."""
    method = allowed_method(decisions)
    if method is None:
        return None
    return fit_isotonic(decisions) if method is Method.ISOTONIC else fit_platt(decisions)


def cross_fitted(decisions: Decisions) -> Decisions | None:
    """The same decisions with calibrated scores, each by a calibrator that was fitted without it; None as above.

    What a calibrator makes of the very decisions it was fitted to looks better than it is; their error after this
    (Stone 1974, cross-validation) does not. Parts are drawn, always alike.
    """
    method = allowed_method(decisions)
    if method is None:
        return None
    part = np.random.default_rng(0).permutation(len(decisions)) % FOLDS
    scores = np.empty_like(decisions.scores)
    for number in range(FOLDS):
        fitted = (fit_isotonic if method is Method.ISOTONIC else fit_platt)(decisions.where(part != number))
        scores[part == number] = fitted.apply(decisions.scores[part == number])
    return Decisions(scores, decisions.violations, decisions.weights)


def _worth(decisions: Decisions) -> tuple[float, float]:
    """Effective numbers of violations and of others."""
    weights, violations = decisions.weights, decisions.violations
    return effective_count(weights[violations]), effective_count(weights[~violations])


def _bin(decisions: Decisions, inside: npt.NDArray[np.int64]) -> CalibrationBin:
    scores, weights, violations = decisions.scores[inside], decisions.weights[inside], decisions.violations[inside]
    yes, no = Tally.of(weights[violations], weights), Tally.of(weights[~violations], weights)
    total = float(weights.sum())
    return CalibrationBin(
        low=float(scores.min()),
        high=float(scores.max()),
        count=len(scores),
        weight=total / float(decisions.weights.sum()),
        mean_score=float(weights @ scores) / total,
        violations=Estimate(yes.total / total, *share_interval(yes, no), len(scores)),
    )
