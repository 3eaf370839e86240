"""What a query is asked as besides what it is: guesses at what was done to it before it was uploaded again.

    . . . . .      cropped: the frame (o) set into a wider and higher one, with its edges drawn out; in the corners,
    . o o o .      at the sides, in the middle, on one axis alone. Where a tenth of the picture was cut off, one of
    . o o o .      these is close to the original, while the bare hashes differ like those of strangers.

    # # # # #      marked: a banner at the top or the bottom, or a logo in a corner, painted over by what is beside it
    o o o o o

Guesses are made of PDQ's 64 x 64 luminance, so they cost little beside reading the pixels. Bars are no guess: they can
be seen, and are left out before anything is hashed; in that luminance too, so that no pixels need be kept. Knows
pictures; not what hashes are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.likeness import pdq
from vidlm.likeness.pdq import Floats

_WIDER: Final = 0.08
_PLACES: Final = (0.5, 0.0, 1.0)
_WIDER_IN_THE_MIDDLE: Final = ((0.16, 0.16), (0.24, 0.24), (0.14, 0.0), (0.0, 0.14))
"""Shares added to the height and to the width."""
_GRID: Final = 64
_BANNER: Final = 10  # of 64 rows
_LOGO: Final = 16  # of 64 rows and columns

_DARK: Final = 24.0  # grey levels that a bar stays below: black is 16 in some files, and coding adds to it
_FLAT: Final = 6.0  # and its standard deviation along the bar
_MOST_BAR: Final = 0.3  # of a side, on one end


def guesses(grids: Floats) -> Iterator[Floats]:
    """PDQ's coefficients [T, 16, 16] of each guess at the original of some frames, float32 [T, 64, 64] luminance."""
    for down, across in _wider_frames():
        yield pdq.transform(grids, down, across)
    for painted in _without_marks(grids):
        yield pdq.transform(painted)


class Bars:
    """Watches frames go by for rows and columns that are black all the time, on either side."""

    def __init__(self) -> None:
        self._rows = np.zeros(0, bool)
        self._columns = np.zeros(0, bool)

    def see(self, pixels: npt.NDArray[np.uint8]) -> None:
        """More frames, uint8 [T, H, W, 3], all of one size."""
        height, width = pixels.shape[1:3]
        if not len(self._rows):
            self._rows, self._columns = np.zeros(height, bool), np.zeros(width, bool)
        for frame in pixels:
            if self._rows.all() and self._columns.all():  # nothing more to learn, as in most films after a frame
                return
            grey = frame.mean(axis=2, dtype=np.float32)
            self._rows |= _shows(grey, axis=1)
            self._columns |= _shows(grey, axis=0)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) in pixels, half open: the frames without what was black in every one of them.

        A row or column belongs to a bar if it is dark and even all the time. Where bars would take more than 0.3 of a
        side at one end, that axis is left as it is: this is a dark film, not a bar.
        """
        if min(len(self._rows), len(self._columns)) < pdq.SMALLEST_SIDE:
            return 0, len(self._rows), 0, len(self._columns)
        return (*_inside(self._rows), *_inside(self._columns))

    def without(self, grids: Floats) -> Floats:
        """PDQ's 64 x 64 luminance [T, 64, 64] of whole frames, read again inside the box alone."""
        top, bottom, left, right = self.box
        if (bottom - top, right - left) == (len(self._rows), len(self._columns)):
            return grids
        down, across = _part(top, bottom, len(self._rows)), _part(left, right, len(self._columns))
        return np.asarray(down @ grids @ across.T, np.float32)


def _shows(grey: Floats, axis: int) -> npt.NDArray[np.bool_]:
    """Whether each row (axis 1) or column (axis 0) of a frame shows anything."""
    return np.asarray((grey.mean(axis=axis) > _DARK) | (grey.std(axis=axis) > _FLAT))


def _inside(shows: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """From the first to behind the last that shows something; everything where that would be a small part."""
    length = len(shows)
    at = np.flatnonzero(shows)
    if not len(at) or max(at[0], length - 1 - at[-1]) > _MOST_BAR * length:
        return 0, length
    return int(at[0]), int(at[-1]) + 1


@lru_cache(maxsize=1)
def _wider_frames() -> tuple[tuple[Floats, Floats], ...]:
    """(down, across) for each guess at what was cropped away."""
    axes = [_set_into(_WIDER, place) for place in _PLACES]
    trims = [(_set_into(down, 0.5), _set_into(across, 0.5)) for down, across in _WIDER_IN_THE_MIDDLE]
    return (*((down, across) for down in axes for across in axes), *trims)


def _without_marks(grids: Floats) -> Iterator[Floats]:
    """The frames [T, 64, 64] with what may be a banner, or a logo in a corner, painted over by what is beside it."""
    for y in (1, -1):
        painted = grids[:, ::y].copy()
        painted[:, :_BANNER] = painted[:, _BANNER : _BANNER + 1]
        yield painted[:, ::y]
    for y, x in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        painted = grids[:, ::y, ::x].copy()
        painted[:, :_LOGO, :_LOGO] = painted[:, _LOGO : _LOGO + 1, :_LOGO]
        yield painted[:, ::y, ::x]


def _part(first: int, last: int, length: int) -> Floats:
    """float32 [64, 64]: one axis of the grid read again in pixels `[first, last)` of `length` alone, linearly.

    grid     | # | #:o | o | o | o | o:# | # |       # bar, o picture; a cell that holds some of both is not read
    """
    places = (first + (np.arange(_GRID) + 0.5) * (last - first) / _GRID) * _GRID / length - 0.5
    lowest = np.ceil(first * _GRID / length)
    highest = np.floor(last * _GRID / length) - 1
    return _weights(np.clip(places, lowest, highest))


def _set_into(wider: float, place: float) -> Floats:
    """float32 [64, 64]: one axis of a frame set into one that is longer by the share `wider`, linearly.

    `place` is how much of what is added lies before it, 0..1; the frame's ends are drawn out into it.
    """
    added = wider * _GRID
    places = (np.arange(_GRID) + 0.5) * (1 + wider) - place * added - 0.5
    return _weights(np.clip(places, 0, _GRID - 1))


def _weights(places: npt.NDArray[np.float64]) -> Floats:
    """float32 [64, 64]: what each of 64 cells adds to a value read at each of 64 `places`, in cells from 0 to 63."""
    distance = np.abs(places[:, None] - np.arange(_GRID)[None, :])
    return np.asarray(np.clip(1 - distance, 0, 1), np.float32)
