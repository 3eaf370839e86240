"""Precision and recall of a policy against the truth, where reviewers are known to err. Numbers only.

`estimates.py` takes reviewers at their word. Where violations are as rare as 0.5%, reviewers who see one in every
twentieth clean item make up nine of the ten they see. What golden items say of their errors takes that back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vidlm.moderation.estimates import Decisions, flagged_tallies, unflagged_tallies
from vidlm.moderation.intervals import UNKNOWN, Estimate, Floats, Tally

DRAWS: Final = 20_000
"""By Monte Carlo, whose 2.5% and 97.5% quantiles are the ends of an interval."""


@dataclass(frozen=True, slots=True)
class GoldenCounts:
    """Reviewers on golden items: of `violations` they saw `seen`, of `clean` items they let `passed` pass.

    Raises `ValueError` where more were right than there were.
    """

    seen: int
    violations: int
    passed: int
    clean: int

    def __post_init__(self) -> None:
        if not (0 <= self.seen <= self.violations and 0 <= self.passed <= self.clean):
            raise ValueError(f"{self}: more right than there were")

    def rates(self) -> tuple[float, float] | None:
        """(sensitivity, specificity), in [0, 1]; None of reviewers not known to be better than a coin."""
        if not self.violations or not self.clean:
            return None
        sensitivity, specificity = self.seen / self.violations, self.passed / self.clean
        return (sensitivity, specificity) if sensitivity + specificity > 1 else None


def true_precision_at(decisions: Decisions, threshold: float, golden: GoldenCounts) -> Estimate:
    """The share of true violations among all items with a score at or above `threshold`, with its 95% interval.

    Rogan and Gladen 1978, "Estimating prevalence from the results of a screening test": where a share q is called
    violations, (q + specificity - 1) / (sensitivity + specificity - 1) are some. The interval is by Monte Carlo, always
    with the same random numbers: decisions vary as in `intervals.share_interval`, sensitivity and specificity as
    Jeffreys' posterior of the golden items says. Unknown where no such item was reviewed, without golden items of both
    kinds, and of reviewers who were no better than a coin on them.
    """
    above = decisions.scores >= threshold
    rates = golden.rates()
    if rates is None or not above.any():
        return UNKNOWN
    yes, no = flagged_tallies(decisions, threshold)
    value = float(_found(np.asarray(yes.total), np.asarray(no.total), *rates, low=True)) / (yes.total + no.total)
    rng = np.random.default_rng(0)
    drawn = _rates(golden, rng)
    ends = []
    for low in (True, False):
        called, passed = _drawn(yes, rng, low=low), _drawn(no, rng, low=not low)
        ends.append(_found(called, passed, *drawn, low=low) / (called + passed))
    return _estimate(value, ends[0], ends[1], int(above.sum()))


def true_recall_at(
    decisions: Decisions, threshold: float, golden: GoldenCounts, below: GoldenCounts | None = None
) -> Estimate:
    """The share of all true violations that have a score at or above `threshold`; else as `true_precision_at`.

    `below`: the same reviewers on clean items under the threshold, where nothing points them to a violation that is
    none; None: they err there as above. Violations are taken to be seen alike on both sides. Unknown where nothing
    under the threshold was reviewed, and where errors explain all violations that were seen.
    """
    rates, rates_below = golden.rates(), (below or golden).rates()
    if rates is None or rates_below is None or not (decisions.scores < threshold).any():
        return UNKNOWN
    (yes, no), (missed, rest) = flagged_tallies(decisions, threshold), unflagged_tallies(decisions, threshold)
    above = float(_found(np.asarray(yes.total), np.asarray(no.total), *rates, low=True))
    under = float(_found(np.asarray(missed.total), np.asarray(rest.total), rates[0], rates_below[1], low=True))
    if above + under <= 0:
        return UNKNOWN
    value = above / (above + under)
    rng = np.random.default_rng(0)
    sensitivity, specificity = _rates(golden, rng)
    specificity_below = specificity if below is None else _rates(below, rng)[1]
    ends = []
    for low in (True, False):
        found = _found(_drawn(yes, rng, low=low), _drawn(no, rng, low=not low), sensitivity, specificity, low=low)
        called, passed = _drawn(missed, rng, low=not low), _drawn(rest, rng, low=low)
        lost = _found(called, passed, sensitivity, specificity_below, low=not low)
        nothing = np.full_like(found, 0.0 if low else 1.0)
        ends.append(np.divide(found, found + lost, out=nothing, where=found + lost > 0))
    return _estimate(value, ends[0], ends[1], int(decisions.violations.sum()))


def _rates(golden: GoldenCounts, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws of (sensitivity, specificity)."""
    sensitivity = rng.beta(golden.seen + 0.5, golden.violations - golden.seen + 0.5, DRAWS)
    return sensitivity, rng.beta(golden.passed + 0.5, golden.clean - golden.passed + 0.5, DRAWS)


def _drawn(tally: Tally, rng: np.random.Generator, *, low: bool) -> Floats:
    """Draws of a weighted count, from what its lower or its upper limits are quantiles of."""
    shape, scale = tally.least() if low else tally.most()
    return rng.gamma(shape, scale, DRAWS) if shape else np.zeros(DRAWS)


def _found(
    called: Floats, passed: Floats, sensitivity: Floats | float, specificity: Floats | float, *, low: bool
) -> Floats:
    """True violations among `called` + `passed` items; of reviewers no better than a coin, none if `low`, else all."""
    better = np.asarray(sensitivity + specificity - 1)
    total = called + passed
    corrected = (called - (1 - specificity) * total) / np.where(better > 0, better, 1.0)
    return np.where(better > 0, np.clip(corrected, 0.0, total), 0.0 if low else total)


def _estimate(value: float, low: Floats, high: Floats, n: int) -> Estimate:
    least, most = float(np.quantile(low, 0.025)), float(np.quantile(high, 0.975))
    return Estimate(value, min(value, least), max(value, most), n)
