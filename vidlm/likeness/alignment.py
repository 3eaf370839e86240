"""Along one course through two videos: who votes, which offsets are worth trying, and the best stretch at one of them.

    known     k0  k1  k2  k3  k4  k5  k6  k7        every pair of close hashes votes for an offset t_known - t_query
    query                 q0  q1  q2  q3            one offset is followed through both: each frame adds how close it
    close                 ++  +   --  +             is to what it meets there, or takes away
    stretch              [                )         the run with the largest sum

All frames of a *moment* - those of one video that look alike, wherever they stand - share one vote. Numbers only; what
is enough for a match stands in ``voting``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vidlm.domain import Span
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import Hashes, distances

Bits = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_AGAINST: Final = -0.5  # the vote of a frame that should look alike and does not
_OFFSETS: Final = 6  # followed through both videos, at most
_FINEST_S: Final = 0.02  # offsets closer than this are one


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
    evidence_of_guess: float = 2.5
    share: float = 0.5
    ample: float = 8.0
    ample_s: float = 15.0
    same: int = 16
    speeds: tuple[float, ...] = (1.0,)


RULES: Final = Rules()


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


class Course(NamedTuple):
    """How the query's time runs in the known video."""

    offset_s: float
    speed: float
    mirrored: bool


@dataclass(frozen=True, slots=True, eq=False)
class Voters:
    """The frames of a video that vote: `rows` of it, int [N]; their times_s [N]; and which moment each shows, int [N].

    step_s: between frames.  end_s: behind the video's last frame.
    """

    rows: Ints
    times_s: Floats
    moments: Ints
    step_s: float
    end_s: float

    @classmethod
    def of(cls, video: Fingerprint, rules: Rules) -> Voters:
        rows = np.flatnonzero(video.quality >= rules.gate)
        end_s = float(video.times_s[-1]) + video.step_s if len(video) else 0.0
        moments = moments_of(video.hashes[rows], rules.alike)
        return cls(rows, video.times_s[rows], moments, video.step_s, end_s)

    def every(self, step: int) -> Voters:
        """Each `step`-th of them alone."""
        return Voters(self.rows[::step], self.times_s[::step], self.moments[::step], self.step_s * step, self.end_s)


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


def votes_of(bits: Bits, rules: Rules) -> Floats:
    """What frames that differ in so many bits say: 1 up to `sure`, 0 at `close`, down to -0.5 beyond."""
    return np.asarray(np.clip((rules.close - bits) / (rules.close - rules.sure), _AGAINST, 1.0))


def offsets_of(apart: Bits, query_s: Floats, stored: Voters, rules: Rules) -> Sequence[float]:
    """The offsets most voted for, seconds, best first. apart: int16 [N, M]; query_s: float64 [N]."""
    asked_at, stored_at = np.nonzero(apart < rules.close)
    if not len(asked_at):
        return ()
    votes = votes_of(apart[asked_at, stored_at], rules)
    offsets = stored.times_s[stored_at] - query_s[asked_at]
    width_s = max(stored.step_s / 2, _FINEST_S)
    bins, of_bin = np.unique(np.round(offsets / width_s).astype(np.int64), return_inverse=True)
    heights = np.bincount(of_bin, votes)
    beside = np.zeros_like(heights)  # neighbours count half, so that votes on both sides of an edge meet
    touching = np.diff(bins) == 1
    beside[1:][touching] += heights[:-1][touching] / 2
    beside[:-1][touching] += heights[1:][touching] / 2
    found = []
    for peak in np.argsort(-(heights + beside), kind="stable")[:_OFFSETS]:
        near = np.abs(bins[of_bin] - bins[peak]) <= 1
        found.append(float(np.average(offsets[near], weights=votes[near])))
    return found


def follow(apart: Bits, asked: Voters, stored: Voters, course: Course, rules: Rules) -> Match | None:
    """The best stretch along one course, whatever it amounts to; None where nothing agrees."""
    at, bits = _nearest(apart, course.offset_s + course.speed * asked.times_s, stored)
    told = np.flatnonzero(at >= 0)
    if not len(told):
        return None
    votes = votes_of(bits[told], rules)
    _, of_moment, in_moment = np.unique(asked.moments[told], return_inverse=True, return_counts=True)
    begin, end = best_stretch(votes / in_moment[of_moment])
    stretch = told[begin:end]
    agree = stretch[bits[stretch] < rules.close]
    if not len(agree):
        return None
    score = _score(votes[begin:end], asked.moments[stretch], stored.moments[at[agree]])
    return _described(asked, stored, course, (agree, at[agree], bits[agree]), score)


def _nearest(apart: Bits, wanted_s: Floats, stored: Voters) -> tuple[Ints, Bits]:
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


def _described(asked: Voters, stored: Voters, course: Course, pairs: tuple[Ints, Ints, Bits], score: float) -> Match:
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


def _share(rows: Ints, video: Voters) -> float:
    """Of the frames of a video that vote, how many stand between the first and the last of `rows`."""
    return int(rows.max() - rows.min() + 1) / len(video.rows)


def _span(times_s: Floats, video: Voters) -> Span:
    """From the first to behind the last of some frames' times."""
    return Span(float(times_s.min()), min(float(times_s.max()) + video.step_s, video.end_s))
