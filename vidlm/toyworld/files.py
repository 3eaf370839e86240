"""Folders of toy clips: random ones with their truth beside them, and the demo's eight.

Knows which files to write and what is said about them; how a clip becomes a file stands in ``encode``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from vidlm.errors import StorageError
from vidlm.toyworld.demo import demos
from vidlm.toyworld.encode import Codec, Form, encode_clip
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.truth import to_document
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

__all__ = ["DemoClip", "Form", "demo_clips", "encode_clip", "sample_form", "write_clips"]

Progress = Callable[[int, int], None]
"""Called with (done, all) after every clip."""

_CODECS: Final[tuple[tuple[str, Codec], ...]] = (
    (".mp4", "h264"),
    (".mp4", "h264"),
    (".webm", "vp9"),
    (".mp4", "mpeg4"),
)
_SIZES: Final = ((120, 160), (240, 320), (180, 320), (320, 240), (360, 640))
_RATES: Final = (8, 12, 15, 24, 25, 30)


def sample_form(rng: np.random.Generator) -> Form:
    """A random file form: half H.264, else VP9 or MPEG-4; 160x120 to 640x360, 8 to 30 fps, half with sound."""
    suffix, codec = _CODECS[int(rng.integers(len(_CODECS)))]
    height, width = _SIZES[int(rng.integers(len(_SIZES)))]
    return Form(suffix, codec, height, width, _RATES[int(rng.integers(len(_RATES)))], audio=bool(rng.random() < 0.5))


def write_clips(
    seed: int, count: int, out: Path, on_progress: Progress | None = None, *, max_duration_s: float = 20.0
) -> Path:
    """Write ``count`` random clips of 4 s to ``max_duration_s`` and ``truth.json`` into a folder, made if need be.

    The same seed writes the same clips, none of which is ever trained on; clip i does not depend on how many follow.
    Returns the path of ``truth.json``: {"seed", "clips": [{"file", the fields of ``Form``, "truth"}]}.
    Raises ToolError where ffmpeg fails, StorageError for a folder that cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"{str(out)!r} cannot be a folder for clips: {exc.strerror}") from exc
    entries: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([EVAL_SEEDS.start, seed, index])
        duration_s = float(rng.integers(8, int(2 * max_duration_s) + 1)) / 2
        clip, form = sample_clip(rng, duration_s=duration_s), sample_form(rng)
        path = form.write(clip, out, f"clip-{index:04d}")
        entries.append({"file": path.name, **dataclasses.asdict(form), "truth": to_document(clip)})
        if on_progress is not None:
            on_progress(index + 1, count)
    truth = out / "truth.json"
    truth.write_text(json.dumps({"seed": seed, "clips": entries}, indent=1) + "\n", encoding="utf-8")
    return truth


@dataclass(frozen=True)
class DemoClip:
    """A clip of the demo on disk, what it shows, and a question that it can answer."""

    name: str
    path: Path
    clip: Clip
    question: str


def demo_clips(out_dir: Path, on_progress: Progress | None = None) -> list[DemoClip]:
    """Write the demo's eight clips into a folder, made if need be; the same files every time.

    Raises ToolError where ffmpeg fails.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    written: list[DemoClip] = []
    todo = demos()
    for demo in todo:
        path = demo.form.write(demo.clip, out_dir, demo.name)
        written.append(DemoClip(demo.name, path, demo.clip, demo.question))
        if on_progress is not None:
            on_progress(len(written), len(todo))
    return written
