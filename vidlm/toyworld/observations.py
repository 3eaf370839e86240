"""What an evaluation saw of its clips, and the table made of it: one row a figure, with its interval and its bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.evaluation import metrics
from vidlm.evaluation.figures import Row, sampled

ATTRIBUTES: Final = ("colour", "count", "direction", "place", "order")

CONFIDENCES: Final = tuple(twentieths / 20 for twentieths in range(20))
"""From which confidence on answers may be given: what `abstaining` tells of."""

Pairs = list[tuple[int, float, bool]]
"""(clip, score, truth)"""


@dataclass
class Observations:
    """What was seen of all clips, each with the number of its clip."""

    policy: Pairs = field(default_factory=list)
    composed: Pairs = field(default_factory=list)
    described: Pairs = field(default_factory=list)
    strange: list[tuple[int, bool]] = field(default_factory=list)  # attribute questions in wordings never trained
    attributes: dict[str, list[tuple[int, bool]]] = field(default_factory=lambda: {kind: [] for kind in ATTRIBUTES})
    stated: list[tuple[int, int, int, int]] = field(default_factory=list)  # clip, right, stated, true
    when: list[tuple[int, float]] = field(default_factory=list)
    absent: list[tuple[int, float]] = field(default_factory=list)  # how sure of what is not there; 0 for no answer
    present: list[tuple[int, float]] = field(default_factory=list)  # the same of what is there
    variants: dict[str, list[tuple[int, float, float]]] = field(default_factory=dict)  # clip, accuracy before, after
    overlay: list[tuple[int, bool]] = field(default_factory=list)  # clip, flipped from unsafe to safe


def table(seen: Observations, seconds: Sequence[float]) -> list[Row]:
    """The rows: `seconds` are those of the ten second clip, one a run."""
    clips, scores, truth = _columns(seen.policy)
    attributes = [item for kind in ATTRIBUTES for item in seen.attributes[kind]]
    stated = np.asarray([item[1:] for item in seen.stated], dtype=float).reshape(-1, 3)
    owners = [item[0] for item in seen.stated]
    rows = [
        sampled("policy_auroc", clips, lambda i: metrics.auroc(scores[i], truth[i]), bar=0.995),
        sampled(
            "policy_recall_at_1pct_fpr",
            clips,
            lambda i: metrics.recall_at_false_positive_rate(scores[i], truth[i], 0.01),
            bar=0.95,
        ),
        _share("composed_accuracy", _decided(seen.composed), 0.95),
        _share("described_accuracy", _decided(seen.described), 0.95),
        _share("attribute_exact", attributes, 0.92),
        *[_share(f"attribute_{kind}", seen.attributes[kind], 0.92) for kind in ATTRIBUTES],
        _share("unseen_wording_exact", seen.strange, 0.92),
        sampled("caption_precision", owners, lambda i: _ratio(stated[i, 0], stated[i, 1]), bar=0.92),
        sampled("caption_recall", owners, lambda i: _ratio(stated[i, 0], stated[i, 2]), bar=0.92),
        _share("when_mean_iou", seen.when, 0.80),
        _share("when_r1_iou70", [(clip, iou >= 0.7) for clip, iou in seen.when], 0.80),
        _share("absent_abstains", [(clip, sure == 0) for clip, sure in seen.absent], 0.95),
        _share("wrong_abstentions", [(clip, sure == 0) for clip, sure in seen.present], 0.03, at_least=False),
        sampled(
            "calibration_ece",
            clips,
            lambda i: metrics.expected_calibration_error(scores[i], truth[i]),
            bar=0.03,
            at_least=False,
        ),
        _share("overlay_flips", seen.overlay, 0.02, at_least=False),
    ]
    for name, pairs in seen.variants.items():
        rows.append(
            _share(f"{name}_drop", [(clip, before - after) for clip, before, after in pairs], 0.03, at_least=False)
        )
    return [
        *rows,
        sampled(
            "seconds_for_10s_clip",
            [0, 1, 2],
            lambda i: float(np.median(np.asarray(seconds)[i])),
            bar=2.0,
            at_least=False,
        ),
    ]


def abstaining(seen: Observations) -> list[dict[str, float | None]]:
    """What would become of answers if those less sure than a confidence were not given, for one confidence after the
    other: the share of questions about what is not there, and about what is, that would have none. None for neither."""
    found: list[dict[str, float | None]] = []
    for least in CONFIDENCES:
        row: dict[str, float | None] = {"answer_confidence": least}
        for name, asked in (("absent_abstains", seen.absent), ("wrong_abstentions", seen.present)):
            row[name] = round(float(np.mean([sure == 0 or sure < least for _, sure in asked])), 4) if asked else None
        found.append(row)
    return found


def _columns(pairs: Pairs) -> tuple[list[int], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    scores = np.asarray([score for _, score, _ in pairs], dtype=np.float64)
    return [clip for clip, _, _ in pairs], scores, np.asarray([truth for _, _, truth in pairs], dtype=bool)


def _decided(pairs: Pairs) -> list[tuple[int, bool]]:
    """(clip, whether Yes or No was right)"""
    return [(clip, (score >= 0.5) == truth) for clip, score, truth in pairs]


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else float("nan")


def _share(name: str, items: Iterable[tuple[int, float]], bar: float, *, at_least: bool = True) -> Row:
    found = list(items)
    values = np.asarray([value for _, value in found], dtype=np.float64)
    return sampled(name, [clip for clip, _ in found], lambda i: float(values[i].mean()), bar=bar, at_least=at_least)
