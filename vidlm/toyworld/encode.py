"""One toy clip as a real video file: its frames are drawn and piped into ffmpeg.

Every file's frames carry the times they were drawn for, also at a variable frame rate, so truth holds to the frame.
Knows encoders and containers; what a clip shows is other modules' business.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

import ffmpeg
import imageio_ffmpeg
import numpy as np

from vidlm.errors import ToolError
from vidlm.toyworld.draw import Frames, render
from vidlm.toyworld.scene import Clip

Codec = Literal["h264", "vp9", "mpeg4", "hevc", "av1"]


@dataclass(frozen=True)
class Form:
    """What kind of file a clip becomes; the words are those of ``encode_clip``."""

    suffix: str
    codec: Codec
    height: int
    width: int
    fps: float
    audio: bool = True
    variable_fps: bool = False

    def write(self, clip: Clip, folder: Path, name: str) -> Path:
        """Write a clip in this form as ``folder/name`` with the form's suffix; ToolError where ffmpeg fails."""
        path = folder / (name + self.suffix)
        encode_clip(
            clip,
            path,
            height=self.height,
            width=self.width,
            fps=self.fps,
            codec=self.codec,
            audio=self.audio,
            variable_fps=self.variable_fps,
        )
        return path


_ENCODERS: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "h264": ({"vcodec": "libx264", "preset": "veryfast"}, 20),
    "hevc": ({"vcodec": "libx265", "preset": "ultrafast", "tag:v": "hvc1", "x265-params": "log-level=error"}, 22),
    "vp9": ({"vcodec": "libvpx-vp9", "deadline": "realtime", "cpu-used": 8, "video_bitrate": 0}, 28),
    "av1": ({"vcodec": "libaom-av1", "usage": "realtime", "cpu-used": 8, "video_bitrate": 0}, 28),
    "mpeg4": ({"vcodec": "mpeg4"}, 24),
}
"""Codec -> ffmpeg's encoder with options that favour speed, and the quality (CRF) taken when none is asked for."""

_AUDIO_CODECS: Final = {".webm": "libopus", ".avi": "libmp3lame"}
_CHUNK_S: Final = 2.0
"""Frames are drawn and piped so many seconds at a time; memory holds no more."""


def frame_times(duration_s: float, fps: float, *, variable_fps: bool = False) -> tuple[float, ...]:
    """Presentation times of a file's frames in seconds: 0, 1/fps, ... below the duration.

    At a variable frame rate every second of the clip has its own pace: all frames, every other, every third, and again.
    The last frame is always there, so that the file ends when the clip does.
    """
    count = _frame_count(duration_s, fps)
    kept = [n for n in range(count) if not variable_fps or n == count - 1 or n % (1 + math.floor(n / fps) % 3) == 0]
    return tuple(n / fps for n in kept)


