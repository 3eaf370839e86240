"""Figures of merit on plain arrays, and their confidence intervals. Pure numpy; knows nothing of videos or models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.domain import Span

RESAMPLES: Final = 400
BINS: Final = 15
"""Of P(Yes), in reliability diagrams and the calibration error."""
GROUNDING_IOUS: Final = (0.3, 0.5, 0.7)
"""Overlaps from which a predicted interval counts as found."""
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


# ---- ranking: scores against the truth


def auroc(scores: Floats, positive: Flags) -> float:
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


def recall_at_false_positive_rate(scores: Floats, positive: Flags, rate: float) -> float:
    """Recall at the lowest threshold that lets at most `rate` of the negatives through. NaN without both classes."""
    negatives = np.sort(scores[~positive])[::-1]
    if not len(negatives) or not positive.any():
        return float("nan")
    threshold = negatives[min(int(rate * len(negatives)), len(negatives) - 1)]
    return float((scores[positive] > threshold).mean())


def average_precision(scores: Floats, positive: Flags) -> float:
    """Sum over falling thresholds of precision times the recall gained: no interpolation, equal scores at one step.

    Non-interpolated average precision, Manning, Raghavan, Schuetze, "Introduction to Information Retrieval", 8.4, with
    ties together as scikit-learn's `average_precision_score` has them. NaN without positives.
    """
    if not positive.any():
        return float("nan")
    _, right, flagged = _steps(scores, positive)
    return float((np.diff(right, prepend=0) * (right / flagged)).sum() / right[-1])


def _steps(scores: Floats, positive: Flags) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct scores as thresholds, falling; of the scores at or above each, how many are positive, and how many."""
    thresholds, where, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    hits = np.bincount(where, weights=positive, minlength=len(thresholds)).astype(np.int64)
    return -thresholds, np.cumsum(hits), np.cumsum(counts)


# ---- decisions: what a threshold makes of the scores


def balanced_accuracy(decided: Flags, positive: Flags) -> float:
    """The mean of the shares of positives and of negatives that are decided rightly: 0.5 for whoever always says No.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution". NaN where a class is empty.
    """
    if positive.all() or not positive.any():
        return float("nan")
    return float((decided[positive].mean() + (~decided[~positive]).mean()) / 2)


@dataclass(frozen=True, slots=True)
class Decision:
    """Scores at or above `threshold` are flagged: `right` of the `flagged` ones, of `positives` there are."""

    threshold: float
    right: int
    flagged: int
    positives: int

    @property
    def precision(self) -> float:
        """Share of the flagged that are positive; NaN where nothing is flagged."""
        return self.right / self.flagged if self.flagged else float("nan")

    @property
    def recall(self) -> float:
        """Share of the positives that are flagged; NaN where there are none."""
        return self.right / self.positives if self.positives else float("nan")


def precision_recall_at(scores: Floats, positive: Flags, threshold: float) -> Decision:
    """What happens at one threshold (van Rijsbergen, "Information Retrieval", 1979, chapter 7)."""
    flagged = scores >= threshold
    return Decision(threshold, int((flagged & positive).sum()), int(flagged.sum()), int(positive.sum()))


def threshold_for(
    scores: Floats, positive: Flags, *, precision: float | None = None, recall: float | None = None
) -> float | None:
    """The threshold that keeps one wanted figure at the least cost to the other; None where no threshold keeps it.

    For a wanted precision the lowest one that has it, as that has the highest recall; for a wanted recall the highest
    one. Candidates are the scores themselves. Raises `ValueError` unless exactly one figure in (0, 1] is wanted.
    """
    wanted = precision if precision is not None else recall
    if wanted is None or (precision is not None and recall is not None) or not 0 < wanted <= 1:
        raise ValueError(f"one of precision and recall, in (0, 1], not {precision} and {recall}")
    if not positive.any():
        return None
    thresholds, right, flagged = _steps(scores, positive)
    if precision is not None:
        kept = np.flatnonzero(right / flagged >= wanted)
        return float(thresholds[kept[-1]]) if len(kept) else None
    return float(thresholds[np.flatnonzero(right / right[-1] >= wanted)[0]])


