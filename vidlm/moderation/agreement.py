"""How far reviewers agree with one another beyond chance, and with items whose truth is known. Numbers only.

A kappa is (observed - expected) / (1 - expected) of the share of agreeing pairs: 1 is full agreement, 0 what reviewers
reach who only know how common each category is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.moderation.estimates import truths
from vidlm.moderation.intervals import UNKNOWN, Estimate, Floats, wilson

DRAWS: Final = 4000
"""From a posterior, whose 2.5% and 97.5% quantiles are the ends of an interval."""
_LOT: Final = 200
_PRIOR_ITEMS: Final = 2
"""With fewer, intervals missed the truth in one of eight simulations with 200 items and 0.5% violations."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A kappa in [-1, 1], its standard error >= 0 and its 95% interval; `observed` and `expected` are in [0, 1].

    All of the first four are None where kappa is undefined: everybody always said the same, so that chance alone
    explains full agreement, or nothing was judged twice. `items`: how many were judged by two reviewers or more.
    """

    kappa: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    observed: float | None
    expected: float | None
    items: int


@dataclass(frozen=True, slots=True)
class GoldenRecord:
    """A reviewer's decisions on golden items. Shares in [0, 1] with Wilson's 95% intervals, unknown of no items.

    `sensitivity`: of the violations, those seen as such; `specificity`: of the others, those let pass.
    """

    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> Agreement:
    """Cohen's kappa (1960) of two reviewers who both judged n items; `first[i]` and `second[i]` are what item i is to
    them, categories 0, 1, ... or true and false.

    Standard error: Fleiss, Cohen and Everitt 1969, "Large sample standard errors of kappa and weighted kappa".
    The interval is not normal, as that misses the truth far too often where violations are rare: it is that of the
    posterior of the table of pairs of answers (Basu, Banerjee and Sen 2000, "Bayesian inference for kappa") with two
    items spread evenly over the table before, which is Jeffreys' prior for two categories. Raises `ValueError` for
    lengths that differ and for anything but whole numbers >= 0.
    """
    one, other = _categories(first), _categories(second)
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} judgements: not of the same items")
    if not len(one):
        return _undefined(None, None, 0)
    names, coded = np.unique(np.concatenate([one, other]), return_inverse=True)
    k, n = len(names), len(one)
    table = np.bincount(coded[:n] * k + coded[n:], minlength=k * k).reshape(k, k) / n
    observed, expected = (float(share) for share in _cohen_parts(table))
    if k == 1:
        return _undefined(observed, expected, n)
    kappa = (observed - expected) / (1 - expected)
    error = _cohen_error(table, observed, expected) / np.sqrt(n)
    tables = _posterior(table.ravel() * n + _PRIOR_ITEMS / k**2, np.eye(k * k)).reshape(-1, k, k)
    return _agreement(kappa, float(error), _kappa(*_cohen_parts(tables)), (observed, expected, n))


def fleiss_kappa(counts: npt.ArrayLike) -> Agreement:
    """Fleiss' kappa (1971) of many reviewers: `counts[i, j]` of them said that item i is of category j.

    Items may have different numbers r_i of reviewers; those with fewer than two say nothing and are left out. Observed
    is the mean over items of sum_j n_ij (n_ij - 1) / (r_i (r_i - 1)), expected the sum over categories of p_j^2 with
    p_j the mean over items of n_ij / r_i; with equal r_i these are Fleiss' own. Standard error: by linearisation over
    items, Gwet 2021, "Large-sample variance of Fleiss generalized kappa". The interval is that of the Bayesian
    bootstrap over items (Rubin 1981), with the prior of `cohen_kappa`: two items, spread evenly over the answers of
    two reviewers. Raises `ValueError` unless counts are a table of whole numbers >= 0.
    """
    given = np.asarray(counts, dtype=np.float64)
    if given.ndim != 2 or not _whole(given):
        raise ValueError("counts: expected a table, items by categories, of whole numbers >= 0")
    rated = given[given.sum(axis=1) >= 2]
    rated = rated[:, rated.any(axis=0)]
    n, k = rated.shape
    if not n:
        return _undefined(None, None, 0)
    rows, times = np.unique(rated, axis=0, return_counts=True)
    agreed, said = _fleiss_parts(rows)
    observed, shares = float(times @ agreed) / n, times @ said / n
    expected = float((shares**2).sum())
    if k == 1:
        return _undefined(observed, expected, n)
    kappa = (observed - expected) / (1 - expected)
    linear = (agreed - expected - 2 * (1 - kappa) * (said @ shares - expected)) / (1 - expected) - kappa
    error = float(np.sqrt((times @ linear**2) / (n * max(1, n - 1))))
    coins = np.asarray([np.eye(k)[a] + np.eye(k)[b] for a in range(k) for b in range(k)])
    parts = np.column_stack(_fleiss_parts(np.concatenate([rows, coins])))
    drawn = _posterior(np.concatenate([times, np.full(k * k, _PRIOR_ITEMS / k**2)]), parts)
    return _agreement(kappa, error, _kappa(drawn[:, 0], (drawn[:, 1:] ** 2).sum(axis=1)), (observed, expected, n))


def golden_record(said: npt.ArrayLike, truth: npt.ArrayLike) -> GoldenRecord:
    """What a reviewer `said` of n golden items against the `truth`, both true for a violation.

    Raises `ValueError` for lengths that differ and for anything but true and false.
    """
    judged, known = truths("said", said), truths("truth", truth)
    if len(judged) != len(known):
        raise ValueError(f"{len(judged)} judgements of {len(known)} golden items")
    right = judged == known
    return GoldenRecord(
        accuracy=_counted(int(right.sum()), len(right)),
        sensitivity=_counted(int(right[known].sum()), int(known.sum())),
        specificity=_counted(int(right[~known].sum()), int((~known).sum())),
    )


def _counted(right: int, count: int) -> Estimate:
    return Estimate(right / count, *wilson(right, count), count) if count else UNKNOWN


def _categories(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not _whole(array):
        raise ValueError("judgements: expected one row of categories 0, 1, ...")
    return array.astype(np.int64)


def _whole(values: Floats) -> bool:
    return bool(((values >= 0) & (values == np.floor(values)) & (values < 2**53)).all())


def _cohen_parts(table: Floats) -> tuple[Floats, Floats]:
    """(observed, expected) of tables of shares (..., k, k)."""
    observed = np.trace(table, axis1=-2, axis2=-1)
    return observed, (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1)


def _cohen_error(table: Floats, observed: float, expected: float) -> float:
    """The standard error of one item, of a table of shares (k, k)."""
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    same = np.diag(table)
    diagonal = same @ ((1 - expected) - (rows + columns) * (1 - observed)) ** 2
    sums = (columns[:, None] + rows[None, :]) ** 2
    others = (1 - observed) ** 2 * ((table * sums).sum() - same @ np.diag(sums))
    variance = diagonal + others - (observed * expected - 2 * expected + observed) ** 2
    return float(np.sqrt(max(0.0, variance)) / (1 - expected) ** 2)


def _fleiss_parts(rows: Floats) -> tuple[Floats, Floats]:
    """(share of agreeing pairs (n,), share of each category (n, k)) of rows of counts (n, k)."""
    raters = rows.sum(axis=1)
    return (rows * (rows - 1)).sum(axis=1) / (raters * (raters - 1)), rows / raters[:, None]


def _posterior(weights: Floats, values: Floats) -> Floats:
    """Means (DRAWS, v) of the rows of `values` (n, v), weighted by draws from the Dirichlet distribution of `weights`.

    The draws are always the same, so that a figure can be computed again; a lot at a time, so that n may be large.
    """
    rng = np.random.default_rng(0)
    return np.concatenate([rng.dirichlet(weights, size=_LOT) @ values for _ in range(DRAWS // _LOT)])


def _kappa(observed: Floats, expected: Floats) -> Floats:
    """For chances that leave no doubt at all, expected = 1, the draw says nothing: 0."""
    room = 1 - expected
    return np.divide(observed - expected, room, out=np.zeros_like(room), where=room > 0)


def _agreement(kappa: float, error: float, draws: Floats, parts: tuple[float, float, int]) -> Agreement:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Agreement(kappa, error, min(kappa, float(low)), max(kappa, float(high)), *parts)


def _undefined(observed: float | None, expected: float | None, items: int) -> Agreement:
    return Agreement(None, None, None, None, observed, expected, items)
