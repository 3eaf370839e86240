"""Frames out of a proxy. The only module that imports decord, which reads proxies that vidlm wrote and nothing else.

decord keeps decoding ahead of what it was asked for, so a reader lives for one call; and it trusts what a file says of
itself, so every count and shape is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import decord
import numpy as np

from vidlm.domain import FrameBatch
from vidlm.errors import ToolError


def read_frames(proxy: Path, frame_times_s: Sequence[float], *, first: int = 0, last: int | None = None) -> FrameBatch:
    """Frames `[first, last)` of a proxy, by index; `last=None` means to the end.

    `frame_times_s` are the times of all its frames, as `Normalized.frame_times_s` holds them: uint8 RGB comes back
    with the times that belong to it. Raises `ToolError` if the proxy is not the file those times were made for.
    """
    last = len(frame_times_s) if last is None else last
    if not 0 <= first < last <= len(frame_times_s):
        raise ValueError(f"frames [{first}, {last}) of a proxy of {len(frame_times_s)}")
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(proxy), ctx=decord.cpu(0), num_threads=1)
        try:
            count = len(reader)
            if count != len(frame_times_s):
                raise ToolError(f"the proxy holds {count} frames instead of {len(frame_times_s)}")
            pixels = reader.get_batch(range(first, last)).asnumpy()
        finally:
            del reader
    except (decord.DECORDError, RuntimeError, IndexError) as exc:
        raise ToolError("the proxy cannot be read") from exc
    if pixels.shape[0] != last - first:
        raise ToolError(f"the proxy gave {pixels.shape[0]} frames instead of {last - first}")
    return FrameBatch(pixels, np.asarray(frame_times_s[first:last], np.float64))
