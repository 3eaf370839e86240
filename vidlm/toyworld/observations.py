"""What an evaluation saw of its clips, and the table made of it: one row a figure, with its interval and its bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.evaluation import metrics
from vidlm.evaluation.figures import Row, row, sampled
from vidlm.evaluation.singles import Single, Tell, tell_nobody
from vidlm.moderation.intervals import wilson

DECIDED: Final = 0.5
"""The score from which a policy is taken to hold."""
ATTRIBUTES: Final = ("colour", "count", "direction", "place", "order")

PASSED_ON: Final = (
    "policy_auroc",
    "attribute_exact",
    "caption_precision",
    "caption_recall",
    "when_mean_iou",
    "absent_abstains",
    "wrong_abstentions",
)
"""Rows that are also told of files that somebody passed on, with so much slack:"""
SLACK: Final = 0.03

CONFIDENCES: Final = tuple(twentieths / 20 for twentieths in range(20))
"""From which confidence on answers may be given: what `abstaining` tells of."""

Pairs = list[tuple[int, float, bool]]
"""(clip, score, truth)"""


@dataclass
class Observations:
    """What was seen of all clips, each with the number of its clip. `tell` hears of every single thing besides."""

    policy: Pairs = field(default_factory=list)
    composed: Pairs = field(default_factory=list)
    described: Pairs = field(default_factory=list)
    strange: list[tuple[int, bool]] = field(default_factory=list)  # attribute questions in wordings never trained
    attributes: dict[str, list[tuple[int, bool]]] = field(default_factory=lambda: {kind: [] for kind in ATTRIBUTES})
    stated: list[tuple[int, int, int, int]] = field(default_factory=list)  # clip, right, stated, true
    when: list[tuple[int, float]] = field(default_factory=list)
    absent: list[tuple[int, float]] = field(default_factory=list)  # how sure of what is not there; 0 for no answer
    present: list[tuple[int, float]] = field(default_factory=list)  # the same of what is there
    unchanged: Pairs = field(default_factory=list)  # of the clips that there are variants of
    variants: dict[str, Pairs] = field(default_factory=dict)
    overlay: list[tuple[int, bool]] = field(default_factory=list)  # clip, flipped from unsafe to safe
    tell: Tell = tell_nobody
    _passed_on: Observations | None = None

    @property
    def passed_on(self) -> Observations:
        """The same of files that somebody passed on."""
        self._passed_on = self._passed_on or Observations(tell=self._tell_of_passed_on)
        return self._passed_on

    def _tell_of_passed_on(self, single: Single) -> None:
        self.tell(replace(single, row=_copied(single.row)))


def table(seen: Observations, seconds: Sequence[float]) -> list[Row]:
    """The rows: `seconds` are those of the ten second clip, one a run."""
    rows = _what_it_sees(seen)
    rows += [_lost(f"{name}_drop", seen.unchanged, after, 0.03) for name, after in seen.variants.items()]
    for found in _what_it_sees(seen.passed_on):
        if found["name"] in PASSED_ON:
            bar = found["bar"] + (-SLACK if found["at_least"] else SLACK)
            rows.append(found | {"name": _copied(found["name"]), "bar": round(bar, 3)})
    duration = sampled(
        "seconds_for_10s_clip", [0, 1, 2], lambda i: float(np.median(np.asarray(seconds)[i])), bar=2.0, at_least=False
    )
    return [*rows, duration]


def _copied(row: str) -> str:
    return f"copied_{row}"


def _what_it_sees(seen: Observations) -> list[Row]:
    clips, scores, truth = _columns(seen.policy)
    attributes = [item for kind in ATTRIBUTES for item in seen.attributes[kind]]
    stated = np.asarray([item[1:] for item in seen.stated], dtype=float).reshape(-1, 3)
    owners = [item[0] for item in seen.stated]
    return [
        sampled("policy_auroc", clips, lambda i: metrics.auroc(scores[i], truth[i]), bar=0.995),
        sampled(
            "policy_recall_at_1pct_fpr",
            clips,
            lambda i: metrics.recall_at_false_positive_rate(scores[i], truth[i], 0.01),
            bar=0.95,
        ),
        _balanced("composed_accuracy", seen.composed, 0.95),
        _balanced("described_accuracy", seen.described, 0.95),
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


def _balanced(name: str, pairs: Pairs, bar: float) -> Row:
    """Whether Yes or No is right, what holds and what does not counting alike: most policies do not hold."""
    clips, scores, truth = _columns(pairs)
    return sampled(name, clips, lambda i: metrics.balanced_accuracy(scores[i] >= DECIDED, truth[i]), bar=bar)


def _lost(name: str, before: Pairs, after: Pairs, bar: float) -> Row:
    """How much of that is lost from one form of the clips to another. Clips may have more segments in one of them."""
    both = [*before, *after]
    clips, scores, truth = _columns(both)
    changed = np.arange(len(both)) >= len(before)

    def lost(i: npt.NDArray[np.int64]) -> float:
        one, other = i[~changed[i]], i[changed[i]]
        kept = metrics.balanced_accuracy(scores[other] >= DECIDED, truth[other])
        return metrics.balanced_accuracy(scores[one] >= DECIDED, truth[one]) - kept

    return sampled(name, clips, lost, bar=bar, at_least=False)


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else float("nan")


def _share(name: str, items: Iterable[tuple[int, float]], bar: float, *, at_least: bool = True) -> Row:
    found = list(items)
    values = np.asarray([value for _, value in found], dtype=np.float64)
    owners = [clip for clip, _ in found]
    if len(values) and values.min() == values.max() in (0.0, 1.0):
        # drawing again what is all alike shows no spread; so many clips in which all went well bound it as trials do
        clips = len(set(owners))
        interval = wilson(round(values[0] * clips), clips)
        return row(name, values[0], interval, len(found), bar=bar, at_least=at_least)
    return sampled(name, owners, lambda i: float(values[i].mean()), bar=bar, at_least=at_least)
