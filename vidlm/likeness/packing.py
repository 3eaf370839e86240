"""A fingerprint as bytes, to be kept: 41 a frame, 5 kB for a minute at two frames a second. Knows no storage.

"pdq1" | times_s: float64 x T | hashes: 32 bytes x T | quality: 1 byte x T          little endian
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.pdq import BYTES

_FORMAT: Final = b"pdq1"
_TIME: Final = np.dtype("<f8")
_FRAME_BYTES: Final = _TIME.itemsize + BYTES + 1


def pack(video: Fingerprint) -> bytes:
    """What is kept of a fingerprint; its other looks are not."""
    parts = (video.times_s.astype(_TIME), video.hashes, video.quality)
    return _FORMAT + b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def unpack(data: bytes) -> Fingerprint:
    """The fingerprint that `pack` made bytes of. Raises `ValueError` for any others."""
    frames, rest = divmod(len(data) - len(_FORMAT), _FRAME_BYTES)
    if data[: len(_FORMAT)] != _FORMAT or rest:
        raise ValueError(f"{len(data)} bytes that are no fingerprint")
    hashes_at = len(_FORMAT) + frames * _TIME.itemsize
    quality_at = hashes_at + frames * BYTES
    return Fingerprint(
        np.frombuffer(data, _TIME, frames, len(_FORMAT)).astype(np.float64),
        np.frombuffer(data, np.uint8, frames * BYTES, hashes_at).reshape(frames, BYTES),
        np.frombuffer(data, np.uint8, frames, quality_at),
    )
