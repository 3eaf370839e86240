"""How good a model's policy scores are on a user's own labelled videos: `vidlm eval --labels FILE`.

Every video goes through the product's own pipeline once, with all policies that occur in the file; then the score of
every segment is held against the labels. A video that cannot be analysed is skipped, and said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidlm.config import Settings
from vidlm.domain import Policy, Segment, Span
from vidlm.errors import MediaError
from vidlm.evaluation import metrics
from vidlm.evaluation.figures import Row, known, sampled, share
from vidlm.evaluation.labels import LabelledVideo, Labels
from vidlm.evaluation.singles import Single, Tell, tell_nobody
from vidlm.moderation.policies import PolicySet
from vidlm.pipeline import analyze_windows
from vidlm.preparation import prepare
from vidlm.running import running_engine
from vidlm.video.scratch import scratch_folder

if TYPE_CHECKING:
    from vidlm.model.engine import Engine


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a threshold is looked for: this precision, and this recall, both in (0, 1]."""

    precision: float = 0.9
    recall: float = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """A segment's score for one policy against the truth. `video` is the number of its video."""

    video: int
    policy_id: str
    score: float
    positive: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """A video nothing was measured on, the line that names it, and why."""

    path: str
    line: int
    code: str
    reason: str


def evaluate_labels(
    labels: Labels,
    settings: Settings,
    wanted: Wanted,
    *,
    model: Engine | None = None,
    on_progress: Callable[[int], None] = lambda _videos: None,
    tell: Tell = tell_nobody,
) -> dict[str, Any]:
    """The document for a file of labels: `rows` over all policies, and each of them in `policies`.

    `model` is a running engine, the settings' own when None; `on_progress` is told how many videos are done, `tell`
    every score as it comes. Raises `CheckpointError`, `ToolError` and `ModelError`; files that cannot be decoded are no
    error but in `skipped`.
    """
    judged: list[Judged] = []
    skipped: list[Skipped] = []
    with running_engine(model, settings) as engine:
        for number, video in enumerate(labels.videos):
            scored = _scored(video, labels.policies, engine, settings)
            if isinstance(scored, Skipped):
                skipped.append(scored)
            else:
                judged += [
                    _judged(number, video, policy, segment, tell)
                    for segment in scored
                    for policy in labels.policies.policies
                ]
            on_progress(number + 1)
        info = engine.info
    everything = _Column.of(judged, {policy.id: policy.review_threshold for policy in labels.policies.policies})
    return {
        "labels": labels.name,
        "model": {"id": info.model_id, "revision": info.revision, "toy": info.toy},
        "videos": len(labels.videos) - len(skipped),
        "skipped": [asdict(video) for video in skipped],
        **_described(everything, wanted),
        "policies": [_policy_document(policy, judged, wanted) for policy in labels.policies.policies],
    }


def _scored(video: LabelledVideo, policies: PolicySet, engine: Engine, settings: Settings) -> list[Segment] | Skipped:
    from vidlm.seeing import Eyes  # noqa: PLC0415  torch: seconds, and absent on some machines

    with scratch_folder("vidlm-work-") as folder:
        try:
            geometry = engine.info.geometry
            prepared = prepare(video.file, folder, filename=video.file.name, geometry=geometry, settings=settings)
        except MediaError as error:
            return Skipped(video.name, video.line, error.code, error.detail)
        for label in video.labels:
            if label.span is not None and label.span.start_s >= prepared.info.duration_s:
                reason = f"a label begins at {label.span.start_s:g} s, the video ends at {prepared.info.duration_s:g} s"
                return Skipped(video.name, label.line, "label_outside", reason)
        return analyze_windows(prepared, prepared.windows, Eyes(engine), policies)


def _judged(number: int, video: LabelledVideo, policy: Policy, segment: Segment, tell: Tell) -> Judged:
    score, positive = segment.scores[policy.id], video.holds(policy.id, Span(segment.start_s, segment.end_s))
    tell(
        Single(
            row="scores",
            video=video.name,
            start_s=segment.start_s,
            end_s=segment.end_s,
            asked=policy.id,
            said=score,
            truth=positive,
            right=(score >= policy.review_threshold) == positive,
        )
    )
    return Judged(number, policy.id, score, positive)


# ---- from what was judged to figures


@dataclass(frozen=True, slots=True)
class _Column:
    """Judged scores as arrays, all of one length; `flagged` where a score reaches its own policy's threshold."""

    videos: list[int]
    scores: metrics.Floats
    positive: metrics.Flags
    flagged: metrics.Flags

    @classmethod
    def of(cls, judged: Sequence[Judged], review: dict[str, float]) -> _Column:
        return cls(
            videos=[one.video for one in judged],
            scores=np.asarray([one.score for one in judged], dtype=np.float64),
            positive=np.asarray([one.positive for one in judged], dtype=bool),
            flagged=np.asarray([one.score >= review[one.policy_id] for one in judged], dtype=bool),
        )


def _policy_document(policy: Policy, judged: Sequence[Judged], wanted: Wanted) -> dict[str, Any]:
    review = {policy.id: policy.review_threshold}
    column = _Column.of([one for one in judged if one.policy_id == policy.id], review)
    about = {"policy": policy.id, "blocked": policy.blocked, "review": policy.review_threshold}
    return about | _described(column, wanted)


def _described(column: _Column, wanted: Wanted) -> dict[str, Any]:
    return {
        "n": len(column.scores),
        "positives": int(column.positive.sum()),
        "rows": _rows(column),
        "thresholds": [
            _threshold(column, "precision", wanted.precision),
            _threshold(column, "recall", wanted.recall),
        ],
        "bins": _bins(column),
    }


def _rows(column: _Column) -> list[Row]:
    scores, positive, videos = column.scores, column.positive, column.videos
    right = int((column.flagged & positive).sum())
    return [
        share("precision", right, int(column.flagged.sum())),
        share("recall", right, int(positive.sum())),
        sampled("average_precision", videos, lambda i: metrics.average_precision(scores[i], positive[i])),
        sampled("auroc", videos, lambda i: metrics.auroc(scores[i], positive[i])),
        sampled(
            "calibration_ece",
            videos,
            lambda i: metrics.expected_calibration_error(scores[i], positive[i]),
            at_least=False,
        ),
    ]


def _threshold(column: _Column, keeps: str, wanted: float) -> dict[str, Any]:
    """The threshold that keeps a wanted figure on these videos, and what both figures are there."""
    found = metrics.threshold_for(column.scores, column.positive, **{keeps: wanted})
    document: dict[str, Any] = {"keeps": keeps, "wanted": wanted, "threshold": None, "precision": None, "recall": None}
    if found is not None:
        there = metrics.precision_recall_at(column.scores, column.positive, found)
        document |= {"threshold": found, "precision": known(there.precision), "recall": known(there.recall)}
    return document


def _bins(column: _Column) -> list[dict[str, Any]]:
    bins = metrics.reliability_bins(column.scores, column.positive)
    return [
        {
            "low": known(part.low),
            "high": known(part.high),
            "count": part.count,
            "mean_score": known(part.mean_score),
            "positive_share": known(part.positive_share),
        }
        for part in bins
    ]