# ---- calibration: scores as probabilities


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Scores in `[low, high)`, the last bin with its end: how many, their mean, and the share that are positive.

    The means of an empty bin are NaN.
    """

    low: float
    high: float
    count: int
    mean_score: float
    positive_share: float


def reliability_bins(scores: Floats, positive: Flags, bins: int = BINS) -> list[ReliabilityBin]:
    """Equal-width bins of P(Yes), for a reliability diagram (DeGroot and Fienberg 1983; Guo et al. 2017)."""
    index = np.minimum((scores * bins).astype(int), bins - 1)
    found = []
    for number in range(bins):
        inside = index == number
        means = (float(scores[inside].mean()), float(positive[inside].mean())) if inside.any() else (float("nan"),) * 2
        found.append(ReliabilityBin(number / bins, (number + 1) / bins, int(inside.sum()), *means))
    return found


def expected_calibration_error(scores: Floats, positive: Flags, bins: int = BINS) -> float:
    """ECE over equal-width bins of P(Yes): the mean of |share of positives - mean score|, weighted by bin size.

    Guo et al. 2017, arXiv:1706.04599, for a binary event. NaN of nothing.
    """
    if not len(scores):
        return float("nan")
    filled = [part for part in reliability_bins(scores, positive, bins) if part.count]
    return sum(part.count * abs(part.positive_share - part.mean_score) for part in filled) / len(scores)


# ---- questions


def circular_accuracy(rotations: Sequence[Sequence[bool]]) -> float:
    """Share of questions that are right in every rotation of their options; NaN of none.

    CircularEval of MMBench, Liu et al. 2023, arXiv:2307.06281. `rotations[i]` says for each rotation of question i
    whether it was answered rightly. Raises `ValueError` for a question that was never asked.
    """
    if not all(len(question) for question in rotations):
        raise ValueError("a question without a rotation is neither right nor wrong")
    return sum(all(question) for question in rotations) / len(rotations) if rotations else float("nan")


@dataclass(frozen=True, slots=True)
class MmeScores:
    """Shares of single questions and of whole pairs that are right, and MME's sum of both in percent, 0..200."""

    accuracy: float
    accuracy_plus: float
    score: float


def mme_scores(pairs: Sequence[tuple[bool, bool]]) -> MmeScores:
    """What is right of pairs of yes/no questions about one video, one whose answer is yes and one whose is no.

    MME, Fu et al. 2023, arXiv:2306.13394: accuracy counts questions, accuracy+ pairs in which both are
    right. NaN of no pairs.
    """
    if not pairs:
        return MmeScores(float("nan"), float("nan"), float("nan"))
    accuracy = sum(one + other for one, other in pairs) / (2 * len(pairs))
    plus = sum(one and other for one, other in pairs) / len(pairs)
    return MmeScores(accuracy, plus, 100 * (accuracy + plus))


# ---- intervals of time


def temporal_iou(found: Sequence[Span], truth: Span) -> float:
    """Intersection over union of the best of the found intervals with the true one; 0 where nothing was found."""
    return max((span.iou(truth) for span in found), default=0.0)


def grounding_scores(ious: Floats) -> dict[str, float]:
    """Mean IoU and "R@1, IoU >= m" of the one interval predicted for each sentence; NaN of none.

    Gao et al. 2017, arXiv:1705.02101 (TALL). `ious[i]` is `temporal_iou` of sentence i's top interval, 0 without one.
    Keys: `mean_iou`, `r1_iou30`, `r1_iou50`, `r1_iou70`.
    """
    if not len(ious):
        return {"mean_iou": float("nan"), **{_recall_name(bar): float("nan") for bar in GROUNDING_IOUS}}
    recalls = {_recall_name(bar): float((ious >= bar).mean()) for bar in GROUNDING_IOUS}
    return {"mean_iou": float(ious.mean()), **recalls}


def _recall_name(iou: float) -> str:
    return f"r1_iou{round(100 * iou)}"


# ---- how sure a figure is


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
