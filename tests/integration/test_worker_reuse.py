"""The same bytes again: a job takes over what an earlier one found. And work that is given back, or taken in turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clips import H264, numbered
from sqlmodel import col, func, select, update
from worker_helpers import accept, fresh_runtime, owed, run_all

from vidlm.domain import Priority
from vidlm.jobs import control, disposal
from vidlm.jobs.claims import Claim
from vidlm.queue import Queue, Task
from vidlm.store.ledger import Event
from vidlm.store.queries import find_document, segments_of
from vidlm.store.tables import DEFAULT_TENANT, FlagRow, Job, Tenant, Video
from workers import runtime as process
from workers import tasks
from workers.runtime import Runtime, StoppingError
from workers.tasks import work, work_next


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return numbered(tmp_path_factory.mktemp("clips") / "four.mp4", *H264, frames=40, fps=10).path.read_bytes()


@pytest.fixture
def runtime(tmp_path: Path, tiny_random_checkpoint: Path, few_policies: Path) -> Iterator[Runtime]:
    with fresh_runtime(tmp_path / "data", tiny_random_checkpoint, few_policies, span_s=4.0) as runtime:
        yield runtime


def reusing(runtime: Runtime) -> None:
    runtime.settings = runtime.settings.model_copy(update={"reuse_results": True})


def job_now(runtime: Runtime, job: Job) -> Job:
    with runtime.database.read() as session:
        return session.get_one(Job, job.id)


def document(runtime: Runtime, job: Job) -> dict[str, object]:
    with runtime.database.read() as session:
        found = find_document(session, DEFAULT_TENANT, job.video_id)
    assert found is not None
    return found


def test_the_same_bytes_need_no_second_look(runtime: Runtime, clip: bytes) -> None:
    reusing(runtime)
    first = accept(runtime, clip, "first.mp4")
    run_all(runtime)
    second = accept(runtime, clip, "second.mp4")
    assert run_all(runtime) == ["done"]  # preparing, and nothing after it
    twin = job_now(runtime, second)
    assert (twin.state, twin.verdict_action) == ("ready", job_now(runtime, first).verdict_action)
    one, two = document(runtime, first), document(runtime, second)
    assert two["video"] == one["video"] | {"filename": "second.mp4"}  # type: ignore[operator]
    assert {**one, "video": None} == {**two, "video": None}
    with runtime.database.read() as session:
        assert segments_of(session, first.id) == segments_of(session, second.id)
        flags = session.exec(select(FlagRow.job_id, func.count()).group_by(col(FlagRow.job_id))).all()
        told = session.exec(select(Event.kind).where(Event.video_id == second.video_id).order_by(col(Event.id))).all()
    assert len({count for _, count in flags}) <= 1
    assert [kind for kind in told if kind != "flag.created"] == ["video.queued", "video.preparing", "video.ready"]


def test_what_was_taken_over_outlives_what_it_was_taken_from(runtime: Runtime, clip: bytes) -> None:
    reusing(runtime)
    first = accept(runtime, clip)
    run_all(runtime)
    second = accept(runtime, clip)
    run_all(runtime)
    with runtime.database.write() as session:
        control.deleted(session, session.get_one(Video, first.video_id), actor="key_test")
    disposal.dispose(runtime.database, runtime.blobs, first.video_id, final=True)
    job = job_now(runtime, second)
    assert job.work_folder is not None
    assert job.prepared is not None
    assert (runtime.blobs.path(job.work_folder) / job.prepared["proxy"]).stat().st_size > 0
    with runtime.database.read() as session:
        blob = session.get_one(Video, second.video_id).blob
    assert blob is not None
    assert runtime.blobs.path(blob).read_bytes() == clip


@pytest.mark.parametrize("differs", ["the setting", "the recipe", "the tenant", "the bytes"])
def test_nothing_is_taken_over_that_is_not_the_same(runtime: Runtime, clip: bytes, differs: str) -> None:
    if differs != "the setting":
        reusing(runtime)
    first = accept(runtime, clip)
    run_all(runtime)
    with runtime.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    with runtime.database.write() as session:
        if differs == "the recipe":
            session.exec(update(Job).values(recipe="another"))
        if differs == "the tenant":
            session.exec(update(Video).where(col(Video.id) == first.video_id).values(tenant_id="ten_other"))
    accept(runtime, clip + b"\0" if differs == "the bytes" else clip)
    assert len(run_all(runtime)) >= 3  # prepare, a span, finish


def test_work_in_hand_is_given_back_when_the_process_has_to_end(
    runtime: Runtime, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOP_GRACE_S", 0.0)
    job = accept(runtime, clip)
    assert work(runtime, Task.PREPARE, job.id) == "done"
    ((_, span),) = owed(runtime)
    runtime.stop_soon()
    with pytest.raises(StoppingError):
        runtime.go_on(threading.Event())
    assert work(runtime, Task.ANALYZE_SPAN, span) == "waiting"
    assert [target for _, target in owed(runtime)] == [span]
    runtime._stop_at_s = None  # another process
    assert work(runtime, Task.ANALYZE_SPAN, span) == "done"
    with runtime.database.read() as session:
        assert [part.index for part in segments_of(session, job.id)] == [0]


def test_a_message_wakes_and_the_most_urgent_is_done(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [accept(runtime, b"no video %d" % number) for number in range(3)]
    with runtime.database.write() as session:
        session.exec(update(Job).where(col(Job.id) == jobs[2].id).values(priority=Priority.HIGH.rank))
    done: list[str] = []

    def note(_runtime: Runtime, held: Claim, _lost: threading.Event) -> None:
        done.append(held.target_id)

    monkeypatch.setitem(tasks.STAGES, Task.PREPARE, note)
    assert work_next(runtime, Queue.CPU) == "done"
    assert done == [jobs[2].id]
    assert work_next(runtime, Queue.GPU) == "skipped"
