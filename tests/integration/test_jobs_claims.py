"""One unit of work, one worker; a crash hands it on; a late write is dropped. On SQLite and on PostgreSQL."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from jobs_helpers import ATTEMPTS, accepted, expire, must_take, prepared, segment, take
from sqlmodel import select

from vidlm.errors import LeaseLost
from vidlm.jobs import life, outbox
from vidlm.jobs.claims import Claim, heartbeat, hold, renew
from vidlm.queue import Task
from vidlm.store.engine import Database
from vidlm.store.ledger import Outbox
from vidlm.store.tables import Job, SpanWork


def test_of_many_workers_one_wins(database: Database) -> None:
    for _ in range(5):
        job = accepted(database)
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(lambda id_: take(database, Task.PREPARE, id_), [job.id] * 8))
        assert [held.token for held in claims if held] == [1]


def test_a_lease_that_ran_out_is_taken_over_and_the_old_owner_fenced_off(database: Database) -> None:
    job = accepted(database)
    slow = must_take(database, Task.PREPARE, job.id)
    assert take(database, Task.PREPARE, job.id) is None
    expire(database, Task.PREPARE, job.id)
    quick = must_take(database, Task.PREPARE, job.id)
    assert (quick.token, quick.attempt) == (slow.token + 1, 2)
    with pytest.raises(LeaseLost), database.write() as session:
        life.prepared(session, slow, document={}, recipe="r", work_folder="w", duration_s=1.0, spans=[(0, 1)])
    with pytest.raises(LeaseLost), database.write() as session:
        renew(session, slow, 30)
    with database.write() as session:
        life.prepared(session, quick, document={}, recipe="r", work_folder="w", duration_s=1.0, spans=[(0, 1)])
    with pytest.raises(LeaseLost), database.write() as session:  # and nobody saves twice
        life.prepared(session, quick, document={}, recipe="r", work_folder="w", duration_s=1.0, spans=[(0, 1)])
    with database.read() as session:
        assert len(session.exec(select(SpanWork)).all()) == 1


def test_attempts_are_counted_and_end(database: Database) -> None:
    job = accepted(database)
    for attempt in range(1, ATTEMPTS + 1):
        assert must_take(database, Task.PREPARE, job.id).attempt == attempt
        expire(database, Task.PREPARE, job.id)
    assert take(database, Task.PREPARE, job.id) is None


def test_a_heartbeat_keeps_the_lease(database: Database) -> None:
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id, lease_s=0.6)
    with heartbeat(database, held, 0.6) as lost:
        time.sleep(1.5)
        assert take(database, Task.PREPARE, job.id) is None
        assert not lost.is_set()
        with database.read() as session:  # nor is anybody woken for it
            assert not outbox.any_due(session)
    time.sleep(0.7)
    assert take(database, Task.PREPARE, job.id) is not None


def test_a_heartbeat_notices_that_the_lease_is_gone(database: Database) -> None:
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id)
    with heartbeat(database, held, 0.3) as lost:
        expire(database, Task.PREPARE, job.id)
        must_take(database, Task.PREPARE, job.id)
        assert lost.wait(2)


def test_not_before_is_kept(database: Database) -> None:
    job = accepted(database)
    with database.write() as session:
        session.get_one(Job, job.id).not_before = datetime.now(UTC) + timedelta(seconds=60)
    assert take(database, Task.PREPARE, job.id) is None


def test_a_span_of_an_ended_job_is_nobodys_work(database: Database) -> None:
    job = accepted(database)
    prepared(database, job)
    with database.write() as session:
        spans = session.exec(select(SpanWork.id)).all()
        session.get_one(Job, job.id).state = "cancelled"
    assert [take(database, Task.ANALYZE_SPAN, span) for span in spans] == [None, None]


def test_the_wrong_task_finds_nothing(database: Database) -> None:
    job = accepted(database)
    assert take(database, Task.FINISH, job.id) is None
    assert take(database, Task.ANALYZE_SPAN, job.id) is None
    assert take(database, Task.PREPARE, "job_unknown") is None


def test_the_wake_up_follows_the_lease(database: Database) -> None:
    """A unit that is held is due again when its lease ends, so a dead worker is replaced without being noticed."""
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id, lease_s=2.0)
    with database.read() as session:
        assert not outbox.any_due(session)
    with database.write() as session:
        renew(session, held, 2.0)
    time.sleep(2.1)
    with database.write() as session:
        assert [due.target_id for due in outbox.take_due(session)] == [job.id]


def test_saving_locks_out_a_second_worker(database: Database) -> None:
    """The last two spans end at the same moment: the finish is woken once."""
    job = accepted(database)
    prepared(database, job, spans=6)
    with database.read() as session:
        spans = session.exec(select(SpanWork).order_by(SpanWork.index)).all()
    claims = [(span.index, must_take(database, Task.ANALYZE_SPAN, span.id)) for span in spans]
    errors: list[Exception] = []

    def save(index: int, held: Claim) -> None:
        try:
            with database.write() as session:
                life.span_analyzed(session, held, [segment(index)])
        except Exception as exc:  # noqa: BLE001  shown below
            errors.append(exc)

    threads = [threading.Thread(target=save, args=item) for item in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with database.read() as session:
        done = session.get_one(Job, job.id)
        assert (done.state, done.spans_done, done.spans_total) == ("finishing", 6, 6)
        assert [row.task for row in session.exec(select(Outbox)).all()] == [Task.FINISH.value]


def test_hold_refuses_what_is_over(database: Database) -> None:
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        assert hold(session, held, Job).id == job.id
        life.gave_up(session, held, ValueError("x"), max_attempts=1)
    with pytest.raises(LeaseLost), database.write() as session:
        hold(session, held, Job)
