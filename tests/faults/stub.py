"""A worker whose stages do next to nothing, run as `python -m tests.faults.stub consume --queues cpu`.

What an upload holds says what happens to it: "poison" kills whoever prepares it, "slow:S" takes S seconds a span,
"reject" is refused, all else goes well. The claims, leases, heartbeats and rows are the real worker's.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from vidlm import crash
from vidlm.domain import (
    PIPELINE_VERSION,
    Action,
    Analysis,
    Coverage,
    Evidence,
    Flag,
    Provenance,
    Sampling,
    Segment,
    Severity,
    Summary,
    Verdict,
    VideoInfo,
)
from vidlm.errors import LeaseLost, MediaError
from vidlm.jobs import life
from vidlm.jobs.claims import Claim
from vidlm.queue import Task
from vidlm.store.queries import segments_of
from vidlm.store.tables import Job, SpanWork, Video
from workers import __main__ as entry
from workers import tasks
from workers.runtime import Runtime

SPANS = 2


def prepare(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    with runtime.database.read() as session:
        video = session.get_one(Video, session.get_one(Job, held.target_id).video_id)
    if video.blob is None:
        raise LeaseLost("the video was deleted meanwhile")
    words = runtime.blobs.path(video.blob).read_bytes()[:64]
    if words.startswith(b"poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if words.startswith(b"reject"):
        raise MediaError("not_a_video", "this is no video")
    pause_s = float(words.split(b":")[1].split()[0]) if words.startswith(b"slow:") else 0.0
    _wait(runtime, lost, pause_s)
    crash.point("vidlm.prepare.saving")
    with runtime.database.write() as session:
        life.prepared(
            session,
            held,
            document={"pause_s": pause_s},
            recipe="stub",
            work_folder=f"work/{held.target_id}/{held.token}",
            duration_s=5.0 * SPANS,
            spans=[(index, index + 1) for index in range(SPANS)],
        )


def analyze_span(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    with runtime.database.read() as session:
        span = session.get_one(SpanWork, held.target_id)
        job = session.get_one(Job, span.job_id)
    _wait(runtime, lost, (job.prepared or {}).get("pause_s", 0.0))
    crash.point("vidlm.analyze_span.saving")
    with runtime.database.write() as session:
        life.span_analyzed(session, held, [_segment(span.index)])


def finish(runtime: Runtime, held: Claim, _lost: threading.Event) -> None:
    with runtime.database.read() as session:
        segments = segments_of(session, held.target_id)
    crash.point("vidlm.finish.saving")
    with runtime.database.write() as session:
        life.finished(session, held, _analysis(segments))


def _wait(runtime: Runtime, lost: threading.Event, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    runtime.go_on(lost)
    while time.monotonic() < until_s:
        time.sleep(min(0.05, seconds))
        runtime.go_on(lost)


def _segment(index: int) -> Segment:
    return Segment(index, 5.0 * index, 5.0 * (index + 1), (5.0 * index,), f"part {index}", {"a.b": 0.25})


def _analysis(segments: list[Segment]) -> Analysis:
    end_s = 5.0 * len(segments)
    return Analysis(
        video=VideoInfo("0" * 64, "a.mp4", 5, end_s, 64, 48, 25.0, False, "h264", "mp4", 0, False),
        provenance=Provenance("stub", "r", True, PIPELINE_VERSION, "1", "p", Sampling(2.0, 56, 56)),
        coverage=Coverage(end_s, end_s),
        segments=tuple(segments),
        summary=Summary("all of it", (), (0,)),
        flags=(Flag("a.b", 0.0, 5.0, 0.75, Severity.LOW, Action.REVIEW, (Evidence(0.0),)),),
        verdict=Verdict(Action.REVIEW, "a.b"),
    )


def main() -> int:
    """The real worker's entry, with these stages."""
    tasks.STAGES.update({Task.PREPARE: prepare, Task.ANALYZE_SPAN: analyze_span, Task.FINISH: finish})
    entry._warm_up = lambda _runtime: None
    entry._check_sandbox = lambda _settings: None
    return entry.main()


if __name__ == "__main__":
    sys.exit(main())
