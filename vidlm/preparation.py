"""From an untrusted file to something a model can look at: a clean proxy, its shots, and which frames belong together.

Needs no torch. How each step is done is in `video`; here stands their order and what they leave behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from vidlm.config import Settings
from vidlm.domain import Coverage, FrameBatch, Gap, Sampling, Span, Thumbnails, VideoInfo
from vidlm.errors import MediaError
from vidlm.model.preprocess import FrameGeometry
from vidlm.video import sandbox
from vidlm.video.frames import read_frames, stream_frames
from vidlm.video.normalize import Limits, Normalized, normalize
from vidlm.video.sampling import Window, plan_windows
from vidlm.video.shots import shots_from_signatures, signatures

_SHOT_SIDE: Final = 64  # pixels of the longer side that are enough to see a cut


@dataclass(frozen=True, slots=True)
class Prepared:
    """A video ready for the model: a clean proxy whose every frame has a time, cut into windows."""

    info: VideoInfo
    coverage: Coverage
    sampling: Sampling
    proxy: Path
    poster: Path
    thumbnails: Thumbnails
    preview: Path | None
    web_type: str | None
    shots: tuple[Span, ...]
    windows: tuple[Window, ...]
    frame_times_s: tuple[float, ...]

    def to_document(self) -> dict[str, Any]:
        """Plain JSON types, times unrounded. Files are named without their folder, which may move."""
        preview = self.preview.name if self.preview else None
        return dataclasses.asdict(self) | {"proxy": self.proxy.name, "poster": self.poster.name, "preview": preview}

    @classmethod
    def from_document(cls, document: dict[str, Any], folder: Path) -> Prepared:
        """The inverse of `to_document`, with the files looked for in `folder`."""
        coverage = document["coverage"]
        return cls(
            info=VideoInfo(**document["info"]),
            coverage=Coverage(**coverage | {"gaps": tuple(Gap(**gap) for gap in coverage["gaps"])}),
            sampling=Sampling(**document["sampling"]),
            proxy=folder / document["proxy"],
            poster=folder / document["poster"],
            thumbnails=Thumbnails(**document["thumbnails"]),
            preview=folder / document["preview"] if document["preview"] else None,
            web_type=document["web_type"],
            shots=tuple(Span(**shot) for shot in document["shots"]),
            windows=tuple(Window(**window) for window in document["windows"]),
            frame_times_s=tuple(document["frame_times_s"]),
        )


def prepare(
    source: Path,
    work_dir: Path,
    *,
    filename: str,
    geometry: FrameGeometry,
    settings: Settings,
    on_progress: Callable[[float], None] = lambda _done: None,
    on_frames: Callable[[FrameBatch], None] = lambda _frames: None,
) -> Prepared:
    """Turn an untrusted file into a proxy in `work_dir` and plan which frames make which segment.

    `filename` is what the user called it: recorded, never used as a path. `on_progress` is called a few times a second
    with how much is done, 0..1; what it raises ends the work. `on_frames` sees all frames of the proxy go by, in order,
    a few at a time. Raises `MediaError` for a file that cannot be analysed, `ToolError` where the machine failed, and
    `SettingsError` where it cannot confine decoders and the settings require that.
    """
    if settings.sandbox == "require":
        sandbox.require()

    def fit(height: int, width: int) -> tuple[int, int]:
        try:
            return geometry.fit(height, width, settings.max_frame_pixels)
        except ValueError as exc:
            raise MediaError("too_large_dimensions", f"the frame's shape cannot be shown to the model: {exc}") from exc

    clean = normalize(
        source,
        work_dir,
        filename=filename,
        sample_fps=settings.sample_fps,
        fit=fit,
        limits=limits_of(settings),
        on_progress=on_progress,
    )
    shots = _shots(clean, on_frames)
    max_s = settings.segment_max_s or geometry.segment_max_s
    min_s = min(settings.segment_min_s, max_s)
    windows = plan_windows(shots, clean.frame_times_s, clean.info.duration_s, min_s=min_s, max_s=max_s)
    return Prepared(
        info=clean.info,
        coverage=clean.coverage,
        sampling=Sampling(clean.fps, clean.width, clean.height),
        proxy=clean.proxy,
        poster=clean.poster,
        thumbnails=clean.thumbnails,
        preview=clean.preview,
        web_type=clean.web_type,
        shots=tuple(shots),
        windows=tuple(windows),
        frame_times_s=clean.frame_times_s,
    )


def limits_of(settings: Settings) -> Limits:
    """What a source may be at most."""
    return Limits(
        max_duration_s=settings.max_duration_s,
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_source_pixels,
        max_side=settings.max_source_side,
        max_frames=settings.max_source_frames,
        max_streams=settings.max_source_streams,
    )


def read_windows(prepared: Prepared, windows: Sequence[Window]) -> list[FrameBatch]:
    """The frames of consecutive windows, read from the proxy in one go."""
    first = windows[0].first_frame
    size = (prepared.sampling.height, prepared.sampling.width)
    frames = read_frames(prepared.proxy, size, prepared.frame_times_s, first=first, last=windows[-1].last_frame)
    parts = [slice(window.first_frame - first, window.last_frame - first) for window in windows]
    return [FrameBatch(frames.pixels[part], frames.times_s[part]) for part in parts]


def _shots(clean: Normalized, on_frames: Callable[[FrameBatch], None]) -> list[Span]:
    """Shots of the whole proxy, thinned to where cuts are still seen; `on_frames` sees it whole."""
    times_s, size = clean.frame_times_s, (clean.height, clean.width)
    step = max(1, max(size) // _SHOT_SIDE)
    marks = []
    for part in stream_frames(clean.proxy, size, times_s):
        on_frames(part)
        marks.append(signatures(FrameBatch(part.pixels[:, ::step, ::step], part.times_s)))
    return shots_from_signatures(np.concatenate(marks), np.asarray(times_s, np.float64), clean.info.duration_s)
