"""Frames out of a proxy. The only module that imports decord, which reads proxies that vidlm wrote and nothing else.

decord keeps decoding ahead of what it was asked for, so a reader lives for one call and is told the size of its frames;
and it trusts what a file says of itself, so every count and shape is checked. decord2 3.4 fails at widths of 8, 12, 16,
24, 32, 48, 96 and 144, none of which is a multiple of a model's 28.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import decord
import numpy as np

from vidlm.domain import FrameBatch
from vidlm.errors import ToolError

MAX_BYTES: Final = 2 * 1024**3
"""Of the frames that one call returns, at most."""


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
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(proxy), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        try:
            count = len(reader)
            if count != len(frame_times_s):
                raise ToolError(f"the proxy holds {count} frames instead of {len(frame_times_s)}")
            pixels = reader.get_batch(range(first, last)).asnumpy()
        finally:
            del reader
    except (decord.DECORDError, RuntimeError, IndexError) as exc:
        raise ToolError("the proxy cannot be read") from exc
    if pixels.shape != (last - first, height, width, 3):
        raise ToolError(f"the proxy gave frames of shape {pixels.shape}, not {last - first} of {width}x{height}")
    return FrameBatch(pixels, np.asarray(frame_times_s[first:last], np.float64))
