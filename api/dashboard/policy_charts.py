"""Where the marks of the policies' charts stand: numbers in, coordinates of an SVG out. Templates draw them.

top  +----------------------------+
     |  ___            :     :    |      bars by score, from 0 to 1; thresholds across them
     | |   |___     ___:     :    |
base +----------------------------+
     0           review block     1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vidlm.domain import Policy
from vidlm.moderation.calibration import CalibrationBin
from vidlm.policy.histograms import Histogram

WIDE: Final = 720
HIGH: Final = 248
LEFT: Final = 48
RIGHT: Final = 16
TOP: Final = 40
BASE: Final = 216
SQUARE: Final = 320
_EDGE: Final = 40
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """`[low, high)` of scores, and how many."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something at one place of an axis. `at`: a coordinate."""

    at: float
    text: str
    name: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class HistogramChart:
    width: int
    height: int
    left: int
    right: int
    top: int
    base: int
    logarithmic: bool
    bars: tuple[Bar, ...]
    ups: tuple[Mark, ...]
    acrosses: tuple[Mark, ...]
    thresholds: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A bin of decided videos: its mean score and its share of violations, with the interval's ends."""

    x: float
    y: float
    y_low: float
    y_high: float
    radius: float
    of: CalibrationBin


@dataclass(frozen=True, slots=True)
class ReliabilityChart:
    side: int
    left: float
    base: float
    right: float
    top: float
    points: tuple[Point, ...]
    line: str
    ticks: tuple[Mark, ...]  # both axes have the same; `at` runs from 0 to 1


def score_x(score: float) -> float:
    """Where a score in [0, 1] stands in a histogram."""
    return round(LEFT + score * (WIDE - LEFT - RIGHT), 2)


def histogram_chart(found: Histogram, policy: Policy, *, logarithmic: bool) -> HistogramChart:
    """A histogram with the policy's thresholds across it. Counts on a line, or by log(1 + count)."""
    most = max(found.counts, default=0)
    width = (WIDE - LEFT - RIGHT) / len(found.counts)
    bins = len(found.counts)
    bars = []
    for place, count in enumerate(found.counts):
        height = round((BASE - TOP) * scaled(count, most, logarithmic=logarithmic), 2)
        x = round(score_x(place / bins) + 1, 2)
        bars.append(Bar(x, BASE - height, round(width - 2, 2), height, place / bins, (place + 1) / bins, count))
    ups = tuple(
        Mark(round(BASE - (BASE - TOP) * scaled(count, most, logarithmic=logarithmic), 2), str(count))
        for count in ticks(most, logarithmic=logarithmic)
    )
    review, block = policy.review_threshold, policy.block_threshold
    never = Mark(score_x(1.0), "1", "block", hidden=True)
    lines = (
        Mark(score_x(review), f"{review:.4g}", "review"),
        never if block > 1 else Mark(score_x(block), f"{block:.4g}", "block"),
    )
    return HistogramChart(
        width=WIDE,
        height=HIGH,
        left=LEFT,
        right=WIDE - RIGHT,
        top=TOP,
        base=BASE,
        logarithmic=logarithmic,
        bars=tuple(bars),
        ups=ups,
        acrosses=tuple(Mark(score_x(tenth / 10), f"{tenth / 10:g}") for tenth in range(0, 11, 2)),
        thresholds=lines,
    )


def scaled(count: int, most: int, *, logarithmic: bool) -> float:
    """The share of the chart's height in [0, 1] that a count takes; 0 of nothing at all."""
    if most <= 0:
        return 0.0
    return math.log1p(count) / math.log1p(most) if logarithmic else count / most


def ticks(most: int, *, logarithmic: bool) -> tuple[int, ...]:
    """Round counts up to `most`, few of them: powers of ten, or multiples of 1, 2 or 5 times one; always 0."""
    if most <= 0:
        return (0,)
    if logarithmic:
        return (0, *(10**power for power in range(len(str(most)))))
    rough = max(1.0, most / _TICKS)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return tuple(range(0, most + 1, int(step)))


def reliability_chart(table: Sequence[CalibrationBin]) -> ReliabilityChart:
    """Share of violations by mean score; calibrated scores lie on the diagonal."""
    span = SQUARE - 2 * _EDGE
    heaviest = max((part.count for part in table), default=1)

    def across(value: float) -> float:
        return round(_EDGE + span * value, 2)

    def up(value: float) -> float:
        return round(SQUARE - _EDGE - span * value, 2)

    points = tuple(
        Point(
            x=across(part.mean_score),
            y=up(part.violations.value or 0.0),
            y_low=up(part.violations.low),
            y_high=up(part.violations.high),
            radius=round(3 + 4 * math.sqrt(part.count / heaviest), 2),
            of=part,
        )
        for part in table
        if part.violations.value is not None
    )
    return ReliabilityChart(
        side=SQUARE,
        left=across(0),
        base=up(0),
        right=across(1),
        top=up(1),
        points=points,
        line=" ".join(f"{point.x:g},{point.y:g}" for point in points),
        ticks=tuple(Mark(tenth / 10, f"{tenth / 10:g}") for tenth in range(0, 11, 2)),
    )
