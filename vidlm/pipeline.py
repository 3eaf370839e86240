"""From a file to an analysis, as a list of stages. The service runs them as tasks, `analyze` runs them in a row.

    prepare           untrusted file -> clean proxy, shots, windows         needs no torch
    analyze_windows   windows -> captions and scores                        the model's work, a span at a time
    finish            all segments -> summary, flags, verdict               the whole document

Knows the order of things; how each is done is in `video`, `model`, `prompts`, `moderation` and `summary`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vidlm import prompts
from vidlm.config import Settings, load_settings
from vidlm.domain import (
    Analysis,
    Chapter,
    Coverage,
    FrameBatch,
    Gap,
    Sampling,
    Segment,
    Span,
    Summary,
    Thumbnails,
    VideoInfo,
)
from vidlm.errors import MediaError, QuestionError
from vidlm.model.preprocess import FrameGeometry
from vidlm.moderation.flags import decide, flags_from_scores
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.provenance import provenance
from vidlm.summary import evenly, group_chapters, pick_highlights, summary_captions
from vidlm.video import sandbox
from vidlm.video.frames import read_frames, stream_frames
from vidlm.video.normalize import Limits, Normalized, normalize
from vidlm.video.sampling import Window, plan_spans, plan_windows
from vidlm.video.scratch import scratch_folder
from vidlm.video.shots import shots_from_signatures, signatures

if TYPE_CHECKING:
    from vidlm.model.engine import Prefix, VideoModel

CAPTION_TOKENS: Final = 48
SUMMARY_TOKENS: Final = 128
TITLE_TOKENS: Final = 16
TITLE_CAPTIONS: Final = 12
"""Captions a chapter's title is made from, at most."""

_SHOT_SIDE: Final = 64  # pixels of the longer side that are enough to see a cut

Progress = Callable[[str, float], None]
"""Called with a stage ("preparing", "analyzing", "finishing") and how much of it is done, 0..1."""


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
) -> Prepared:
    """Turn an untrusted file into a proxy in `work_dir` and plan which frames make which segment.

    `filename` is what the user called it: recorded, never used as a path. `on_progress` is called a few times a second
    with how much is done, 0..1; what it raises ends the work. Raises `MediaError` for a file that cannot
    be analysed, `ToolError` where the machine failed, and `SettingsError` where it cannot confine decoders and the
    settings require that.
    """
    if settings.sandbox == "require":
        sandbox.require()

    def fit(height: int, width: int) -> tuple[int, int]:
        try:
            return geometry.fit(height, width, settings.max_frame_pixels)
        except ValueError as exc:
            raise MediaError("too_large_dimensions", f"the frame's shape cannot be shown to the model: {exc}") from exc

    limits = Limits(
        max_duration_s=settings.max_duration_s,
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_source_pixels,
        max_side=settings.max_source_side,
        max_frames=settings.max_source_frames,
        max_streams=settings.max_source_streams,
    )
    clean = normalize(
        source,
        work_dir,
        filename=filename,
        sample_fps=settings.sample_fps,
        fit=fit,
        limits=limits,
        on_progress=on_progress,
    )
    shots = _shots(clean)
    windows = plan_windows(
        shots, clean.frame_times_s, clean.info.duration_s, min_s=settings.segment_min_s, max_s=settings.segment_max_s
    )
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


def analyze_windows(
    prepared: Prepared,
    windows: Sequence[Window],
    model: VideoModel,
    policies: PolicySet,
    on_segment: Callable[[Segment], None] | None = None,
) -> list[Segment]:
    """Caption and score consecutive windows: pictures once, prefix once, then a branch for every request."""
    if not windows:
        return []
    questions = [prompts.branch(prompts.policy_question(policy)) for policy in policies.policies]
    seen = read_windows(prepared, windows)
    segments = []
    for window, frames, visual in zip(windows, seen, model.encode_many(seen), strict=True):
        prefix = model.open(prompts.video_prefix(visual.pair_times_s), visual)
        scores = model.score(prefix, questions)
        segment = Segment(
            index=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            frame_times_s=tuple(float(time_s) for time_s in frames.times_s),
            caption=_say(model, prefix, prompts.caption_request(), CAPTION_TOKENS),
            scores={policy.id: score for policy, score in zip(policies.policies, scores, strict=True)},
        )
        segments.append(segment)
        if on_segment is not None:
            on_segment(segment)
    return segments


def read_windows(prepared: Prepared, windows: Sequence[Window]) -> list[FrameBatch]:
    """The frames of consecutive windows, read from the proxy in one go."""
    first = windows[0].first_frame
    size = (prepared.sampling.height, prepared.sampling.width)
    frames = read_frames(prepared.proxy, size, prepared.frame_times_s, first=first, last=windows[-1].last_frame)
    parts = [slice(window.first_frame - first, window.last_frame - first) for window in windows]
    return [FrameBatch(frames.pixels[part], frames.times_s[part]) for part in parts]


