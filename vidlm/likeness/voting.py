"""Two sequences of frame hashes -> where one shows what the other shows, or nothing. Numbers only.

A frame votes only if its quality says that there is something in it, and all frames that look alike share one vote: ten
seconds of one picture are no more evidence than one frame of it. So a still scene, a title card or colour bars alone
never make a match. A short intro that two videos share makes none either: a match covers a good part of one of the
two, or is so long that it is worth showing. How votes are counted along an offset stands in ``alignment``.

Times may run at another speed: t_known = offset + speed * t_query.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.likeness.alignment import (
    RULES,
    Bits,
    Course,
    Ints,
    Match,
    Rules,
    Voters,
    follow,
    offsets_of,
    votes_of,
)
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import BYTES, Hashes, distances

__all__ = ["RULES", "Match", "Rules", "enough", "least_score", "match"]

_PAIRS: Final = 1 << 19  # of frames, compared at once
_MOST_PAIRS: Final = 1 << 24  # of two films: two hours at half a frame a second
_NEARLY_ALL: Final = 0.8  # of a video
_STILL_FRAMES: Final = 3
_STILL_VOTES: Final = 0.9


def match(
    query: Fingerprint,
    known: Fingerprint,
    *,
    mirror: bool = False,
    rules: Rules = RULES,
    asked: Voters | None = None,
) -> Match | None:
    """The best match of the query, in any of its looks, with a known video; `mirror=True` tries mirror images too.

    `asked` are the query's voters, where the caller has them already. Takes two bytes of memory for each pair of
    frames; of two long films that would take more than 32 MB only every second frame votes, or every third.
    """
    asked = asked or Voters.of(query, rules)
    stored = Voters.of(known, rules)
    if not len(asked.rows) or not len(stored.rows):
        return None
    step = math.ceil(math.sqrt(len(asked.rows) * len(stored.rows) / _MOST_PAIRS))
    if step > 1:
        asked, stored = asked.every(step), stored.every(step)
    best: Match | None = None
    for look, apart in _looked_at(query.looks(mirror)[:, asked.rows], known.hashes[stored.rows]):
        guess = look not in (0, 1 + len(query.views))
        least = rules.evidence if guess else least_score(rules)
        if _most(apart.min(axis=1), asked.moments, rules) < max(least, best.score if best else 0.0):
            continue
        for speed in rules.speeds:
            for offset_s in offsets_of(apart, asked.times_s * speed, stored, rules):
                course = Course(offset_s, speed, mirrored=look > len(query.views))
                found = follow(apart, asked, stored, course, rules)
                if found is not None and enough(found, rules, guess=guess) and (not best or found.score > best.score):
                    best = found
    return best


def _looked_at(looks: npt.NDArray[np.uint8], hashes: Hashes) -> Iterator[tuple[int, Bits]]:
    """Each look's number and its distances, int16 [N, M], to what is stored; as many at once as are cheap to keep."""
    step = max(1, _PAIRS // (looks.shape[1] * len(hashes)))
    for first in range(0, len(looks), step):
        part = looks[first : first + step]
        apart = distances(part.reshape(-1, BYTES), hashes).reshape(len(part), -1, len(hashes))
        yield from enumerate(apart, start=first)


def _most(bits: Bits, moments: Ints, rules: Rules) -> float:
    """More than any course can score. bits: int16 [N], of the closest stored frame to each of the query's."""
    most = np.zeros(int(moments.max()) + 1)
    np.maximum.at(most, moments, votes_of(bits, rules))
    return float(most.sum())


def least_score(rules: Rules) -> float:
    """The score below which nothing is a match."""
    return min(rules.evidence, _STILL_VOTES)


def enough(found: Match, rules: Rules, *, guess: bool) -> bool:
    """Whether an alignment is a match. `guess`: by a look that guesses at what was done to the query.

    There are many guesses, and with them many accidents, so a guess needs more votes unless nearly all of both videos
    bears it out. One moment alone cannot have the votes: it counts only where the whole query is one picture, and the
    known video has that very picture. Then there is nothing else that could be compared.
    """
    both = min(found.query_share, found.known_share) >= _NEARLY_ALL
    if found.score >= (rules.evidence_of_guess if guess and not both else rules.evidence):
        long = found.score >= rules.ample and found.query.duration_s >= rules.ample_s
        return long or max(found.query_share, found.known_share) >= rules.share
    still = not guess and found.query_share == 1 and found.frames >= _STILL_FRAMES
    return still and found.score >= _STILL_VOTES and found.mean_distance <= rules.same
