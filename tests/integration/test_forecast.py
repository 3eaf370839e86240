"""What estimates rest on, read from real rows: the pace, the line, a job's own spans; and what a look at it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Api
from jobs_helpers import accepted, analysis, must_take, prepared, segment
from sqlalchemy import Engine, event
from sqlmodel import col, select, update
from test_api_videos import finish, job_of, upload

from vidlm.domain import PIPELINE_VERSION, JobState, Priority
from vidlm.jobs import control, forecast, life, presence
from vidlm.jobs.forecast import Forecast, load, own, signs
from vidlm.jobs.intake import Wishes
from vidlm.queue import CONSUME_ORDER, Queue, Task
from vidlm.store.engine import Database, migrate
from vidlm.store.queries import VideoStatus, video_status
from vidlm.store.tables import DEFAULT_TENANT, Job, SpanWork, Video

BYTES_PER_S = 1000


def remember(database: Database, count: int, video_s: float = 100.0) -> None:
    """So many jobs became ready, one after the other, until a minute ago: 10 s, 50 s and 2 s each."""
    end = datetime.now(UTC) - timedelta(seconds=60)
    for number in range(count):
        finished = end - timedelta(seconds=70 * (count - number))
        video = Video(tenant_id=DEFAULT_TENANT, sha256="0" * 64, size_bytes=int(video_s * BYTES_PER_S))
        job = Job(
            tenant_id=DEFAULT_TENANT, video_id=video.id, pipeline_version=PIPELINE_VERSION, state="ready",
            duration_s=video_s, spans_total=2, spans_done=2, finished_at=finished,
            analyzed_at=finished - timedelta(seconds=2), prepared_at=finished - timedelta(seconds=52),
            started_at=finished - timedelta(seconds=62),
        )  # fmt: skip
        with database.write() as session:
            session.add(video)
            session.flush()
            session.add(job)


def sized(database: Database, job: Job, video_s: float) -> None:
    with database.write() as session:
        session.exec(update(Video).where(col(Video.id) == job.video_id).values(size_bytes=int(video_s * BYTES_PER_S)))


def status(database: Database, job: Job) -> VideoStatus:
    with database.read() as session:
        found = video_status(session, DEFAULT_TENANT, job.video_id)
    assert found is not None
    return found


def eta(database: Database, job: Job) -> float | None:
    with database.read() as session:
        (progress,) = Forecast().progress(session, [status(database, job)])
    return progress.eta_s


@pytest.fixture
def working(database: Database) -> Database:
    """A history, and a worker for everything."""
    remember(database, 12)
    with database.write() as session:
        presence.arrive(session, CONSUME_ORDER)
    return database


def test_the_pace_is_learnt_from_the_last_ready_jobs(working: Database) -> None:
    with working.read() as session:
        pace = load(session).pace
    assert pace is not None
    assert pace.preparing == pytest.approx(0.1)
    assert pace.analyzing == pytest.approx(0.5, rel=0.02)
    assert pace.finishing_s == pytest.approx(2.0)
    assert pace.seconds_per_byte == pytest.approx(1 / BYTES_PER_S)
    assert pace.span_s == pytest.approx(50.0)


def test_nobody_knows_anything_in_a_new_house(database: Database) -> None:
    job = accepted(database)
    with database.read() as session:
        assert load(session).pace is None
    assert eta(database, job) is None


def test_a_queued_job_counts_those_before_it_by_size_and_by_urgency(working: Database) -> None:
    jobs = [accepted(working) for _ in range(4)]
    for job, video_s in zip(jobs, (200.0, 50.0, 100.0, 100.0), strict=True):
        sized(working, job, video_s)
    urgent = accepted(working, wishes=Wishes(filename="a", priority=Priority.INTERACTIVE))
    sized(working, urgent, 100.0)
    alone = 0.1 * 100 + 0.5 * 100 + 2
    assert eta(working, urgent) == pytest.approx(alone, abs=1)
    before = 0.5 * (100 + 200 + 50) + 3 * 2
    assert eta(working, jobs[2]) == pytest.approx(before + 0.5 * 100 + 2, abs=2)
    with working.read() as session:
        queued = load(session).queued
    assert queued.before(2, jobs[2].turn) == (3, pytest.approx(350.0))
    assert queued.through(3)[0] == 5


def test_a_long_line_is_read_in_a_bounded_number_of_pieces(working: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [accepted(working) for _ in range(40)]
    monkeypatch.setattr(forecast, "_PLACES", 5)
    with working.read() as session:
        queued = load(session).queued
    assert queued.through(3)[0] == 40
    assert len(queued) <= 6
    assert queued.before(2, jobs[20].turn)[0] == pytest.approx(20, abs=8)


def test_without_workers_no_time_is_promised(database: Database) -> None:
    remember(database, 3)
    job = accepted(database)
    assert eta(database, job) is None
    with database.write() as session:
        presence.arrive(session, [Queue.CPU])
    assert eta(database, job) is None
    with database.write() as session:
        presence.arrive(session, [Queue.GPU])
    assert eta(database, job) is not None


def test_a_job_in_work_is_estimated_stage_by_stage_and_in_the_end_it_is_there(working: Database) -> None:
    job = accepted(working)
    sized(working, job, 20.0)
    held = must_take(working, Task.PREPARE, job.id)
    assert eta(working, job) == pytest.approx(0.1 * 20 + 0.5 * 20 + 2, abs=1)
    with working.write() as session:
        life.prepared(
            session, held, document={}, recipe="r", work_folder="work/x/1", duration_s=20.0, spans=[(0, 1), (1, 2)]
        )
    assert eta(working, job) == pytest.approx(0.5 * 20 + 2, abs=1)
    with working.read() as session:
        spans = session.exec(select(SpanWork.id).where(SpanWork.job_id == job.id).order_by(col(SpanWork.index))).all()
    for number, span in enumerate(spans):
        held = must_take(working, Task.ANALYZE_SPAN, span)
        with working.write() as session:
            life.span_analyzed(session, held, [segment(number)])
        left = 0.5 * 10 + 2 if number == 0 else 2
        assert eta(working, job) == pytest.approx(left, abs=1)
    held = must_take(working, Task.FINISH, job.id)
    with working.write() as session:
        life.finished(session, held, analysis())
    assert eta(working, job) == 0.0


def test_what_stands_in_the_line_of_the_model_is_waited_for(working: Database) -> None:
    first, second = accepted(working), accepted(working)
    prepared(working, first, spans=6)
    prepared(working, second, spans=2)
    assert eta(working, first) == pytest.approx(0.5 * 30 + 2, abs=1)
    assert eta(working, second) == pytest.approx(0.5 * 40 + 4, abs=1)


def test_own_spans_say_when_they_were_done(database: Database) -> None:
    job = accepted(database)
    begun = datetime.now(UTC)
    prepared(database, job, spans=3)
    with database.read() as session:
        spans = session.exec(select(SpanWork).where(SpanWork.job_id == job.id).order_by(col(SpanWork.index))).all()
        before = own(session, [status(database, job)])[job.video_id]
    assert (before.spans_done, before.first_done_at, before.last_done_at) == (0, None, None)
    assert before.last_turn == spans[2].turn
    assert begun <= before.since <= datetime.now(UTC)
    for number in (0, 1):
        held = must_take(database, Task.ANALYZE_SPAN, spans[number].id)
        with database.write() as session:
            life.span_analyzed(session, held, [segment(number)])
        time.sleep(0.05)
    with database.read() as session:
        after = own(session, [status(database, job)])[job.video_id]
    assert after.first_done_at is not None
    assert after.last_done_at is not None
    assert (after.spans_done, after.last_turn) == (2, spans[2].turn)
    assert before.since < after.first_done_at < after.last_done_at <= datetime.now(UTC)
    assert after.since == before.since


def test_a_retried_job_begins_its_state_anew(database: Database) -> None:
    job = accepted(database)
    prepared(database, job, spans=2)
    with database.write() as session:
        control.cancel(session, session.get_one(Job, job.id), actor="key_test")
    time.sleep(0.05)
    again = datetime.now(UTC)
    with database.write() as session:
        control.retry(session, session.get_one(Job, job.id), actor="key_test")
    with database.read() as session:
        found = own(session, [status(database, job)])[job.video_id]
    assert status(database, job).state is JobState.ANALYZING
    assert found.since >= again


def test_signs_change_with_events_and_with_progress_and_not_by_themselves(database: Database) -> None:
    job, other = accepted(database), accepted(database)

    def sign() -> Any:
        with database.read() as session:
            return signs(session, {job.video_id, other.video_id, "vid_nobody"})

    seen = [sign()]
    held = must_take(database, Task.PREPARE, job.id)
    seen.append(sign())
    with database.write() as session:
        life.preparing(session, held, 0.5)
    seen.append(sign())
    assert sign() == seen[-1]
    assert len({one[job.video_id] for one in seen}) == 3
    assert len({one[other.video_id] for one in seen}) == 1
    assert set(seen[0]) == {job.video_id, other.video_id}


def known_eta(api: Api, video_id: str) -> float:
    """The estimate, once the load that the app keeps is younger than the video."""
    for _ in range(100):
        found: float | None = api.client.get(f"/v1/videos/{video_id}").json()["progress"]["eta_s"]
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("no estimate came")


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every SQL statement of this process."""
    seen: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


