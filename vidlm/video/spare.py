"""Which frames of a source need not be decoded at all. Pure: numbers in, text out.

    decoding order   I  P  b  b  P  b  b  P  b  b       b: no other frame is predicted from it
    sampled at          |        |                      those that are shown then are decoded, every I and P too

H.264 says of every picture whether others refer to it (`nal_ref_idc`, ITU-T H.264, 7.4.1). Those that nothing refers to
and no output shows are dropped before the decoder sees them, by their place in the file: two fifths of the work for
what x264 and phones write. Every frame that is decoded comes out as it would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.video.report import SourceReport

DROP: Final = "drop.txt"
"""The file ffmpeg reads its `-bsf:v` from: an hour's expression is too long for a command line."""
_MOST: Final = 200_000
_SLACK_S: Final = 2e-6  # times were rounded to microseconds


def unneeded(report: SourceReport, wanted_s: npt.NDArray[np.float64]) -> list[int]:
    """Where in the file the packets begin that can be dropped if only the frames on screen at `wanted_s` are shown.

    The first and the last frame are always kept: they say where the film begins and ends.
    """
    times_s = report.times_s
    bounds = [np.searchsorted(times_s, wanted_s + slack_s, side="right") - 1 for slack_s in (-_SLACK_S, _SLACK_S)]
    needed = np.unique(np.concatenate([*bounds, [0, len(times_s) - 1]]))
    kept_s = times_s[needed[needed >= 0]]
    dropped = ~np.isin(report.spare_times_s, kept_s)
    # a position may be there twice, where an edit list repeats a part
    positions = np.setdiff1d(report.spare_positions[dropped], report.spare_positions[~dropped])
    return [int(position) for position in positions[:_MOST]]


def drop_filter(positions: Sequence[int]) -> str:
    """ffmpeg's bitstream filter that drops the packets at those places, which are in ascending order.

    A search tree, since the expression is evaluated for every packet.
    """
    return f"noise=drop='{_tree(positions)}'"


def _tree(positions: Sequence[int]) -> str:
    if len(positions) == 1:
        return f"eq(pos,{positions[0]})"
    middle = len(positions) // 2
    return f"if(lt(pos,{positions[middle]}),{_tree(positions[:middle])},{_tree(positions[middle:])})"
