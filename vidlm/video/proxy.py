"""One ffmpeg run: a source nobody trusts becomes a small clean proxy for the model, and pictures for people.

Builds the command (ffmpeg-python), runs it confined, reads back which source frame each proxy frame shows. The whole
rest of vidlm reads the proxy and never the source.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import ffmpeg
import numpy as np
import numpy.typing as npt

from vidlm.domain import Thumbnails
from vidlm.errors import MediaError, ToolError
from vidlm.video import outputs, sandbox, spare
from vidlm.video.outputs import POSTER, PREVIEW, PROXY, SHOWN, THREADS
from vidlm.video.probe import FORMATS, PROTOCOLS
from vidlm.video.source import Limits, SourceReport

_NO_PTS: Final = -(2**63)  # AV_NOPTS_VALUE


@dataclass(frozen=True, slots=True)
class ProxyPlan:
    """What to make: a proxy of `rate` frames a second of `width` x `height`, and what people look at."""

    rate: Fraction
    width: int
    height: int
    thumbnails: Thumbnails
    preview: bool


@dataclass(frozen=True, slots=True)
class ProxyRun:
    """What came out. times_s[n]: when proxy frame n is shown; shown_s[n]: the time of the source frame it is a copy of.

    `complaints` says whether ffmpeg reported any error on the way.
    """

    times_s: tuple[float, ...]
    shown_s: tuple[float, ...]
    complaints: bool


def write_proxy(
    folder: Path,
    name: str,
    report: SourceReport,
    plan: ProxyPlan,
    limits: Limits,
    *,
    on_progress: Callable[[float], None],
) -> ProxyRun:
    """Decode `name` in `folder` once, into the files of `outputs` beside it. Thumbnails and preview may be missing.

    `on_progress` is called a few times a second with how much is done, 0..1; if it raises, decoding ends.
    A video too short or too broken to be on screen at any sampling time still gives its first frame, at time 0.
    Raises `MediaError` (decode_timeout, decode_failed, no_frames, truncated) or `ToolError`.
    """
    drop = _drop_filter(report, plan)
    run = _run(folder, name, report, plan, limits, on_progress=on_progress, drop=drop)
    if drop is not None and (run.complaints or not run.times_s):  # whatever is wrong is to be seen whole
        run = _run(folder, name, report, plan, limits, on_progress=on_progress)
    if not run.times_s and plan.preview:  # sound that cannot be decoded is no reason to see nothing
        plan = replace(plan, preview=False)
        run = _run(folder, name, report, plan, limits, on_progress=on_progress)
    if not run.times_s:
        run = _run(folder, name, report, plan, limits, on_progress=on_progress, first_only=True)
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


def proxy_command(
    name: str,
    report: SourceReport,
    plan: ProxyPlan,
    limits: Limits,
    *,
    first_only: bool = False,
    dropping: bool = False,
) -> list[str]:
    """The ffmpeg command line: one input, one decode, every output. `dropping`: not the packets of `spare.DROP`."""
    sound = plan.preview and report.sound is not None
    skipped = {"/bsf:v": spare.DROP} if dropping else {}
    whole = ffmpeg.input(f"file:{name}", **input_options(report, limits, sound=sound), **skipped)
    source = whole[str(report.stream)].filter_multi_output("split")
    every = Fraction(1) / round(plan.thumbnails.interval_s)
    sampled = _sampled(source["proxy"], report, plan.rate, first_only=first_only)
    pictures = _sampled(source["thumbnails"], report, every, first_only=first_only)
    written = [
        outputs.proxy(sampled, report, plan.rate, (plan.height, plan.width), 1 if first_only else None),
        outputs.poster(source["poster"], report, 0.0 if first_only else _poster_s(report)),
        outputs.thumbnails(pictures, report, plan.thumbnails),
    ]
    if plan.preview:
        written.append(outputs.preview(source["preview"], whole["a:0"] if sound else None, report))
    # where decoding stops before the poster's time there is none yet: `write_proxy` makes it from the proxy
    return outputs.command(*written)


def _poster_s(report: SourceReport) -> float:
    return min(5.0, report.readable_s / 10)


def _drop_filter(report: SourceReport, plan: ProxyPlan) -> str | None:
    """What keeps from the decoder what no output shows or depends on, if anything does: a preview shows every frame."""
    if plan.preview or report.packets is None:
        return None
    dropped = spare.unneeded(report.packets, _shown_at(report, plan))
    return spare.drop_filter(report.packets.positions, dropped)


def _shown_at(report: SourceReport, plan: ProxyPlan) -> npt.NDArray[np.float64]:
    """Every time at which an output but the preview shows what is on screen, in seconds."""
    steps_s = (float(1 / plan.rate), plan.thumbnails.interval_s)
    grids = [np.arange(math.ceil(report.readable_s / step_s) + 1) * step_s for step_s in steps_s]
    poster = np.searchsorted(report.times_s, _poster_s(report) - 1e-3)  # as the command line rounds it
    return np.concatenate([*grids, report.times_s[poster : poster + 2]])


def _sampled(stream: Any, report: SourceReport, rate: Fraction, *, first_only: bool) -> Any:
    """At n/rate the frame that is on screen then, or the first frame alone, moved to 0.

    `round=up` without a start time (the default is up to half a step late) goes on at the right time when a change of
    resolution rebuilds the filters. A first frame that comes late is moved to 0 as well.
    """
    if first_only:
        return stream.filter("select", "eq(n,0)").filter("setpts", 0)
    at_start = f"if(lte(T,{report.times_s[0] + 1e-3:.6f}),0,PTS)"
    return stream.filter("setpts", at_start).filter("fps", rate, round="up")


def input_options(report: SourceReport, limits: Limits, *, sound: bool = False) -> dict[str, Any]:
    """Of an ffmpeg run that reads a source: nothing but known formats, from this file, no larger than accepted."""
    options: dict[str, Any] = {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": FORMATS,
        "max_pixels": limits.max_pixels,
        "threads": THREADS,
    }
    shift_s = report.shift_with_sound_s if sound else report.shift_s
    if shift_s:
        options["itsoffset"] = f"{shift_s:.6f}"
    return options


def _run(
    folder: Path,
    name: str,
    report: SourceReport,
    plan: ProxyPlan,
    limits: Limits,
    *,
    on_progress: Callable[[float], None],
    first_only: bool = False,
    drop: str | None = None,
) -> ProxyRun:
    for left in (folder / file for file in (PROXY, POSTER, PREVIEW, SHOWN)):  # by an attempt that failed
        left.unlink(missing_ok=True)
    if drop is not None:
        (folder / spare.DROP).write_text(drop)
    command = proxy_command(name, report, plan, limits, first_only=first_only, dropping=drop is not None)
    samples = report.duration_s * plan.rate + 2
    confinement = sandbox.Confinement(
        deadline_s=decode_deadline_s(report, limits),
        file_bytes=16 * 1024**2 + max(int(samples * plan.width * plan.height * 1.5), _preview_bytes(report, plan)),
        threads=THREADS,
        read=((folder / name).resolve(),),
    )

    def watch() -> None:
        on_progress(min(_written_s(folder / SHOWN) / report.readable_s, 1.0))

    finished = sandbox.run(command, folder=folder, confinement=confinement, watch=watch)
    if finished.timed_out:
        raise MediaError("decode_timeout", "decoding took longer than the video's length and size allow")
    times_s, sources_s = read_shown(folder / SHOWN)
    shown_s = tuple(time if source is None else source for time, source in zip(times_s, sources_s, strict=True))
    if finished.code != 0 and ("No space left" in finished.stderr or "Unrecognized option" in finished.stderr):
        raise ToolError("ffmpeg could not write the proxy")
    if finished.code < 0:
        raise MediaError("decode_failed", "the video crashes its decoder")
    if not (folder / PROXY).is_file():
        times_s, shown_s = (), ()
    return ProxyRun(times_s, shown_s, complaints=bool(finished.stderr.strip()) or finished.code != 0)


def _preview_bytes(report: SourceReport, plan: ProxyPlan) -> int:
    """More than `outputs.preview` may write: 4 Mbit/s of video and what sound takes."""
    return int(report.duration_s * 1e6) if plan.preview else 0


def read_shown(path: Path) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
    """When each frame is shown, and when its source frame was: None without time stamps (AVI), where ffmpeg counts.

    ffmpeg's own account of what it gave the encoder: a line a frame, `pts time_base source_pts source_time_base`.
    """
    rows = list(_shown_rows(path)) if path.is_file() else []
    if any(later <= earlier for (earlier, _), (later, _) in pairwise(rows)):
        raise MediaError("decode_failed", "the video's times run backwards")
    return tuple(time for time, _ in rows), tuple(shown for _, shown in rows)


def _shown_rows(path: Path) -> Iterator[tuple[float, float | None]]:
    for line in path.read_text().splitlines():
        pts, base, source_pts, source_base = line.split()
        time_s = float(Fraction(base) * int(pts))
        known = int(source_pts) > _NO_PTS
        yield time_s, float(Fraction(source_base) * int(source_pts)) if known else None


def _written_s(path: Path) -> float:
    """How far a run has come that is still writing its account of frames; 0 before the first one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
            pts, base, *_ = file.read().splitlines()[-2].split()  # the last line may be half there
        return float(Fraction(base.decode()) * int(pts))
    except (OSError, ValueError, IndexError):
        return 0.0


def _poster_from_proxy(folder: Path, report: SourceReport, limits: Limits) -> None:
    """For a video whose decoding stopped before the poster's time."""
    width, height = outputs.poster_size(report)
    source = ffmpeg.input(f"file:{PROXY}", protocol_whitelist=PROTOCOLS, format_whitelist="mov")
    picture = source["v:0"].filter("scale", width, height, out_range="pc").filter("format", "yuvj420p")
    command = outputs.command(ffmpeg.output(picture, f"file:{POSTER}", **{"frames:v": 1, "update": 1, "f": "image2"}))
    finished = sandbox.run(
        command, folder=folder, confinement=sandbox.Confinement(deadline_s=30.0 * limits.deadline_scale)
    )
    if finished.code != 0:
        raise ToolError("ffmpeg could not make a poster from the proxy")