def finish(
    prepared: Prepared, segments: Sequence[Segment], model: VideoModel, policies: PolicySet, settings: Settings
) -> Analysis:
    """The whole document from all segments. Missing segments are no error: the verdict then fails closed."""
    del settings  # nothing here can be set yet; the stages share one signature
    ordered = tuple(sorted(segments, key=lambda segment: segment.index))
    flags = flags_from_scores(ordered, policies)
    return Analysis(
        video=prepared.info,
        provenance=provenance(prepared.sampling, model, policies),
        coverage=prepared.coverage,
        segments=ordered,
        summary=Summary(
            text=summarize(ordered, model),
            chapters=title_chapters(ordered, prepared.shots, model),
            highlights=pick_highlights(ordered, flags),
        ),
        flags=flags,
        verdict=decide(flags, prepared.coverage, ordered, policies),
    )


def summarize(segments: Sequence[Segment], model: VideoModel) -> str:
    """One short text about the whole video, made from its captions; empty where there are none."""
    told = summary_captions(segments)
    if not told:
        return ""
    prefix = model.open(prompts.text_prefix(), None)
    return _say(model, prefix, prompts.summary_request(told), SUMMARY_TOKENS)


def title_chapters(segments: Sequence[Segment], shots: Sequence[Span], model: VideoModel) -> tuple[Chapter, ...]:
    """Chapters that tile the segments, each with a title made from its captions."""
    groups = group_chapters(segments, shots)
    if not groups:
        return ()
    prefix = model.open(prompts.text_prefix(), None)
    chapters: list[Chapter] = []
    for group in groups:
        captions = list(dict.fromkeys(segment.caption for segment in group if segment.caption))
        request = prompts.title_request(evenly(captions, TITLE_CAPTIONS))
        title = _say(model, prefix, request, TITLE_TOKENS).rstrip(".") if captions else ""
        chapters.append(Chapter(group[0].start_s, group[-1].end_s, title or f"Chapter {len(chapters) + 1}"))
    return tuple(chapters)


class LocalAnalysis(Analysis):
    """An analysis that remembers which file it was made from, so that it can be asked questions.

    The path is no field: documents and copies made with `dataclasses.replace` do not carry it.
    """

    __slots__ = ("source",)
    source: Path

    @classmethod
    def of(cls, analysis: Analysis, source: Path) -> LocalAnalysis:
        local = cls(**{field.name: getattr(analysis, field.name) for field in dataclasses.fields(analysis)})
        object.__setattr__(local, "source", source)
        return local


def source_of(analysis: Analysis) -> Path:
    """The file that `analyze` made this from. Raises `QuestionError` where it does not know, as after a round trip."""
    source = getattr(analysis, "source", None)
    if not isinstance(source, Path):
        raise QuestionError("this analysis does not know its file: pass the file's path instead")
    return source


def analyze(
    path: str | Path,
    *,
    model: str | VideoModel | None = None,
    policies: PolicySet | Path | None = None,
    settings: Settings | None = None,
    on_progress: Progress | None = None,
) -> Analysis:
    """Analyse one video file here and now: no queue, no database, nothing left behind.

    `model` is a loaded model, a checkpoint folder or a hub id; `policies` a loaded set or a YAML file; both default to
    what the settings say (the embedded toy model, the built-in taxonomy). Load the model once with `VideoModel.load`
    where many files follow each other. Raises `MediaError`, `PolicyError`, `CheckpointError` or another `VidlmError`.
    """
    settings = settings or load_settings()
    report = on_progress or (lambda _stage, _done: None)
    source = Path(path)
    policies = policies if isinstance(policies, PolicySet) else load_policies(policies or settings.policies)
    engine = load_model(model, settings)
    with scratch_folder("vidlm-work-") as folder:
        report("preparing", 0.0)
        prepared = prepare(
            source,
            folder,
            filename=source.name,
            geometry=engine.info.geometry,
            settings=settings,
            on_progress=lambda done: report("preparing", done),
        )
        segments: list[Segment] = []

        def keep(segment: Segment) -> None:
            segments.append(segment)
            report("analyzing", len(segments) / len(prepared.windows))

        report("analyzing", 0.0)
        for first, last in plan_spans(prepared.windows, settings.span_s):
            analyze_windows(prepared, prepared.windows[first:last], engine, policies, keep)
        report("finishing", 0.0)
        analysis = finish(prepared, segments, engine, policies, settings)
        report("finishing", 1.0)
        return LocalAnalysis.of(analysis, source.absolute())


def load_model(model: str | VideoModel | None, settings: Settings) -> VideoModel:
    """The model itself where one is given, else the checkpoint it names, else the one in the settings."""
    from vidlm.model.engine import VideoModel as Engine  # noqa: PLC0415  torch: seconds, and absent on some machines

    if isinstance(model, Engine):
        return model
    return Engine.load(str(model) if model else settings.model_path, device=settings.device, dtype=settings.dtype)


def _say(model: VideoModel, prefix: Prefix, request: str, max_new_tokens: int) -> str:
    """The model's words on one line."""
    return " ".join(model.generate(prefix, prompts.branch(request), max_new_tokens=max_new_tokens).text.split())


def _shots(clean: Normalized) -> list[Span]:
    """Shots of the whole proxy, thinned to where cuts are still seen."""
    times_s, size = clean.frame_times_s, (clean.height, clean.width)
    step = max(1, max(size) // _SHOT_SIDE)
    marks = [
        signatures(FrameBatch(part.pixels[:, ::step, ::step], part.times_s))
        for part in stream_frames(clean.proxy, size, times_s)
    ]
    return shots_from_signatures(np.concatenate(marks), np.asarray(times_s, np.float64), clean.info.duration_s)
