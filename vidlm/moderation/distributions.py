"""The few distribution functions that tests and intervals need and numpy does not have. Numbers in, numbers out.

Formulas with a number in brackets are those of the NIST Digital Library of Mathematical Functions (dlmf.nist.gov).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

_TINY: Final = 1e-300
"""Stands for a zero that would be divided by."""
_ENOUGH: Final = 1e-14
"""Relative change from which on a series or a search is at its end."""


# ---- beta: shares


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) of X ~ Beta(a, b): the regularised incomplete beta function. [8.17.22]

    `x` in [0, 1], `a` and `b` above 0. Of whole numbers it is a binomial tail, P(Binomial(a + b - 1, x) >= a). [8.17.5]
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    log_density = a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)
    if x < (a + 1) / (a + b + 2):  # there the fraction converges fast; beyond, its mirror image does
        return math.exp(log_density) / a * _beta_fraction(x, a, b)
    return 1 - math.exp(log_density) / b * _beta_fraction(1 - x, b, a)


def beta_quantile_logit(level: float, a: float, b: float) -> float:
    """log(x / (1 - x)) of the x with P(X <= x) = `level`, X ~ Beta(a, b); shares close to 0 or 1 stay exact.

    `level` in (0, 1), `a` and `b` above 0. Newton's steps, halved into the bracket where they leave it.
    """
    low, high = -700.0, 700.0
    logit = math.log(a / b)
    for _ in range(200):
        x = _logistic(logit)
        miss = beta_cdf(x, a, b) - level
        low, high = (low, logit) if miss > 0 else (logit, high)
        slope = math.exp(a * _log_logistic(logit) + b * _log_logistic(-logit) - _log_beta(a, b))
        newton = logit - miss / slope if slope > _TINY else math.inf
        step = newton if low < newton < high else (low + high) / 2
        if abs(step - logit) < 1e-12 * max(1.0, abs(logit)):
            break
        logit = step
    return logit


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 / (1 + d1 / (1 + d2 / ...)) of [8.17.22], from its front by Lentz [3.10(iii)]."""
    value, c, d = 1.0, math.inf, 1.0
    for step in range(1, 100_000):  # about sqrt(max(a, b)) are needed
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _not_zero(1 + term * d)
        c = _not_zero(1 + term / c)
        value *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _logistic(logit: float) -> float:
    return math.exp(_log_logistic(logit))


def _log_logistic(logit: float) -> float:
    return -math.log1p(math.exp(-logit)) if logit > 0 else logit - math.log1p(math.exp(logit))


# ---- what drift is tested with


def chi_square_survival(value: float, freedom: int) -> float:
    """P(X > value) of a chi-square X with a whole number `freedom` >= 1 of degrees of freedom. [8.4]"""
    half = max(0.0, value) / 2
    if not half:
        return 1.0
    first = 1.0 if freedom % 2 == 0 else 0.5
    terms = np.arange(first, freedom / 2)
    logs = terms * math.log(half) - half - np.asarray([math.lgamma(term + 1) for term in terms])
    start = math.exp(-half) if freedom % 2 == 0 else math.erfc(math.sqrt(half))
    return min(1.0, start + float(np.exp(logs).sum()))


def kolmogorov_survival(value: float) -> float:
    """P(K > value) of Kolmogorov's limit: 2 sum over k of (-1)^(k - 1) exp(-2 k^2 value^2).

    Smirnov 1948, "Table for estimating the goodness of fit"; below 1 by the sum's theta transform [20.7(viii)], as the
    series itself converges slowly there.
    """
    if value <= 0.05:
        return 1.0  # to twenty digits
    k = np.arange(1, 21)
    if value < 1:
        theta = np.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * value**2)).sum()
        return max(0.0, 1 - math.sqrt(2 * math.pi) / value * float(theta))
    return 2 * float(((-1.0) ** (k - 1) * np.exp(-2 * k**2 * value**2)).sum())


def hypergeometric_survival(drawn: int, marked: int, taken: int, total: int) -> float:
    """P(X >= drawn): of `total` items `marked` are marked, `taken` are taken blindly, and X of these are marked."""
    most = min(marked, taken)
    least = max(0, taken + marked - total)
    if drawn <= least:
        return 1.0
    chances = [
        _log_choose(marked, x) + _log_choose(total - marked, taken - x) - _log_choose(total, taken)
        for x in range(drawn, most + 1)
    ]
    return min(1.0, math.fsum(math.exp(chance) for chance in chances))


def _log_choose(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
