"""Suggested thresholds: for a wanted precision, a wanted recall or a wanted length of the queue, each with its promise.

A suggestion says what the threshold is expected to do, what is promised of it, or in a sentence why there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy.typing as npt

from vidlm.moderation import promises
from vidlm.moderation.estimates import Decisions, Performance, performance_at, shares
from vidlm.moderation.intervals import Floats, Tally, share_interval

DELTA: Final = 0.1
"""How often a promise "with probability" may be broken: once in ten suggestions."""


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """What comes in: `scores` (n,) in [0, 1] of a random sample of all items, and `items_per_day` > 0. Made by `of`."""

    scores: Floats
    items_per_day: float

    @classmethod
    def of(cls, scores: npt.ArrayLike, items_per_day: float) -> Traffic:
        """Raises `ValueError` for other ranges, NaN, and no scores at all."""
        checked = shares("scores", scores)
        if not len(checked) or not 0 < items_per_day < math.inf:
            raise ValueError(f"{len(checked)} scores of {items_per_day} items a day: expected some of both")
        return cls(checked, float(items_per_day))


@dataclass(frozen=True, slots=True)
class Queue:
    """Items flagged a day: the expected number, and the 95% interval of that, in [0, items_per_day]."""

    items_per_day: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold in [0, 1] and what is expected of it; or None, and the `reason` in a sentence.

    `promise`: what holds on fresh data from the same source, a sentence. `expected`: precision, recall and share of
    items flagged, None where there are no decisions to tell; `queue`: None where no traffic was given.
    """

    threshold: float | None
    promise: str
    reason: str
    expected: Performance | None
    queue: Queue | None


def threshold_for_precision(
    decisions: Decisions, wanted: float, *, delta: float = DELTA, traffic: Traffic | None = None
) -> Suggestion:
    """The lowest threshold sure to have the `wanted` precision in (0, 1): of these it has the highest recall.

    The promise is broken with a probability of at most `delta` in (0, 1). Raises `ValueError` for other values.
    """
    _inside("wanted", wanted)
    _inside("delta", delta)
    promise = f"With probability {1 - delta:g}, at least {wanted:g} of what it flags are violations."
    needed = promises.least_flagged(wanted, delta)
    found = promises.precise_threshold(decisions, wanted, delta)
    reason = f"No threshold can promise it: nowhere do enough of the {len(decisions)} decisions say violation."
    if len(decisions) < needed:
        reason = f"There are {len(decisions)} decisions, and at least {needed} are needed for such a promise."
    return _suggestion(found, promise, reason, decisions, traffic)


def threshold_for_recall(
    decisions: Decisions, wanted: float, *, delta: float | None = None, traffic: Traffic | None = None
) -> Suggestion:
    """The highest threshold that has the `wanted` recall in (0, 1): of these it has the shortest queue.

    Without `delta` the recall is promised on average over suggestions like this one, with it in a share of 1 - `delta`
    of them, which asks for a lower threshold. It is the recall among items that had a chance to be reviewed: without a
    random sample of what is not flagged, nobody knows what is missed. Raises `ValueError` for values outside (0, 1).
    """
    _inside("wanted", wanted)
    if delta is None:
        promise = f"On average, at least {wanted:g} of the violations are flagged."
        found = promises.recalling_threshold(decisions, wanted)
    else:
        _inside("delta", delta)
        promise = f"With probability {1 - delta:g}, at least {wanted:g} of the violations are flagged."
        found = promises.surely_recalling_threshold(decisions, wanted, delta)
    seen = int(decisions.violations.sum())
    reason = f"No threshold can promise it: {seen} violations were seen"
    if seen and decisions.weights.max() > 1:
        reason += f", and a single missed one may stand for {decisions.weights.max():g}"
    return _suggestion(found, promise, f"{reason}.", decisions, traffic)


def threshold_for_queue(traffic: Traffic, most_per_day: float, *, decisions: Decisions | None = None) -> Suggestion:
    """The lowest threshold that flags at most `most_per_day` > 0 items a day: of these it misses least.

    Raises `ValueError` for other values.
    """
    if not 0 < most_per_day < math.inf:
        raise ValueError(f"most_per_day: expected more than 0, not {most_per_day}")
    promise = f"On average, at most {most_per_day:g} of {traffic.items_per_day:g} items a day are flagged."
    found = promises.bounded_threshold(traffic.scores, most_per_day / traffic.items_per_day)
    reason = f"No threshold can promise it: {len(traffic.scores)} scores are too few, or too many are 1."
    return _suggestion(found, promise, reason, decisions, traffic)


def queue_at(traffic: Traffic, threshold: float) -> Queue:
    """How many items a day reach `threshold`. The interval is of the mean day; days themselves vary more."""
    count = len(traffic.scores)
    flagged = int((traffic.scores >= threshold).sum())
    over, under = (Tally(float(part), float(part), 1.0) for part in (flagged, count - flagged))
    low, high = share_interval(over, under)
    day = traffic.items_per_day
    return Queue(day * flagged / count, day * low, day * high)


def _suggestion(
    threshold: float | None, promise: str, reason: str, decisions: Decisions | None, traffic: Traffic | None
) -> Suggestion:
    if threshold is None:
        return Suggestion(None, promise, reason, None, None)
    expected = performance_at(decisions, threshold) if decisions is not None else None
    return Suggestion(threshold, promise, "", expected, queue_at(traffic, threshold) if traffic is not None else None)


def _inside(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, not {value}")
