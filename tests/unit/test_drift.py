"""Quiet days raise no more alarms than stated, days that changed are noticed, and few are too few to tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.moderation.drift import corrected, kolmogorov_smirnov, overturn_alarm, population_stability

RUNS = 400
RATE = 0.05
MOST_ALARMS = 33  # of 400 at 5%: the binomial's 99.8% quantile

KINDS = {
    "smooth": lambda rng, count: rng.beta(1, 6, count),
    "tied": lambda rng, count: np.round(rng.beta(1, 6, count), 1),
    "mostly nothing": lambda rng, count: np.where(rng.random(count) < 0.7, 0.0, rng.random(count)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("past", "today"), [(1000, 20), (1000, 200), (100, 100), (10_000, 1000)])
def test_quiet_days_raise_no_more_alarms_than_stated(kind: str, past: int, today: int) -> None:
    rng = np.random.default_rng(31)
    stability, distance = [], []
    for _ in range(RUNS):
        before, now = KINDS[kind](rng, past), KINDS[kind](rng, today)
        stability.append(population_stability(before, now, false_alarms=RATE))
        distance.append(kolmogorov_smirnov(before, now, false_alarms=RATE))
    assert sum(one.alarm is True for one in stability) <= MOST_ALARMS
    assert sum(one.alarm is True for one in distance) <= MOST_ALARMS
    told = [one for one in stability if one.alarm is not None]
    assert len(told) > 0.9 * RUNS
    mean = np.mean([one.statistic for one in told])
    assert mean == pytest.approx(np.mean([one.expected for one in told]), rel=0.25)


def test_days_that_changed_are_noticed() -> None:
    rng = np.random.default_rng(32)
    past = rng.beta(1, 6, 5000)
    days = [rng.beta(1.3, 6, 1000) for _ in range(50)]
    assert sum(population_stability(past, day).alarm is True for day in days) >= 48
    assert sum(kolmogorov_smirnov(past, day).alarm is True for day in days) >= 48


def test_smooth_distances_raise_about_as_many_alarms_as_stated() -> None:
    rng = np.random.default_rng(33)
    found = [kolmogorov_smirnov(rng.random(500), rng.random(300), false_alarms=RATE) for _ in range(RUNS)]
    assert 8 <= sum(one.alarm is True for one in found) <= MOST_ALARMS
    assert np.mean([one.statistic for one in found]) == pytest.approx(np.mean([one.expected for one in found]), rel=0.1)


@pytest.mark.parametrize(("past", "today", "share"), [(1000, 20, 0.1), (200, 200, 0.3), (20_000, 500, 0.05)])
def test_overturned_flags_raise_alarms_only_where_there_are_more(past: int, today: int, share: float) -> None:
    rng = np.random.default_rng(34)

    def alarms(share_today: float) -> int:
        found = [
            overturn_alarm(
                (int(rng.binomial(past, share)), past),
                (int(rng.binomial(today, share_today)), today),
                false_alarms=RATE,
            )
            for _ in range(RUNS)
        ]
        return sum(one.alarm is True for one in found)

    assert alarms(share) <= MOST_ALARMS
    assert alarms(share / 2) <= alarms(share)
    assert alarms(min(1.0, 4 * share)) >= 0.75 * RUNS


def test_the_index_of_a_case_a_person_can_check() -> None:
    past, today = [0.1] * 500 + [0.9] * 500, [0.1] * 200 + [0.9] * 800
    found = population_stability(past, today)
    assert found.statistic == pytest.approx(0.3 * np.log(4), abs=0.01)  # (.2 - .5) ln(.2 / .5) + (.8 - .5) ln(.8 / .5)
    assert found.expected == pytest.approx(2 / 1000)
    assert found.alarm is True


def test_the_distance_of_a_case_a_person_can_check() -> None:
    found = kolmogorov_smirnov([0.1] * 50 + [0.9] * 50, [0.1] * 30 + [0.9] * 70)
    assert found.statistic == pytest.approx(0.2)
    assert kolmogorov_smirnov([0.5] * 50, [0.5] * 50).p_value == 1


def test_overturned_flags_by_fishers_exact_test() -> None:
    found = overturn_alarm((1, 10), (4, 5), false_alarms=0.05)
    # of 15 flags 5 are rejected; the chance that 4 or 5 of them fall among today's 5
    assert found.p_value == pytest.approx((5 * 10 + 1) / 3003)
    assert (found.statistic, found.expected, found.alarm) == (0.8, 0.1, True)


def test_too_few_to_tell() -> None:
    for found in (
        population_stability([0.5] * 10, [0.5] * 100),
        kolmogorov_smirnov([0.5] * 100, []),
        overturn_alarm((10, 100), (3, 3)),
    ):
        assert (found.statistic, found.p_value, found.alarm) == (None, None, None)
        assert found.reason.startswith("Too few to tell")
    assert population_stability([0.5] * 100, [0.5] * 100).alarm is None


def test_what_makes_no_sense_is_refused() -> None:
    for refused in (
        lambda: population_stability([float("nan")] * 50, [0.5] * 50),
        lambda: population_stability([0.5] * 50, [0.5] * 50, bins=1),
        lambda: kolmogorov_smirnov([0.5] * 50, [1.5] * 50),
        lambda: kolmogorov_smirnov([0.5] * 50, [0.5] * 50, false_alarms=0.0),
        lambda: overturn_alarm((5, 4), (1, 10)),
        lambda: overturn_alarm((1, 4), (-1, 10)),
    ):
        with pytest.raises(ValueError):
            refused()


# ---- many questions at once


def test_the_correction_of_a_case_a_person_can_check() -> None:
    assert corrected([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])  # 3 x .01, 2 x .03, 1 x .04 but not less
    assert corrected([]) == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_corrected_values_keep_their_order_and_are_never_smaller(values: list[float]) -> None:
    found = corrected(values)
    assert all(value <= made <= 1 for value, made in zip(values, found, strict=True))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.asarray(found)[order]) >= 0).all()


def test_a_hundred_questions_together_raise_no_more_false_alarms_than_one() -> None:
    rng = np.random.default_rng(35)
    days = [min(corrected(rng.random(100).tolist()), default=1.0) <= RATE for _ in range(RUNS)]
    assert 5 <= sum(days) <= MOST_ALARMS