def encode_clip(
    clip: Clip,
    path: Path,
    *,
    height: int,
    width: int,
    fps: float,
    codec: Codec = "h264",
    crf: int | None = None,
    audio: bool,
    variable_fps: bool = False,
) -> tuple[float, ...]:
    """Write a clip as a video file; the container follows from the path's suffix (.mp4, .mkv, .webm, .avi).

    Args:
        clip: what to draw.
        path: file to write; an existing one is replaced.
        height, width: size in pixels, both even.
        fps: frames per second; with ``variable_fps`` the highest rate (see ``frame_times``).
        codec: how the pictures are coded, as 8-bit 4:2:0.
        crf: the encoder's quality, lower is better; MPEG-4 has quantisers instead, and takes the nearest to that CRF.
        audio: whether there is a sound track, a quiet tone.

    Returns:
        The frames' presentation times in seconds.

    Raises:
        ValueError: an odd size or an unknown codec.
        ToolError: ffmpeg could not write the file.
    """
    if height % 2 or width % 2:
        raise ValueError(f"a video of 4:2:0 needs even sides, not {width}x{height}")
    if codec not in _ENCODERS:
        raise ValueError(f"unknown codec {codec!r}")
    count = _frame_count(clip.duration_s, fps)
    pictures = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps)
    if variable_fps:
        # the same rule as in frame_times, in ffmpeg's words; dropping frames leaves the others' times as they are
        pictures = pictures.filter("select", f"eq(n,{count - 1})+not(mod(n,1+mod(floor(n/{fps}),3)))")
    streams = [pictures]
    options = {**_quality(codec, crf), "pix_fmt": "yuv420p", "fps_mode": "vfr" if variable_fps else "cfr"}
    if audio:
        pitch = 220 + clip.noise_seed % 440
        streams.append(
            ffmpeg.input(f"sine=frequency={pitch}:sample_rate=44100:duration={clip.duration_s}", format="lavfi")
        )
        options |= {"acodec": _AUDIO_CODECS.get(path.suffix, "aac"), "audio_bitrate": "48k"}
    if path.suffix == ".mp4":
        options["movflags"] = "+faststart"
    command = ffmpeg.output(*streams, str(path), **options, map_metadata=-1, fflags="+bitexact")
    arguments = command.global_args("-hide_banner", "-loglevel", "error", "-nostdin").overwrite_output()
    _pipe(arguments.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe()), _chunks(clip, count, (height, width), fps))
    return frame_times(clip.duration_s, fps, variable_fps=variable_fps)


def encode_again(source: Path, path: Path, *, height: int, width: int, crf: int) -> None:
    """A copy of a video file that somebody passed on: smaller, without sound, its losses added to the source's.

    H.264 in the path's container; frames keep their times. Raises `ValueError` for an odd size, `ToolError` where
    ffmpeg fails.
    """
    if height % 2 or width % 2:
        raise ValueError(f"a video of 4:2:0 needs even sides, not {width}x{height}")
    pictures = ffmpeg.input(str(source)).video.filter("scale", width, height)
    options = {**_quality("h264", crf), "pix_fmt": "yuv420p", "fps_mode": "passthrough"}
    command = ffmpeg.output(pictures, str(path), **options)
    arguments = command.global_args("-hide_banner", "-loglevel", "error", "-nostdin").overwrite_output()
    _pipe(arguments.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe()), iter(()))


def _frame_count(duration_s: float, fps: float) -> int:
    return max(1, math.ceil(duration_s * fps - 1e-6))


def _quality(codec: Codec, crf: int | None) -> dict[str, Any]:
    options, usual = _ENCODERS[codec]
    level = usual if crf is None else crf
    if codec != "mpeg4":
        return {**options, "crf": level}
    # H.26x steps double every 6 (ISO/IEC 14496-10, 8.5.8) and pass MPEG-4's quantiser 1 at about 12
    return {**options, "qscale:v": min(31, max(1, round(2 ** ((level - 12) / 6))))}


def _chunks(clip: Clip, count: int, size: tuple[int, int], fps: float) -> Iterator[Frames]:
    step = max(1, round(_CHUNK_S * fps))
    for first in range(0, count, step):
        yield render(clip, np.arange(first, min(count, first + step)) / fps, *size)


def _pipe(command: list[str], chunks: Iterator[Frames]) -> None:
    """Run ffmpeg over frames on its standard input; it never outlives this call."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints)
        try:
            _feed(process.stdin, chunks)
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if status != 0:
            complaints.seek(0)
            lines = complaints.read().decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise ToolError(f"ffmpeg could not write a toy clip: {lines[-1]}")


def _feed(pipe: IO[bytes] | None, chunks: Iterator[Frames]) -> None:
    assert pipe is not None  # asked for in Popen
    try:
        with pipe:
            for frames in chunks:
                pipe.write(frames.data)
    except BrokenPipeError:
        return  # ffmpeg gave up early; its exit status and its words say why
