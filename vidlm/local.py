"""One file analysed here and now, all stages of `vidlm.pipeline` in a row: `vidlm.analyze`.

Knows no queue and no database. Nothing is left behind but the document, which remembers its file to be asked about it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from vidlm.config import Settings, load_settings
from vidlm.domain import Analysis, Segment
from vidlm.errors import QuestionError
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pinpoint import pinpoint
from vidlm.pipeline import Progress, analyze_windows, finish
from vidlm.preparation import prepare
from vidlm.running import running_engine
from vidlm.second_look import look_again
from vidlm.video.scratch import scratch_folder

if TYPE_CHECKING:
    from vidlm.model.engine import Engine
    from vidlm.model.video_model import VideoModel


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
    model: str | VideoModel | Engine | None = None,
    policies: PolicySet | Path | None = None,
    settings: Settings | None = None,
    on_progress: Progress | None = None,
) -> Analysis:
    """Analyse one video file here and now: no queue, no database, nothing left behind.

    `model` is a running engine, a loaded model, a checkpoint folder or a hub id; `policies` a loaded set or a YAML
    file; both default to what the settings say (the embedded toy model, the built-in taxonomy). Where many files follow
    each other, load once: `with Engine.load(...) as model`. Raises `MediaError`, `PolicyError`, `CheckpointError` or
    another `VidlmError`.
    """
    from vidlm.seeing import Eyes  # noqa: PLC0415  torch: seconds, and absent on some machines

    settings = settings or load_settings()
    report = on_progress or (lambda _stage, _done: None)
    source = Path(path)
    policies = policies if isinstance(policies, PolicySet) else load_policies(policies or settings.policies)
    with running_engine(model, settings) as engine, scratch_folder("vidlm-work-") as folder:
        report("preparing", 0.0)
        prepared = prepare(
            source,
            folder,
            filename=source.name,
            geometry=engine.info.geometry,
            settings=settings,
            on_progress=lambda done: report("preparing", done),
        )
        report("analyzing", 0.0)
        segments: list[Segment] = []

        def keep(segment: Segment) -> None:
            segments.append(segment)
            report("analyzing", len(segments) / len(prepared.windows))

        eyes = Eyes(engine)
        analyze_windows(prepared, prepared.windows, eyes, policies, keep)
        report("finishing", 0.0)
        again = look_again(prepared, segments, source, eyes, policies, settings=settings)
        analysis = finish(
            prepared,
            again.segments,
            engine,
            policies,
            settings,
            looks=again.looks,
            look_sampling=again.sampling,
            parts=pinpoint(prepared, again.segments, again.looks, eyes, policies),
        )
        report("finishing", 1.0)
        return LocalAnalysis.of(analysis, source.absolute())
