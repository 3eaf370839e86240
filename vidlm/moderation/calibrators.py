"""From scores to probabilities: Platt scaling and isotonic regression, as values that a JSON document holds exactly.

Both are monotone, so they change no order; both stay in [0, 1]; both can be fitted to anything, ties and a single class
too. Whether the fit is worth anything is for `calibration.allowed_method` to say.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vidlm.moderation.estimates import Decisions, shares
from vidlm.moderation.intervals import Floats, effective_count

_LEAST_SCORE: Final = 1e-6
"""Scores nearer to 0 or 1 have no larger odds than this one."""
_STEPS: Final = 100
"""Of Newton's method, at most; about eight are taken."""


@dataclass(frozen=True, slots=True)
class Platt:
    """probability = 1 / (1 + exp(-(slope * logit(score) + intercept))), slope >= 0. Slope 1, intercept 0: as is."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope >= 0):
            raise ValueError(f"not a Platt calibrator: slope {self.slope}, intercept {self.intercept}")

    def apply(self, scores: npt.ArrayLike) -> Floats:
        """Probabilities (n,) of scores (n,) in [0, 1]. Raises `ValueError` for others, NaN too."""
        return _logistic(self.slope * _logit(shares("scores", scores)) + self.intercept)

    def to_document(self) -> dict[str, Any]:
        """As JSON holds it: exactly, since a float's shortest text is read as the same float."""
        return {"method": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A line through points: `scores` rising, `probabilities` never falling, both in [0, 1]; level beyond its ends."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = shares("scores", self.scores), shares("probabilities", self.probabilities)
        if not len(x) or len(x) != len(y) or (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
            raise ValueError(
                "not an isotonic calibrator: expected points with rising scores and no falling probability"
            )

    def apply(self, scores: npt.ArrayLike) -> Floats:
        """Probabilities (n,) of scores (n,) in [0, 1]. Raises `ValueError` for others, NaN too."""
        x, y = np.asarray(self.scores), np.asarray(self.probabilities)
        wanted = np.clip(shares("scores", scores), x[0], x[-1])
        right = np.clip(np.searchsorted(x, wanted), 1, max(1, len(x) - 1)) if len(x) > 1 else np.zeros(len(wanted), int)
        left = np.maximum(right - 1, 0)
        width = x[right] - x[left]
        part = np.divide(wanted - x[left], width, out=np.zeros_like(wanted), where=width > 0)
        return np.asarray(np.minimum(y[left] + part * (y[right] - y[left]), y[right]))  # rounding passes no next point

    def to_document(self) -> dict[str, Any]:
        """As JSON holds it, exactly."""
        return {"method": "isotonic", "scores": list(self.scores), "probabilities": list(self.probabilities)}


Calibrator = Platt | Isotonic


def from_document(document: Mapping[str, Any]) -> Calibrator:
    """The calibrator that `to_document` wrote. Raises `ValueError` for anything else."""
    try:
        match document:
            case {"method": "platt", "slope": slope, "intercept": intercept}:
                return Platt(_number(slope), _number(intercept))
            case {"method": "isotonic", "scores": scores, "probabilities": probabilities}:
                return Isotonic(tuple(map(_number, scores)), tuple(map(_number, probabilities)))
    except TypeError as exc:
        raise ValueError("not a calibrator: a number was expected where there is none") from exc
    raise ValueError("not a calibrator: expected a method, platt or isotonic, and its numbers")


# ---- Platt


def fit_platt(decisions: Decisions) -> Platt:
    """Platt 1999, "Probabilistic outputs for support vector machines", on the logit of the score, weighted.

    The targets are his: (N+ + 1) / (N+ + 2) for violations and 1 / (N- + 2) for others, N what the decisions of a class
    are worth, so that there is a finite best even for a single class. Newton's method with the line search of Lin, Lin
    and Weng 2007, "A note on Platt's probabilistic outputs", on a standardised logit: the loss is convex, so it ends at
    its least. Scores that say the opposite get the best slope that changes no order: 0. Raises `ValueError` of no
    decisions.
    """
    if not len(decisions):
        raise ValueError("no decisions to fit a calibrator to")
    weights, violations = decisions.weights / decisions.weights.sum(), decisions.violations
    yes, no = effective_count(weights[violations]), effective_count(weights[~violations])
    targets = np.where(violations, (yes + 1) / (yes + 2), 1 / (no + 2))
    logits = _logit(decisions.scores)
    centre = float(weights @ logits)
    spread = math.sqrt(float(weights @ (logits - centre) ** 2))
    level = float(weights @ targets)
    flat = Platt(0.0, math.log(level / (1 - level)))
    if spread < 1e-9:  # all scores alike
        return flat
    slope, intercept = _newton((logits - centre) / spread, targets, weights, flat.intercept)
    return Platt(slope / spread, intercept - slope * centre / spread) if slope > 0 else flat


def _newton(x: Floats, targets: Floats, weights: Floats, intercept: float) -> tuple[float, float]:
    """(slope, intercept) of least weighted cross-entropy between logistic(slope * x + intercept) and `targets`."""
    at = np.asarray([0.0, intercept])
    basis = np.column_stack([x, np.ones_like(x)])
    loss = _loss(basis @ at, targets, weights)
    for _ in range(_STEPS):
        predicted = _logistic(basis @ at)
        gradient = basis.T @ (weights * (predicted - targets))
        curvature = (basis.T * (weights * predicted * (1 - predicted))) @ basis
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        if gradient @ step < 1e-15:  # twice what is left to gain
            break
        length = 1.0
        while (tried := _loss(basis @ (at - length * step), targets, weights)) > loss - 1e-4 * length * gradient @ step:
            length /= 2
            if length < 1e-10:  # rounding hides what is left to gain
                return float(at[0]), float(at[1])
        at, loss = at - length * step, tried
    return float(at[0]), float(at[1])


def _loss(logits: Floats, targets: Floats, weights: Floats) -> float:
    return float(weights @ (np.logaddexp(0.0, logits) - targets * logits))


def _logit(scores: Floats) -> Floats:
    inside = np.clip(scores, _LEAST_SCORE, 1 - _LEAST_SCORE)
    return np.asarray(np.log(inside / (1 - inside)))


def _logistic(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -logits))


# ---- isotonic


def fit_isotonic(decisions: Decisions) -> Isotonic:
    """Isotonic regression by pooling adjacent violators, Ayer et al. 1955, weighted; for scores Zadrozny, Elkan 2002.

        shares of equal scores   0   .5   .2   1
        pooled                   0   .35  .35  1        a falling pair becomes its mean, until nothing falls

    A pooled block is level from its first score to its last, and lines join the blocks. Raises `ValueError` of no
    decisions.
    """
    if not len(decisions):
        raise ValueError("no decisions to fit a calibrator to")
    scores, which = np.unique(decisions.scores, return_inverse=True)
    weights = np.bincount(which, weights=decisions.weights)
    found = np.bincount(which, weights=decisions.weights * decisions.violations)
    levels, sizes = _pooled(found.tolist(), weights.tolist())
    ends = list(itertools.accumulate(sizes))
    points: dict[float, float] = {}
    for level, size, end in zip(levels, sizes, ends, strict=True):
        points[float(scores[end - size])] = points[float(scores[end - 1])] = min(1.0, level)
    return Isotonic(tuple(points), tuple(points.values()))


def _pooled(found: Sequence[float], weights: Sequence[float]) -> tuple[list[float], list[int]]:
    """(level, size) of the blocks: rising levels found / weight, and how many neighbours each pools."""
    blocks: list[tuple[float, float, int]] = []
    for one, weight in zip(found, weights, strict=True):
        block = (one, weight, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] >= block[0] / block[1]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    return [block[0] / block[1] for block in blocks], [block[2] for block in blocks]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)
