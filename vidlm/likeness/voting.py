"""Two sequences of frame hashes -> where one shows what the other shows, or nothing. Numbers only.

    known     k0  k1  k2  k3  k4  k5  k6  k7        every pair of close hashes votes for an offset t_known - t_query
    query                 q0  q1  q2  q3            the offset with the most votes is followed through both:
    close                 ++  +   --  +             each frame adds how close it is, or takes away; the best stretch
    match                [                )         of it is the match

A frame votes only if its quality says that there is something in it, and all frames of a *moment* - those that look
alike, wherever they stand - share one vote: ten seconds of one picture are no more evidence than one frame of it. So a
still scene, a title card or colour bars alone never make a match. A short intro that two videos share makes none
either: a match covers a good part of one of the two, or is so long that it is worth showing.

Times may run at another speed: t_known = offset + speed * t_query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vidlm.domain import Span
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import BYTES, Hashes, distances

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as the same. The defaults were chosen by `benchmarks/likeness.py`, which also shows what they give.

    gate: PDQ quality from which a frame votes.  sure: bits of 256 up to which two frames show the same, for a whole
    vote.  close: bits up to which they may, for less and less of one.  alike: bits up to which two frames of one video
    are the same moment.  evidence: votes a match needs; evidence_of_guess: by one of the many looks that guess at what
    was done to the query.  share: of the query or of the known video, 0..1, that a match covers.  ample, ample_s:
    votes and seconds from which it need not.  same: bits up to which one still picture that fills the query is a match
    by itself.  speeds: how many seconds of the known video a second of the query may show.
    """

    gate: int = 25
    sure: int = 31
    close: int = 76
    alike: int = 20
    evidence: float = 1.25
    evidence_of_guess: float = 2.0
    share: float = 0.5
    ample: float = 8.0
    ample_s: float = 15.0
    same: int = 10
    speeds: tuple[float, ...] = (1.0,)


RULES: Final = Rules()

_AGAINST: Final = -0.5  # the vote of a frame that should look alike and does not
_OFFSETS: Final = 6  # followed through both videos, at most
_PAIRS: Final = 1 << 19  # of frames, compared at once
_STILL_FRAMES: Final = 3
_STILL_VOTES: Final = 0.9


@dataclass(frozen=True, slots=True)
class Match:
    """The stretch of the query that shows a stretch of the known video, seconds, `[start_s, end_s)` both.

    offset_s, speed: t_known = offset_s + speed * t_query.  mirrored: one is the other in a mirror.  query_share,
    known_share: of the frames of each that vote, how many lie in the stretch, 0..1.  frames: of the query, that are
    close.  mean_distance: of these, bits.  score: votes, from 0: how many different moments agree, each by how close
    it is.
    """

    query: Span
    known: Span
    offset_s: float
    speed: float
    mirrored: bool
    query_share: float
    known_share: float
    frames: int
    mean_distance: float
    score: float


def match(query: Fingerprint, known: Fingerprint, *, mirror: bool = False, rules: Rules = RULES) -> Match | None:
    """The best match of the query, in any of its looks, with a known video; `mirror=True` tries mirror images too.

    Takes two bytes of memory for each pair of frames: 100 MB for two films of an hour at two frames a second.
    """
    asked = _Voters.of(query, rules)
    stored = _Voters.of(known, rules)
    if not len(asked.rows) or not len(stored.rows):
        return None
    best: Match | None = None
    for look, apart in _looked_at(query.looks(mirror)[:, asked.rows], known.hashes[stored.rows]):
        guess = look not in (0, 1 + len(query.views))
        least = rules.evidence_of_guess if guess else least_score(rules)
        if _most(apart.min(axis=1), asked.moments, rules) < max(least, best.score if best else 0.0):
            continue
        for speed in rules.speeds:
            for offset_s in _offsets(apart, asked.times_s * speed, stored, rules):
                course = _Course(offset_s, speed, mirrored=look > len(query.views))
                found = _follow(apart, asked, stored, course, rules)
                if found is not None and enough(found, rules, guess=guess) and (not best or found.score > best.score):
                    best = found
    return best


