"""How sure a share is: of independent trials, and of decisions that stand for many items each. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.moderation.distributions import beta_cdf, beta_quantile_logit

Z_95: Final = 1.959963984540054
"""The normal distribution's 97.5% quantile."""
CONFIDENCE: Final = 0.95
"""Of every interval that does not say otherwise."""
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share and its interval, all in [0, 1]. `n`: decisions it rests on.

    `value` is None where nothing is known of it, as where there is nothing to divide by; the interval is (0, 1) then.
    """

    value: float | None
    low: float
    high: float
    n: int


UNKNOWN: Final = Estimate(None, 0.0, 1.0, 0)


def wilson(successes: int, count: int) -> tuple[float, float]:
    """(low, high): the 95% score interval of a share, Wilson 1927, "Probable inference". NaN of nothing.

    It stays in [0, 1] and has a width also where all or none succeeded. Trials are taken to be independent.
    """
    if not count:
        return float("nan"), float("nan")
    share, spread = successes / count, Z_95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * float(np.sqrt(share * (1 - share) / count + spread / (4 * count)))
    return max(0.0, centre - half), min(1.0, centre + half)


def effective_count(weights: Floats) -> float:
    """(sum w)^2 / (sum w^2): as many decisions of one weight would be worth as much (Kish 1965). 0 of none."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """A weighted count of things found: the sum of their weights, of the weights' squares, and the heaviest.

    `heaviest` is of all that was looked at, whether it was such a thing or not: so much one more find could weigh.
    """

    total: float
    squares: float
    heaviest: float

    @classmethod
    def of(cls, found: Floats, looked_at: Floats) -> Tally:
        """`found`: weights (> 0) of what was found; `looked_at`: of all in which it could have been, at least one."""
        return cls(float(found.sum()), float((found**2).sum()), float(looked_at.max()))

    def least(self) -> tuple[float, float]:
        """(shape, scale) of the gamma distribution whose low quantiles are the count's lower limits; (0, 1) of none."""
        return (self.total**2 / self.squares, self.squares / self.total) if self.total else (0.0, 1.0)

    def most(self) -> tuple[float, float]:
        """(shape, scale) of the gamma distribution whose high quantiles are the count's upper limits."""
        total, squares = self.total + self.heaviest, self.squares + self.heaviest**2
        return total**2 / squares, squares / total


def share_interval(inside: Tally, outside: Tally, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """(low, high) of inside / (inside + outside), two weighted counts of which neither holds a part of the other.

    A weighted count has the gamma limits of Fay and Feuer 1997, "Confidence intervals for directly standardized rates":
    what was found counts as (sum w)^2 / (sum w^2) finds of one weight, and the upper limit adds one find of the
    heaviest weight. So a handful of heavy finds is as unsure as it is, and none found is not none there. The limits of
    both counts make those of their ratio by melding (Fay, Proschan and Brittain 2015, "Combining one-sample confidence
    procedures for inference in the two-sample case"): the share is lowest where `inside` is least and `outside` most.

        inside  ~ scale1 * Gamma(a)
        outside ~ scale2 * Gamma(b)      odds of the share ~ scale1 / scale2 * odds of Beta(a, b)

    With weights of one it is the exact interval of Clopper and Pearson 1934. `confidence` in (0, 1), half of the rest
    on either side.
    """
    tail = (1 - confidence) / 2
    low = _share(tail, inside.least(), outside.most())
    return low, 1 - _share(tail, outside.least(), inside.most())


def chance_of_less(inside: Tally, outside: Tally, share: float) -> float:
    """The p-value of "inside / (inside + outside) is less than `share`", in [0, 1]: small is sure that it is not.

    It is at most t where the lower end of `share_interval` at confidence 1 - 2 t is at least `share`, in (0, 1).
    """
    (shape, scale), (other_shape, other_scale) = inside.least(), outside.most()
    if not shape:
        return 1.0
    odds = share / (1 - share) * other_scale / scale
    return beta_cdf(odds / (1 + odds), shape, other_shape)


def _share(level: float, least: tuple[float, float], most: tuple[float, float]) -> float:
    """The quantile of X / (X + Y) for gammas X ~ `least` and Y ~ `most`, each (shape, scale); 0 of shape 0."""
    if not least[0]:
        return 0.0
    logit = beta_quantile_logit(level, least[0], most[0]) + math.log(least[1] / most[1])
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
