"""Frames out of a proxy. The only module that imports decord, which reads proxies that vidlm wrote and nothing else.

decord keeps decoding ahead of what it was asked for, so a reader lives for a few frames and is told their size. It
trusts what a file says of itself, so every count and shape is checked. decord2 3.4 fails at widths of 8, 12, 16, 24,
32, 48, 96 and 144, none of which is a multiple of a model's 28.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import decord
import numpy as np
import numpy.typing as npt

from vidlm.domain import FrameBatch
from vidlm.errors import ToolError

MAX_BYTES: Final = 2 * 1024**3
"""Of the frames that one call returns, at most."""
_AT_ONCE: Final = 8
_PER_READER: Final = 64
"""Frames after which a reader is dropped: what it holds by then, decoded ahead, is some 130 MB of 588 x 336."""


def read_frames(
    proxy: Path, size: tuple[int, int], frame_times_s: Sequence[float], *, first: int = 0, last: int | None = None
) -> FrameBatch:
    """Frames `[first, last)` of a proxy of `size` (height, width), by index; `last=None` means to the end.

    `frame_times_s` are the times of all its frames, as `Normalized.frame_times_s` holds them: uint8 RGB [N, H, W, 3]
    comes back with the times that belong to it. Raises `ToolError` if the proxy is not the file those times were made
    for, `ValueError` for frames that it cannot have or that take more than `MAX_BYTES`.
    """
    height, width = size
    last = len(frame_times_s) if last is None else last
    if not 0 <= first < last <= len(frame_times_s):
        raise ValueError(f"frames [{first}, {last}) of a proxy of {len(frame_times_s)}")
    if (last - first) * height * width * 3 > MAX_BYTES:
        raise ValueError(f"{last - first} frames of {width}x{height} take more than {MAX_BYTES} bytes")
    pixels = np.empty((last - first, height, width, 3), np.uint8)
    done = 0
    for part in stream_frames(proxy, size, frame_times_s, first=first, last=last):
        pixels[done : done + len(part)] = part.pixels
        done += len(part)
    return FrameBatch(pixels, np.asarray(frame_times_s[first:last], np.float64))


def stream_frames(
    proxy: Path, size: tuple[int, int], frame_times_s: Sequence[float], *, first: int = 0, last: int | None = None
) -> Iterator[FrameBatch]:
    """The same frames a few at a time, for films that do not fit in memory. Raises `ToolError`."""
    last = len(frame_times_s) if last is None else last
    decord.logging.set_level(decord.logging.QUIET)
    for begin in range(first, last, _PER_READER):
        end = min(begin + _PER_READER, last)
        reader = _open(proxy, size, len(frame_times_s))
        try:
            for start in range(begin, end, _AT_ONCE):
                stop = min(start + _AT_ONCE, end)
                pixels = _pixels(reader, start, stop, size)
                yield FrameBatch(pixels, np.asarray(frame_times_s[start:stop], np.float64))
        finally:
            del reader


def _open(proxy: Path, size: tuple[int, int], frames: int) -> decord.VideoReader:
    height, width = size
    try:
        reader = decord.VideoReader(str(proxy), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        count = len(reader)
    except (decord.DECORDError, RuntimeError) as exc:
        raise ToolError("the proxy cannot be read") from exc
    if count != frames:
        raise ToolError(f"the proxy holds {count} frames instead of {frames}")
    return reader


def _pixels(reader: decord.VideoReader, start: int, stop: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    try:
        pixels: npt.NDArray[np.uint8] = reader.get_batch(range(start, stop)).asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as exc:
        raise ToolError("the proxy cannot be read") from exc
    if pixels.shape != (stop - start, *size, 3):
        raise ToolError(f"the proxy gave frames of shape {pixels.shape}, not {stop - start} of {size[1]}x{size[0]}")
    return pixels
