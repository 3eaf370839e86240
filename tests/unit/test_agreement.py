"""Kappas against examples in print, slow definitions written out, and the truth of simulated reviewers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.moderation.agreement import cohen_kappa, fleiss_kappa, golden_record

RUNS = 100
ERRORS = (0.05, 0.1, 0.2, 0.05, 0.15)
counted = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=15)


def judgements(rng: np.random.Generator, items: int, rate: float, errors: tuple[float, ...]) -> np.ndarray:
    """What each reviewer says of each item (items, reviewers): the truth, but for their errors."""
    truth = rng.random(items) < rate
    return truth[:, None] ^ (rng.random((items, len(errors))) < np.asarray(errors))


def counts_of(rng: np.random.Generator, said: np.ndarray, least: int) -> np.ndarray:
    """Counts (items, 2), where each item is judged by a random number of the reviewers, at least `least`."""
    items, most = said.shape
    order = rng.random(said.shape).argsort(axis=1).argsort(axis=1)
    asked = order < rng.integers(least, most + 1, size=items)[:, None]
    return np.stack([(asked & ~said).sum(axis=1), (asked & said).sum(axis=1)], axis=1)


def test_cohens_kappa_of_a_case_a_person_can_check() -> None:
    # of 50: 20 both yes, 15 both no, 5 and 10 split; observed .7, expected .5
    first = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = cohen_kappa(first, second)
    assert (found.observed, found.expected, found.kappa) == pytest.approx((0.7, 0.5, 0.4))
    assert found.items == 50
    assert found.low < 0.4 < found.high


def test_the_standard_error_is_that_of_the_simulated_kappa() -> None:
    rng = np.random.default_rng(1)
    found = [cohen_kappa(*judgements(rng, 500, 0.3, (0.1, 0.2)).T) for _ in range(400)]
    spread = np.std([one.kappa for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.1)
    found = [fleiss_kappa(counts_of(rng, judgements(rng, 500, 0.3, ERRORS), 2)) for _ in range(400)]
    spread = np.std([one.kappa for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.1)


def test_fleiss_kappa_of_the_example_in_his_paper() -> None:
    # ten items, fourteen raters, five categories: kappa 0.210 (Fleiss, Levin and Paik, as widely reprinted)
    table = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    found = fleiss_kappa(table)
    assert found.kappa == pytest.approx(0.20993, abs=1e-5)
    assert (found.observed, found.expected) == pytest.approx((0.37802, 0.21275), abs=1e-5)


@settings(deadline=None)
@given(counted)
def test_fleiss_kappa_is_its_formula(table: list[list[int]]) -> None:
    rated = [row for row in table if sum(row) >= 2]
    found = fleiss_kappa(table)
    assert found.items == len(rated)
    if not rated:
        assert found.observed is None
        return
    pairs = [sum(n * (n - 1) for n in row) / (sum(row) * (sum(row) - 1)) for row in rated]
    shares = [np.mean([row[j] / sum(row) for row in rated]) for j in range(3)]
    expected = sum(share**2 for share in shares)
    assert found.observed == pytest.approx(np.mean(pairs))
    if found.kappa is None:
        assert sum(share > 0 for share in shares) == 1
    else:
        assert found.kappa == pytest.approx((np.mean(pairs) - expected) / (1 - expected))
        assert found.low <= found.kappa <= found.high


@pytest.mark.parametrize("errors", [(0.05, 0.05), (0.05, 0.2), (0.2, 0.2)])
@pytest.mark.parametrize(("items", "rate"), [(200, 0.005), (200, 0.1), (2000, 0.3), (20_000, 0.005)])
def test_cohens_interval_holds_the_truth_in_ninety_of_a_hundred_runs(
    items: int, rate: float, errors: tuple[float, float]
) -> None:
    one, other = errors
    both = rate * (1 - one) * (1 - other) + (1 - rate) * one * other
    says = [rate * (1 - error) + (1 - rate) * error for error in errors]
    expected = says[0] * says[1] + (1 - says[0]) * (1 - says[1])
    truth = (1 + 2 * both - sum(says) - expected) / (1 - expected)
    rng = np.random.default_rng(2)
    found = [cohen_kappa(*judgements(rng, items, rate, errors).T) for _ in range(RUNS)]
    assert sum(one.kappa is not None and one.low <= truth <= one.high for one in found) >= 90


@pytest.mark.parametrize("reviewers", [3, 5])
@pytest.mark.parametrize(("items", "rate"), [(200, 0.005), (200, 0.1), (2000, 0.005), (20_000, 0.1)])
def test_fleiss_interval_holds_the_truth_in_ninety_of_a_hundred_runs(items: int, rate: float, reviewers: int) -> None:
    rng = np.random.default_rng(3)
    errors = ERRORS[:reviewers]
    pairs = [(1 - a) * (1 - b) + a * b for a, b in itertools.combinations(errors, 2)]
    says = rate + (1 - 2 * rate) * np.mean(errors)
    expected = says**2 + (1 - says) ** 2
    truth = (np.mean(pairs) - expected) / (1 - expected)
    found = [fleiss_kappa(counts_of(rng, judgements(rng, items, rate, errors), 2)) for _ in range(RUNS)]
    assert sum(one.kappa is not None and one.low <= truth <= one.high for one in found) >= 90


def test_everybody_always_saying_the_same_is_no_agreement_and_no_disagreement() -> None:
    for found in (cohen_kappa([0] * 30, [0] * 30), fleiss_kappa([[3, 0]] * 30)):
        assert (found.kappa, found.standard_error, found.low, found.high) == (None,) * 4
        assert (found.observed, found.items) == (1.0, 30)


def test_full_agreement_on_few_items_is_not_sure() -> None:
    for found in (cohen_kappa([0] * 9 + [1], [0] * 9 + [1]), fleiss_kappa([[3, 0]] * 9 + [[0, 3]])):
        assert found.kappa == 1
        assert found.low < 0.9
        assert found.high == 1


def test_reviewers_who_guess_have_a_kappa_of_zero() -> None:
    rng = np.random.default_rng(4)
    found = cohen_kappa(*judgements(rng, 20_000, 0.5, (0.5, 0.5)).T)
    assert found.low < 0 < found.high
    assert found.high - found.low < 0.04


def test_items_that_one_reviewer_saw_say_nothing_about_agreement() -> None:
    table = [[2, 0], [1, 1], [0, 2]]
    assert fleiss_kappa(table) == fleiss_kappa([*table, [1, 0], [0, 0]])
    assert fleiss_kappa([[1, 0]]).items == 0
    assert cohen_kappa([], []).kappa is None


@pytest.mark.parametrize(
    ("first", "second"), [([0, 1], [0]), ([float("nan")], [0]), ([0.5], [0]), ([-1], [0]), ([float("inf")], [0])]
)
def test_judgements_that_make_no_sense_are_refused(first: list, second: list) -> None:
    with pytest.raises(ValueError):
        cohen_kappa(first, second)


@pytest.mark.parametrize("table", [[[float("nan"), 1.0]], [[-1, 3]], [0, 1], [[0.5, 1.5]]])
def test_counts_that_make_no_sense_are_refused(table: list) -> None:
    with pytest.raises(ValueError):
        fleiss_kappa(table)


def test_golden_items_tell_how_often_a_reviewer_is_right_and_in_which_way_wrong() -> None:
    record = golden_record([True, True, False, False, False], [True, True, True, False, False])
    assert (record.accuracy.value, record.accuracy.n) == (0.8, 5)
    assert record.sensitivity.value == pytest.approx(2 / 3)
    assert (record.specificity.value, record.specificity.high) == (1.0, 1.0)
    assert record.specificity.low < 0.5
    nothing = golden_record([], [])
    assert nothing.accuracy.value is None
    with pytest.raises(ValueError, match="golden"):
        golden_record([True], [])
    with pytest.raises(ValueError, match="true and false"):
        golden_record([float("nan")], [True])


@pytest.mark.parametrize("items", [20, 200])
@pytest.mark.parametrize("error", [0.05, 0.2])
def test_golden_intervals_hold_the_truth(items: int, error: float) -> None:
    rng = np.random.default_rng(5)
    truth = rng.random((RUNS, items)) < 0.3
    said = truth ^ (rng.random(truth.shape) < error)
    found = [golden_record(one, other).accuracy for one, other in zip(said, truth, strict=True)]
    assert sum(one.low <= 1 - error <= one.high for one in found) >= 90
