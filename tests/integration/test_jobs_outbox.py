"""What is owed is sent; what the broker lost is sent again, and a long queue is not flooded."""

import threading
from datetime import UTC, datetime, timedelta

from jobs_helpers import accepted, must_take
from sqlmodel import update

from vidlm.jobs import outbox
from vidlm.queue import Queue, Task
from vidlm.store.engine import Database
from vidlm.store.ledger import Outbox


def sent_long_ago(database: Database) -> None:
    with database.write() as session:
        session.exec(update(Outbox).values(sent_at=datetime.now(UTC) - timedelta(seconds=3 * outbox.GRACE_S)))


def take_all(database: Database) -> list[str]:
    with database.write() as session:
        return [due.target_id for due in outbox.take_due(session)]


def test_each_wake_up_is_taken_once_oldest_first(database: Database) -> None:
    jobs = [accepted(database).id for _ in range(3)]
    assert take_all(database) == jobs
    assert take_all(database) == []


def test_several_relays_take_different_ones(database: Database) -> None:
    jobs = {accepted(database).id for _ in range(60)}
    taken: list[str] = []
    threads = [threading.Thread(target=lambda: taken.extend(take_all(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken += take_all(database)  # a relay may have skipped rows that another held
    assert sorted(taken) == sorted(jobs)


def test_what_the_broker_refused_stays_owed(database: Database) -> None:
    accepted(database)
    with database.write() as session:
        due = outbox.take_due(session)
    with database.write() as session:
        outbox.take_back(session, due)
    assert take_all(database) == [item.target_id for item in due]


def test_a_flushed_broker_is_refilled(database: Database) -> None:
    jobs = [accepted(database).id for _ in range(5)]
    take_all(database)
    with database.write() as session:
        assert outbox.resend_lost(session, Queue.CPU, 0) == 0  # too young to be taken for lost
    sent_long_ago(database)
    with database.write() as session:
        assert outbox.resend_lost(session, Queue.GPU, 0) == 0
        assert outbox.resend_lost(session, Queue.CPU, 0) == 5
    assert sorted(take_all(database)) == sorted(jobs)


def test_a_long_queue_is_not_flooded(database: Database) -> None:
    for _ in range(5):
        accepted(database)
    take_all(database)
    sent_long_ago(database)
    with database.write() as session:
        assert outbox.resend_lost(session, Queue.CPU, 5) == 0
        assert outbox.resend_lost(session, Queue.CPU, 3) == 2  # exactly as many as are missing


def test_held_work_is_not_taken_for_lost(database: Database) -> None:
    job = accepted(database)
    take_all(database)
    sent_long_ago(database)
    must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        assert outbox.resend_lost(session, Queue.CPU, 0) == 0
    with database.read() as session:
        assert not outbox.waits_since(session, list(Queue), 1)


def test_long_waits_are_noticed(database: Database) -> None:
    accepted(database)
    take_all(database)
    sent_long_ago(database)
    with database.read() as session:
        assert outbox.waits_since(session, [Queue.CPU], outbox.GRACE_S)
        assert not outbox.waits_since(session, [Queue.GPU], outbox.GRACE_S)
        assert not outbox.waits_since(session, [Queue.CPU], 10 * outbox.GRACE_S)
