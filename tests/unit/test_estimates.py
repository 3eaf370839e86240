"""Precision, recall and prevalence from decisions, against the truth of simulated platforms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.moderation import estimates
from vidlm.moderation.estimates import Decisions
from vidlm.moderation.reviewer_errors import GoldenCounts, true_precision_at, true_recall_at

FLAGGED_FROM = 0.5
RUNS = 100
ITEMS_FOR_TRUTH = 1_000_000

cases = st.lists(
    st.tuples(st.integers(0, 10), st.booleans(), st.sampled_from([1.0, 0.5, 0.1, 0.001])), min_size=1, max_size=40
)


def platform(rng: np.random.Generator, items: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and the truth of each: a model that finds four of five violations at 0.5."""
    truth = rng.random(items) < rate
    return np.where(truth, rng.beta(4, 2, items), rng.beta(1, 6, items)), truth


def reviewed(rng: np.random.Generator, scores: np.ndarray, said: np.ndarray, sampled: float) -> Decisions:
    """Decisions on all that is flagged and on a random sample of the rest."""
    inclusion = np.where(scores >= FLAGGED_FROM, 1.0, sampled)
    kept = rng.random(len(scores)) < inclusion
    return Decisions.of(scores[kept], said[kept], inclusion[kept])


def decisions_of(items: list[tuple[int, bool, float]]) -> Decisions:
    scores, violations, inclusion = zip(*items, strict=True)
    return Decisions.of(np.asarray(scores) / 10, violations, inclusion)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(
    ("items", "rate", "sampled"),
    [
        (200, 0.05, 1.0),
        (2000, 0.005, 0.1),
        (2000, 0.05, 0.01),
        (20_000, 0.005, 0.01),
        (20_000, 0.05, 0.1),
    ],
)
def test_intervals_hold_the_truth_in_ninety_of_a_hundred_runs(
    items: int, rate: float, sampled: float, threshold: float
) -> None:
    rng = np.random.default_rng(11)
    scores, truth = platform(rng, ITEMS_FOR_TRUTH, rate)
    flagged = scores >= threshold
    known = {"precision": truth[flagged].mean(), "recall": flagged[truth].mean(), "flagged": flagged.mean()}
    held = dict.fromkeys([*known, "prevalence"], 0)
    for _ in range(RUNS):
        decisions = reviewed(rng, *platform(rng, items, rate), sampled)
        found = estimates.performance_at(decisions, threshold)
        for name, value in known.items():
            estimate = getattr(found, name)
            held[name] += estimate.low <= value <= estimate.high
        prevalence = estimates.prevalence(decisions)
        held["prevalence"] += prevalence.low <= rate <= prevalence.high
    assert min(held.values()) >= 90, held


def test_estimates_do_not_lean_to_one_side() -> None:
    rng = np.random.default_rng(12)
    scores, truth = platform(rng, ITEMS_FOR_TRUTH, 0.05)
    flagged = scores >= 0.3
    found = [estimates.performance_at(reviewed(rng, *platform(rng, 20_000, 0.05), 0.1), 0.3) for _ in range(60)]
    assert np.mean([one.precision.value for one in found]) == pytest.approx(truth[flagged].mean(), rel=0.02)
    assert np.mean([one.recall.value for one in found]) == pytest.approx(flagged[truth].mean(), rel=0.02)


def test_none_missed_in_a_sample_is_not_none_missed() -> None:
    flags, sample = 80, 300
    decisions = Decisions.of(
        [0.9] * flags + [0.1] * sample, [True] * flags + [False] * sample, [1.0] * flags + [0.01] * sample
    )
    recall = estimates.recall_at(decisions, 0.5)
    assert recall.value == 1
    assert recall.high == 1
    assert 0.1 < recall.low < 0.3  # 80 found, up to about 3.7 * 100 missed


def test_recall_is_unknown_where_nobody_looked_for_what_was_missed() -> None:
    recall = estimates.recall_at(Decisions.of([0.9, 0.8], [True, True]), 0.5)
    assert (recall.value, recall.low, recall.high) == (None, 0.0, 1.0)


def test_weights_count_as_many_items() -> None:
    decisions = Decisions.of([0.9, 0.9, 0.2, 0.2], [True, False, True, False], [1, 1, 0.25, 0.25])
    assert estimates.precision_at(decisions, 0.5).value == pytest.approx(0.5)
    assert estimates.recall_at(decisions, 0.5).value == pytest.approx(1 / 5)
    assert estimates.prevalence(decisions).value == pytest.approx(0.5)
    assert estimates.flagged_at(decisions, 0.5).value == pytest.approx(0.2)


def test_a_threshold_in_a_gap_of_the_sample_is_less_sure_than_at_the_flags() -> None:
    decisions = Decisions.of([0.1] * 20 + [0.51] * 40, [False] * 20 + [True] * 40, [0.01] * 20 + [1.0] * 40)
    assert estimates.precision_at(decisions, 0.5).low > 0.9
    assert estimates.precision_at(decisions, 0.2).low < 0.3  # hundreds of items between .2 and .5 may be unseen


@settings(deadline=None)
@given(cases, st.integers(0, 11))
def test_every_estimate_lies_in_its_interval(items: list[tuple[int, bool, float]], tenths: int) -> None:
    found = estimates.performance_at(decisions_of(items), tenths / 10)
    for estimate in (found.precision, found.recall, found.flagged):
        assert 0 <= estimate.low <= estimate.high <= 1
        if estimate.value is None:
            assert (estimate.low, estimate.high) == (0, 1)
        else:
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.low < estimate.high


