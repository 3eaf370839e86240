"""Thresholds that keep a promise on fresh data from the same source, by testing and by conformal risk control.

Fresh data has the same scores and violations, and reviewers that judge alike; nothing else is assumed, least of all
that scores are probabilities. Each function gives the threshold or None; `thresholds.py` says in words what it means.
"""

from __future__ import annotations

import bisect
import math
from typing import Final

import numpy as np

from vidlm.moderation.estimates import Decisions, flagged_tallies
from vidlm.moderation.intervals import Floats, Tally, chance_of_less

STARTS: Final = 4
"""From where thresholds are tested downwards."""
_GROWTH: Final = 1.1
"""How many more decisions the next threshold in the row has above it."""
_MOST_TRIED: Final = 400


def least_flagged(wanted: float, delta: float) -> int:
    """How many decisions, all of them violations, it takes at least to be sure of a precision of `wanted`."""
    return math.ceil(math.log(delta / STARTS) / math.log(wanted))


def least_recalled(wanted: float, delta: float | None, heaviest: float = 1.0) -> int:
    """How many violations of weight 1, all of them flagged, a promise of a recall of `wanted` in (0, 1) takes at least.

    On average (`delta` None) h / (n + h) <= 1 - wanted, the condition of `recalling_threshold` with nothing missed;
    with `delta` in (0, 1), the test of `surely_recalling_threshold`, which for h = 1 is wanted^n <= delta. h is
    `heaviest` >= 1, the weight that a single missed violation could have.
    """
    if delta is None:
        return math.ceil(heaviest * wanted / (1 - wanted) * (1 - 1e-12))
    none = Tally(0.0, 0.0, heaviest)

    def enough(count: int) -> bool:
        return chance_of_less(Tally(float(count), float(count), heaviest), none, wanted) <= delta * (1 + 1e-9)

    most = 1
    while not enough(most):
        most *= 2
    return bisect.bisect_left(range(most + 1), True, lo=1, key=enough)


def least_scored(share: float) -> int:
    """How many scores, all of them under the threshold, it takes at least to promise that at most a `share` > 0 of
    items is flagged: (0 + 1) / (n + 1) <= share, the condition of `bounded_threshold`."""
    return max(1, math.ceil((1 / share - 1) * (1 - 1e-12)))


def precise_threshold(decisions: Decisions, wanted: float, delta: float) -> float | None:
    """The lowest threshold whose precision is >= `wanted`, with probability >= 1 - `delta`; both in (0, 1).

    Learn then Test, Angelopoulos et al. 2021, arXiv:2110.01052, by fixed sequence testing with several starts: the
    thresholds stand in a row, from high to low, chosen by scores alone. From each start, at level `delta` / STARTS,
    they are tested in order until one fails; every threshold that passed keeps the promise, all at once.

        threshold   .97   .93   .88   .80   .71   .60
        tested       +     +     -                         from the first start
                                 +     +     -             from the second: .80 is the lowest that passed

    A test asks how likely so many violations were if the precision was only `wanted`; of decisions that weigh alike it
    is the exact binomial test.
    """
    row = _row(decisions.scores, least_flagged(wanted, delta))
    lowest = None
    for start in sorted({len(row) * number // STARTS for number in range(STARTS)}):
        for threshold in row[start:]:
            if chance_of_less(*flagged_tallies(decisions, threshold), wanted) > delta / STARTS:
                break
            lowest = threshold if lowest is None else min(lowest, threshold)
    return lowest


def _row(scores: Floats, least: int) -> list[float]:
    """Falling thresholds with at least `least` scores at or above each, and about a tenth more each time."""
    falling = np.sort(scores)[::-1]
    if len(falling) < least:
        return []
    counts = [least]
    while counts[-1] < len(falling):
        counts.append(min(len(falling), math.ceil(counts[-1] * _GROWTH)))
    return list(dict.fromkeys(falling[np.asarray(counts) - 1].tolist()))


def recalling_threshold(decisions: Decisions, wanted: float) -> float | None:
    """The highest threshold under which, expected over fresh data, at most 1 - `wanted` of the violations lie.

    Conformal risk control, Angelopoulos et al. 2022, arXiv:2208.02814, for the loss "a violation is missed": of n
    violations with k under the threshold, (k + 1) / (n + 1) <= 1 - wanted. Decisions that stand for many items count as
    many, and the fresh violation as the heaviest (the weighted form of Tibshirani et al. 2019, arXiv:1904.06019).
    `wanted` in (0, 1).
    """
    scores, weights = _violations(decisions)
    if not len(scores):
        return None
    heaviest = float(decisions.weights.max())
    candidates, first = np.unique(scores, return_index=True)
    missed = np.concatenate([[0.0], np.cumsum(weights)])[first]
    kept = np.flatnonzero(missed + heaviest <= (1 - wanted) * (weights.sum() + heaviest) * (1 + 1e-12))
    return float(candidates[kept[-1]]) if len(kept) else None


def surely_recalling_threshold(decisions: Decisions, wanted: float, delta: float) -> float | None:
    """The highest threshold whose recall is >= `wanted`, with probability >= 1 - `delta`; both in (0, 1).

    Risk-controlling prediction sets, Bates et al. 2021, arXiv:2101.02703: recall only falls as the threshold rises, so
    thresholds are tried upwards until one may well have less than `wanted`, and the one before is taken.
    """
    scores, weights = _violations(decisions)
    candidates = np.unique(scores)
    if len(candidates) > _MOST_TRIED:
        candidates = candidates[np.linspace(0, len(candidates) - 1, _MOST_TRIED).astype(int)]
    found = None
    for threshold in candidates.tolist():
        above = scores >= threshold
        over, under = (Tally.of(weights[part], decisions.weights) for part in (above, ~above))
        if chance_of_less(over, under, wanted) > delta:
            break
        found = threshold
    return found


def bounded_threshold(scores: Floats, share: float) -> float | None:
    """The lowest threshold that, expected over fresh items, at most a `share` > 0 of them reach; 0 from 1 on.

    Conformal risk control as above, for the loss "an item is flagged": (k + 1) / (n + 1) <= share, where k of the n
    `scores` are at or above the threshold: one of them, or the next number above all.
    """
    if share >= 1:
        return 0.0
    candidates = np.unique(np.append(scores, min(1.0, np.nextafter(scores.max(), 2.0))))
    flagged = len(scores) - np.searchsorted(np.sort(scores), candidates)
    kept = np.flatnonzero(flagged + 1 <= share * (len(scores) + 1) * (1 + 1e-12))
    return float(candidates[kept[0]]) if len(kept) else None


def _violations(decisions: Decisions) -> tuple[Floats, Floats]:
    """(scores, weights) of the violations, in order of score."""
    order = np.argsort(decisions.scores, kind="stable")
    order = order[decisions.violations[order]]
    return decisions.scores[order], decisions.weights[order]
