"""What is known of a source before it is decoded. Types alone: `report.py` fills them.

Times here are seconds of the source as played: the file's start offset is subtracted, edit lists were applied by the
demuxer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt


class Hdr(StrEnum):
    """How brightness beyond a screen's white is coded, by the name that ffmpeg has for it."""

    PQ = "smpte2084"
    HLG = "arib-std-b67"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted. `deadline_scale` stretches every deadline, for slow machines."""

    max_duration_s: float
    max_bytes: int
    max_pixels: int
    max_side: int
    max_frames: int = 4_000_000
    max_streams: int = 64
    deadline_scale: float = 1.0


class Importance(IntEnum):
    """What a frame is to those decoded after it."""

    SPARE = 0  # none is predicted from it
    REFERENCE = 1
    IDR = 2  # and none after it is predicted from one before it


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """The packets of a stream in decoding order, each a frame: [M] arrays.

    times_s: when it is shown, NaN if it is not, to `unsure_s`.  positions: the byte of the file at which it begins.
    importance: uint8 of `Importance`.
    """

    times_s: npt.NDArray[np.float64]
    positions: npt.NDArray[np.int64]
    importance: npt.NDArray[np.uint8]
    unsure_s: float


@dataclass(frozen=True, slots=True, eq=False)
class SourceReport:
    """A source that may be decoded.

    times_s: float64 [N], sorted, when each of its frames is due.  key_times_s: float64 [K], those that decode on
    their own.  readable_s: the end of the last frame in the file.  duration_s: the same, or the whole length if the
    file was cut.  packets: None where it is not known what they are to each other.
    """

    container: str
    codec: str
    stream: int
    width: int  # as displayed
    height: int
    rotation: int  # degrees clockwise: 0, 90, 180, 270
    hdr: Hdr | None
    has_audio: bool
    sound: str | None  # the codec of the first audio stream, where there is a decoder for it
    web_type: str | None  # the media type under which every browser plays it as it is; None if not every one does
    fps: float
    variable_fps: bool
    times_s: npt.NDArray[np.float64]
    key_times_s: npt.NDArray[np.float64]
    packets: Packets | None
    readable_s: float
    duration_s: float
    lossy_s: tuple[float, ...]  # where packets are incomplete or missing
    origin_s: float  # the file's clock at time 0
    shift_s: float  # what has to be added to ffmpeg's own idea of time 0 where it decodes the pictures alone
    shift_with_sound_s: float  # and where it decodes the first sound as well

    def key_time_before(self, time_s: float) -> float:
        """When the last frame at or before `time_s` that decodes on its own is due; 0 where there is none."""
        before = self.key_times_s[self.key_times_s <= time_s]
        return float(before[-1]) if len(before) else 0.0
