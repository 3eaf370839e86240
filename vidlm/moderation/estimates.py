"""Precision, recall and prevalence of a policy, from decisions on items that were not chosen alike.

An item is decided upon because it was flagged, or because a random sample for quality drew it. Each decision stands
for 1 / (its inclusion probability) items:

    score        0           threshold                1
    all items    ..............................| ........          those with a score under the flagging threshold
    reviewed     .      .         .        .   | ........          are drawn with probability 1/8, the others all
    weight       8      8         8        8   | 11111111

Knows numbers only: nothing of who decided, or when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.moderation.intervals import CONFIDENCE, UNKNOWN, Estimate, Flags, Floats, Tally, share_interval

_LEAST_INCLUSION: Final = 1e-9
"""One item of all that will ever be; less is a mistake, and its square is lost in rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """Decisions on one policy, arrays of one length n. Made by `of`, which checks.

    `scores`: float64 in [0, 1], the model's; `violations`: bool, whether the reviewer saw one; `weights`: float64 >= 1,
    how many items each stands for.
    """

    scores: Floats
    violations: Flags
    weights: Floats

    @classmethod
    def of(cls, scores: npt.ArrayLike, violations: npt.ArrayLike, inclusion: npt.ArrayLike | None = None) -> Decisions:
        """`inclusion`: the probability in [1e-9, 1] with which each was to be reviewed, for whatever reason; None: 1.

        Raises `ValueError` for other ranges, NaN, lengths that differ, and violations that are neither true nor false.
        """
        checked = shares("scores", scores)
        weights = np.ones_like(checked) if inclusion is None else 1 / _possible(shares("inclusion", inclusion))
        judged = truths("violations", violations)
        if not len(checked) == len(judged) == len(weights):
            raise ValueError(f"{len(checked)} scores, {len(judged)} violations and {len(weights)} inclusions")
        return cls(checked, judged, weights)

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, kept: Flags) -> Decisions:
        """Those for which `kept` (n,) is true."""
        return Decisions(self.scores[kept], self.violations[kept], self.weights[kept])


@dataclass(frozen=True, slots=True)
class Performance:
    """What flagging from `threshold` on, a score in [0, 1], does. `flagged`: the share of all items that it flags."""

    threshold: float
    precision: Estimate
    recall: Estimate
    flagged: Estimate


def performance_at(decisions: Decisions, threshold: float) -> Performance:
    """Everything about one threshold, with 95% intervals. Raises `ValueError` for a NaN."""
    return Performance(
        threshold=threshold,
        precision=precision_at(decisions, threshold),
        recall=recall_at(decisions, threshold),
        flagged=flagged_at(decisions, threshold),
    )


def precision_at(decisions: Decisions, threshold: float, confidence: float = CONFIDENCE) -> Estimate:
    """The share of violations among all items with a score at or above `threshold`.

    Like all estimates here it is a ratio of weighted sums, Hajek's (1971) form of the estimator of Horvitz and Thompson
    1952, with the interval of `intervals.share_interval`, of `confidence` in (0, 1). Unknown where no such item was
    reviewed.
    """
    above = _above(decisions, threshold)
    if not above.any():
        return UNKNOWN
    return _share(*flagged_tallies(decisions, threshold), int(above.sum()), confidence)


def recall_at(decisions: Decisions, threshold: float, confidence: float = CONFIDENCE) -> Estimate:
    """The share of all violations that have a score at or above `threshold`.

    None missed among the reviewed is not none missed: up to 3.7 items of the heaviest weight under the threshold may
    be. Unknown where nothing under the threshold was reviewed, since then nobody looked for what was missed; and where
    no violation was seen at all. `confidence` in (0, 1).
    """
    above = _above(decisions, threshold)
    if not (~above).any():
        return UNKNOWN
    found, _ = flagged_tallies(decisions, threshold)
    missed, _ = unflagged_tallies(decisions, threshold)
    return _share(found, missed, int(decisions.violations.sum()), confidence)


def prevalence(decisions: Decisions, confidence: float = CONFIDENCE) -> Estimate:
    """The share of violations among all items. Unknown of no decisions. `confidence` in (0, 1)."""
    return precision_at(decisions, 0.0, confidence)


def flagged_at(decisions: Decisions, threshold: float, confidence: float = CONFIDENCE) -> Estimate:
    """The share of all items that have a score at or above `threshold`. Unknown of no decisions."""
    above, weights = _above(decisions, threshold), decisions.weights
    if not len(weights):
        return UNKNOWN
    over = Tally.of(weights[above], _looked_at(decisions, above, threshold))
    under = Tally.of(weights[~above], weights if above.all() else weights[~above])
    return _share(over, under, len(weights), confidence)


def flagged_tallies(decisions: Decisions, threshold: float) -> tuple[Tally, Tally]:
    """(violations, others) among all items with a score at or above `threshold`; there are decisions."""
    above, weights = _above(decisions, threshold), decisions.weights
    looked_at = _looked_at(decisions, above, threshold)
    yes, no = above & decisions.violations, above & ~decisions.violations
    return Tally.of(weights[yes], looked_at), Tally.of(weights[no], looked_at)


def unflagged_tallies(decisions: Decisions, threshold: float) -> tuple[Tally, Tally]:
    """(violations, others) among all items with a score under `threshold`; there are decisions on some."""
    under, weights = ~_above(decisions, threshold), decisions.weights
    yes, no = under & decisions.violations, under & ~decisions.violations
    return Tally.of(weights[yes], weights[under]), Tally.of(weights[no], weights[under])


def shares(name: str, values: npt.ArrayLike) -> Floats:
    """`values` as a float64 array (n,) in [0, 1]. Raises `ValueError` that says `name` for anything else, NaN too."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name}: expected one row of numbers in [0, 1], none of them NaN")
    return array


def truths(name: str, values: npt.ArrayLike) -> Flags:
    """`values` as a bool array (n,). Raises `ValueError` that says `name` unless all are true, false, 0 or 1."""
    array = np.asarray(values)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: expected one row of true and false")
    return array.astype(bool)


def _possible(inclusion: Floats) -> Floats:
    if not (inclusion >= _LEAST_INCLUSION).all():
        raise ValueError(f"inclusion: expected at least {_LEAST_INCLUSION:g}, as each item had a chance to be reviewed")
    return inclusion


def _above(decisions: Decisions, threshold: float) -> Flags:
    if np.isnan(threshold):
        raise ValueError("threshold: not a number")
    above: Flags = decisions.scores >= threshold
    return above


def _looked_at(decisions: Decisions, above: Flags, threshold: float) -> Floats:
    """Weights of what was reviewed at or above `threshold`, and what unseen items there may weigh.

                       threshold
        . .            .  |                  . . . . .        the sample may have missed what lies in the gap, and the
        8 8            8  [     nobody       1 1 1 1 1        score nearer to its beginning tells what that weighs

    All weights where nothing was reviewed there.
    """
    scores, weights = decisions.scores, decisions.weights
    if not above.any():
        return weights
    if above.all():
        return weights[above]
    under = scores[~above].max()
    if threshold - under >= scores[above].min() - threshold:
        return weights[above]
    near: Flags = above | (scores == under)
    return weights[near]


def _share(inside: Tally, outside: Tally, n: int, confidence: float) -> Estimate:
    total = inside.total + outside.total
    return Estimate(inside.total / total if total else None, *share_interval(inside, outside, confidence), n)
