"""The ends of evidence, frame by frame: arithmetic, no model.

Parts are judged by frame pairs, about a second each, and what a question is about may come or go inside of one. The
frames around both ends of a stretch are therefore judged alone:

    frames      f0  f1 | f2  f3 | f4  f5 | f6  f7     by two: as they were judged at first
    stretch            [                 )
    alone           .9   .9  .9   .9  .1   .1
    sharpened       [                 )               begins with f1, ends where f5 is shown
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from vidlm.domain import AnswerEvidence

_SAME_S: Final = 1e-6


def frames_at_ends(stretch: AnswerEvidence, frame_times_s: Sequence[float]) -> list[int]:
    """Which frames decide where a stretch begins and ends: the one before each end, and the two behind it."""
    first, last = _inside(stretch, frame_times_s)
    if last <= first:
        return []
    around = {first - 1, first, first + 1, last - 2, last - 1, last}
    return sorted(index for index in around if 0 <= index < len(frame_times_s))


def sharpened(
    stretch: AnswerEvidence, frame_times_s: Sequence[float], shows: Mapping[int, bool], duration_s: float
) -> AnswerEvidence:
    """The stretch with its ends where the frames say. `shows`: whether each frame of `frames_at_ends` shows it alone.

    An end moves outwards over a frame that shows it, and inwards over one that does not where the next one does. Where
    single frames show nothing (a movement takes two) it stays. Ends lie in `[0, duration_s]`.
    """
    first, last = _inside(stretch, frame_times_s)
    if last <= first:
        return stretch
    start_s, end_s = stretch.start_s, stretch.end_s
    if shows.get(first - 1, False):
        start_s = frame_times_s[first - 1]
    elif last - first > 1 and not shows.get(first, False) and shows.get(first + 1, False):
        start_s = frame_times_s[first + 1]
    if shows.get(last, False):
        end_s = frame_times_s[last + 1] if last + 1 < len(frame_times_s) else duration_s
    elif last - first > 1 and not shows.get(last - 1, False) and shows.get(last - 2, False):
        end_s = frame_times_s[last - 1]
    if not start_s < end_s:
        return stretch
    return replace(stretch, start_s=max(0.0, start_s), end_s=min(end_s, duration_s))


def joined(stretches: Sequence[AnswerEvidence]) -> tuple[AnswerEvidence, ...]:
    """Stretches in order of time, those that have come to touch as one, as sure as the surest of them."""
    found: list[AnswerEvidence] = []
    for stretch in sorted(stretches, key=lambda one: one.start_s):
        if found and stretch.start_s <= found[-1].end_s + _SAME_S:
            end_s, score = max(found[-1].end_s, stretch.end_s), max(found[-1].score, stretch.score)
            found[-1] = AnswerEvidence(found[-1].start_s, end_s, score)
        else:
            found.append(stretch)
    return tuple(found)


def _inside(stretch: AnswerEvidence, frame_times_s: Sequence[float]) -> tuple[int, int]:
    """The frames `[first, last)` that are shown in a stretch."""
    return (
        bisect.bisect_left(frame_times_s, stretch.start_s - _SAME_S),
        bisect.bisect_left(frame_times_s, stretch.end_s - _SAME_S),
    )
