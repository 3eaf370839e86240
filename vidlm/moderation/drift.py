"""Is today like the past? Scores and overturned flags of one policy, each tested at a stated rate of false alarms.

A test is asked once a day and policy: at a rate of 0.01, one quiet day in a hundred raises an alarm that means nothing.
Asked of all policies at once, p-values are to be `corrected` first: the rate is then that of a day, not of a question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.moderation.distributions import chi_square_survival, hypergeometric_survival, kolmogorov_survival
from vidlm.moderation.estimates import shares
from vidlm.moderation.intervals import Floats

FALSE_ALARMS: Final = 0.01
"""Share of days on which nothing changed and an alarm is raised all the same, at most."""
PSI_BINS: Final = 10
_LEAST_IN_BIN: Final = 5
"""Expected in a bin, for the chi-square distribution to hold (Cochran 1954)."""
_LEAST_SCORES: Final = 20
_LEAST_FLAGS: Final = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """One test of today against the past.

    `statistic`: what was measured, >= 0; `expected`: what it is on average when nothing has changed; `p_value` in
    [0, 1]: how often it is as large then. `alarm`: p_value <= the rate of false alarms, None where there are too few to
    tell. The first three are None then too. `reason`: what was found, in a sentence.
    """

    statistic: float | None
    expected: float | None
    p_value: float | None
    alarm: bool | None
    reason: str


def population_stability(
    past: npt.ArrayLike, today: npt.ArrayLike, *, false_alarms: float = FALSE_ALARMS, bins: int = PSI_BINS
) -> Drift:
    """Population stability index: the sum over bins of (q - p) ln(q / p), p and q the shares of the past and of today.

    Bins are the past's quantiles, at most `bins` >= 2, fewer on a small day so that five of today's scores are expected
    in each. Half a score is added to every bin, so that an empty one is finite. When nothing has changed it is (1 / n +
    1 / m) times a chi-square variable with bins - 1 degrees of freedom, n and m the numbers of scores (Yurdakul and
    Naranjo 2020, "Statistical properties of the population stability index"): small days are large by chance. The usual
    "0.1: look, 0.25: act" (Siddiqi 2006) knows no n and m. Raises `ValueError` for scores outside [0, 1] and NaN.
    """
    before, now = _checked(past, today, false_alarms)
    if bins < 2:
        raise ValueError(f"bins: expected at least 2, not {bins}")
    if min(len(before), len(now)) < _LEAST_SCORES:
        return _too_few("scores", len(before), len(now), _LEAST_SCORES)
    edges = _edges(before, min(bins, len(now) // _LEAST_IN_BIN, len(before) // _LEAST_IN_BIN), len(now))
    if not len(edges):
        return Drift(None, None, None, None, "Nearly all scores of the past are the same, which leaves no bins.")
    counts = [
        np.bincount(np.searchsorted(edges, part, side="right"), minlength=len(edges) + 1) + 0.5
        for part in (before, now)
    ]
    p, q = (part / part.sum() for part in counts)
    index = float(((q - p) * np.log(q / p)).sum())
    scale = 1 / len(before) + 1 / len(now)
    chance = chi_square_survival(index / scale, len(edges))
    return _judged(index, scale * len(edges), chance, false_alarms, "The population stability index")


def kolmogorov_smirnov(past: npt.ArrayLike, today: npt.ArrayLike, *, false_alarms: float = FALSE_ALARMS) -> Drift:
    """The largest distance in [0, 1] between the two distribution functions, of two samples.

    Smirnov 1948; the p-value is that of Kolmogorov's limit at (r + 0.12 + 0.11 / r) D, r = sqrt(n m / (n + m)), of
    Stephens 1970. With ties it is too large, so that there are fewer false alarms, never more. Raises `ValueError` for
    scores outside [0, 1] and NaN.
    """
    before, now = _checked(past, today, false_alarms)
    if min(len(before), len(now)) < _LEAST_SCORES:
        return _too_few("scores", len(before), len(now), _LEAST_SCORES)
    both = np.concatenate([before, now])
    below = [np.searchsorted(np.sort(part), both, side="right") / len(part) for part in (before, now)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = math.sqrt(len(before) * len(now) / (len(before) + len(now)))
    mean = math.sqrt(math.pi / 2) * math.log(2) / root  # of Kolmogorov's limit
    chance = kolmogorov_survival((root + 0.12 + 0.11 / root) * distance)
    return _judged(distance, mean, chance, false_alarms, "The distance of the distributions")


def overturn_alarm(past: tuple[int, int], today: tuple[int, int], *, false_alarms: float = FALSE_ALARMS) -> Drift:
    """Are more flags overturned today than in the past? Each pair is (rejected by reviewers, flags decided).

    `statistic` is today's share, `expected` the past's. Fisher's exact test (1935), one-sided: the past is a sample
    too, and a binomial test against its share as if it were known would cry wolf. Raises `ValueError` unless
    0 <= rejected <= decided.
    """
    _rate(false_alarms)
    for rejected, decided in (past, today):
        if not 0 <= rejected <= decided:
            raise ValueError(f"{rejected} of {decided} flags rejected: cannot be")
    if min(past[1], today[1]) < _LEAST_FLAGS:
        return _too_few("decided flags", past[1], today[1], _LEAST_FLAGS)
    chance = hypergeometric_survival(today[0], past[0] + today[0], today[1], past[1] + today[1])
    return _judged(today[0] / today[1], past[0] / past[1], chance, false_alarms, "The share of overturned flags")


def corrected(p_values: Sequence[float]) -> list[float]:
    """P-values in [0, 1] of questions asked together, each made as large as their number asks for, in the same order.

    Holm 1979, "A simple sequentially rejective multiple test procedure": of m, the smallest is multiplied by m, the
    next by m - 1, and so on, and none ends below a smaller one. Whatever depends on what, an alarm at corrected <= rate
    is false on at most that share of quiet days, all questions together.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    grown = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    result = np.empty_like(values)
    result[order] = np.minimum(1.0, grown)
    return [float(value) for value in result]


def _checked(past: npt.ArrayLike, today: npt.ArrayLike, false_alarms: float) -> tuple[Floats, Floats]:
    _rate(false_alarms)
    return shares("past", past), shares("today", today)


def _rate(false_alarms: float) -> None:
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms: expected a number between 0 and 1, not {false_alarms}")


def _edges(past: Floats, bins: int, today: int) -> Floats:
    """Inner edges of `bins` bins, [edge, next), at the past's quantiles, without those that leave too few in a bin."""
    ordered = np.sort(past)
    kept: list[float] = []
    filled = 0
    least = _LEAST_IN_BIN * max(1.0, len(past) / today)  # in the past, for so many to be expected today
    for edge in np.unique(ordered[np.arange(1, bins) * len(past) // bins]).tolist():
        below = int(np.searchsorted(ordered, edge))
        if below - filled >= least and len(past) - below >= least:
            kept.append(edge)
            filled = below
    return np.asarray(kept)


def _too_few(what: str, past: int, today: int, least: int) -> Drift:
    return Drift(
        None, None, None, None, f"Too few to tell: {past} {what} in the past and {today} today, {least} needed."
    )


def _judged(statistic: float, expected: float, chance: float, false_alarms: float, what: str) -> Drift:
    alarm = chance <= false_alarms
    verdict = "more than chance explains" if alarm else "as chance would have it"
    reason = f"{what} is {statistic:.3g} where {expected:.3g} is expected (p = {chance:.2g}): {verdict}."
    return Drift(statistic, expected, chance, alarm, reason)
