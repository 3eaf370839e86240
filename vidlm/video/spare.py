"""Which packets of a source need not be decoded at all. Pure: numbers in, text out.

    decoding order   IDR b P b b P b P b | IDR b P b b P b P b |      b: no other frame is predicted from it
    on screen then    ^        ^           ^        ^                 what outputs show
    dropped              b       x x x        b       x x x           x: nothing that is shown comes after it

H.264 says of every picture whether others refer to it (`nal_ref_idc`, ITU-T H.264, 7.4.1), and none after an IDR
picture refers to one before it (7.4.1.2.4). So what is neither shown nor referred to is dropped before the decoder sees
it, and so is all between the last frame that is shown and the next IDR picture, by its place in the file. Every frame
that is decoded comes out as it would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.video.source import Importance, Packets

DROP: Final = "drop.txt"
"""The file ffmpeg reads its `-bsf:v` from: an hour's expression is too long for a command line."""
_MOST: Final = 200_000
_ROUNDING_S: Final = 1e-9


def unneeded(packets: Packets, wanted_s: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which packets, in decoding order, can be dropped if only the frames on screen at `wanted_s` are shown.

    The first and the last frame are always kept: they say where the film begins and ends.
    """
    times_s = np.unique(packets.times_s[~np.isnan(packets.times_s)])
    sides_s = (wanted_s - packets.unsure_s + _ROUNDING_S, wanted_s + packets.unsure_s + _ROUNDING_S)
    shown = np.concatenate([*(np.searchsorted(times_s, side_s, side="right") - 1 for side_s in sides_s), [0, -1]])
    needed = np.isin(packets.times_s, times_s[shown])
    group = np.cumsum(packets.importance == Importance.IDR)
    last_needed = np.full(group[-1] + 1, -1)
    np.maximum.at(last_needed, group[needed], np.flatnonzero(needed))
    after = np.arange(len(group)) > last_needed[group]
    dropped: npt.NDArray[np.bool_] = ~needed & (after | (packets.importance == Importance.SPARE))
    return dropped


def drop_filter(positions: npt.NDArray[np.int64], dropped: npt.NDArray[np.bool_]) -> str | None:
    """ffmpeg's bitstream filter that drops those packets, by where in the file they begin; None if there are none.

    A search tree over runs of packets, since the expression is evaluated for every packet. A position may be there
    twice, where an edit list repeats a part; it is kept if one of them is.
    """
    order = np.lexsort((dropped, positions))  # kept before dropped where they share a place
    places, first = np.unique(positions[order], return_index=True)
    drop = dropped[order][first]
    begins = np.flatnonzero(np.diff(drop, prepend=False))  # a run of dropped, a run of kept, and so on
    if not 0 < len(begins) <= _MOST:
        return None
    return f"noise=drop='{_tree([int(place) for place in places[begins]], 0, len(begins))}'"


def _tree(begins: Sequence[int], low: int, high: int) -> str:
    """Which of the runs `low - 1` to `high - 1` a position lies in, those of even number being dropped."""
    if low == high:
        return str(low % 2)
    middle = (low + high) // 2
    return f"if(lt(pos,{begins[middle]}),{_tree(begins, low, middle)},{_tree(begins, middle + 1, high)})"
