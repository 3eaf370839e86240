"""Chapters tile the segments and open at cuts; highlights are flagged first, then unlike each other."""

from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Action, Flag, Segment, Severity, Span
from vidlm.summary import (
    CHAPTER_MIN_S,
    MAX_CHAPTERS,
    MAX_HIGHLIGHTS,
    MAX_SUMMARY_CAPTIONS,
    group_chapters,
    pick_highlights,
    summary_captions,
    told_once,
)


def segments_of(lengths_s: list[float], captions: list[str] | None = None) -> list[Segment]:
    segments, start_s = [], 0.0
    for index, length_s in enumerate(lengths_s):
        caption = captions[index] if captions else f"thing {index}"
        segments.append(Segment(index, start_s, start_s + length_s, (start_s,), caption, {}))
        start_s += length_s
    return segments


def test_a_chapter_opens_at_a_cut_once_the_last_is_long_enough() -> None:
    segments = segments_of([6, 6, 4, 8, 8])
    shots = [Span(0, 6), Span(6, 16), Span(16, 32)]
    grouped = [[segment.index for segment in chapter] for chapter in group_chapters(segments, shots)]
    assert grouped == [[0, 1, 2], [3, 4]]


def test_a_stub_joins_what_came_before() -> None:
    segments = segments_of([10, 10, 2])
    shots = [Span(0, 10), Span(10, 20), Span(20, 22)]
    assert [len(chapter) for chapter in group_chapters(segments, shots)] == [1, 2]


def test_a_long_shot_is_cut_where_the_subject_changes() -> None:
    segments = segments_of([10] * 8, ["a red car drives by"] * 4 + ["two dogs sleep here"] * 4)
    assert [len(chapter) for chapter in group_chapters(segments, [Span(0, 80)])] == [4, 4]


def test_nothing_gives_nothing() -> None:
    assert group_chapters([], []) == []
    assert pick_highlights([], []) == ()
    assert summary_captions([]) == []


@given(st.lists(st.floats(0.5, 60), min_size=1, max_size=120), st.sets(st.integers(0, 119)))
def test_every_segment_is_in_one_chapter(lengths_s: list[float], cut_before: set[int]) -> None:
    segments = segments_of(lengths_s)
    starts = sorted({0.0, *(segments[i].start_s for i in cut_before if i < len(segments))})
    ends = [*starts[1:], segments[-1].end_s]
    chapters = group_chapters(segments, [Span(a, b) for a, b in zip(starts, ends, strict=True)])
    assert [segment for chapter in chapters for segment in chapter] == segments
    assert 1 <= len(chapters) <= MAX_CHAPTERS + 1
    assert all(chapter[-1].end_s - chapter[0].start_s >= CHAPTER_MIN_S - 1e-6 for chapter in chapters[:-1])


def test_flagged_segments_come_first_by_score() -> None:
    segments = [
        Segment(i, 2.0 * i, 2.0 * i + 2, (2.0 * i,), f"caption {i}", {"violence.fight": score})
        for i, score in enumerate([0.1, 0.7, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    ]
    flag = Flag("violence.fight", 2.0, 6.0, 0.9, 0.8, Severity.MEDIUM, Action.REVIEW, ())
    assert pick_highlights(segments, [flag])[:2] == (2, 1)


def test_repeats_are_no_highlights() -> None:
    segments = segments_of([2.0] * 9, ["a red car"] * 4 + ["two dogs sleep"] + ["a red car"] * 4)
    assert pick_highlights(segments, []) == (0, 4) or pick_highlights(segments, []) == (4, 0)


@given(st.lists(st.sampled_from(["", "a car", "a red car", "two dogs", "a fire"]), max_size=40))
def test_highlights_are_few_and_different(captions: list[str]) -> None:
    segments = segments_of([2.0] * len(captions), captions)
    chosen = pick_highlights(segments, [])
    assert len(chosen) == len({captions[index] for index in chosen}) <= min(MAX_HIGHLIGHTS, -(-len(captions) // 3))
    assert bool(chosen) == any(captions)


def test_a_summary_is_made_from_few_captions_without_repeats() -> None:
    told = summary_captions(segments_of([2.0] * 4, ["a", "a", "", "b"]))
    assert told == [(0.0, "a"), (6.0, "b")]
    many = summary_captions(segments_of([2.0] * 500))
    assert len(many) == MAX_SUMMARY_CAPTIONS
    assert (many[0][0], many[-1][0]) == (0.0, 998.0)


def test_a_sentence_that_comes_again_is_told_once() -> None:
    assert told_once("A dog runs. A red car moves. A dog runs.") == "A dog runs. A red car moves."
    assert told_once("Someone waits. " * 40 + "Someone wai") == "Someone waits. Someone wai"
    assert told_once("一只狗在跑。有人走过。一只狗在跑。") == "一只狗在跑。有人走过。"


def test_what_only_looks_like_a_repeat_stays() -> None:
    for text in ("", "Dr. Lee sits. Dr. Lee stands up.", "It is 3.5 m wide, and 3.5 m long", "Is it? It is!"):
        assert told_once(text) == text


@given(st.text(alphabet="ab .!?\n。", max_size=30))
def test_telling_once_only_takes_away_and_is_done_at_once(text: str) -> None:
    once = told_once(text)
    assert told_once(once) == once
    rest = iter(text)
    assert all(letter in rest for letter in once)
