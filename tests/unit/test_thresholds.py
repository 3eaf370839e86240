"""Suggested thresholds keep their promises on fresh data of simulated platforms, and say so where none can."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.moderation.estimates import Decisions
from vidlm.moderation.thresholds import (
    Traffic,
    queue_at,
    threshold_for_precision,
    threshold_for_queue,
    threshold_for_recall,
)

RUNS = 100
FRESH = 400_000
REGIMES = [(200, 0.3, 1.0), (2000, 0.05, 1.0), (20_000, 0.005, 0.1), (20_000, 0.05, 0.01), (20_000, 0.05, 0.1)]


def platform(
    rng: np.random.Generator, items: int, rate: float, *, digits: int = 9, error: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores, rounded to `digits`, and what a reviewer with this share of errors says of each item."""
    truth = rng.random(items) < rate
    scores = np.where(truth, rng.beta(4, 2, items), rng.beta(1, 6, items))
    return np.round(scores, digits), truth ^ (rng.random(items) < error)


def reviewed(rng: np.random.Generator, scores: np.ndarray, said: np.ndarray, sampled: float) -> Decisions:
    inclusion = np.where(scores >= 0.5, 1.0, sampled)
    kept = rng.random(len(scores)) < inclusion
    return Decisions.of(scores[kept], said[kept], inclusion[kept])


def kept_by(scores: np.ndarray, said: np.ndarray, threshold: float) -> tuple[float, float]:
    """(precision, recall) of a threshold on fresh data."""
    flagged = scores >= threshold
    return said[flagged].mean(), flagged[said].mean()


@pytest.mark.parametrize(("digits", "error"), [(9, 0.0), (1, 0.0), (9, 0.1)])
@pytest.mark.parametrize(("items", "rate", "sampled"), REGIMES)
@pytest.mark.slow
def test_promises_are_kept_on_fresh_data(items: int, rate: float, sampled: float, digits: int, error: float) -> None:
    rng = np.random.default_rng(21)
    fresh = platform(rng, FRESH, rate, digits=digits, error=error)
    precise, average, sure = [], [], []
    for _ in range(RUNS):
        scores, said = platform(rng, items, rate, digits=digits, error=error)
        decisions = reviewed(rng, scores, said, sampled)
        for wanted in (0.5, 0.8):
            if (found := threshold_for_precision(decisions, wanted).threshold) is not None:
                precise.append(kept_by(*fresh, found)[0] >= wanted)
        found = threshold_for_recall(decisions, 0.7).threshold
        average.append(1.0 if found is None else kept_by(*fresh, found)[1])
        if (found := threshold_for_recall(decisions, 0.7, delta=0.1).threshold) is not None:
            sure.append(kept_by(*fresh, found)[1] >= 0.7)
    assert sum(precise) >= 0.9 * len(precise)
    assert sum(sure) >= 0.9 * len(sure)
    assert np.mean(average) >= 0.7 - 2 * np.std(average) / np.sqrt(RUNS)


def test_enough_decisions_get_a_threshold_near_the_best_there_is() -> None:
    rng = np.random.default_rng(22)
    fresh = platform(rng, FRESH, 0.05)
    decisions = reviewed(rng, *platform(rng, 100_000, 0.05), 0.1)
    precise = threshold_for_precision(decisions, 0.8)
    assert precise.threshold is not None
    assert 0.8 <= kept_by(*fresh, precise.threshold)[0] < 0.87
    average, sure = threshold_for_recall(decisions, 0.9), threshold_for_recall(decisions, 0.9, delta=0.1)
    assert average.threshold is not None
    assert sure.threshold is not None
    assert sure.threshold < average.threshold
    assert 0.9 <= kept_by(*fresh, sure.threshold)[1] < 0.93
    assert average.expected is not None
    assert average.expected.recall.low <= kept_by(*fresh, average.threshold)[1] <= average.expected.recall.high


