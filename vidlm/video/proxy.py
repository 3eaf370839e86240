"""One ffmpeg run: a source nobody trusts becomes a small clean proxy at the model's size and rate, and a poster.

Builds the command (ffmpeg-python), runs it confined, reads back which source frame each proxy frame shows. The whole
rest of vidlm reads the proxy and never the source.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ffmpeg
import imageio_ffmpeg

from vidlm.errors import MediaError, ToolError
from vidlm.video import sandbox
from vidlm.video.probe import FORMATS, PROTOCOLS
from vidlm.video.report import Limits, SourceReport

PROXY: Final = "proxy.mp4"
POSTER: Final = "poster.jpg"
_SHOWN: Final = "shown.txt"
_NO_PTS: Final = -(2**63)  # AV_NOPTS_VALUE
_POSTER_SIDE: Final = 640
_THREADS: Final = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class ProxyPlan:
    """What to make: `rate` frames a second of `width` x `height`."""

    rate: Fraction
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ProxyRun:
    """What came out. times_s[n]: when proxy frame n is shown; shown_s[n]: the time of the source frame it is a copy of.

    `complaints` says whether ffmpeg reported any error on the way.
    """

    times_s: tuple[float, ...]
    shown_s: tuple[float, ...]
    complaints: bool


def write_proxy(folder: Path, name: str, report: SourceReport, plan: ProxyPlan, limits: Limits) -> ProxyRun:
    """Decode `name` in `folder` once, into `PROXY` and `POSTER` beside it.

    A video too short or too broken to be on screen at any sampling time still gives its first frame, at time 0.
    Raises `MediaError` (decode_timeout, decode_failed, no_frames, truncated) or `ToolError`.
    """
    run = _run(folder, name, report, plan, limits, first_only=False)
    if not run.times_s:
        run = _run(folder, name, report, plan, limits, first_only=True)
    if not run.times_s:
        if report.readable_s < report.duration_s:
            raise MediaError("truncated", "nothing of what is left of the file can be decoded")
        if run.complaints:
            raise MediaError("decode_failed", "no frame of the video can be decoded")
        raise MediaError("no_frames", "the video gives no frame")
    if not (folder / POSTER).is_file() or (folder / POSTER).stat().st_size == 0:
        _poster_from_proxy(folder, report, limits)
    return run


def decode_deadline_s(report: SourceReport, limits: Limits) -> float:
    """30 s, and time for every source frame at 20 million pixels a second."""
    pixels = len(report.times_s) * report.width * report.height
    return (30.0 + pixels / 20e6) * limits.deadline_scale


def proxy_command(name: str, report: SourceReport, plan: ProxyPlan, limits: Limits, *, first_only: bool) -> list[str]:
    """The ffmpeg command line: one input, one decode, two outputs.

    `round=up` without a start time puts at n/rate the frame that is on screen then (the default is up to half a step
    late), and goes on at the right time when a change of resolution rebuilds the filters. Only the first frame is
    moved, to 0.
    """
    rate = f"{plan.rate.numerator}/{plan.rate.denominator}"
    early_s = report.times_s[0] + 1e-3
    sample = (
        "select=eq(n\\,0),setpts=0" if first_only else f"setpts='if(lte(T,{early_s:.6f}),0,PTS)',fps={rate}:round=up"
    )
    clean = "setsar=1,format=yuv420p"
    size = f"scale={plan.width}:{plan.height}:flags=bicubic:out_color_matrix=bt601:out_range=tv"
    poster_width, poster_height = _poster_size(report)
    at_s = 0.0 if first_only else min(5.0, report.readable_s / 10)
    source = ffmpeg.input(f"file:{name}", **_input_options(report, limits))[str(report.stream)]
    proxy = ffmpeg.output(source, f"file:{PROXY}", vf=f"{sample},{size},{clean}", **_proxy_options(plan, first_only))
    poster = ffmpeg.output(
        source,
        f"file:{POSTER}",
        vf=f"select=gte(t\\,{at_s:.3f}),scale={poster_width}:{poster_height}:out_range=pc,setsar=1,format=yuvj420p",
        **{
            "frames:v": 1,
            "q:v": 4,
            "update": 1,
            "f": "image2",
            "fflags": "+bitexact",
            "flags:v": "+bitexact",
            "an": None,
        },
    )
    # where decoding stops before the poster's time there is none yet: `write_proxy` makes it from the proxy
    both = ffmpeg.merge_outputs(proxy, poster).global_args(
        "-hide_banner", "-nostdin", "-loglevel", "level+error", "-filter_threads", "1"
    )
    command: list[str] = both.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    return command


def _input_options(report: SourceReport, limits: Limits) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": FORMATS,
        "max_pixels": limits.max_pixels,
        "threads": _THREADS,
    }
    if report.shift_s:
        options["itsoffset"] = f"{report.shift_s:.6f}"
    return options


def _proxy_options(plan: ProxyPlan, first_only: bool) -> dict[str, Any]:
    """H.264 that is as good as the source to a model and seeks cheaply and exactly.

    No B-frames and a key frame every four seconds, never elsewhere: where x264 puts key frames at cuts as well, decord
    returns wrong frames after a seek, and not the same ones each time.
    """
    group = max(1, round(4 * plan.rate))
    options: dict[str, Any] = {
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": 12,
        "bf": 0,
        "g": group,
        "keyint_min": group,
        "sc_threshold": 0,
        "threads": 1,
        "an": None,
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "colorspace": "smpte170m",
        "color_range": "tv",
        "f": "mp4",
        "stats_enc_pre:v": _SHOWN,
        "stats_enc_pre_fmt:v": "{pts} {tb} {ptsi} {tbi}",
    }
    return {**options, "frames:v": 1} if first_only else options


def _run(
    folder: Path, name: str, report: SourceReport, plan: ProxyPlan, limits: Limits, *, first_only: bool
) -> ProxyRun:
    command = proxy_command(name, report, plan, limits, first_only=first_only)
    samples = report.duration_s * plan.rate + 2
    confinement = sandbox.Confinement(
        deadline_s=decode_deadline_s(report, limits),
        file_bytes=16 * 1024**2 + int(samples * plan.width * plan.height * 1.5),
        threads=_THREADS,
    )
    finished = sandbox.run(command, folder=folder, confinement=confinement)
    if finished.timed_out:
        raise MediaError("decode_timeout", "decoding took longer than the video's length and size allow")
    times_s, shown_s = _read_shown(folder / _SHOWN)
    if finished.code != 0 and ("No space left" in finished.stderr or "Unrecognized option" in finished.stderr):
        raise ToolError("ffmpeg could not write the proxy")
    if finished.code < 0:
        raise MediaError("decode_failed", "the video crashes its decoder")
    if not (folder / PROXY).is_file():
        times_s, shown_s = (), ()
    return ProxyRun(times_s, shown_s, complaints=bool(finished.stderr.strip()) or finished.code != 0)


def _read_shown(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ffmpeg's own account of what it gave the encoder: a line a frame, `pts time_base source_pts source_time_base`."""
    rows = list(_shown_rows(path)) if path.is_file() else []
    if any(later <= earlier for (earlier, _), (later, _) in pairwise(rows)):
        raise MediaError("decode_failed", "the video's times run backwards")
    return tuple(time for time, _ in rows), tuple(shown for _, shown in rows)


