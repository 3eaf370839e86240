"""Distribution functions against sums written out, and intervals of shares against exact ones and simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.moderation import distributions
from vidlm.moderation.intervals import Tally, chance_of_less, effective_count, share_interval, wilson

counts = st.integers(1, 60)
inner = st.floats(0.01, 0.99)


def ones(count: int) -> Tally:
    return Tally(float(count), float(count), 1.0)


def logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


@settings(deadline=None)
@given(counts, counts, inner)
def test_the_beta_distribution_is_a_binomial_tail(a: int, b: int, x: float) -> None:
    n = a + b - 1
    tail = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert distributions.beta_cdf(x, a, b) == pytest.approx(tail, rel=1e-9, abs=1e-14)


@settings(deadline=None)
@given(st.floats(0.3, 1e5), st.floats(0.3, 1e5), st.floats(0.001, 0.999))
def test_a_beta_quantile_has_its_level_below_it(a: float, b: float, level: float) -> None:
    x = logistic(distributions.beta_quantile_logit(level, a, b))
    assert distributions.beta_cdf(x, a, b) == pytest.approx(level, abs=1e-7)


def test_beta_beyond_its_ends() -> None:
    assert distributions.beta_cdf(0.0, 2, 3) == 0
    assert distributions.beta_cdf(1.0, 2, 3) == 1


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 3.841459), (2, 5.991465), (3, 7.814728), (9, 16.918978), (10, 18.307038)]
)
def test_chi_square_has_its_tabled_5_percent_points(freedom: int, value: float) -> None:
    assert distributions.chi_square_survival(value, freedom) == pytest.approx(0.05, abs=1e-6)
    assert distributions.chi_square_survival(0.0, freedom) == 1


def test_kolmogorov_has_its_tabled_points_and_no_seam_between_its_two_series() -> None:
    assert distributions.kolmogorov_survival(1.3581) == pytest.approx(0.05, abs=1e-5)
    assert distributions.kolmogorov_survival(1.6276) == pytest.approx(0.01, abs=1e-5)
    assert distributions.kolmogorov_survival(1 - 1e-12) == pytest.approx(distributions.kolmogorov_survival(1), abs=1e-9)
    assert distributions.kolmogorov_survival(0.0) == 1


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_the_hypergeometric_tail_counts_ways_to_choose(marked: int, others: int, taken: int) -> None:
    total = marked + others
    taken = min(taken, total)
    ways = [math.comb(marked, x) * math.comb(others, taken - x) for x in range(taken + 1)]
    for drawn in range(taken + 1):
        tail = sum(ways[drawn:]) / math.comb(total, taken)
        assert distributions.hypergeometric_survival(drawn, marked, taken, total) == pytest.approx(tail, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_holds_the_share_and_shrinks_with_more_of_the_same(successes: int, count: int) -> None:
    successes = min(successes, count)
    low, high = wilson(successes, count)
    assert 0 <= low <= successes / count + 1e-12
    assert successes / count - 1e-12 <= high <= 1
    closer_low, closer_high = wilson(4 * successes, 4 * count)
    assert closer_high - closer_low < high - low
    mirrored_low, mirrored_high = wilson(count - successes, count)
    assert (mirrored_low, mirrored_high) == pytest.approx((1 - high, 1 - low))


def test_wilson_of_known_cases() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert all(math.isnan(end) for end in wilson(0, 0))


def test_weights_of_one_make_the_interval_of_clopper_and_pearson() -> None:
    assert share_interval(ones(5), ones(5)) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert share_interval(ones(0), ones(10)) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert share_interval(ones(10), ones(0)) == pytest.approx((0.025**0.1, 1.0))


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.floats(1, 1e6))
def test_a_weight_that_all_have_changes_nothing(inside: int, outside: int, weight: float) -> None:
    heavy = [Tally(weight * count, weight**2 * count, weight) for count in (inside, outside)]
    assert share_interval(*heavy) == pytest.approx(share_interval(ones(inside), ones(outside)), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(1, 1e4), max_size=20), st.lists(st.floats(1, 1e4), max_size=20))
def test_the_interval_holds_the_share_and_mirrors(inside: list[float], outside: list[float]) -> None:
    everything = np.asarray([*inside, *outside, 1.0])
    yes, no = Tally.of(np.asarray(inside), everything), Tally.of(np.asarray(outside), everything)
    low, high = share_interval(yes, no)
    assert 0 <= low < high <= 1
    if inside or outside:
        assert low <= yes.total / (yes.total + no.total) <= high
    mirrored_low, mirrored_high = share_interval(no, yes)
    assert (1 - mirrored_high, 1 - mirrored_low) == pytest.approx((low, high), abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), inner, st.floats(0.01, 0.4))
def test_the_chance_of_less_is_what_the_lower_end_says(inside: int, outside: int, share: float, tail: float) -> None:
    low, _ = share_interval(ones(inside), ones(outside), 1 - 2 * tail)
    if abs(low - share) > 1e-9:
        assert (chance_of_less(ones(inside), ones(outside), share) <= tail) == (low >= share)


def test_effective_counts() -> None:
    assert effective_count(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_count(np.asarray([1e6, 1.0, 1.0])) == pytest.approx(1, abs=1e-5)
    assert effective_count(np.asarray([])) == 0
