"""Figures of merit against slow definitions written out, and against cases a person can check."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Span
from vidlm.evaluation import metrics

scored = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40)


@given(scored)
def test_auroc_is_the_chance_that_a_positive_outscores_a_negative(items: list[tuple[int, bool]]) -> None:
    scores = np.asarray([score / 10 for score, _ in items])
    positive = np.asarray([truth for _, truth in items])
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    found = metrics.auroc(scores, positive)
    if not pairs:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(sum(pairs) / len(pairs))


def test_recall_counts_positives_above_the_allowed_negatives() -> None:
    scores = np.asarray([0.9, 0.8, 0.3, 0.7, 0.2, 0.1])
    positive = np.asarray([True, True, True, False, False, False])
    assert metrics.recall_at_false_positive_rate(scores, positive, 0.0) == pytest.approx(2 / 3)
    assert metrics.recall_at_false_positive_rate(scores, positive, 0.34) == pytest.approx(1.0)


def test_calibration_error_is_zero_where_scores_are_frequencies_and_large_where_they_are_not() -> None:
    truth = np.asarray([True, False] * 50)
    assert metrics.expected_calibration_error(np.full(100, 0.5), truth) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(np.full(100, 1.0), truth) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("found", "iou"),
    [
        ([Span(0, 2)], 1.0),
        ([Span(1, 3)], 1 / 3),
        ([Span(2, 3)], 0.0),
        ([], 0.0),
        ([Span(5, 6), Span(0, 1)], 0.5),
    ],
)
def test_temporal_iou_takes_the_best_interval(found: list[Span], iou: float) -> None:
    assert metrics.temporal_iou(found, Span(0, 2)) == pytest.approx(iou)


def test_bootstrap_resamples_clips_not_observations() -> None:
    # two clips, each all right or all wrong: a resample is 0, 1/2 or 1, never anything between
    values = np.asarray([1.0] * 50 + [0.0] * 50)
    clips = [0] * 50 + [1] * 50
    value, low, high = metrics.bootstrap(clips, lambda i: float(values[i].mean()))
    assert (value, low, high) == (0.5, 0.0, 1.0)


def test_bootstrap_of_nothing_is_unknown() -> None:
    assert all(math.isnan(number) for number in metrics.bootstrap([], lambda _: 1.0))
