"""Where one shot ends and the next begins, from a proxy's frames. PURE numpy; knows no file and no model.

Every frame becomes a small signature: a coarse picture (what is where) and a colour histogram (what there is, wherever
it moved to). A cut is a step between neighbours that is large in itself and large beside the steps around it, so that a
restless shot needs a larger jump than a quiet one. At a few frames a second a fade is one to three such steps in a row.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.domain import FrameBatch, Span

Signatures = npt.NDArray[np.float32]

_GRID: Final = 8  # the coarse picture is 8 x 8 cells
_LEVELS: Final = 4  # of each colour in the histogram
_SMALLEST_STEP: Final = 0.12  # below this nothing is a cut
_OVER_NEIGHBOURS: Final = 2.5  # times the median step nearby
_NEARBY: Final = 4  # steps on each side that count as nearby


def detect_shots(frames: FrameBatch, duration_s: float) -> list[Span]:
    """Shots that tile `[0, duration_s)`, each from its first frame's time. Raises `ValueError` without frames."""
    return shots_from_signatures(signatures(frames), frames.times_s, duration_s)


def signatures(frames: FrameBatch) -> Signatures:
    """float32 [T, 256] in [0, 1]: what `shots_from_signatures` needs of each frame, for videos read in parts."""
    return np.stack([_signature(frame) for frame in frames.pixels]) if len(frames) else np.empty((0, 256), np.float32)


def shots_from_signatures(marks: Signatures, times_s: npt.NDArray[np.float64], duration_s: float) -> list[Span]:
    """The shots of a video from all its frames' signatures [T, 256] and times [T]."""
    if not len(marks) or duration_s <= 0:
        raise ValueError(f"no shots in {len(marks)} frames of {duration_s} s")
    starts = [0.0, *(float(times_s[n]) for n in _cuts(marks) if 0 < times_s[n] < duration_s), duration_s]
    return [Span(start, end) for start, end in pairwise(starts)]


def _signature(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Means of [H, W, 3] over an 8 x 8 grid (192 numbers), then the share of pixels in each of 64 colours."""
    height, width = frame.shape[:2]
    rows = np.linspace(0, height, _GRID, endpoint=False).astype(np.intp)
    columns = np.linspace(0, width, _GRID, endpoint=False).astype(np.intp)
    sums = np.add.reduceat(np.add.reduceat(frame, rows, axis=0, dtype=np.float32), columns, axis=1)
    cells = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    picture = sums / np.maximum(cells, 1)[..., None] / 255
    level = frame // (256 // _LEVELS)
    colour = (level[..., 0] * _LEVELS + level[..., 1]) * _LEVELS + level[..., 2]
    histogram = np.bincount(colour.ravel(), minlength=_LEVELS**3) / (height * width)
    return np.concatenate([picture.ravel(), histogram]).astype(np.float32)


def steps(marks: Signatures) -> npt.NDArray[np.float32]:
    """float32 [T - 1] in [0, 1]: how far each frame is from the one before, the mean of both signatures' distances.

    Pictures: twice the mean absolute difference (a plain change of background is seldom over half). Histograms: the
    share of pixels that changed colour (half the L1 distance).
    """
    change = np.abs(np.diff(marks, axis=0))
    cells = _GRID * _GRID * 3
    picture = np.minimum(1.0, 2 * change[:, :cells].mean(axis=1))
    histogram = change[:, cells:].sum(axis=1) / 2
    return np.asarray((picture + histogram) / 2, np.float32)


def _cuts(marks: Signatures) -> list[int]:
    """Indices of the frames that begin a shot, the first one aside."""
    step = steps(marks)
    found: list[int] = []
    last = -2  # the last step that was large
    for n, size in enumerate(step):
        around = np.concatenate([step[max(0, n - _NEARBY) : n], step[n + 1 : n + 1 + _NEARBY]])
        quiet = float(np.median(around)) if len(around) else 0.0
        if size < max(_SMALLEST_STEP, _OVER_NEIGHBOURS * quiet):
            continue
        if n != last + 1:
            found.append(n + 1)
        elif size > step[found[-1] - 1]:  # a run of them is a fade, and its largest step the cut
            found[-1] = n + 1
        last = n
    return found