def test_nothing_is_known_of_nothing() -> None:
    empty = Decisions.of([], [])
    found = estimates.performance_at(empty, 0.5)
    assert [found.precision.value, found.recall.value, found.flagged.value] == [None] * 3


@pytest.mark.parametrize(
    ("scores", "violations", "inclusion"),
    [
        ([float("nan")], [True], [1.0]),
        ([1.1], [True], [1.0]),
        ([0.5], [True], [0.0]),
        ([0.5], [True], [1e-300]),
        ([0.5], [True], [float("nan")]),
        ([0.5], [2], [1.0]),
        ([0.5], [float("nan")], [1.0]),
        ([0.5, 0.5], [True], [1.0, 1.0]),
        ([[0.5]], [[True]], [[1.0]]),
    ],
)
def test_what_makes_no_sense_is_refused(scores: list, violations: list, inclusion: list) -> None:
    with pytest.raises(ValueError):
        Decisions.of(scores, violations, inclusion)
    with pytest.raises(ValueError):
        estimates.precision_at(Decisions.of([0.5], [True]), float("nan"))


# ---- reviewers who err


@pytest.mark.parametrize("error", [0.05, 0.2])
@pytest.mark.parametrize(("items", "rate", "sampled"), [(200, 0.3, 1.0), (2000, 0.05, 0.1), (20_000, 0.005, 0.01)])
def test_golden_items_take_reviewers_errors_back(items: int, rate: float, sampled: float, error: float) -> None:
    rng = np.random.default_rng(13)
    scores, truth = platform(rng, ITEMS_FOR_TRUTH, rate)
    flagged = scores >= FLAGGED_FROM
    precision, recall = truth[flagged].mean(), flagged[truth].mean()
    held = np.zeros(2)
    for _ in range(RUNS):
        scores, truth = platform(rng, items, rate)
        decisions = reviewed(rng, scores, truth ^ (rng.random(items) < error), sampled)
        seen, passed = rng.binomial(200, 1 - error, size=2).tolist()
        golden = GoldenCounts(seen, 200, passed, 200)
        found = true_precision_at(decisions, FLAGGED_FROM, golden), true_recall_at(decisions, FLAGGED_FROM, golden)
        held += [found[0].low <= precision <= found[0].high, found[1].low <= recall <= found[1].high]
    assert held.min() >= 90, held


def test_reviewers_without_error_are_taken_at_their_word() -> None:
    rng = np.random.default_rng(14)
    decisions = reviewed(rng, *platform(rng, 20_000, 0.05), 0.1)
    golden = GoldenCounts(100_000, 100_000, 100_000, 100_000)
    for taken, corrected in (
        (estimates.precision_at(decisions, 0.5), true_precision_at(decisions, 0.5, golden)),
        (estimates.recall_at(decisions, 0.5), true_recall_at(decisions, 0.5, golden)),
    ):
        assert corrected.value == pytest.approx(taken.value)
        assert (corrected.low, corrected.high) == pytest.approx((taken.low, taken.high), abs=0.01)


def test_reviewers_no_better_than_a_coin_say_nothing() -> None:
    decisions = Decisions.of([0.9] * 50 + [0.1] * 50, [True] * 25 + [False] * 75)
    for golden in (GoldenCounts(10, 20, 10, 20), GoldenCounts(3, 20, 3, 20)):
        for found in (true_precision_at(decisions, 0.5, golden), true_recall_at(decisions, 0.5, golden)):
            assert (found.value, found.low, found.high) == (None, 0, 1)
    barely = true_precision_at(decisions, 0.5, GoldenCounts(11, 20, 10, 20))
    assert (barely.low, barely.high) == (0, 1)
    assert true_precision_at(decisions, 0.5, GoldenCounts(0, 0, 10, 10)).value is None
    assert true_recall_at(decisions, 0.05, GoldenCounts(10, 10, 10, 10)).value is None
    with pytest.raises(ValueError, match="more right"):
        GoldenCounts(2, 1, 0, 0)


def test_errors_where_nothing_was_flagged_are_taken_back_by_items_that_were_not() -> None:
    """Flags make people see more than there is; where nothing points them to it they make up one in two hundred."""
    rng = np.random.default_rng(15)
    scores, truth = platform(rng, ITEMS_FOR_TRUTH, 0.05)
    recall = (scores >= FLAGGED_FROM)[truth].mean()
    held = alike = 0
    for _ in range(RUNS):
        scores, truth = platform(rng, 20_000, 0.05)
        invented = np.where(scores >= FLAGGED_FROM, 0.1, 0.005)
        said = np.where(truth, rng.random(len(truth)) < 0.9, rng.random(len(truth)) < invented)
        decisions = reviewed(rng, scores, said, 0.1)
        seen, passed = int(rng.binomial(200, 0.9)), int(rng.binomial(200, 0.9))
        flagged = GoldenCounts(seen, 200, passed, 200)
        below = GoldenCounts(seen, 200, int(rng.binomial(1000, 0.995)), 1000)
        found = true_recall_at(decisions, FLAGGED_FROM, flagged, below)
        held += found.low <= recall <= found.high
        alike += abs((found.value or 0) - recall) < abs((true_recall_at(decisions, 0.5, flagged).value or 0) - recall)
    assert held >= 90
    assert alike >= 80