def _shown_rows(path: Path) -> Iterator[tuple[float, float]]:
    for line in path.read_text().splitlines():
        pts, base, source_pts, source_base = line.split()
        time_s = float(Fraction(base) * int(pts))
        known = int(source_pts) > _NO_PTS  # without time stamps (AVI) ffmpeg counts, and only the count is there
        yield time_s, float(Fraction(source_base) * int(source_pts)) if known else time_s


def _poster_size(report: SourceReport) -> tuple[int, int]:
    scale = min(1.0, _POSTER_SIDE / max(report.width, report.height))
    return max(1, round(report.width * scale)), max(1, round(report.height * scale))


def _poster_from_proxy(folder: Path, report: SourceReport, limits: Limits) -> None:
    """For a video whose decoding stopped before the poster's time."""
    width, height = _poster_size(report)
    source = ffmpeg.input(f"file:{PROXY}", protocol_whitelist=PROTOCOLS, format_whitelist="mov")
    output = ffmpeg.output(
        source["v:0"],
        f"file:{POSTER}",
        vf=f"scale={width}:{height}:out_range=pc,format=yuvj420p",
        **{"frames:v": 1, "update": 1, "f": "image2"},
    )
    command = output.global_args("-hide_banner", "-nostdin", "-loglevel", "error").compile(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True
    )
    finished = sandbox.run(
        command, folder=folder, confinement=sandbox.Confinement(deadline_s=30.0 * limits.deadline_scale)
    )
    if finished.code != 0:
        raise ToolError("ffmpeg could not make a poster from the proxy")
