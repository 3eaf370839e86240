"""Scoring stored videos under one more policy, against analysing them again: `./run bench backfill --minutes 10`, JSON.

Everything a worker does for a video is on the clock, rows and claims too: preparing, its spans, finishing; then, on the
same videos, a backfill of one policy, and of several that wait together. Videos are clips of the toy world, a minute
each unless told. Meanwhile it is counted who opens a file and what the vision tower is shown: in a backfill, nothing.

A large library, without analysing all of it: `--minutes 1000 --analysed 20 --rounds 1`. So many minutes are analysed on
the clock, and uploaded again and again until the library is as large as told, where they take over what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import numpy as np
import torch
from sqlmodel import col, select

from benchmarks.measure import settle
from vidlm import logs, preparation
from vidlm.config import Settings
from vidlm.domain import Policy
from vidlm.jobs import intake
from vidlm.jobs.intake import Wishes
from vidlm.moderation.policies import custom_policy, load_policies
from vidlm.policy import backfills
from vidlm.policy.backfills import Chosen
from vidlm.queue import Task
from vidlm.store.blobs import BlobStore
from vidlm.store.columns import new_id
from vidlm.store.engine import migrate
from vidlm.store.ledger import Outbox
from vidlm.store.tables import DEFAULT_TENANT, Job
from vidlm.toyworld.files import encode_clip
from vidlm.toyworld.world import EVAL_SEEDS, sample_clip
from workers.runtime import Runtime
from workers.tasks import work

TARGET: Final = 10.0
TOGETHER: Final = 4
"""Policies of the backfills that wait together."""


def main() -> None:
    options = _options()
    logs.configure("benchmark")  # the result alone goes to stdout
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder) / "data", device=options.device, reuse_results=True, **_given(options))
        migrate(settings.sql_url)
        runtime = Runtime(settings)
        try:
            result = measure(runtime, _clips(Path(folder), options), _count(options.minutes, options), options.rounds)
        finally:
            runtime.close()
            runtime.database.close()
    json.dump(result, sys.stdout, indent=2)
    print()


def measure(runtime: Runtime, clips: Sequence[Path], videos: int, rounds: int) -> dict[str, Any]:
    """Analyse the clips, then score them again and again; seconds for a minute of video, and their ratios."""
    engine = runtime.engine()
    warming, *timed = clips
    work_off(runtime, [accept(runtime, warming)])  # caches and the allocator are warm for what follows
    warmed = _minutes(runtime)
    analysing = taken(lambda: work_off(runtime, [accept(runtime, clip) for clip in timed]))
    analysed = _minutes(runtime) - warmed
    for number in range(1 + len(timed), videos):
        work_off(runtime, [accept(runtime, timed[number % len(timed)])])
    minutes = _minutes(runtime)
    alone: list[Taken] = []
    together: list[Taken] = []
    with looking(runtime) as counts:
        for number in range(rounds):
            one = [custom_policy(f"a strange thing number {number}")]
            several = [custom_policy(f"an odd thing {number} of kind {kind}") for kind in range(TOGETHER)]
            alone.append(taken(partial(backfill, runtime, one)))
            together.append(taken(partial(backfill, runtime, several)))
    return {
        "benchmark": "backfill",
        "minutes": round(minutes, 2),
        "minutes_analysed": round(analysed, 2),
        "videos": max(videos, len(clips)),
        "policies_of_the_analysis": len(load_policies().policies),
        "model": engine.info.model_id,
        "device": engine.info.device,
        "threads": torch.get_num_threads(),
        "seconds_per_minute": {
            "analysing": round(analysing.wall_s / analysed, 4),
            "backfill": round(statistics.median(one.wall_s for one in alone) / minutes, 4),
            f"backfill_of_{TOGETHER}": round(statistics.median(one.wall_s for one in together) / minutes, 4),
        },
        "cpu_seconds_per_minute": {
            "analysing": round(analysing.cpu_s / analysed, 4),
            "backfill": round(statistics.median(one.cpu_s for one in alone) / minutes, 4),
            f"backfill_of_{TOGETHER}": round(statistics.median(one.cpu_s for one in together) / minutes, 4),
        },
        "ratio": _ratios([analysing.wall_s / analysed / one.wall_s * minutes for one in alone]),
        "cpu_ratio": _ratios([analysing.cpu_s / analysed / one.cpu_s * minutes for one in alone]),
        "target": TARGET,
        "while_backfilling": counts,
    }


class Taken(NamedTuple):
    """Seconds on the clock, and of all cores, children included: those that other work on the machine does not move."""

    wall_s: float
    cpu_s: float


def taken(do: Callable[[], None]) -> Taken:
    """What it takes to do something."""
    wall_s, cpu = time.perf_counter(), os.times()[:4]
    do()
    settle()
    return Taken(time.perf_counter() - wall_s, sum(os.times()[:4]) - sum(cpu))


def backfill(runtime: Runtime, policies: Sequence[Policy]) -> None:
    """Score the library under these policies. Raises `RuntimeError` where a video was not scored."""
    with runtime.database.write() as session:
        rows = [
            backfills.ask(
                session,
                tenant_id=DEFAULT_TENANT,
                actor="benchmark",
                chosen=Chosen(policy, None, in_force=False),
                filters={},
            )
            for policy in policies
        ]
    work_off(runtime, [])
    with runtime.database.read() as session:
        for row in rows:
            found = backfills.find(session, DEFAULT_TENANT, row.id)
            if found is None or found.videos_done != found.videos_total:
                raise RuntimeError("the backfill did not get through")


def work_off(runtime: Runtime, jobs: Sequence[Job]) -> None:
    """Do what is owed until nothing is. Raises `RuntimeError` where a job did not become ready."""
    while True:
        with runtime.database.read() as session:
            todo = session.exec(select(Outbox.task, Outbox.target_id).order_by(col(Outbox.id))).all()
        if not todo:
            break
        for task, target in todo:
            work(runtime, Task(task), target)
    with runtime.database.read() as session:
        if any(session.get_one(Job, job.id).state != "ready" for job in jobs):
            raise RuntimeError("a clip could not be analysed")


def accept(runtime: Runtime, clip: Path) -> Job:
    """What the API does with an upload."""
    with BlobStore(runtime.settings.data).incoming() as incoming:
        incoming.write(clip.read_bytes())
        blob = incoming.seal(DEFAULT_TENANT)
        incoming.place(blob)
    with runtime.database.write() as session:
        return intake.accept(
            session,
            video_id=new_id("vid"),
            tenant_id=DEFAULT_TENANT,
            actor="benchmark",
            blob=blob,
            wishes=Wishes(filename=clip.name),
        )


@contextmanager
def looking(runtime: Runtime) -> Iterator[dict[str, int]]:
    """Counts, filled at the end: reads of a proxy, and frame pairs shown to the tower."""
    counts: dict[str, int] = {}
    before = _pairs(runtime)
    with mock.patch.object(preparation, "read_frames", wraps=preparation.read_frames) as read:
        yield counts
    counts.update(files_decoded=read.call_count, pairs_encoded=_pairs(runtime) - before)


def _pairs(runtime: Runtime) -> int:
    return runtime.engine().metrics().steps["encode"].items


def _ratios(found: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(found), 2),
        "low": round(min(found), 2),
        "high": round(max(found), 2),
    }


def _minutes(runtime: Runtime) -> float:
    with runtime.database.read() as session:
        return sum(seconds or 0.0 for seconds in session.exec(select(Job.duration_s)).all()) / 60


def _clips(folder: Path, options: argparse.Namespace) -> list[Path]:
    """What is analysed, and one before that."""
    clips = []
    for number in range(1 + _count(min(options.analysed or options.minutes, options.minutes), options)):
        clip = sample_clip(np.random.default_rng([EVAL_SEEDS.start, number]), duration_s=options.clip_s)
        path = folder / f"{number}.mp4"
        encode_clip(clip, path, height=240, width=320, fps=15, audio=False)
        clips.append(path)
    return clips


def _count(minutes: float, options: argparse.Namespace) -> int:
    return max(1, round(minutes * 60 / options.clip_s))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.model is None else {"model": options.model}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench backfill", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of video in the library")
    parser.add_argument("--analysed", type=float, help="minutes that are analysed; by default all of them")
    parser.add_argument("--clip-s", type=float, default=60.0, help="seconds of one video")
    parser.add_argument("--rounds", type=int, default=3, help="backfills of each kind")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: as many as it takes")
    parser.add_argument("--model", help="a checkpoint folder; the embedded model by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