def test_a_look_at_a_job_costs_one_query_more_while_it_is_open_and_none_once_it_has_ended(api: Api) -> None:
    done, waiting = upload(api).json()["id"], upload(api).json()["id"]
    finish(api, done)
    known_eta(api, waiting)
    assert reads(api, f"/v1/videos/{done}") == 2  # whose key, which video
    assert reads(api, f"/v1/videos/{waiting}") == 3
    assert reads(api, "/v1/videos") == 3


def reads(api: Api, path: str) -> int:
    """How many SELECTs a GET takes at least: now and then one reads the load anew for all others."""
    counts = []
    for _ in range(4):
        with statements() as seen:
            assert api.client.get(path).status_code == 200
        counts.append(len([one for one in seen if one.startswith("SELECT")]))
    return min(counts)


def test_the_query_for_open_jobs_reads_no_table_from_end_to_end(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'vidlm.db'}"
    migrate(url)
    database = Database(url)
    jobs = [status(database, accepted(database)) for _ in range(5)]
    with database.read() as session, statements() as seen:
        own(session, jobs)
        asked = "EXPLAIN QUERY PLAN " + seen[-1]
        plan = [row[3] for row in session.connection().exec_driver_sql(asked, tuple("x" * asked.count("?")))]
    database.close()
    assert [line for line in plan if line.startswith("SEARCH")]
    assert not [line for line in plan if line.startswith("SCAN")], plan


def test_estimates_come_with_pages_and_with_a_job_of_the_api(api: Api) -> None:
    remember(api.database, 5)
    video_id = upload(api, b"x" * 10_000).json()["id"]
    expected = pytest.approx(0.1 * 10 + 0.5 * 10 + 2, abs=1)
    assert known_eta(api, video_id) == expected
    by_id = {item["id"]: item["progress"]["eta_s"] for item in api.client.get("/v1/videos").json()["items"]}
    assert by_id.pop(video_id) == expected
    assert set(by_id.values()) == {0.0}
    held = must_take(api.database, Task.PREPARE, job_of(api, video_id).id)
    assert held.attempt == 1
    assert api.client.get(f"/v1/videos/{video_id}").json()["progress"]["eta_s"] is not None
    api.client.post(f"/v1/videos/{video_id}/cancel")
    assert api.client.get(f"/v1/videos/{video_id}").json()["progress"]["eta_s"] is None
