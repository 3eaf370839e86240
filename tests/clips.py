"""Real clips whose truth is known: every frame carries its own number as eight black or white blocks.

Written with imageio-ffmpeg's binary, 160 x 120 and a few seconds long, in whatever codec, container and odd shape a
test asks for. The number survives lossy coding, scaling and a quarter turn, so a frame that comes out of the pipeline
says by itself which source frame it was, and `Clip.times_s` says when that one was due.
"""

from __future__ import annotations

import bisect
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, FPS = 160, 120, 25
_ROWS, _COLUMNS = 2, 4  # block 0 is the lowest bit, at the top left

H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25")


@dataclass(frozen=True, slots=True)
class Clip:
    """A file, when each of its frames is due (seconds as played), and how long it plays."""

    path: Path
    times_s: tuple[float, ...]
    duration_s: float

    def due(self, time_s: float) -> int:
        """The number of the frame on screen at `time_s`; the first one before it is due."""
        return max(0, bisect.bisect_right(self.times_s, time_s + 1e-4) - 1)


def ffmpeg(*arguments: str, data: bytes | None = None) -> None:
    """Run the bundled ffmpeg; a failure is a broken test and shows ffmpeg's words."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def numbered_frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """uint8 [height, width]: blocks of 40 and 215."""
    bits = [(number >> bit) & 1 for bit in range(_ROWS * _COLUMNS)]
    blocks = np.where(np.reshape(bits, (_ROWS, _COLUMNS)), 215, 40).astype(np.uint8)
    return np.kron(blocks, np.ones((height // _ROWS, width // _COLUMNS), np.uint8))


def read_number(frame: npt.NDArray[np.uint8], rotation: int = 0) -> int:
    """The number in an RGB frame of any size, shown with `rotation` degrees clockwise; asserts that it is legible."""
    upright = np.rot90(frame, rotation // 90)
    height, width = upright.shape[:2]
    number = 0
    for bit in range(_ROWS * _COLUMNS):
        y = (2 * (bit // _COLUMNS) + 1) * height // (2 * _ROWS)
        x = (2 * (bit % _COLUMNS) + 1) * width // (2 * _COLUMNS)
        level = float(upright[y - 3 : y + 4, x - 3 : x + 4].mean())
        assert not 95 < level < 160, f"block {bit} is {level:.0f}, neither black nor white"
        number |= int(level > 128) << bit
    return number


def numbered(
    path: Path,
    *output: str,
    frames: int = 75,
    fps: int | Fraction = FPS,
    first: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    inputs: Sequence[str] = (),
) -> Clip:
    """`frames` numbered frames at a constant rate, encoded with the `output` options (H.264 without any)."""
    width, height = size
    raw = b"".join(numbered_frame(first + n, width, height).tobytes() for n in range(frames))
    shape = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", str(fps))
    options = output or H264
    pixels = () if "-pix_fmt" in options else ("-pix_fmt", "yuv420p")
    ffmpeg(*shape, "-i", "-", *inputs, *options, *pixels, str(path), data=raw)
    return Clip(path, tuple(float(n / fps) for n in range(frames)), float(frames / fps))


def variable_rate(path: Path) -> Clip:
    """25 frames at 25 a second, 10 at 5 a second, 25 at 12.5 a second, on a clock of 1/50 s; the last lasts a tick."""
    ticks = [*(2 * n for n in range(25)), *(50 + 10 * n for n in range(10)), *(150 + 4 * n for n in range(25))]
    expression = "if(lt(N,25),2*N,if(lt(N,35),50+10*(N-25),150+4*(N-35)))/(50*TB)"
    numbered(path, "-vf", f"settb=1/50,setpts='{expression}'", "-fps_mode", "passthrough", *H264, frames=60, fps=50)
    return Clip(path, tuple(tick / 50 for tick in ticks), 4.94)


def rewrapped(clip: Clip, path: Path, *output: str, inputs: Sequence[str] = (), before: Sequence[str] = ()) -> Clip:
    """The same packets in another container or with other headers; times as before."""
    ffmpeg(*before, "-i", str(clip.path), *inputs, "-c", "copy", *output, str(path))
    return Clip(path, clip.times_s, clip.duration_s)


def edit_listed(clip: Clip, path: Path, start_s: float) -> Clip:
    """An MP4 that plays from `start_s`: the packets before it, back to a key frame, are there and not shown."""
    ffmpeg("-ss", str(start_s), "-i", str(clip.path), "-c", "copy", str(path))
    return Clip(path, tuple(time - start_s for time in clip.times_s), clip.duration_s - start_s)


def starting_early(clip: Clip, path: Path, early_s: float) -> Clip:
    """An MP4 whose first frames are due before time 0, where no player shows them."""
    shift = f"setts=pts=PTS-{early_s}/TB:dts=DTS-{early_s}/TB"
    ffmpeg("-i", str(clip.path), "-c", "copy", "-bsf:v", shift, "-avoid_negative_ts", "disabled", str(path))
    return Clip(path, tuple(time - early_s for time in clip.times_s), clip.duration_s - early_s)


def resolution_changing(path: Path, folder: Path) -> Clip:
    """MPEG-TS of 2 s at 160x120, then 2 s at 320x240."""
    parts = [folder / "small.ts", folder / "large.ts"]
    numbered(parts[0], *H264, "-bf", "0", frames=50)
    numbered(parts[1], *H264, "-bf", "0", "-output_ts_offset", "2", frames=50, first=50, size=(320, 240))
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return Clip(path, tuple(n / FPS for n in range(100)), 4.0)


def cut(clip: Clip, path: Path, share: float) -> Clip:
    """The first `share` of a file's bytes."""
    whole = clip.path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return Clip(path, clip.times_s, clip.duration_s)


