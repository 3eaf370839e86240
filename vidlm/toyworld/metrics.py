"""Figures of merit on plain arrays, and their confidence intervals. Pure numpy; knows nothing of videos or models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.domain import Span

RESAMPLES: Final = 400
Floats = npt.NDArray[np.float64]


def auroc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the chance that a positive outscores a negative, ties counting half.

    By ranks (Mann-Whitney U). NaN where one of the classes is empty.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def recall_at_false_positive_rate(scores: Floats, positive: npt.NDArray[np.bool_], rate: float) -> float:
    """Recall at the lowest threshold that lets at most `rate` of the negatives through. NaN without both classes."""
    negatives = np.sort(scores[~positive])[::-1]
    if not len(negatives) or not positive.any():
        return float("nan")
    threshold = negatives[min(int(rate * len(negatives)), len(negatives) - 1)]
    return float((scores[positive] > threshold).mean())


def expected_calibration_error(scores: Floats, positive: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """ECE over equal-width bins of P(Yes): the mean of |share of positives - mean score|, weighted by bin size.

    Guo et al. 2017, arXiv:1706.04599, for a binary event.
    """
    if not len(scores):
        return float("nan")
    index = np.minimum((scores * bins).astype(int), bins - 1)
    total = 0.0
    for number in np.unique(index):
        inside = index == number
        total += inside.mean() * abs(float(positive[inside].mean()) - float(scores[inside].mean()))
    return float(total)


def temporal_iou(found: Sequence[Span], truth: Span) -> float:
    """Intersection over union of the best of the found intervals with the true one; 0 where nothing was found."""
    best = 0.0
    for span in found:
        shared = min(span.end_s, truth.end_s) - max(span.start_s, truth.start_s)
        union = max(span.end_s, truth.end_s) - min(span.start_s, truth.start_s)
        best = max(best, shared / union if shared > 0 and union > 0 else 0.0)
    return best


def bootstrap(
    clusters: Sequence[int], figure: Callable[[npt.NDArray[np.int64]], float], seed: int = 0
) -> tuple[float, float, float]:
    """(value, low, high): a figure and its 95% percentile interval, resampling whole clusters (clips).

    `clusters[i]` is the clip that observation i came from; `figure` takes indices of observations. Observations of one
    clip are alike, so the clip is what is drawn again.
    """
    owners = np.asarray(clusters, dtype=np.int64)
    if not len(owners):
        return float("nan"), float("nan"), float("nan")
    value = figure(np.arange(len(owners)))
    members = [np.flatnonzero(owners == owner) for owner in np.unique(owners)]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(members), size=len(members))
        draws.append(figure(np.concatenate([members[index] for index in chosen])))
    known = np.asarray([draw for draw in draws if not np.isnan(draw)])
    if not len(known):
        return value, float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return value, float(low), float(high)
