"""From how relevant each part of a video is to the seconds an answer rests on: arithmetic, no model.

looks        [ .1 )[ .2 )[ .9 )[ .9 )[ .7 )      parts that were judged, in order of time
threshold    .72                                 where one part is sure, doubtful ones are not evidence
evidence                 [  .9   .9  )           touching parts at or above it, merged
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vidlm import prompts
from vidlm.domain import AnswerEvidence, Span

RELEVANT: Final = 0.2
"""P(Yes) from which a part may count as showing what a question is about: whatever is read from it can still refuse."""
BESIDE_BEST: Final = 0.8
"""Share of the best part's P(Yes) from which another part counts beside it."""
TRIES: Final = 3
"""Single stretches of evidence that are asked for the answer, best first, before giving up."""


@dataclass(frozen=True, slots=True)
class Look:
    """A window or a part of one that was judged: when it is, how relevant, and how many frame pairs it holds."""

    span: Span
    score: float
    window: int
    pairs: int


def cut_pairs(pair_times_s: Sequence[float], whole: Span, length_s: float) -> list[tuple[int, int, Span]]:
    """A window's frame pairs in parts of about `length_s`: (first, last, span), `[first, last)` of the pairs.

    The spans tile `whole`, and each begins at its first pair's time (the first one where `whole` does):

        pairs   0   1   2   3   4     two seconds each      [0, 2) [2, 4) [4, 5)
    """
    firsts = [0]
    for index, time_s in enumerate(pair_times_s):
        if time_s - pair_times_s[firsts[-1]] >= length_s:
            firsts.append(index)
    lasts = [*firsts[1:], len(pair_times_s)]
    starts_s = [whole.start_s, *(min(max(pair_times_s[first], whole.start_s), whole.end_s) for first in firsts[1:])]
    ends_s = [*starts_s[1:], whole.end_s]
    return [
        (first, last, Span(start_s, end_s))
        for first, last, start_s, end_s in zip(firsts, lasts, starts_s, ends_s, strict=True)
    ]


def relevance_threshold(looks: Sequence[Look]) -> float:
    """From which score on a part of this video is evidence: where one part is sure, doubtful ones are not."""
    return max(RELEVANT, BESIDE_BEST * max((look.score for look in looks), default=0.0))


def merge_looks(looks: Sequence[Look], threshold: float) -> list[list[Look]]:
    """Runs of touching looks at or above the threshold. `looks` are in order of time and do not overlap."""
    runs: list[list[Look]] = []
    for look in looks:
        if look.score < threshold:
            continue
        if runs and look.span.start_s - runs[-1][-1].span.end_s <= 1e-6:
            runs[-1].append(look)
        else:
            runs.append([look])
    return runs


def windows_of(looks: Sequence[Look]) -> set[int]:
    """The indices of the windows that looks lie in."""
    return {look.window for look in looks}


def at_their_best(wholes: Sequence[Look], parts: Sequence[Look]) -> list[Look]:
    """Windows that were judged as a whole, each with the best score of it and of its parts."""
    best: dict[int, float] = {}
    for look in (*wholes, *parts):
        best[look.window] = max(best.get(look.window, 0.0), look.score)
    return [replace(whole, score=best[whole.window]) for whole in wholes]


def readings(runs: Sequence[Sequence[Look]], wholes: Sequence[Look]) -> list[list[Look]]:
    """The windows that an answer is read from, one set after the other: all that may be relevant, as an order or a
    count may need what is not the best evidence; then all that evidence (`runs`) lies in; then its best stretches.

    `wholes`: every window once, in order. Without evidence there is nothing to read; no set comes twice.
    """
    best = sorted(runs, key=lambda run: -max(look.score for look in run))[:TRIES]
    sets = [{look.window for look in wholes if look.score >= RELEVANT}] if runs else []
    sets += [{look.window for run in runs for look in run}, *map(windows_of, best)]
    found = [[look for look in wholes if look.window in windows] for windows in sets]
    return [some for number, some in enumerate(found) if some and some not in found[:number]]


def around_peak(run: Sequence[Look], most_pairs: int) -> list[Look]:
    """The looks around a run's best one, grown to both sides (the better side first) while the pairs are few enough."""
    low = high = max(range(len(run)), key=lambda index: run[index].score)
    pairs = run[low].pairs
    while low > 0 or high < len(run) - 1:
        before = run[low - 1].score if low > 0 else -1.0
        after = run[high + 1].score if high < len(run) - 1 else -1.0
        pairs += run[high + 1].pairs if after >= before else run[low - 1].pairs
        if pairs > most_pairs:
            break
        low, high = (low, high + 1) if after >= before else (low - 1, high)
    return list(run[low : high + 1])


def evidence_of(run: Sequence[Look], duration_s: float) -> AnswerEvidence:
    """A run as evidence: its ends, kept inside the video, and its peak."""
    start_s = min(max(run[0].span.start_s, 0.0), duration_s)
    end_s = min(max(run[-1].span.end_s, start_s), duration_s)
    return AnswerEvidence(start_s, end_s, max(look.score for look in run))


def times_put_right(text: str, evidence: Sequence[AnswerEvidence]) -> str:
    """An answer, with the times of its evidence where it is nothing but times.

    Models write wrong times with confidence; where something is seen was measured. Any other answer is left alone.
    """
    if not evidence or not prompts.says_only_times(text):
        return text
    return prompts.when([Span(one.start_s, one.end_s) for one in evidence])
