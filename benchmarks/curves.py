"""How time and memory grow: with policies, with segments, with the video's length."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks import jobs
from benchmarks.measure import interleaved, median_s
from benchmarks.setting import Setting, draw_segment, load_checkpoint, make_setting
from vidlm import prompts
from vidlm.model.engine import Engine, Prompt
from vidlm.model.video_model import VideoModel
from vidlm.moderation.policies import load_policies

POLICY_COUNTS = (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64)
SEGMENT_COUNTS = (1, 2, 4, 8)
LENGTHS_S = (10, 30, 60, 300, 900, 3600)


def questions(count: int) -> list[str]:
    """So many different policy questions: the built-in ones, then the same of other colours."""
    built_in = load_policies().policies
    asked = [
        prompts.policy_question(dataclasses.replace(policy, blocked=f"{policy.blocked}{seen}"))
        for seen in ("", " at night", " in the snow")
        for policy in built_in
    ]
    return [prompts.branch(question) for question in asked[:count]]


def by_policies(engine: Engine, setting: Setting, rounds: int, counts: Sequence[int]) -> dict[str, Any]:
    """Seconds for one segment from frames to scores and caption, and what one more policy costs."""
    one = dataclasses.replace(setting, segments=setting.segments[:1])

    def way(count: int) -> Callable[[], jobs.Result]:
        return lambda: jobs.ours(engine, one, questions(count))

    taken = interleaved({str(count): way(count) for count in counts}, rounds)
    seconds = [median_s(taken[str(count)]) for count in counts]
    slope = statistics.linear_regression(list(counts), seconds).slope
    return {"policies": list(counts), "seconds": seconds, "seconds_a_policy": round(slope, 6)}


def by_segments(engine: Engine, setting: Setting, rounds: int, counts: Sequence[int]) -> dict[str, Any]:
    """Seconds for so many segments at once, from frames to twelve scores and a caption each."""

    def way(count: int) -> Callable[[], jobs.Result]:
        segments = [setting.segments[index % len(setting.segments)] for index in range(count)]
        many = dataclasses.replace(setting, segments=segments)
        return lambda: jobs.ours(engine, many, setting.questions)

    taken = interleaved({str(count): way(count) for count in counts}, rounds)
    return {"segments": list(counts), "seconds": [median_s(taken[str(count)]) for count in counts]}


def by_length(engine: Engine, setting: Setting, lengths_s: Sequence[int], frame: tuple[int, int]) -> dict[str, Any]:
    """Seconds and growth of memory for videos of different lengths, frames made on the way, results let go."""
    drawn = [draw_segment(index, *frame) for index in range(6)]
    rows: dict[str, list[Any]] = {"video_s": [], "seconds": [], "peak_mb": []}
    for length_s in lengths_s:
        _forget_peak()
        began_s = time.perf_counter()
        under_way: list[tuple[Any, Any]] = []
        for index in range(max(1, length_s // 10)):
            visual = engine.encode(drawn[index % len(drawn)]).result()
            prompt = Prompt(prompts.video_prefix(visual.pair_times_s), visual)
            scores = engine.score(prompt, setting.questions)
            under_way.append((scores, engine.caption(prompt, setting.request, max_new_tokens=48)))
            if len(under_way) == 32:
                _wait(under_way)
        _wait(under_way)
        rows["video_s"].append(length_s)
        rows["seconds"].append(round(time.perf_counter() - began_s, 3))
        rows["peak_mb"].append(_peak_mb())
    return rows


def memory_by_policies(geometry: str, device: str, dtype: str, load: str, counts: Sequence[int]) -> dict[str, Any]:
    """Peak memory of one segment from frames to scores and caption, each count in a process of its own.

    On CUDA what the device held, on a CPU what the process held; `of_one` is the share of that for one policy.
    """
    context = multiprocessing.get_context("spawn")
    peaks = []
    for count in counts:
        with context.Pool(1) as pool:
            peaks.append(pool.apply(_peak_of, (geometry, device, dtype, load, count)))
    return {"policies": list(counts), "peak_mb": peaks, "of_one": [round(peak / peaks[0], 3) for peak in peaks]}


def _peak_of(geometry: str, device: str, dtype: str, load: str, policies: int) -> float:
    setting = make_setting(load_checkpoint(geometry, device, dtype), geometry, load, 1)
    with Engine(VideoModel(setting.checkpoint)) as engine:
        jobs.ours(engine, setting, questions(policies))
        on_device = engine.metrics().device_peak_bytes
    return round(on_device / 1e6, 1) if on_device else _peak_mb()


def _peak_mb() -> float:
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e6, 1)
    status = Path("/proc/self/status")
    if status.is_file():  # the other figure starts from that of the process we were started by
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(peak.split()[1]) * 1024 / 1e6, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)


def _forget_peak() -> None:
    """Let the peak be measured from now on, where the system can (proc(5), clear_refs)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _wait(under_way: list[tuple[Any, Any]]) -> None:
    for scores, caption in under_way:
        scores.result()
        caption.result()
    under_way.clear()
