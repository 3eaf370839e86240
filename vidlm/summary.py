"""Chapters and highlights from captioned segments. Pure: captions in, groups and indices out; no model is asked here.

shots      |     A     |     B     |         C         |
segments   |  0  |  1  |  2  |  3  |  4  |  5  |   6   |
chapters   [     1     )[    2     )[         3        )     a chapter opens at a cut, once the last is long enough
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Final, TypeVar

from vidlm.domain import Flag, Segment, Span

CHAPTER_MIN_S: Final = 10.0
"""A cut opens a new chapter only when the current one has lasted this long."""
CHAPTER_RESTLESS_S: Final = 30.0
"""Without a cut, a chapter this long still ends where the captions change subject."""
MAX_CHAPTERS: Final = 20
MAX_HIGHLIGHTS: Final = 5
MAX_SUMMARY_CAPTIONS: Final = 40

_T = TypeVar("_T")

_SAME_SUBJECT: Final = 0.3  # captions that share less than this part of their words are about something else
_SAME_TIME_S: Final = 0.002
_SENTENCE: Final = re.compile(r".+?(?:[.!?]+(?=\s|$)|[。！？]+|$)\s*", re.DOTALL)
_ABBREVIATION: Final = re.compile(r"\S+\.")  # of one word: the "Dr." of a name that comes again


def group_chapters(segments: Sequence[Segment], shots: Sequence[Span]) -> list[list[Segment]]:
    """Consecutive segments grouped into at most `MAX_CHAPTERS` chapters; every segment is in exactly one."""
    if not segments:
        return []
    cuts = [shot.start_s for shot in shots]
    duration_s = segments[-1].end_s - segments[0].start_s
    least_s = max(CHAPTER_MIN_S, duration_s / MAX_CHAPTERS)
    chapters = [[segments[0]]]
    for before, segment in itertools.pairwise(segments):
        so_far_s = segment.start_s - chapters[-1][0].start_s
        at_cut = any(abs(segment.start_s - cut) <= _SAME_TIME_S for cut in cuts)
        new_subject = (
            so_far_s >= CHAPTER_RESTLESS_S and likeness(words(before.caption), words(segment.caption)) < _SAME_SUBJECT
        )
        if so_far_s >= least_s and (at_cut or new_subject):
            chapters.append([segment])
        else:
            chapters[-1].append(segment)
    last_s = chapters[-1][-1].end_s - chapters[-1][0].start_s
    if len(chapters) > 1 and last_s < least_s / 2:  # a stub at the end belongs to what came before it
        stub = chapters.pop()
        chapters[-1] += stub
    return chapters


def pick_highlights(segments: Sequence[Segment], flags: Sequence[Flag]) -> tuple[int, ...]:
    """Indices of the segments most worth seeing, at most `MAX_HIGHLIGHTS`, most important first.

    Flagged segments come first, by their highest score; then, up to a third of the video's segments, those whose
    captions are least like the ones already chosen.
    """
    flagged: dict[int, float] = {}
    for flag in flags:
        for segment in segments:
            if flag.start_s <= segment.start_s < flag.end_s:
                score = segment.scores.get(flag.policy_id, 0.0)
                flagged[segment.index] = max(score, flagged.get(segment.index, 0.0))
    chosen = sorted(flagged, key=lambda index: (-flagged[index], index))[:MAX_HIGHLIGHTS]
    wanted = min(MAX_HIGHLIGHTS, -(-len(segments) // 3))
    vocabulary = {segment.index: words(segment.caption) for segment in segments}
    while len(chosen) < wanted:
        rest = [index for index, text in vocabulary.items() if index not in chosen and text]
        if not rest:
            break
        best = max(rest, key=lambda index: (_novelty(index, chosen, vocabulary), len(vocabulary[index]), -index))
        if chosen and _novelty(best, chosen, vocabulary) == 0:
            break  # everything left repeats what is there already
        chosen.append(best)
    return tuple(chosen)


def summary_captions(segments: Sequence[Segment]) -> list[tuple[float, str]]:
    """(start_s, caption) of what a summary is made from: repeats collapsed, at most `MAX_SUMMARY_CAPTIONS`, evenly."""
    told: list[tuple[float, str]] = []
    for segment in segments:
        if segment.caption and (not told or told[-1][1] != segment.caption):
            told.append((segment.start_s, segment.caption))
    return evenly(told, MAX_SUMMARY_CAPTIONS)


def told_once(text: str) -> str:
    """The text without sentences that it has said before, word for word: small models repeat some, large ones loop."""
    told: set[str] = set()
    kept = []
    for sentence in _SENTENCE.findall(text):
        said = sentence.strip()
        if said not in told or _ABBREVIATION.fullmatch(said):
            kept.append(sentence)
        told.add(said)
    return "".join(kept).strip()


def evenly(items: Sequence[_T], most: int) -> list[_T]:
    """At most `most` (>= 2) of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard index: the part of all their words that both have, in [0, 1]; two empty texts are alike."""
    return len(one & other) / len(one | other) if one or other else 1.0


def _novelty(index: int, chosen: Sequence[int], vocabulary: dict[int, frozenset[str]]) -> float:
    return min((1 - likeness(vocabulary[index], vocabulary[other]) for other in chosen), default=1.0)
