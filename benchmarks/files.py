"""Metrics 4, 5 and 8: from real files, through the product's own pipeline."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from benchmarks import decode
from benchmarks.measure import interleaved, median_s, ratio
from vidlm.answer import answer_question
from vidlm.config import Settings, load_settings
from vidlm.model.embeddings import TokenStore
from vidlm.model.engine import Engine, Priority
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows
from vidlm.preparation import Prepared, prepare, read_windows
from vidlm.seeing import Eyes
from vidlm.toyworld.files import encode_clip
from vidlm.toyworld.truth import facts
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip

BUDGET_BYTES = 1 << 34


def write_source(folder: Path, seconds: float) -> tuple[Path, str]:
    """A toy clip blown up to 1080p at 30 frames a second, with grain, 8 Mbit/s; and a question about it."""
    clip = sample_clip(np.random.default_rng(EVAL_SEEDS.start + 3), duration_s=seconds)
    small, source = folder / "small.mp4", folder / "source.mp4"
    encode_clip(clip, small, height=240, width=320, fps=15, audio=False)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(small)]
    large = ["-vf", "scale=1920:1080,fps=30,noise=alls=8:allf=t,format=yuv420p", "-c:v", "libx264"]
    subprocess.run([*ffmpeg, *large, "-preset", "veryfast", "-g", "250", "-b:v", "8M", str(source)], check=True)
    return source, f"When can you see the {facts(clip)[0].name}?"


def later_question(engine: Engine, rounds: int, target: float | None, seconds: float = 60.0) -> dict[str, Any]:
    """A question about a video nobody has seen, from its file, over one whose visual tokens are on disk."""
    settings = load_settings()
    with _folder() as folder:
        source, question = write_source(folder, seconds)
        known = _prepared(source, folder / "known", engine, settings)
        store = TokenStore(folder / "tokens", BUDGET_BYTES)
        analyze_windows(known, known.windows, Eyes(engine, store), _twelve())
        urgent = Priority.INTERACTIVE
        answers: list[str] = []
        number = iter(range(1000))

        def cold() -> None:
            prepared = _prepared(source, folder / f"cold-{next(number)}", engine, settings)
            answers.append(answer_question(prepared, question, Eyes(engine, None, urgent), settings).text)

        def stored() -> None:
            answers.append(answer_question(known, question, Eyes(engine, store, urgent), settings).text)

        taken = interleaved({"cold": cold, "stored": stored}, rounds)
    name = f"a later question about {seconds:.0f} s of 1080p: from the file, over from stored visual tokens"
    seconds_of = {way: median_s(values) for way, values in taken.items()}
    return ratio(name, target, taken["cold"], taken["stored"], seconds=seconds_of, answers_equal=len(set(answers)) == 1)


def file_to_patches(rounds: int, target: float | None) -> dict[str, Any]:
    """`./run bench decode` for one clip, on one core: ways in processes of their own."""
    with _folder() as folder:
        _, encoder = decode.CODECS["h264-gop250"]
        clip = folder / "clip.mp4"
        decode.make_clip(clip, "1080p", encoder, 24.0)
        taken: dict[str, list[float]] = {"vidlm": [], "usual": []}
        for _ in range(rounds):
            for way, seconds in taken.items():
                seconds.append(decode.measure(way, clip, 1, 1) or 0.0)
    name = "file to patches, 1080p on one core: qwen-vl-utils' way over vidlm's"
    if not all(taken["vidlm"]) or not all(taken["usual"]):
        raise RuntimeError(f"the decoding benchmark failed: {taken}")
    seconds_of = {way: median_s(values) for way, values in taken.items()}
    return ratio(name, target, taken["usual"], taken["vidlm"], seconds=seconds_of)


def end_to_end(engine: Engine, rounds: int, target: float | None, seconds: float = 60.0) -> dict[str, Any]:
    """From proxies to results, over the slower of reading the proxies alone and of the model alone."""
    settings = load_settings()
    policies = _twelve()
    with _folder() as folder:
        clip = sample_clip(np.random.default_rng(EVAL_SEEDS.start + 4), duration_s=seconds)
        source = folder / "clip.mp4"
        encode_clip(clip, source, height=240, width=320, fps=15, audio=False)
        prepared = _prepared(source, folder / "work", engine, settings)
        frames = dict(zip(prepared.windows, read_windows(prepared, prepared.windows), strict=True))

        class InMemory(Eyes):
            """Frames that are there already."""

            def see(self, prepared: Prepared, windows: Any) -> Any:  # noqa: ARG002
                futures = [self.engine.encode(frames[window]) for window in windows]
                yield from (future.result() for future in futures)

        taken = interleaved(
            {
                "both": lambda: analyze_windows(prepared, prepared.windows, Eyes(engine), policies),
                "model": lambda: analyze_windows(prepared, prepared.windows, InMemory(engine), policies),
                "reading": lambda: read_windows(prepared, prepared.windows),
            },
            rounds,
        )
    slower = [max(model, reading) for model, reading in zip(taken["model"], taken["reading"], strict=True)]
    seconds_of = {way: median_s(values) for way, values in taken.items()}
    name = "proxies to results: throughput over that of the slower of reading alone and the model alone"
    return ratio(name, target, slower, taken["both"], seconds=seconds_of)


def _prepared(source: Path, work: Path, engine: Engine, settings: Settings) -> Prepared:
    work.mkdir()
    return prepare(source, work, filename=source.name, geometry=engine.info.geometry, settings=settings)


def _twelve() -> PolicySet:
    known = load_policies()
    return PolicySet(known.version, known.policies[:12])


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vidlm-bench-") as folder:
        yield Path(folder)
