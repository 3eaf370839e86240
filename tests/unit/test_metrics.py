"""Figures of merit against slow definitions written out, and against cases a person can check."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Span
from vidlm.evaluation import metrics

scored = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40)
with_positives = scored.filter(lambda items: any(truth for _, truth in items))
shares = st.fractions(min_value=0, max_value=1, max_denominator=20).map(float)


def arrays(items: list[tuple[int, bool]]) -> tuple[metrics.Floats, metrics.Flags]:
    """Scores in tenths, so that many are alike, and the truth."""
    return np.asarray([score / 10 for score, _ in items]), np.asarray([truth for _, truth in items])


def at(items: list[tuple[int, bool]], threshold: float) -> tuple[float, float]:
    """(precision, recall) at a threshold that flags something, counted one by one."""
    flagged = [truth for score, truth in items if score / 10 >= threshold]
    return sum(flagged) / len(flagged), sum(flagged) / sum(truth for _, truth in items)


@given(scored)
def test_auroc_is_the_chance_that_a_positive_outscores_a_negative(items: list[tuple[int, bool]]) -> None:
    scores, positive = arrays(items)
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


@given(with_positives)
def test_average_precision_adds_up_precision_where_recall_grows(items: list[tuple[int, bool]]) -> None:
    total, before = 0.0, 0.0
    for threshold in sorted({score / 10 for score, _ in items}, reverse=True):
        precision, recall = at(items, threshold)
        total, before = total + precision * (recall - before), recall
    assert metrics.average_precision(*arrays(items)) == pytest.approx(total)


@given(with_positives, st.randoms(use_true_random=False))
def test_average_precision_does_not_depend_on_the_order_of_equal_scores(items, random) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    assert metrics.average_precision(*arrays(items)) == pytest.approx(metrics.average_precision(*arrays(shuffled)))


def test_average_precision_of_cases_a_person_can_check() -> None:
    truth = np.asarray([True, False, True, False])
    assert metrics.average_precision(np.asarray([0.9, 0.8, 0.7, 0.1]), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision(np.full(4, 0.5), truth) == pytest.approx(0.5)  # all alike: the share of positives
    assert math.isnan(metrics.average_precision(np.asarray([0.5]), np.asarray([False])))


@given(scored, st.integers(0, 11))
def test_a_decision_counts_what_is_at_or_above_its_threshold(items: list[tuple[int, bool]], tenths: int) -> None:
    found = metrics.precision_recall_at(*arrays(items), tenths / 10)
    flagged = [truth for score, truth in items if score >= tenths]
    assert (found.right, found.flagged) == (sum(flagged), len(flagged))
    assert found.positives == sum(truth for _, truth in items)
    assert math.isnan(found.precision) == (not flagged)
    assert math.isnan(found.recall) == (found.positives == 0)


@given(with_positives, shares.filter(bool))
def test_the_threshold_for_a_precision_is_the_lowest_that_has_it(items: list[tuple[int, bool]], wanted: float) -> None:
    found = metrics.threshold_for(*arrays(items), precision=wanted)
    having = [score / 10 for score, _ in items if at(items, score / 10)[0] >= wanted]
    assert found == (min(having) if having else None)


@given(with_positives, shares.filter(bool))
def test_the_threshold_for_a_recall_is_the_highest_that_has_it(items: list[tuple[int, bool]], wanted: float) -> None:
    found = metrics.threshold_for(*arrays(items), recall=wanted)
    assert found == max(score / 10 for score, _ in items if at(items, score / 10)[1] >= wanted)


@given(with_positives, shares.filter(bool), shares.filter(bool))
def test_more_recall_never_wants_a_higher_threshold(items: list[tuple[int, bool]], one: float, other: float) -> None:
    scores, positive = arrays(items)
    low, high = (metrics.threshold_for(scores, positive, recall=recall) for recall in sorted([one, other]))
    assert low is not None
    assert high is not None
    assert high <= low


def test_a_threshold_that_does_not_exist_or_makes_no_sense() -> None:
    scores, positive = np.asarray([0.9, 0.1]), np.asarray([False, True])
    assert metrics.threshold_for(scores, positive, precision=0.9) is None
    assert metrics.threshold_for(scores, ~positive | positive, precision=0.9) == pytest.approx(0.1)
    assert metrics.threshold_for(scores, positive & ~positive, recall=0.1) is None
    for wanted in ({}, {"precision": 0.5, "recall": 0.5}, {"precision": 0.0}, {"recall": 1.1}):
        with pytest.raises(ValueError, match="in \\(0, 1\\]"):
            metrics.threshold_for(scores, positive, **wanted)


@given(scored)
def test_bins_hold_every_score_once_and_make_the_calibration_error(items: list[tuple[int, bool]]) -> None:
    scores, positive = arrays(items)
    bins = metrics.reliability_bins(scores, positive)
    assert len(bins) == 15
    filled = [part for part in bins if part.count]
    assert all(part.low - 1e-9 <= part.mean_score <= part.high + 1e-9 for part in filled)
    assert sum(part.count for part in bins) == len(items)
    assert sum(part.count * part.mean_score for part in filled) == pytest.approx(float(scores.sum()))
    assert sum(part.count * part.positive_share for part in filled) == pytest.approx(int(positive.sum()))
    apart = sum(part.count * abs(part.mean_score - part.positive_share) for part in filled) / len(items)
    assert metrics.expected_calibration_error(scores, positive) == pytest.approx(apart)


def test_a_score_of_one_is_in_the_last_bin_and_empty_bins_know_nothing() -> None:
    bins = metrics.reliability_bins(np.asarray([1.0]), np.asarray([True]))
    assert [part.count for part in bins] == [0] * 14 + [1]
    assert math.isnan(bins[0].mean_score)
    assert math.isnan(bins[0].positive_share)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=20))
def test_circular_is_never_above_any_single_rotation(rotations: list[list[bool]]) -> None:
    found = metrics.circular_accuracy(rotations)
    assert found == sum(False not in question for question in rotations) / len(rotations)
    assert found <= sum(question[0] for question in rotations) / len(rotations)


def test_circular_accuracy_wants_every_question_asked() -> None:
    assert math.isnan(metrics.circular_accuracy([]))
    with pytest.raises(ValueError, match="rotation"):
        metrics.circular_accuracy([[True], []])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_mme_counts_questions_and_pairs(pairs: list[tuple[bool, bool]]) -> None:
    scores = metrics.mme_scores(pairs)
    assert scores.accuracy == pytest.approx(np.mean([right for pair in pairs for right in pair]))
    assert scores.accuracy_plus == pytest.approx(pairs.count((True, True)) / len(pairs))
    assert scores.accuracy_plus <= scores.accuracy <= (1 + scores.accuracy_plus) / 2 + 1e-12
    assert scores.score == pytest.approx(100 * (scores.accuracy + scores.accuracy_plus))


def test_mme_of_nothing_is_unknown() -> None:
    assert math.isnan(metrics.mme_scores([]).score)


def test_grounding_counts_overlaps_that_reach_the_bar() -> None:
    found = metrics.grounding_scores(np.asarray([0.0, 0.3, 0.5, 0.69, 1.0]))
    assert found == {"mean_iou": pytest.approx(0.498), "r1_iou30": 0.8, "r1_iou50": 0.6, "r1_iou70": 0.2}
    assert all(math.isnan(value) for value in metrics.grounding_scores(np.asarray([])).values())
