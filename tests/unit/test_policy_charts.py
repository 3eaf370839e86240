"""Marks of the policies' charts stand where their numbers say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard import policy_charts as charts
from api.dashboard.kept import Kept
from vidlm.moderation.calibration import reliability_table
from vidlm.moderation.estimates import Decisions
from vidlm.moderation.policies import NEVER, load_policies
from vidlm.policy.histograms import Histogram, counted

POLICY = load_policies().policies[0]


@given(st.lists(st.floats(0, 1), max_size=50), st.integers(1, 40))
def test_every_score_is_in_one_bin(scores: list[float], bins: int) -> None:
    counts = counted(scores, bins)
    assert (len(counts), sum(counts)) == (bins, len(scores))
    for place, count in enumerate(counts):
        low, high = place / bins, (place + 1) / bins
        inside = sum(low + 1e-9 < score < high - 1e-9 for score in scores)
        near = sum(low - 1e-9 <= score <= high + 1e-9 for score in scores)
        assert inside <= count <= near


def test_what_is_no_score_is_in_none() -> None:
    assert counted([None, float("nan"), -0.1, 1.1, 1.0, 0.0, 0.05], 20) == (1, 1, *[0] * 17, 1)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.booleans())
def test_bars_stand_on_the_base_as_high_as_their_counts(counts: list[int], logarithmic: bool) -> None:
    chart = charts.histogram_chart(Histogram(tuple(counts), 0, False), POLICY, logarithmic=logarithmic)
    assert all(chart.top - 0.01 <= bar.y <= chart.base for bar in chart.bars)
    assert all(bar.y + bar.height == pytest.approx(chart.base) for bar in chart.bars)
    heights = [bar.height for bar in sorted(chart.bars, key=lambda bar: bar.count)]
    assert heights == sorted(heights)
    if max(counts):
        assert max(heights) == pytest.approx(chart.base - chart.top)
    assert all(chart.left <= bar.x and bar.x + bar.width <= chart.right for bar in chart.bars)


def test_thresholds_stand_across_the_bars_that_they_divide() -> None:
    policy = replace(POLICY, review_threshold=0.5, block_threshold=NEVER)
    chart = charts.histogram_chart(Histogram((1,) * 20, 0, False), policy, logarithmic=False)
    review, block = chart.thresholds
    assert chart.bars[9].x + chart.bars[9].width < review.at < chart.bars[10].x
    assert (review.hidden, block.hidden) == (False, True)


@given(st.integers(0, 10**9), st.booleans())
def test_ticks_are_few_and_within(most: int, logarithmic: bool) -> None:
    found = charts.ticks(most, logarithmic=logarithmic)
    assert found[0] == 0
    assert found[-1] <= most
    assert len(found) <= 11
    assert list(found) == sorted(set(found))


def test_calibrated_scores_lie_on_the_diagonal() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random(20_000)
    chart = charts.reliability_chart(reliability_table(Decisions.of(scores, rng.random(20_000) < scores)))
    assert len(chart.points) == 10
    for point in chart.points:
        assert (point.x - chart.left) == pytest.approx(chart.base - point.y, abs=6)
        assert point.y_high <= point.y <= point.y_low


def test_answers_are_kept_for_a_while_and_for_each_who_asks() -> None:
    now, asked = [0.0], []

    def ask(name: str) -> str:
        asked.append(name)
        return f"{name}{len(asked)}"

    kept: Kept[str] = Kept(10, lambda: now[0])
    assert [kept.get("a", lambda: ask("a")), kept.get("b", lambda: ask("b")), kept.get("a", lambda: ask("a"))] == [
        "a1",
        "b2",
        "a1",
    ]
    now[0] = 11
    assert kept.get("a", lambda: ask("a")) == "a3"
