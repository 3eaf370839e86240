"""`vidlm eval`: which of the evaluations is wanted, its progress, and its result on the screen.

    nothing said         unseen toy-world clips, whose truth is drawn
    --labels FILE        a user's own labelled videos
    --benchmark NAME     a public benchmark in a local folder

With `--each FILE`, any of them also writes every single thing it asked, and what came of it.

Knows terminals; what is measured, and how, is in `toyworld` and `evaluation`.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidlm import screen
from vidlm.config import Settings
from vidlm.errors import DatasetError, StorageError
from vidlm.evaluation.benchmark import choose, evaluate_benchmark
from vidlm.evaluation.diagram import reliability_svg
from vidlm.evaluation.labelled import Wanted, evaluate_labels
from vidlm.evaluation.labels import read_labels
from vidlm.evaluation.singles import written_to
from vidlm.moderation.policies import load_policies


def on_toy_clips(settings: Settings, seed: int, count: int, *, each: Path | None, json: bool) -> None:
    """Clips nobody trained on. Raises `CheckpointError`, `ToolError`."""
    from vidlm.toyworld.evaluate import evaluate  # noqa: PLC0415  its drawing is needed here only

    with written_to(each) as tell, screen.progress_bar("evaluating", count, counted=True) as report:
        table = evaluate(seed, count, settings, lambda done: report("evaluating", done), tell=tell)
    if json:
        screen.print_json(table)
    else:
        screen.print_figures(table)


def on_labels(
    settings: Settings, file: Path, wanted: Wanted, *, diagram: Path | None, each: Path | None, json: bool
) -> None:
    """A user's own labelled videos. Raises `DatasetError` for labels that make no sense, and what the model raises."""
    labels = read_labels(file, load_policies(settings.policies))
    if diagram is not None and not (diagram.parent.is_dir() and os.access(diagram.parent, os.W_OK)):
        raise StorageError(f"{str(diagram.parent)!r} is no folder that {diagram.name} can be written to")
    with written_to(each) as tell, screen.progress_bar("analysing", len(labels.videos), counted=True) as report:
        table = evaluate_labels(labels, settings, wanted, on_progress=lambda done: report("analysing", done), tell=tell)
    if diagram is not None:
        _write(diagram, reliability_svg(table))
    if json:
        screen.print_json(table)
    else:
        screen.print_labelled(table)
    if not table["videos"]:
        raise DatasetError(f"{file.name}: no video could be measured, all were skipped")


def on_benchmark(
    settings: Settings,
    name: str,
    folder: Path,
    *,
    limit: int | None,
    pairs: int,
    skip_missing: bool,
    each: Path | None,
    json: bool,
) -> None:
    """A public benchmark. Raises `DatasetError`, `MediaError` for a video not to be skipped, and the model's."""
    chosen = choose(name, folder, limit=limit, skip_missing=skip_missing)
    with written_to(each) as tell, screen.progress_bar("asking", len(chosen.items), counted=True) as report:
        table = evaluate_benchmark(
            chosen,
            settings,
            pairs=pairs,
            skip_missing=skip_missing,
            on_progress=lambda done: report("asking", done),
            tell=tell,
        )
    if json:
        screen.print_json(table)
    else:
        screen.print_benchmark(table)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise StorageError(f"{path.name} cannot be written: {exc.strerror}") from exc
