"""Windows and spans: whatever comes in, they tile the video, hold frames and keep their lengths."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Span
from vidlm.video.sampling import Window, plan_spans, plan_windows

durations = st.floats(0.04, 4 * 3600)


def _shots(duration_s: float, cuts: list[float]) -> list[Span]:
    edges = [0.0, *sorted({cut * duration_s for cut in cuts if 0 < cut * duration_s < duration_s}), duration_s]
    return [Span(start, end) for start, end in pairwise(edges)]


def _times(duration_s: float, fps: float) -> list[float]:
    return [n / fps for n in range(max(1, min(5000, int(duration_s * fps))))]


@given(durations, st.lists(st.floats(0, 1), max_size=60), st.floats(0.05, 10), st.floats(0.5, 5), st.floats(1, 6))
def test_windows_tile_the_video_and_share_out_every_frame(
    duration_s: float, cuts: list[float], fps: float, min_s: float, ratio: float
) -> None:
    times = _times(duration_s, fps)
    windows = plan_windows(_shots(duration_s, cuts), times, duration_s, min_s, min_s * ratio)
    assert windows[0].start_s == 0
    assert windows[-1].end_s == duration_s
    assert windows[0].first_frame == 0
    assert windows[-1].last_frame == len(times)
    assert [w.index for w in windows] == list(range(len(windows)))
    assert all(a.end_s == b.start_s and a.last_frame == b.first_frame for a, b in pairwise(windows))
    assert all(w.first_frame < w.last_frame for w in windows)
    assert all(w.start_s <= time for w in windows for time in times[w.first_frame : w.last_frame])
    assert all(time < w.end_s for w in windows[:-1] for time in times[w.first_frame : w.last_frame])


@given(st.floats(1, 4000), st.lists(st.floats(0, 1), max_size=60), st.floats(0.5, 4), st.floats(2, 6))
def test_with_enough_frames_windows_keep_their_lengths_and_cross_only_short_shots(
    duration_s: float, cuts: list[float], min_s: float, ratio: float
) -> None:
    shots, max_s = _shots(duration_s, cuts), min_s * ratio
    times = [n / 4 for n in range(int(duration_s * 4) + 1)]
    windows = plan_windows(shots, times, duration_s, min_s, max_s)
    assert all(w.end_s - w.start_s <= max_s + 1e-6 for w in windows)
    assert len(windows) == 1 or all(w.end_s - w.start_s >= min(min_s, max_s / 2) - 1e-6 for w in windows)
    edges = {w.start_s for w in windows}
    for before, after in pairwise(shots):
        if before.duration_s >= min_s and after.duration_s >= min_s:
            assert after.start_s in edges


def test_a_long_shot_is_cut_evenly_and_a_short_one_joins_its_shorter_neighbour() -> None:
    shots = [Span(0, 24), Span(24, 25), Span(25, 28)]
    assert plan_windows(shots, _times(28, 2), 28.0) == [
        Window(0, 0.0, 8.0, 0, 16),
        Window(1, 8.0, 16.0, 16, 32),
        Window(2, 16.0, 24.0, 32, 48),
        Window(3, 24.0, 28.0, 48, 56),
    ]


def test_a_video_shorter_than_anything_is_one_window() -> None:
    assert plan_windows([Span(0, 0.04)], [0.0], 0.04) == [Window(0, 0.0, 0.04, 0, 1)]


@pytest.mark.parametrize(("times", "duration_s", "min_s"), [([], 4.0, 2.0), ([0.0], 0.0, 2.0), ([0.0], 4.0, 20.0)])
def test_nonsense_is_refused(times: list[float], duration_s: float, min_s: float) -> None:
    with pytest.raises(ValueError):
        plan_windows([Span(0, duration_s)], times, duration_s, min_s, 10.0)


@given(st.lists(st.floats(0.05, 30), min_size=1, max_size=200), st.floats(1, 120))
def test_spans_cover_every_window_once_and_are_near_the_length_asked_for(lengths: list[float], span_s: float) -> None:
    edges = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    windows = [Window(n, a, b, n, n + 1) for n, (a, b) in enumerate(pairwise(edges))]
    spans = plan_spans(windows, span_s)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(windows)
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    for first, last in spans[:-1]:
        length_s = windows[last - 1].end_s - windows[first].start_s
        assert last - first == 1 or abs(length_s - span_s) <= max(lengths) / 2 + 1e-6
    assert sum(last - first for first, last in spans) == len(windows)


def test_spans_of_ten_second_windows() -> None:
    windows = [Window(n, n * 10.0, n * 10.0 + 10, n, n + 1) for n in range(14)]
    assert plan_spans(windows, 60.0) == [(0, 6), (6, 12), (12, 14)]
    assert plan_spans([], 60.0) == []
