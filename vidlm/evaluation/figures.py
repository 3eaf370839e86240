"""Rows of an evaluation's table: a figure, its 95% interval and how many observations it rests on.

`{name, value, low, high, bar, at_least, n}`. The toy world has bars; what is good enough on somebody's own videos is
for them to say, and `bar` is None there. So is what cannot be known (nothing to divide by).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vidlm.evaluation import metrics
from vidlm.moderation.intervals import wilson

Row = dict[str, Any]


def known(value: float) -> float | None:
    """A figure as documents carry it: four decimals, None for NaN."""
    return None if math.isnan(value) else round(float(value), 4)


def row(
    name: str, value: float, interval: tuple[float, float], n: int, *, bar: float | None = None, at_least: bool = True
) -> Row:
    """One row: a figure of `n` observations, its (low, high), from where it is good enough, and on which side."""
    return {
        "name": name,
        "value": known(value),
        "low": known(interval[0]),
        "high": known(interval[1]),
        "bar": bar,
        "at_least": at_least,
        "n": n,
    }


def share(name: str, successes: int, n: int, *, at_least: bool = True) -> Row:
    """A share of independent trials, with Wilson's interval."""
    return row(name, successes / n if n else math.nan, wilson(successes, n), n, at_least=at_least)


def sampled(
    name: str,
    owners: Sequence[int],
    figure: Callable[[npt.NDArray[np.int64]], float],
    *,
    bar: float | None = None,
    at_least: bool = True,
) -> Row:
    """A figure of observations that belong to videos `owners`; the interval comes from drawing whole videos again."""
    value, low, high = metrics.bootstrap(owners, figure)
    return row(name, value, (low, high), len(owners), bar=bar, at_least=at_least)
