"""How long a trial of other policies takes: `./run bench what_if`, JSON on stdout.

A library of real rows (jobs, and segments with a score for each of the 37 built-in policies) in a fresh database, then
`vidlm.policy.trials` over it, as the API does for `POST /v1/policy-sets/what-if`: nothing is kept from round to round.
Memory is what the process holds at most above what it held before, Python and SQLite together.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import insert

from vidlm.domain import PIPELINE_VERSION, JobState, WorkState
from vidlm.moderation.policies import PolicySet, load_policies, policy_set
from vidlm.moderation.revisions import with_thresholds
from vidlm.policy import decided_flags, trials
from vidlm.store.columns import new_id
from vidlm.store.engine import Database, migrate
from vidlm.store.tables import DEFAULT_TENANT, Job, SegmentRow, SpanWork, Video

SEGMENTS_EACH: Final = 20
SEGMENT_S: Final = 5.0
FOUND: Final = 0.003
"""Of the questions a video is asked, how many find something: one video in ten has a flag."""
_BATCH: Final = 5_000


def fill(database: Database, segments: int, policies: PolicySet, seed: int = 0) -> None:
    """So many segments of ready videos; most scores are low, as in life."""
    rng = np.random.default_rng(seed)
    names = [policy.id for policy in policies.policies]
    for first in range(0, segments, _BATCH):
        videos, jobs, spans, rows = [], [], [], []
        for begin in range(first, min(first + _BATCH, segments), SEGMENTS_EACH):
            video_id, job_id, span_id = new_id("vid"), new_id("job"), new_id("spn")
            count = min(SEGMENTS_EACH, segments - begin)
            total_s = count * SEGMENT_S
            coverage = {"seconds_seen": total_s, "seconds_total": total_s, "gaps": []}
            owner = {"tenant_id": DEFAULT_TENANT}
            videos.append(owner | {"id": video_id, "sha256": "0" * 64, "size_bytes": 1, "filename": "a.mp4"})
            jobs.append(
                owner
                | {"id": job_id, "video_id": video_id, "pipeline_version": PIPELINE_VERSION, "duration_s": total_s}
                | {"state": JobState.READY.value, "prepared": {"coverage": coverage}, "verdict_action": "allow"}
            )
            spans.append(owner | {"id": span_id, "job_id": job_id, "index": 0, "first_window": 0, "last_window": count})
            scores = rng.random((count, len(names))) ** 3 * 0.15
            scores[0, rng.random(len(names)) < FOUND] = rng.uniform(0.4, 1.0)
            rows += [
                owner
                | {"id": new_id("seg"), "job_id": job_id, "span_id": span_id, "index": index, "caption": "A red car."}
                | {"start_s": index * SEGMENT_S, "end_s": (index + 1) * SEGMENT_S, "frame_times_s": [index * SEGMENT_S]}
                | {"scores": dict(zip(names, scores[index].tolist(), strict=True))}
                for index in range(count)
            ]
        with database.write() as session:
            for table, made in ((Video, videos), (Job, jobs), (SpanWork, spans), (SegmentRow, rows)):
                defaults = {"state": WorkState.DONE.value} if table is SpanWork else {}
                session.execute(insert(table), [row | defaults for row in made])


def measure(database: Database, rounds: int, policies: PolicySet) -> dict[str, Any]:
    """Seconds of a trial, and what came of it."""
    stricter = {policy.id: {"review": policy.review_threshold * 0.9} for policy in policies.policies}
    after = policy_set(with_thresholds(policies.policies, stricter))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu_s = [], []
    for _ in range(rounds):
        began_s, cpu_began_s = time.perf_counter(), time.process_time()
        with database.read() as session:
            known = decided_flags.of_tenant(session, DEFAULT_TENANT)
            trial = trials.run(session, DEFAULT_TENANT, policies, after, policies, decisions_of=known)
        seconds.append(time.perf_counter() - began_s)
        cpu_s.append(time.process_time() - cpu_began_s)
    return {
        "videos": trial.videos,
        "segments": trial.segments,
        "policies": len(policies.policies),
        "seconds": round(statistics.median(seconds), 2),
        "cpu_seconds": round(statistics.median(cpu_s), 2),
        "slowest_s": round(max(seconds), 2),
        "more_memory_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024, 1),
        "queue": [trial.queue_before, trial.queue_after],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench what_if", description=__doc__)
    parser.add_argument("--segments", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", default=None, help="an empty database's URL; SQLite in a new folder when unset")
    parser.add_argument("--quick", action="store_true", help="a tenth of the segments")
    asked = parser.parse_args()
    policies = load_policies()
    with tempfile.TemporaryDirectory(prefix="vidlm-what-if-") as folder:
        url = asked.database or f"sqlite:///{Path(folder) / 'vidlm.db'}"
        migrate(url)
        database = Database(url)
        fill(database, asked.segments // 10 if asked.quick else asked.segments, policies)
        print("filled", file=sys.stderr)
        print(json.dumps(measure(database, asked.rounds, policies), indent=2))
        database.close()


if __name__ == "__main__":
    main()
