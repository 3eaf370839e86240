"""PDQ: a frame as 256 bits that survive re-encoding, resizing and small marks. Knows pixels and bits, no time.

    RGB -> luminance -> blurred, 64 x 64 -> DCT, frequencies 1..16 each way -> above the median? -> 256 bits
                              |
                              + -> how much happens between neighbours -> quality 0..100

After "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (Facebook, 2019). As there: luminance
of BT.601, the tent filter of two box passes an axis (window: 1/128 of a side, rounded up), centres of 64 x 64 cells,
the quality's rounding, the lower median, the order of bits in the text form. What differs: the filter and the DCT are
one matrix product an axis, which is the same arithmetic in another order, so that a coefficient next to the median may
fall on its other side (a bit or two of 256); and frames larger than 512 are not shrunk first by nearest neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

BITS: Final = 256
BYTES: Final = BITS // 8

SMALLEST_SIDE: Final = 5
"""Pixels. A frame with a shorter side has quality 0."""

Hashes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_GRID: Final = 64
_LUMINANCE: Final = (0.299, 0.587, 0.114)
_AT_ONCE_BYTES: Final = 1 << 22  # of frames as float32: little enough to stay in a processor's cache
_PAIRS: Final = 1 << 16  # of hashes compared at once: half a megabyte


@dataclass(frozen=True, slots=True, eq=False)
class FrameHashes:
    """PDQ of T frames.

    hashes: uint8 [T, 32], bits packed so that `hashes[t].tobytes().hex()` is PDQ's usual text.  mirrored: the same of
    the frames seen in a mirror (left and right exchanged).  quality: uint8 [T], 0..100.
    """

    hashes: Hashes
    mirrored: Hashes
    quality: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.hashes)


def hash_frames(pixels: npt.NDArray[np.uint8]) -> FrameHashes:
    """PDQ of each frame, and of its mirror image. pixels: uint8 [T, H, W, 3], RGB; T may be 0.

    The mirrored hash comes from the coefficients alone: in a mirror the odd horizontal frequencies change their sign.
    Raises `ValueError` for arrays of another shape or type.
    """
    grids = shrink(pixels)
    coefficients = transform(grids)
    return FrameHashes(bits(coefficients), bits(mirror(coefficients)), quality(grids))


def shrink(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Luminance of each frame, blurred and brought to 64 x 64: uint8 [T, H, W, 3] -> float32 [T, 64, 64], 0..255.

    Raises `ValueError` for arrays of another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"pixels must be uint8 [T, H, W, 3], not {pixels.dtype} {pixels.shape}")
    frames, height, width, _ = pixels.shape
    grids = np.zeros((frames, _GRID, _GRID), np.float32)
    if min(height, width) < SMALLEST_SIDE:
        return grids
    down, across = _tent(height), _across(width)
    step = max(1, _AT_ONCE_BYTES // (height * width * 12))
    for first in range(0, frames, step):
        part = pixels[first : first + step].reshape(-1, height, 3 * width).astype(np.float32)
        grids[first : first + step] = down @ (part @ across)
    return grids


def transform(grids: Floats, down: Floats | None = None, across: Floats | None = None) -> Floats:
    """The DCT's frequencies 1..16 each way: float32 [T, 64, 64] -> [T, 16, 16], vertical frequency first.

    down, across: float32 [64, 64], applied to rows and columns before, in the same product (`views.py`).
    """
    rows = _dct() if down is None else _dct() @ down
    columns = _dct() if across is None else _dct() @ across
    return np.asarray(rows @ grids @ columns.T, np.float32)


def mirror(coefficients: Floats) -> Floats:
    """The coefficients [T, 16, 16] of the same frames in a mirror: the odd ones of the frequencies 1..16 turn."""
    return coefficients * np.where(np.arange(1, 17) % 2 == 1, -1, 1).astype(np.float32)


def bits(coefficients: Floats) -> Hashes:
    """float32 [T, 16, 16] -> uint8 [T, 32]: a bit for each coefficient above the 128th smallest, the last one first."""
    rows = coefficients.reshape(-1, BITS)
    median = np.partition(rows, BITS // 2 - 1, axis=1)[:, BITS // 2 - 1 : BITS // 2]
    return np.packbits((rows > median)[:, ::-1], axis=1)


def quality(grids: Floats) -> npt.NDArray[np.uint8]:
    """float32 [T, 64, 64] -> uint8 [T] in 0..100: steps between neighbours in whole hundredths of the range, summed."""
    total = np.zeros(len(grids), np.int64)
    for axis in (1, 2):
        steps = np.abs(np.diff(grids, axis=axis)) * np.float32(100 / 255)
        total += steps.astype(np.int32).sum(axis=(1, 2))
    return np.minimum(total // 90, 100).astype(np.uint8)


def distances(one: Hashes, other: Hashes) -> npt.NDArray[np.int16]:
    """How many bits differ between each of `one` [N, 32] and each of `other` [M, 32]: int16 [N, M], 0..256."""
    left, right = (np.ascontiguousarray(hashes).view(np.uint64) for hashes in (one, other))
    found = np.zeros((len(left), len(right)), np.int16)
    step = max(1, _PAIRS // max(1, len(right)))
    for first in range(0, len(left), step):
        for word in range(BYTES // 8):
            part = left[first : first + step, word, None] ^ right[None, :, word]
            found[first : first + step] += np.bitwise_count(part)
    return found


@lru_cache(maxsize=64)
def _tent(length: int) -> Floats:
    """float32 [64, length]: the blur of one axis, read at the centres of 64 cells. Each row sums to 1.

    A box over w values reaches w // 2 forward and the rest back, and averages only what is inside the frame:

        w = 4     . . [ * . . ] .      from 1 before to 2 after
    """
    window = (length + 2 * _GRID - 1) // (2 * _GRID)
    ahead = window // 2
    behind = window - 1 - ahead
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    box = ((offset >= -behind) & (offset <= ahead)).astype(np.float64)
    box /= box.sum(axis=1, keepdims=True)
    centres = ((np.arange(_GRID) + 0.5) * length / _GRID).astype(np.intp)
    return np.asarray(box[centres] @ box, np.float32)


@lru_cache(maxsize=64)
def _across(width: int) -> Floats:
    """float32 [3 * width, 64]: luminance and the blur of rows in one product over interleaved RGB."""
    return np.asarray(np.kron(_tent(width).T, np.array(_LUMINANCE, np.float32)[:, None]), np.float32)


@lru_cache(maxsize=1)
def _dct() -> Floats:
    """float32 [16, 64]: the DCT-II's rows 1..16, orthonormal."""
    frequency, place = np.arange(1, 17)[:, None], np.arange(_GRID)[None, :]
    waves = np.sqrt(2 / _GRID) * np.cos(np.pi / (2 * _GRID) * frequency * (2 * place + 1))
    return np.asarray(waves, np.float32)