def damaged(clip: Clip, path: Path, first: float, last: float) -> Clip:
    """A file with noise over the bytes from `first` to `last`, as shares of its length."""
    data = bytearray(clip.path.read_bytes())
    begin, end = int(len(data) * first), int(len(data) * last)
    data[begin:end] = np.random.default_rng(0).bytes(end - begin)
    path.write_bytes(data)
    return Clip(path, clip.times_s, clip.duration_s)


def with_duration_claim(clip: Clip, path: Path, seconds: int) -> Clip:
    """An MP4 whose movie, track and media headers all claim `seconds` (ISO/IEC 14496-12, version 0 boxes)."""
    data = bytearray(clip.path.read_bytes())
    movie, media, track = (data.index(name) + 4 for name in (b"mvhd", b"mdhd", b"tkhd"))
    movie_scale, media_scale = (struct.unpack_from(">I", data, at + 12)[0] for at in (movie, media))
    for at, scale in ((movie + 16, movie_scale), (media + 16, media_scale), (track + 20, movie_scale)):
        struct.pack_into(">I", data, at, min(seconds * scale, 2**32 - 1))
    path.write_bytes(data)
    return Clip(path, clip.times_s, clip.duration_s)


def joined(path: Path, folder: Path) -> Clip:
    """Two MPEG-TS files of 2 s, one behind the other, each with a clock that starts anew."""
    parts = [folder / "first.ts", folder / "second.ts"]
    numbered(parts[0], *H264, "-bf", "0", frames=50)
    numbered(parts[1], *H264, "-bf", "0", frames=50, first=50)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return Clip(path, tuple(n / FPS for n in range(100)), 4.0)


def late_video(path: Path, folder: Path, delay_s: float) -> Clip:
    """Sound from the start and video that begins `delay_s` later."""
    clip = numbered(folder / "punctual.mp4")
    sound = ("-f", "lavfi", "-i", "sine=d=4")
    video = ("-itsoffset", str(delay_s), "-i", str(clip.path))
    ffmpeg(*sound, *video, "-map", "1:v", "-map", "0:a", "-c:v", "copy", "-c:a", "aac", str(path))
    return Clip(path, tuple(time + delay_s for time in clip.times_s), clip.duration_s + delay_s)


def with_cover_and_sound(clip: Clip, path: Path) -> Clip:
    """The cover is larger than the video and comes first."""
    inputs = ("-f", "lavfi", "-i", "color=blue:s=640x480:d=0.04", "-i", str(clip.path), "-f", "lavfi", "-i", "sine=d=3")
    streams = ("-map", "0", "-map", "1", "-map", "2", "-c:v:0", "mjpeg", "-disposition:v:0", "attached_pic")
    ffmpeg(*inputs, *streams, "-pix_fmt:v:0", "yuvj420p", "-c:v:1", "copy", "-c:a", "aac", str(path))
    return Clip(path, clip.times_s, clip.duration_s)


def song_with_cover(path: Path) -> Path:
    inputs = ("-f", "lavfi", "-i", "sine=d=1", "-f", "lavfi", "-i", "color=blue:s=64x64:d=0.04")
    ffmpeg(
        *inputs,
        "-map",
        "0",
        "-map",
        "1",
        "-c:a",
        "aac",
        "-c:v",
        "mjpeg",
        "-pix_fmt",
        "yuvj420p",
        "-disposition:v:0",
        "attached_pic",
        "-f",
        "mp4",
        str(path),
    )
    return path


def init_segment(clip: Clip, path: Path) -> Path:
    """The part of a fragmented MP4 that describes the stream, without any of it."""
    whole = rewrapped(clip, path.with_name("whole.mp4"), "-movflags", "frag_keyframe+empty_moov").path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moof") - 4])
    return path


def encrypted(clip: Clip, path: Path) -> Path:
    key, kid = "76a6c65c5ea762046bd749a2e632ccbb", "a7e61c373e219033c21091fa607bf3b8"
    rewrapped(clip, path, "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", kid)
    return path


def with_broken_index(clip: Clip, path: Path) -> Path:
    """An MP4 whose movie box holds noise."""
    data = bytearray(clip.path.read_bytes())
    begin = data.index(b"moov") + 4
    data[begin:] = np.random.default_rng(0).bytes(len(data) - begin)
    path.write_bytes(data)
    return path


def with_long_frames(clip: Clip, path: Path, seconds: int) -> Path:
    """An MP4 whose frames claim to last `seconds` together (`stts`: version, count, then samples and their length)."""
    plain = rewrapped(clip, path.with_name("plain.mp4"), "-use_editlist", "0")
    data = bytearray(plain.path.read_bytes())
    at = data.index(b"stts") + 12
    samples = struct.unpack_from(">I", data, at)[0]
    media = data.index(b"mdhd") + 4
    scale = struct.unpack_from(">I", data, media + 12)[0]
    struct.pack_into(">II", data, at, samples, min(seconds * scale // samples, 2**31 - 1))
    path.write_bytes(data)
    return path
