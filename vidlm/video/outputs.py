"""What one decode of a source is turned into: ffmpeg-python nodes, one function an output. Pure: nothing runs here.

source --+--> proxy        what the model reads: its size, its rate, no sound
         +--> poster       one picture
         +--> thumbnails   small pictures, for a timeline
         +--> preview      only where browsers could not play the source: H.264 and AAC

All of it is one filter graph that is split inside. Where every output has a graph of its own ffmpeg's scheduler makes
whoever is ahead wait for the others, and with few frames left and outputs of different rates all of them wait for ever
(ffmpeg 9.0: 14 of 20 runs over a damaged file of three seconds never ended; one graph: 0 of 300).
"""

from __future__ import annotations

import math
import os
from fractions import Fraction
from typing import Any, Final

import ffmpeg
import imageio_ffmpeg

from vidlm.domain import Thumbnails
from vidlm.video import filters
from vidlm.video.source import SourceReport

PROXY: Final = "proxy.mp4"
POSTER: Final = "poster.jpg"
PREVIEW: Final = "preview.mp4"
SHOWN: Final = "shown.txt"
THREADS: Final = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Of a decoder or an encoder at most: left to themselves they take one a core, and a child may have only so many."""
_THUMBNAIL: Final = "thumbnail-%d.jpg"
_POSTER_SIDE: Final = 640
_PREVIEW_SIDE: Final = 1280
_THUMBNAIL_SIDE: Final = 240
_MOST_THUMBNAILS: Final = 1000
_EXACT: Final = {"fflags": "+bitexact", "flags:v": "+bitexact"}  # the same bytes from the same source


def command(*written: Any) -> list[str]:
    """The command line of one ffmpeg run that writes these outputs and only complains of errors."""
    every = written[0] if len(written) == 1 else ffmpeg.merge_outputs(*written)
    every = every.global_args("-hide_banner", "-nostdin", "-loglevel", "level+error", "-filter_complex_threads", "1")
    line: list[str] = every.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    return line


def proxy(sampled: Any, report: SourceReport, rate: Fraction, size: tuple[int, int], frames: int | None = None) -> Any:
    """`sampled` frames, `rate` a second and at most `frames`, as (height, width)."""
    height, width = size
    shaped = filters.for_model(sampled, report, width, height)
    return ffmpeg.output(shaped, f"file:{PROXY}", **encoder_options(rate, frames))


def encoder_options(rate: Fraction, frames: int | None = None) -> dict[str, Any]:
    """H.264 that is as good as the source to a model and seeks cheaply and exactly; `frames` of it at most.

    No B-frames and a key frame every four seconds, never elsewhere: where x264 puts key frames at cuts as well, decord
    returns wrong frames after a seek, and not the same ones each time. The fastest preset costs bytes, not pictures: at
    this quality it is 2 to 6 dB nearer to the source than `veryfast`, in a file that is a tenth to a half larger.
    """
    group = max(1, round(4 * rate))
    options: dict[str, Any] = {
        "c:v": "libx264",
        "preset": "ultrafast",
        "crf": 12,
        "bf": 0,
        "g": group,
        "keyint_min": group,
        "sc_threshold": 0,
        "threads": 1,
        "an": None,
        "map_metadata": -1,
        "map_chapters": -1,
        "colorspace": "smpte170m",
        "color_range": "tv",
        "f": "mp4",
        "stats_enc_pre:v": SHOWN,
        "stats_enc_pre_fmt:v": "{pts} {tb} {ptsi} {tbi}",
        **_EXACT,
    }
    return options if frames is None else {**options, "frames:v": frames}


def poster(source: Any, report: SourceReport, at_s: float) -> Any:
    """The first frame from `at_s` on. Where decoding stops before that there is none."""
    width, height = poster_size(report)
    options = {"frames:v": 1, "q:v": 4, "update": 1, "f": "image2", "threads": 1, "an": None, **_EXACT}
    # once: what comes after the one picture would be shaped for nothing
    chosen = source.filter("select", f"gte(t,{at_s:.3f})*isnan(prev_selected_t)")
    picture = filters.for_people(chosen, report, width, height)
    return ffmpeg.output(picture, f"file:{POSTER}", **options)


def poster_size(report: SourceReport) -> tuple[int, int]:
    """(width, height): the source's, or what fits."""
    return _fitted(report, _POSTER_SIDE)


def plan_thumbnails(report: SourceReport) -> Thumbnails:
    """A picture a second, or as many seconds apart as it takes to have no more than `_MOST_THUMBNAILS`."""
    interval_s = max(1, math.ceil(report.readable_s / _MOST_THUMBNAILS))
    width, height = _fitted(report, _THUMBNAIL_SIDE)
    return Thumbnails(float(interval_s), width, height, max(1, math.ceil(report.readable_s / interval_s - 1e-6)))


def thumbnails(sampled: Any, report: SourceReport, plan: Thumbnails) -> Any:
    """Single pictures and no sheets of them, because a change of resolution would begin a new sheet."""
    numbered = {"start_number": 0, "fps_mode": "passthrough", "f": "image2"}
    options = {"q:v": 6, **numbered, "threads": 1, "an": None, **_EXACT}
    pictures = filters.for_people(sampled, report, plan.width, plan.height)
    return ffmpeg.output(pictures, f"file:{_THUMBNAIL}", **options)


def thumbnail_name(number: int) -> str:
    """The file of one thumbnail."""
    return _THUMBNAIL % number


def preview(source: Any, sound: Any, report: SourceReport) -> Any:
    """The source as every browser plays it, at its own rate and at most 1280 pixels a side."""
    width, height = (max(2, side // 2 * 2) for side in _fitted(report, _PREVIEW_SIDE))
    options = {
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": 23,
        "maxrate": "4M",
        "bufsize": "8M",
        "c:a": "aac",
        "b:a": "128k",
        "ac": 2,
        "fps_mode": "vfr",
        "threads": THREADS,
        "map_metadata": -1,
        "map_chapters": -1,
        "movflags": "+faststart",
        "f": "mp4",
        **_EXACT,
    }
    shaped = filters.for_browsers(source, report, width, height)
    inputs = [shaped] if sound is None else [shaped, sound]
    return ffmpeg.output(*inputs, f"file:{PREVIEW}", **options)


def _fitted(report: SourceReport, side: int) -> tuple[int, int]:
    """(width, height) as displayed, shrunk to fit a square of `side`."""
    scale = min(1.0, side / max(report.width, report.height))
    return max(1, round(report.width * scale)), max(1, round(report.height * scale))
