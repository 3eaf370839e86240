"""Many known videos -> the few that a query may match, then the matches. Hashes in memory, no storage.

    query looks x frames                every stored frame
        64 low bits  ---- differ in at most 20 ? ---- 64 low bits      most pairs end here
        256 bits     ---- closer than `close`  ? ---- 256 bits         these vote for their video
                                                                       the videos with the most votes are aligned

Brute force over packed bits with the processor's popcount, a bounded piece at a time. The 64 bits are the lowest
frequencies, 8 each way: what a change of a picture leaves alone longest, and a quarter of the work. A pair lost by them
is one vote of many. Multi-index hashing (Norouzi et al. 2012) would not help here: at 76 of 256 bits its buckets
hold nearly everything. One frame of each of the query's moments asks, and most of them only as they are and in a
mirror: the many guesses are left to a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.likeness.alignment import Ints, Voters
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import BITS, BYTES, Hashes
from vidlm.likeness.voting import RULES, Match, Rules, least_score, match

_LOW_BITS: Final = 20
_AT_ONCE: Final = 1 << 14  # stored frames compared with one: 128 KiB, which stay in a processor's cache
_ASKED: Final = 512  # moments of a query that look for candidates, at most
_GUESSED: Final = 24  # of these, how many do so in every look


@dataclass(frozen=True, slots=True)
class Found:
    """A known video and how the query matches it."""

    video_id: str
    match: Match


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """All voting frames of all videos: hashes uint64 [N, 4], low uint64 [N], and whose they are, int [N]."""

    ids: tuple[str, ...]
    hashes: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    owners: Ints


class LikenessIndex:
    """Known videos by id. Not for several threads at once; adding and removing are cheap, the next search pays."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self._videos: dict[str, Fingerprint] = {}
        self._table: _Table | None = None

    def __len__(self) -> int:
        return len(self._videos)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._videos

    def add(self, video_id: str, video: Fingerprint) -> None:
        """Know a video from now on; one of the same id is replaced. Views are not kept."""
        self._videos[video_id] = video.kept
        self._table = None

    def remove(self, video_id: str) -> bool:
        """Forget a video. False if it was not known."""
        self._table = None
        return self._videos.pop(video_id, None) is not None

    def search(self, query: Fingerprint, *, mirror: bool = False, limit: int = 20) -> list[Found]:
        """The known videos that the query matches, best score first, at most `limit`.

        `mirror=True` finds what was mirrored too, at twice the cost. Raises `ValueError` for a limit below 1.
        """
        if limit < 1:
            raise ValueError("limit must be at least 1")
        found = []
        asked = Voters.of(query, self._rules)
        for video_id in self._candidates(query, asked, mirror=mirror, limit=2 * limit):
            matched = match(query, self._videos[video_id], mirror=mirror, rules=self._rules, asked=asked)
            if matched is not None:
                found.append(Found(video_id, matched))
        return sorted(found, key=lambda one: -one.match.score)[:limit]

    def candidates(self, query: Fingerprint, *, mirror: bool = False, limit: int = 40) -> list[str]:
        """The videos with frames close to the query's, the most votes first, at most `limit`."""
        return self._candidates(query, Voters.of(query, self._rules), mirror=mirror, limit=limit)

    def _candidates(self, query: Fingerprint, asked: Voters, *, mirror: bool, limit: int) -> list[str]:
        table = self._table = self._table or _tabled(self._videos, self._rules)
        if not len(asked.rows) or not len(table.owners):
            return []
        looks = query.looks(mirror)
        plain = looks[:: 1 + len(query.views)]  # as it is, and that in a mirror
        _, firsts = np.unique(asked.moments, return_index=True)
        rows = _spread(asked.rows[np.sort(firsts)], _ASKED)
        guessed = frozenset(_spread(rows, _GUESSED).tolist())
        votes = np.zeros(len(table.ids), np.int64)
        for row in rows.tolist():  # in whichever of its looks a frame comes closest to a video, it votes once
            best = np.zeros_like(votes)
            for owners, bits in _close((looks if row in guessed else plain)[:, row], table, self._rules.close):
                np.maximum.at(best, owners, self._rules.close - np.maximum(bits, self._rules.sure))
            votes += best
        order = np.argsort(-votes, kind="stable")[:limit]
        enough = least_score(self._rules) * (self._rules.close - self._rules.sure) / 2
        return [table.ids[number] for number in order if votes[number] >= enough]


def _spread(rows: Ints, most: int) -> Ints:
    """At most `most` of the rows, evenly spread, first and last among them."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def _tabled(videos: dict[str, Fingerprint], rules: Rules) -> _Table:
    """The voting frames of all videos, one behind the other."""
    good = [video.hashes[video.quality >= rules.gate] for video in videos.values()]
    hashes = np.concatenate([np.empty((0, BYTES), np.uint8), *good])
    owners = np.repeat(np.arange(len(good)), [len(part) for part in good])
    return _Table(tuple(videos), _words(hashes), low_bits(hashes), owners.astype(np.intp))


def low_bits(hashes: Hashes) -> npt.NDArray[np.uint64]:
    """The 64 bits of the lowest 8 x 8 frequencies: uint8 [N, 32] -> uint64 [N]."""
    rows, columns = np.divmod(np.arange(BITS), 16)
    low = np.flatnonzero((rows < 8) & (columns < 8))
    unpacked = np.unpackbits(hashes, axis=1)[:, BITS - 1 - low]  # the text form begins with the last bit
    return np.ascontiguousarray(np.packbits(unpacked, axis=1)).view(np.uint64).reshape(-1)


def _words(hashes: Hashes) -> npt.NDArray[np.uint64]:
    """uint8 [N, 32] -> uint64 [N, 4]."""
    return np.ascontiguousarray(hashes).view(np.uint64)


def _close(asked: Hashes, table: _Table, close: int) -> Iterator[tuple[Ints, npt.NDArray[np.int64]]]:
    """Pairs of close hashes, a piece of the table at a time: (whose the stored frame is, how many bits differ)."""
    room = min(_AT_ONCE, max(1, len(table.low)))
    apart, bits = np.empty(room, np.uint64), np.empty(room, np.uint8)
    lows, words = low_bits(asked), _words(asked)
    for first in range(0, len(table.low), room):
        piece = table.low[first : first + room]
        for low, whole in zip(lows, words, strict=True):
            np.bitwise_xor(piece, low, out=apart[: len(piece)])
            np.bitwise_count(apart[: len(piece)], out=bits[: len(piece)])
            near = np.flatnonzero(bits[: len(piece)] <= _LOW_BITS) + first
            differ = np.bitwise_count(table.hashes[near] ^ whole).sum(axis=1, dtype=np.int64)
            yield table.owners[near[differ < close]], differ[differ < close]