def _looked_at(looks: npt.NDArray[np.uint8], hashes: Hashes) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """Each look's number and its distances, int16 [N, M], to what is stored; as many at once as are cheap to keep."""
    step = max(1, _PAIRS // (looks.shape[1] * len(hashes)))
    for first in range(0, len(looks), step):
        part = looks[first : first + step]
        apart = distances(part.reshape(-1, BYTES), hashes).reshape(len(part), -1, len(hashes))
        yield from enumerate(apart, start=first)


def least_score(rules: Rules) -> float:
    """The score below which nothing is a match."""
    return min(rules.evidence, rules.evidence_of_guess, _STILL_VOTES)


def enough(found: Match, rules: Rules, *, guess: bool) -> bool:
    """Whether an alignment is a match. `guess`: by a look that guesses at what was done to the query.

    One moment alone cannot have the votes. It counts only where the whole query is one picture, and the known video has
    that very picture: then there is nothing else that could be compared.
    """
    if found.score >= (rules.evidence_of_guess if guess else rules.evidence):
        long = found.score >= rules.ample and found.query.duration_s >= rules.ample_s
        return long or max(found.query_share, found.known_share) >= rules.share
    still = not guess and found.query_share == 1 and found.frames >= _STILL_FRAMES
    return still and found.score >= _STILL_VOTES and found.mean_distance <= rules.same


class _Course(NamedTuple):
    """How the query's time runs in the known video."""

    offset_s: float
    speed: float
    mirrored: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Voters:
    """The frames of a video that vote: `rows` of it, int [N]; their times_s [N]; and which moment each shows, int [N].

    start_s, end_s: of the whole video, from its first frame to behind its last.
    """

    rows: Ints
    times_s: Floats
    moments: Ints
    step_s: float
    start_s: float
    end_s: float

    @classmethod
    def of(cls, video: Fingerprint, rules: Rules) -> _Voters:
        rows = np.flatnonzero(video.quality >= rules.gate)
        start_s = float(video.times_s[0]) if len(video) else 0.0
        end_s = float(video.times_s[-1]) + video.step_s if len(video) else 0.0
        moments = moments_of(video.hashes[rows], rules.alike)
        return cls(rows, video.times_s[rows], moments, video.step_s, start_s, end_s)


def moments_of(hashes: Hashes, alike: int) -> Ints:
    """Which moment each frame shows: int [T], numbered from 0 as they first appear.

    A frame belongs to the closest earlier moment's first frame within `alike` bits, else it begins one.
    """
    moments = np.zeros(len(hashes), np.intp)
    firsts = np.empty_like(hashes)
    count = 0
    for row in range(len(hashes)):
        near = distances(hashes[row : row + 1], firsts[:count])[0]
        if count and near.min() <= alike:
            moments[row] = near.argmin()
        else:
            moments[row], firsts[count] = count, hashes[row]
            count += 1
    return moments


def _most(bits: npt.NDArray[np.int16], moments: Ints, rules: Rules) -> float:
    """More than any course can score. bits: int16 [N], of the closest stored frame to each of the query's."""
    most = np.zeros(int(moments.max()) + 1)
    np.maximum.at(most, moments, _votes(bits, rules))
    return float(most.sum())


def _offsets(apart: npt.NDArray[np.int16], query_s: Floats, stored: _Voters, rules: Rules) -> Sequence[float]:
    """The offsets most voted for, seconds, best first. apart: int16 [N, M]; query_s: float64 [N]."""
    asked_at, stored_at = np.nonzero(apart < rules.close)
    if not len(asked_at):
        return ()
    votes = _votes(apart[asked_at, stored_at], rules)
    offsets = stored.times_s[stored_at] - query_s[asked_at]
    width_s = stored.step_s / 2
    bins = np.round(offsets / width_s).astype(np.intp)
    heights = np.convolve(np.bincount(bins - bins.min(), votes), (0.5, 1, 0.5), mode="same")
    peaks = np.argsort(-heights, kind="stable")[:_OFFSETS]
    found = []
    for peak in peaks[heights[peaks] > 0]:
        near = np.abs(bins - bins.min() - peak) <= 1
        if near.any():
            found.append(float(np.average(offsets[near], weights=votes[near])))
    return found


def _follow(
    apart: npt.NDArray[np.int16], asked: _Voters, stored: _Voters, course: _Course, rules: Rules
) -> Match | None:
    """The best stretch along one course, if it is a match."""
    at, bits = _nearest(apart, course.offset_s + course.speed * asked.times_s, stored)
    told = np.flatnonzero(at >= 0)
    if not len(told):
        return None
    votes = _votes(bits[told], rules)
    _, of_moment, in_moment = np.unique(asked.moments[told], return_inverse=True, return_counts=True)
    begin, end = best_stretch(votes / in_moment[of_moment])
    stretch = told[begin:end]
    agree = stretch[bits[stretch] < rules.close]
    if not len(agree):
        return None
    score = _score(votes[begin:end], asked.moments[stretch], stored.moments[at[agree]])
    return _described(asked, stored, course, (agree, at[agree], bits[agree]), score)


def _votes(bits: npt.NDArray[np.int16], rules: Rules) -> Floats:
    """What frames that differ in so many bits say: 1 up to `sure`, 0 at `close`, down to -0.5 beyond."""
    return np.asarray(np.clip((rules.close - bits) / (rules.close - rules.sure), _AGAINST, 1.0))


def _nearest(apart: npt.NDArray[np.int16], wanted_s: Floats, stored: _Voters) -> tuple[Ints, npt.NDArray[np.int16]]:
    """For each query frame the closest of the stored frames around `wanted_s`, and its bits; -1 where there is none."""
    reach_s = 0.6 * stored.step_s + 0.05
    first = np.searchsorted(stored.times_s, wanted_s - reach_s, side="left")
    last = np.searchsorted(stored.times_s, wanted_s + reach_s, side="right")
    at = np.full(len(wanted_s), -1, np.intp)
    bits = np.full(len(wanted_s), np.iinfo(np.int16).max, np.int16)
    rows = np.arange(len(wanted_s))
    for step in range(int((last - first).max(initial=0))):
        column = np.minimum(first + step, len(stored.rows) - 1)
        better = (first + step < last) & (apart[rows, column] < bits)
        at[better], bits[better] = column[better], apart[rows, column][better]
    return at, bits


def best_stretch(votes: Floats) -> tuple[int, int]:
    """`[begin, end)` of the run of votes with the largest sum, the shorter one of equals (Bentley 1984)."""
    sums = np.concatenate([[0.0], np.cumsum(votes)])
    lowest = np.minimum.accumulate(sums[:-1])
    end = int(np.argmax(sums[1:] - lowest)) + 1
    begin = int(np.flatnonzero(sums[:end] <= lowest[end - 1])[-1])
    return begin, end


def _score(votes: Floats, asked_moments: Ints, stored_moments: Ints) -> float:
    """The mean vote of each of the query's moments, summed, and no more than the known video has moments for it."""
    _, of_moment, in_moment = np.unique(asked_moments, return_inverse=True, return_counts=True)
    each = np.bincount(of_moment, votes) / in_moment
    agreeing = int((each > 0).sum())
    if not agreeing:
        return 0.0
    return float(each.sum()) * min(1.0, len(np.unique(stored_moments)) / agreeing)


def _described(
    asked: _Voters, stored: _Voters, course: _Course, pairs: tuple[Ints, Ints, npt.NDArray[np.int16]], score: float
) -> Match:
    """What a stretch amounts to. pairs: frames of the query and of the known video that agree, and their bits."""
    rows, at, bits = pairs
    query, known = _span(asked.times_s[rows], asked), _span(stored.times_s[at], stored)
    return Match(
        query=query,
        known=known,
        offset_s=course.offset_s,
        speed=course.speed,
        mirrored=course.mirrored,
        query_share=_share(rows, asked),
        known_share=_share(at, stored),
        frames=len(rows),
        mean_distance=float(bits.mean()),
        score=score,
    )


def _share(rows: Ints, video: _Voters) -> float:
    """Of the frames of a video that vote, how many stand between the first and the last of `rows`."""
    return int(rows.max() - rows.min() + 1) / len(video.rows)


def _span(times_s: Floats, video: _Voters) -> Span:
    """From the first to behind the last of some frames' times."""
    return Span(float(times_s.min()), min(float(times_s.max()) + video.step_s, video.end_s))