@pytest.mark.parametrize("count", [50, 1000])
@pytest.mark.parametrize("digits", [9, 1])
def test_a_queue_is_on_average_no_longer_than_wanted(count: int, digits: int) -> None:
    rng = np.random.default_rng(23)
    fresh, _ = platform(rng, FRESH, 0.05, digits=digits)
    lengths, held = [], 0
    for _ in range(300):
        traffic = Traffic.of(platform(rng, count, 0.05, digits=digits)[0], 2000)
        found = threshold_for_queue(traffic, 200)
        assert found.threshold is not None
        assert found.queue is not None
        lengths.append(2000 * (fresh >= found.threshold).mean())
        at_half = queue_at(traffic, 0.5)
        held += at_half.low <= 2000 * (fresh >= 0.5).mean() <= at_half.high
    assert np.mean(lengths) <= 200 + 2 * np.std(lengths) / np.sqrt(300)
    assert held >= 0.9 * 300


def test_a_queue_that_holds_everything_needs_no_threshold() -> None:
    found = threshold_for_queue(Traffic.of([0.2, 0.9], 100), 100)
    assert found.threshold == 0
    assert found.queue is not None
    assert found.queue.items_per_day == 100
    assert found.expected is None


def test_where_nothing_can_be_promised_there_is_a_reason() -> None:
    few = Decisions.of([0.9] * 5, [True] * 5)
    assert "at least 36 are needed" in threshold_for_precision(few, 0.9).reason
    clean = Decisions.of(np.linspace(0, 1, 500), [False] * 500)
    assert "say violation" in threshold_for_precision(clean, 0.9).reason
    assert "0 violations were seen" in threshold_for_recall(clean, 0.9).reason
    heavy = Decisions.of([0.9] * 50 + [0.1] * 50, [True] * 50 + [False] * 50, [1.0] * 50 + [0.01] * 50)
    for found in (threshold_for_recall(heavy, 0.9), threshold_for_recall(heavy, 0.9, delta=0.1)):
        assert found.threshold is None
        assert "stand for 100" in found.reason
    assert threshold_for_queue(Traffic.of([1.0] * 100, 1000), 10).threshold is None
    assert threshold_for_recall(Decisions.of([], []), 0.9).threshold is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([1.0, 0.1, 1e-6])), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
)
def test_any_decisions_get_a_threshold_of_theirs_or_a_reason(items: list, wanted: float) -> None:
    scores, violations, inclusion = zip(*items, strict=True)
    decisions = Decisions.of(np.asarray(scores) / 4, violations, inclusion)
    traffic = Traffic.of(decisions.scores, 100)
    for found in (
        threshold_for_precision(decisions, wanted, traffic=traffic),
        threshold_for_recall(decisions, wanted, traffic=traffic),
        threshold_for_recall(decisions, wanted, delta=0.2, traffic=traffic),
        threshold_for_queue(traffic, 100 * wanted, decisions=decisions),
    ):
        if found.threshold is None:
            assert found.reason.endswith(".")
            assert found.expected is None
        else:
            assert found.threshold in decisions.scores or not (decisions.scores >= found.threshold).any()
            assert found.reason == ""
            assert found.expected is not None
            assert found.queue is not None


def test_more_recall_never_wants_a_higher_threshold() -> None:
    rng = np.random.default_rng(24)
    decisions = reviewed(rng, *platform(rng, 5000, 0.1), 1.0)
    found = [threshold_for_recall(decisions, wanted).threshold for wanted in (0.5, 0.7, 0.9, 0.95)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("wanted", [0.0, 1.0, -1.0, float("nan")])
def test_what_makes_no_sense_is_refused(wanted: float) -> None:
    decisions = Decisions.of([0.5], [True])
    for refused in (
        lambda: threshold_for_precision(decisions, wanted),
        lambda: threshold_for_precision(decisions, 0.5, delta=wanted),
        lambda: threshold_for_recall(decisions, wanted),
        lambda: threshold_for_recall(decisions, 0.5, delta=wanted),
    ):
        with pytest.raises(ValueError):
            refused()


def test_traffic_that_makes_no_sense_is_refused() -> None:
    for scores, per_day in (([], 10.0), ([0.5], 0.0), ([0.5], float("nan")), ([float("nan")], 10.0)):
        with pytest.raises(ValueError):
            Traffic.of(scores, per_day)
    for most in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError):
            threshold_for_queue(Traffic.of([0.5], 10), most)
