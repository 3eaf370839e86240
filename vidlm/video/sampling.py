"""Which seconds are looked at together: shots -> windows -> spans. PURE: numbers in, numbers out.

shots    [------------------------)[--)[----------)
windows  [-------)[-------)[------------)[--------)     long shots in even parts, short ones with a neighbour
frames    |   |   |   |   |   |   |   |   |   |   |     each window holds at least one
spans    [----------------)[----------------------)     runs of windows, the work of one task
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vidlm.domain import Span


@dataclass(frozen=True, slots=True)
class Window:
    """`[start_s, end_s)` and the proxy frames `[first_frame, last_frame)` shown in it."""

    index: int
    start_s: float
    end_s: float
    first_frame: int
    last_frame: int


def plan_windows(
    shots: Sequence[Span], frame_times_s: Sequence[float], duration_s: float, min_s: float = 2.0, max_s: float = 10.0
) -> list[Window]:
    """Windows that tile `[0, duration_s)` exactly, each within one shot unless a shot is shorter than `min_s`.

    A shot longer than `max_s` becomes equal parts of at most `max_s`. One shorter than `min_s` joins the shorter of its
    neighbours. A window that would hold no frame joins the one before it (the first: the one after), so one may be
    longer than `max_s` where frames are further apart than that. Frames are `frame_times_s`, increasing; those at or
    behind the end belong to the last window. Raises `ValueError` if there is no frame, no duration, or not `0 < min_s
    <= max_s`.
    """
    if not frame_times_s or not 0 < duration_s < math.inf or not 0 < min_s <= max_s:
        raise ValueError(
            f"{len(frame_times_s)} frames in {duration_s} s cannot be cut into windows of {min_s} to {max_s} s"
        )
    edges = [0.0]
    for start_s, end_s in _join_short(_tile(shots, duration_s), min_s):
        parts = max(1, math.ceil((end_s - start_s) / max_s - 1e-9))
        edges += [start_s + (end_s - start_s) * part / parts for part in range(1, parts)] + [end_s]
    frames = [bisect.bisect_left(frame_times_s, edge) for edge in edges]
    frames[0], frames[-1] = 0, len(frame_times_s)
    kept = _drop_empty(frames)
    return [Window(index, edges[a], edges[b], frames[a], frames[b]) for index, (a, b) in enumerate(pairwise(kept))]


def plan_spans(windows: Sequence[Window], span_s: float) -> list[tuple[int, int]]:
    """Runs `[first, last)` of windows, all of them in order, each run as near to `span_s` seconds as windows allow."""
    if span_s <= 0:
        raise ValueError(f"a span of {span_s} s")
    spans: list[tuple[int, int]] = []
    first = 0
    for last in range(1, len(windows) + 1):
        length_s = windows[last - 1].end_s - windows[first].start_s
        next_s = windows[last].end_s - windows[first].start_s if last < len(windows) else math.inf
        if next_s - span_s > span_s - length_s:  # one more window would miss by more than stopping here
            spans.append((first, last))
            first = last
    return spans


def _tile(shots: Sequence[Span], duration_s: float) -> list[tuple[float, float]]:
    """The shots' starts as cuts of `[0, duration_s)`, whatever small gaps or overlaps came in."""
    inner = sorted({shot.start_s for shot in shots if 0 < shot.start_s < duration_s})
    return list(pairwise([0.0, *inner, duration_s]))


def _join_short(pieces: list[tuple[float, float]], min_s: float) -> list[tuple[float, float]]:
    """Left to right: a piece under `min_s` joins the finished one before it or the raw one after it, the shorter."""
    joined: list[tuple[float, float]] = []
    start_s = pieces[0][0]
    for index, (_, end_s) in enumerate(pieces):
        length_s = end_s - start_s
        before_s = joined[-1][1] - joined[-1][0] if joined else math.inf
        after_s = pieces[index + 1][1] - pieces[index + 1][0] if index + 1 < len(pieces) else math.inf
        if length_s >= min_s or before_s == after_s == math.inf:
            joined.append((start_s, end_s))
        elif before_s <= after_s:
            joined[-1] = (joined[-1][0], end_s)
        else:
            continue  # start_s stays: the piece grows into the next one
        start_s = end_s
    return joined


def _drop_empty(frames: Sequence[int]) -> list[int]:
    """Indices of the edges to keep so that the frame index grows from each to the next; the outermost always stay."""
    kept = [0]
    for edge in range(1, len(frames) - 1):
        if frames[kept[-1]] < frames[edge] < frames[-1]:
            kept.append(edge)
    return [*kept, len(frames) - 1]
