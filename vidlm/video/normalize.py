"""Bytes nobody trusts -> a small clean proxy with known times. The stages of the untrusted side, as a list.

Nothing here decodes: `probe.py` and ffmpeg do, each in a confined child. Every fault of a file ends as a `MediaError`
with the code that the API shows; a `ToolError` is this machine's fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vidlm.domain import Coverage, Gap, Thumbnails, VideoInfo
from vidlm.errors import MediaError, StorageError
from vidlm.video import coverage as seen
from vidlm.video.outputs import POSTER, PREVIEW, PROXY, plan_thumbnails, thumbnail_name
from vidlm.video.proxy import ProxyPlan, ProxyRun, decode_deadline_s, write_proxy
from vidlm.video.report import describe_source, find_damage
from vidlm.video.scratch import scratch_folder
from vidlm.video.sniff import Layout, read_layout
from vidlm.video.source import Limits, SourceReport

__all__ = ["Limits", "Normalized", "normalize"]

_SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Normalized:
    """A video that the rest of vidlm can read: H.264 without sound, `fps` frames a second, `width` x `height`.

    frame_times_s[n] is when proxy frame n is on screen in the source as played, in seconds, strictly increasing.
    preview: a file that every browser plays, None where the source is one (`web_type`) or none could be made.
    """

    info: VideoInfo
    coverage: Coverage
    proxy: Path
    poster: Path
    thumbnails: Thumbnails
    preview: Path | None
    web_type: str | None
    fps: float
    frame_times_s: tuple[float, ...]
    width: int
    height: int


def normalize(
    source: Path,
    work_dir: Path,
    *,
    filename: str,
    sample_fps: float,
    fit: Callable[[int, int], tuple[int, int]],
    limits: Limits,
    on_progress: Callable[[float], None] = lambda _done: None,
) -> Normalized:
    """Turn `source` into the files of `outputs` in `work_dir`; they appear whole, and only if all went well.

    `fit(height, width)` maps the displayed size to the proxy's, both even. `filename` is kept as it is and used for
    nothing. `on_progress` is called now and then while the source is decoded, with how much of it is done, 0..1; what
    it raises ends the decoder and is passed on. Raises `MediaError` for a file that cannot be analysed, `ToolError` or
    `StorageError` for a machine that cannot do it.
    """
    sha256, layout = _read_source(source, limits)
    work_dir.mkdir(parents=True, exist_ok=True)
    with scratch_folder("normalize-", work_dir) as folder:
        (folder / _SOURCE).symlink_to(source.resolve())
        report = describe_source(folder, _SOURCE, layout, limits)
        plan = _plan(report, sample_fps, fit)
        run = write_proxy(folder, _SOURCE, report, plan, limits, on_progress=on_progress)
        coverage = _coverage(folder, report, plan, run, limits)
        thumbnails = _kept_thumbnails(folder, plan.thumbnails)
        for name in (PROXY, POSTER, PREVIEW, *map(thumbnail_name, range(thumbnails.count))):
            if (folder / name).is_file():
                (folder / name).replace(work_dir / name)
    return Normalized(
        info=_info(report, layout, sha256, filename),
        coverage=coverage,
        proxy=work_dir / PROXY,
        poster=work_dir / POSTER,
        thumbnails=thumbnails,
        preview=work_dir / PREVIEW if (work_dir / PREVIEW).is_file() else None,
        web_type=report.web_type,
        fps=float(plan.rate),
        frame_times_s=run.times_s,
        width=plan.width,
        height=plan.height,
    )


def _read_source(source: Path, limits: Limits) -> tuple[str, Layout]:
    """The file's digest and outermost structure. Size is checked before anything is read."""
    try:
        size = source.stat().st_size
        if size == 0:
            raise MediaError("not_a_video", "the file is empty")
        if size > limits.max_bytes:
            raise MediaError("too_large", f"the file has {size} bytes, more than {limits.max_bytes}")
        with source.open("rb") as file:
            layout = read_layout(file)
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest(), layout
    except OSError as exc:
        raise StorageError(f"the uploaded file cannot be read: {exc.strerror}") from exc


def _plan(report: SourceReport, sample_fps: float, fit: Callable[[int, int], tuple[int, int]]) -> ProxyPlan:
    try:
        height, width = fit(report.height, report.width)
    except ValueError as exc:
        raise MediaError(
            "too_large_dimensions", f"{report.width}x{report.height} is too long and thin to be shown to a model"
        ) from exc
    return ProxyPlan(
        rate=Fraction(sample_fps).limit_denominator(1001),
        width=width,
        height=height,
        thumbnails=plan_thumbnails(report),
        preview=report.web_type is None,
    )


def _kept_thumbnails(folder: Path, planned: Thumbnails) -> Thumbnails:
    """As many as there are: decoding may have ended early."""
    count = next((n for n in range(planned.count) if not (folder / thumbnail_name(n)).is_file()), planned.count)
    return replace(planned, count=count)


def _coverage(folder: Path, report: SourceReport, plan: ProxyPlan, run: ProxyRun, limits: Limits) -> Coverage:
    """Everything that was not seen. The exact search for damage costs a second decode, so only if ffmpeg complained."""
    step_s = float(1 / plan.rate)
    gaps = seen.tail_gap(run.times_s, run.shown_s, report.readable_s, report.duration_s, step_s)
    gaps += seen.stale_gaps(run.times_s, run.shown_s, report.times_s, tolerance_s=max(0.5, 3 / report.fps))
    gaps += seen.damage_gaps(report.lossy_s, report.key_times_s, report.duration_s, "missing from the file")
    if run.complaints:
        bad_s = find_damage(folder, _SOURCE, report, decode_deadline_s(report, limits))
        if bad_s is None:
            gaps.append(Gap(0.0, report.duration_s, "damaged somewhere"))
        else:
            gaps += seen.damage_gaps(bad_s, report.key_times_s, report.duration_s, "damaged")
    return seen.cover(report.duration_s, gaps)


def _info(report: SourceReport, layout: Layout, sha256: str, filename: str) -> VideoInfo:
    return VideoInfo(
        sha256=sha256,
        filename=filename,
        size_bytes=layout.size_bytes,
        duration_s=report.duration_s,
        width=report.width,
        height=report.height,
        fps=report.fps,
        variable_fps=report.variable_fps,
        codec=report.codec,
        container=report.container,
        rotation=report.rotation,
        has_audio=report.has_audio,
        hdr=report.hdr is not None,
    )
