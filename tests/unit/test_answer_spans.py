"""The arithmetic of answers: parts tile their window, runs merge, and evidence lies inside the video."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.answer import CLOSER_S, check_question
from vidlm.config import Settings
from vidlm.domain import AnswerEvidence, Span
from vidlm.errors import QuestionError
from vidlm.evidence import (
    RELEVANT,
    Look,
    around_peak,
    at_their_best,
    cut_pairs,
    evidence_of,
    merge_looks,
    readings,
    relevance_threshold,
    times_put_right,
    windows_of,
)


def looks_of(scores: list[float], pairs: int = 2) -> list[Look]:
    return [Look(Span(2.0 * i, 2.0 * i + 2), score, i, pairs) for i, score in enumerate(scores)]


def test_pairs_are_cut_every_two_seconds() -> None:
    parts = cut_pairs([4.0, 5.0, 6.0, 7.0, 8.0], Span(3.9, 9.0), 2.0)
    assert [(first, last) for first, last, _ in parts] == [(0, 2), (2, 4), (4, 5)]
    assert [(span.start_s, span.end_s) for *_, span in parts] == [(3.9, 6.0), (6.0, 8.0), (8.0, 9.0)]


def test_a_second_look_sees_single_pairs_at_two_frames_a_second() -> None:
    parts = cut_pairs([2.0, 3.0, 4.0, 5.0], Span(1.8, 5.4), CLOSER_S)
    assert [(first, last) for first, last, _ in parts] == [(0, 1), (1, 2), (2, 3), (3, 4)]


@given(
    st.floats(0, 1000),
    st.lists(st.floats(0.01, 4), min_size=1, max_size=40),
    st.floats(0.1, 10),
)
def test_parts_tile_their_window(start_s: float, steps: list[float], length_s: float) -> None:
    times_s = list(itertools.accumulate(steps, initial=start_s))[:-1]
    whole = Span(start_s, start_s + sum(steps))
    parts = cut_pairs(times_s, whole, length_s)
    assert parts[0][2].start_s == whole.start_s
    assert parts[-1][2].end_s == whole.end_s
    assert (parts[0][0], parts[-1][1]) == (0, len(times_s))
    for (_, last, span), (first, _, following) in itertools.pairwise(parts):
        assert last == first
        assert span.end_s == following.start_s
    assert all(first < last for first, last, _ in parts)


def test_runs_merge_at_the_threshold() -> None:
    runs = merge_looks(looks_of([0.1, 0.5, 0.9, 0.49, 0.7]), 0.5)
    assert [[look.window for look in run] for run in runs] == [[1, 2], [4]]
    evidence = evidence_of(runs[0], 60.0)
    assert (evidence.start_s, evidence.end_s, evidence.score) == (2.0, 6.0, 0.9)


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(SCORES, st.floats(0.01, 1))
def test_runs_hold_every_relevant_look_once(scores: list[float], threshold: float) -> None:
    looks = looks_of(scores)
    kept = [look for run in merge_looks(looks, threshold) for look in run]
    assert kept == [look for look in looks if look.score >= threshold]


@given(SCORES, st.floats(0.001, 100))
def test_evidence_lies_inside_the_video(scores: list[float], duration_s: float) -> None:
    for run in merge_looks(looks_of(scores), 0.5):
        evidence = evidence_of(run, duration_s)
        assert 0 <= evidence.start_s <= evidence.end_s <= duration_s
        assert 0.5 <= evidence.score <= 1


@given(SCORES, st.integers(1, 5), st.integers(1, 40))
def test_what_is_read_is_a_stretch_around_the_peak(scores: list[float], pairs: int, most: int) -> None:
    run = looks_of(scores, pairs)
    read = around_peak(run, most)
    indices = [look.window for look in read]
    assert indices == list(range(indices[0], indices[-1] + 1))
    assert max(look.score for look in read) == max(scores)
    assert len(read) == 1 or sum(look.pairs for look in read) <= most
    assert len(read) == len(run) or pairs * (len(read) + 1) > most


def test_a_window_counts_for_as_much_as_its_best_part() -> None:
    wholes = looks_of([0.9, 0.1, 0.3])
    parts = [Look(Span(0.0, 1.0), 0.4, 0, 1), Look(Span(1.0, 2.0), 0.5, 0, 1), wholes[1], Look(Span(4, 6), 0.8, 2, 1)]
    assert [look.score for look in at_their_best(wholes, parts)] == [0.9, 0.1, 0.8]
    assert [look.span for look in at_their_best(wholes, parts)] == [look.span for look in wholes]


def test_an_answer_is_read_from_all_that_may_be_relevant_before_the_best_of_it() -> None:
    """Which of two came first: the window that is surest shows one of them, a doubtful one the other."""
    wholes = looks_of([0.3, 0.1, 0.9, 0.85, 0.1, 0.8])
    runs = merge_looks(wholes, relevance_threshold(wholes))
    read = [sorted(windows_of(some)) for some in readings(runs, wholes)]
    assert read == [[0, 2, 3, 5], [2, 3, 5], [2, 3], [5]]


@given(SCORES)
def test_no_windows_are_read_twice_and_none_without_evidence(scores: list[float]) -> None:
    wholes = looks_of(scores)
    runs = merge_looks(wholes, relevance_threshold(wholes))
    read = [tuple(sorted(windows_of(some))) for some in readings(runs, wholes)]
    assert len(set(read)) == len(read)
    assert bool(read) == bool(runs)
    assert all(set(some) <= set(read[0]) for some in read)


@pytest.mark.parametrize("question", ["", "  \n\t ", "x" * 2001])
def test_a_question_that_cannot_be_asked(question: str) -> None:
    with pytest.raises(QuestionError):
        check_question(question, Settings())


def test_a_question_is_put_on_one_line() -> None:
    assert check_question("  what\n is \t it? ", Settings()) == "what is it?"


@given(SCORES)
def test_the_best_part_is_evidence_unless_nothing_is_relevant(scores: list[float]) -> None:
    looks = looks_of(scores)
    runs = merge_looks(looks, relevance_threshold(looks))
    best = max(scores)
    assert bool(runs) == (best >= RELEVANT)
    if runs:
        kept = [look.score for run in runs for look in run]
        assert max(kept) == best
        assert min(kept) >= RELEVANT


EVIDENCE = (AnswerEvidence(2.0, 4.5, 0.9), AnswerEvidence(8.0, 9.0, 0.8))


@pytest.mark.parametrize(
    "text",
    [
        "The dog comes in at 70.0s.",
        "Two.",
        "",
        "From here to there.",
    ],
)
def test_words_that_say_more_than_times_stay(text: str) -> None:
    assert times_put_right(text, EVIDENCE) == text


@pytest.mark.parametrize(
    "text",
    [
        "From 90.0s to 18.0s.",
        "From 2.0s to 4.0s.",
        "It is shown from 8.0s to 9.0s.",
        "At 4.5s.",
        "at 11 s",
        "Between 0.0s and 0.0s",
    ],
)
def test_times_are_those_of_the_evidence(text: str) -> None:
    """Also where they are near: a moment inside may be the wrong end of what was asked about."""
    assert times_put_right(text, EVIDENCE) == "From 2.0s to 4.5s and from 8.0s to 9.0s."
    assert times_put_right(text, EVIDENCE[:1]) == "From 2.0s to 4.5s."
    assert times_put_right(text, ()) == text


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 80), st.integers(0, 80))
def test_what_was_put_right_stays(start: int, length: int, first: int, last: int) -> None:
    evidence = [AnswerEvidence(start / 2, (start + length) / 2, 0.9)]
    once = times_put_right(f"From {first / 2:.1f}s to {last / 2:.1f}s.", evidence)
    assert once == f"From {start / 2:.1f}s to {(start + length) / 2:.1f}s."
    assert times_put_right(once, evidence) == once
