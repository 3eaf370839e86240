"""Rows of an evaluation's table: a figure, its 95% interval and how many observations it rests on.

The shape is that of the toy world's table, `{name, value, low, high, bar, at_least, n}`, without a bar: what is good
enough on somebody's own videos is for them to say. What cannot be known (nothing to divide by) is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vidlm.evaluation import metrics

Row = dict[str, Any]


def known(value: float) -> float | None:
    """A figure as documents carry it: four decimals, None for NaN."""
    return None if math.isnan(value) else round(float(value), 4)


def row(name: str, value: float, low: float, high: float, n: int, *, at_least: bool = True) -> Row:
    """One row; `at_least` says that more is better."""
    return {
        "name": name,
        "value": known(value),
        "low": known(low),
        "high": known(high),
        "bar": None,
        "at_least": at_least,
        "n": n,
    }


def share(name: str, successes: int, n: int, *, at_least: bool = True) -> Row:
    """A share of independent trials, with Wilson's interval."""
    return row(name, successes / n if n else math.nan, *metrics.wilson(successes, n), n, at_least=at_least)


def sampled(
    name: str, owners: Sequence[int], figure: Callable[[npt.NDArray[np.int64]], float], *, at_least: bool = True
) -> Row:
    """A figure of observations that belong to videos `owners`; the interval comes from drawing whole videos again."""
    return row(name, *metrics.bootstrap(owners, figure), len(owners), at_least=at_least)
