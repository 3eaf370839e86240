"""A film of natural-looking pictures as a file, and what people do to a file before they upload it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from clips import H264, ffmpeg

from benchmarks.likeness_clips import HEIGHT, WIDTH, natural

FPS = 10
LOGO = "drawbox=x=iw*0.8:y=ih*0.06:w=iw*0.16:h=ih*0.14:color=yellow:t=fill"

AGAIN: dict[str, tuple[str, ...]] = {
    "re-encoded": ("-c:v", "libx264", "-preset", "veryfast", "-crf", "36", "-g", "33"),
    "resized": ("-vf", "scale=320:240", *H264),
    "with a logo": ("-vf", LOGO, *H264),
    "another rate": ("-r", "24", *H264),
    "trimmed": ("-ss", "2", "-t", "4", *H264),
    "mirrored": ("-vf", "hflip", *H264),
}


def film(path: Path, seed: int, duration_s: float | None = None) -> Path:
    """A natural-looking film of 8 to 20 s, or its first seconds, at 10 frames a second."""
    source = natural(20_000 + seed)
    times_s = np.arange(round((duration_s or source.duration_s) * FPS)) / FPS
    shape = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS))
    ffmpeg(*shape, "-i", "-", *H264, "-pix_fmt", "yuv420p", str(path), data=source.draw(times_s).tobytes())
    return path


def again(source: Path, path: Path, *options: str) -> Path:
    """The file once more, as ffmpeg makes it with these options."""
    ffmpeg("-i", str(source), *options, "-pix_fmt", "yuv420p", str(path))
    return path


def with_a_second_put_in(source: Path, other: Path, path: Path, at_s: float) -> Path:
    """The film with one second of another one in its middle."""
    cut = (
        f"[0:v]trim=0:{at_s},setpts=PTS-STARTPTS[a];[1:v]trim=0:1,setpts=PTS-STARTPTS[b];"
        f"[0:v]trim={at_s},setpts=PTS-STARTPTS[c];[a][b][c]concat=n=3:v=1[v]"
    )
    ffmpeg("-i", str(source), "-i", str(other), "-filter_complex", cut, "-map", "[v]", *H264, str(path))
    return path
