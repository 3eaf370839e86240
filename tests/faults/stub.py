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

from jobs_helpers import analysis, segment

from tests.faults import doing
from tests.faults.doing import Doing
from vidlm.errors import LeaseLost, MediaError
from vidlm.jobs import life
from vidlm.jobs.claims import Claim
from vidlm.queue import Task
from vidlm.review import filing
from vidlm.store.queries import segments_of
from vidlm.store.tables import Job, SpanWork, Video
from workers import __main__ as entry
from workers import tasks
from workers.runtime import Runtime
from workers.tasks import Stage

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
    with runtime.database.write() as session:
        life.span_analyzed(session, held, [segment(span.index)])


def finish(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    with runtime.database.read() as session:
        job = session.get_one(Job, held.target_id)
        assert [part.index for part in segments_of(session, job.id)] == list(range(SPANS))
    _wait(runtime, lost, (job.prepared or {}).get("pause_s", 0.0) / 2)
    with runtime.database.write() as session:
        life.finished(session, held, analysis(SPANS))
        filing.file(session, session.get_one(Job, job.id))


def _wait(runtime: Runtime, lost: threading.Event, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    runtime.go_on(lost)
    while time.monotonic() < until_s:
        time.sleep(min(0.05, seconds))
        runtime.go_on(lost)


def _written(stage: Stage) -> Stage:
    def run(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
        with doing.written(runtime.settings.data, Doing(held.task, held.target_id, held.token)):
            stage(runtime, held, lost)

    return run


def main() -> int:
    """The real worker's entry, with these stages."""
    stages = {Task.PREPARE: prepare, Task.ANALYZE_SPAN: analyze_span, Task.FINISH: finish}
    tasks.STAGES.update({task: _written(stage) for task, stage in stages.items()})
    entry._warm_up = lambda _runtime: None
    entry._check_sandbox = lambda _settings: None
    return entry.main()


if __name__ == "__main__":
    sys.exit(main())
