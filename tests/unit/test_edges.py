"""Where evidence begins and ends, told by single frames: arithmetic against a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import AnswerEvidence
from vidlm.edges import frames_at_ends, joined, sharpened

TIMES_S = [index / 2 for index in range(20)]
"""Ten seconds at two frames a second."""


def stretch(start_s: float, end_s: float) -> AnswerEvidence:
    return AnswerEvidence(start_s, end_s, 0.9)


def shown_on(start_s: float, end_s: float) -> dict[int, bool]:
    return {index: start_s <= time_s < end_s for index, time_s in enumerate(TIMES_S)}


@given(st.integers(0, 17), st.integers(2, 20))
def test_pairs_that_touch_what_is_shown_become_exactly_what_is_shown(first: int, length: int) -> None:
    """Whatever half second something comes and goes on: the pairs it shows in, then the frames at their ends."""
    last = min(first + length, 20)
    start_s, end_s = first / 2, last / 2
    pairs = stretch(first // 2 * 1.0, (last + 1) // 2 * 1.0)
    frames = frames_at_ends(pairs, TIMES_S)
    shows = {index: shown for index, shown in shown_on(start_s, end_s).items() if index in frames}
    found = sharpened(pairs, TIMES_S, shows, 10.0)
    assert (found.start_s, found.end_s, found.score) == (start_s, end_s, 0.9)


@given(st.integers(0, 15), st.integers(4, 20))
def test_pairs_that_were_doubted_at_an_end_are_won_back(first: int, length: int) -> None:
    """A pair whose second frame alone shows it may not have counted."""
    last = min(first + length, 20)
    whole = stretch((first + 1) // 2 * 1.0, last // 2 * 1.0)
    found = sharpened(whole, TIMES_S, shown_on(first / 2, last / 2), 10.0)
    assert (found.start_s, found.end_s) == (first / 2, last / 2)


@given(st.floats(0, 10), st.floats(0, 10), st.lists(st.booleans(), min_size=20, max_size=20))
def test_an_end_moves_by_no_more_than_a_frame_and_stays_in_the_video(
    one: float, other: float, said: list[bool]
) -> None:
    start_s, end_s = sorted((one, other))
    before = stretch(start_s, end_s)
    frames = frames_at_ends(before, TIMES_S)
    assert len(frames) <= 6
    after = sharpened(before, TIMES_S, {index: said[index] for index in frames}, 10.0)
    assert 0 <= after.start_s <= after.end_s <= 10
    assert after.start_s == before.start_s or abs(after.start_s - before.start_s) <= 1.0
    assert after.end_s == before.end_s or abs(after.end_s - before.end_s) <= 1.0


@pytest.mark.parametrize("said", [False, True])
def test_what_no_frame_or_every_frame_inside_shows_stays(said: bool) -> None:
    """A movement shows in no single frame."""
    before = stretch(2.0, 5.0)
    inside = {index: said and 2.0 <= time_s < 5.0 for index, time_s in enumerate(TIMES_S)}
    assert sharpened(before, TIMES_S, inside, 10.0) == before


def test_the_frames_looked_at_are_those_around_the_ends() -> None:
    assert frames_at_ends(stretch(2.0, 5.0), TIMES_S) == [3, 4, 5, 8, 9, 10]
    assert frames_at_ends(stretch(0.0, 10.0), TIMES_S) == [0, 1, 18, 19]
    assert frames_at_ends(stretch(2.1, 2.2), TIMES_S) == []  # between two frames
    assert sharpened(stretch(2.1, 2.2), TIMES_S, {}, 10.0) == stretch(2.1, 2.2)


def test_a_stretch_to_the_end_reaches_the_end_of_the_video() -> None:
    times_s = list(np.arange(5) / 2)
    found = sharpened(stretch(1.0, 2.0), times_s, dict.fromkeys(range(5), True), 2.3)
    assert (found.start_s, found.end_s) == (0.5, 2.3)


def test_stretches_that_come_to_touch_are_one() -> None:
    one, other = AnswerEvidence(1.0, 3.0, 0.7), AnswerEvidence(2.5, 4.0, 0.9)
    assert joined([other, one]) == (AnswerEvidence(1.0, 4.0, 0.9),)
    assert joined([AnswerEvidence(1.0, 6.0, 0.9), other]) == (AnswerEvidence(1.0, 6.0, 0.9),)
    apart = AnswerEvidence(5.0, 6.0, 0.8)
    assert joined([apart, one]) == (one, apart)
    assert joined([]) == ()
