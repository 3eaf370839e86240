"""Wake-ups through a real broker that dies, forgets and comes back."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from jobs_helpers import accepted, must_take, prepared
from servers import ValkeyProcess
from sqlmodel import select, update

from vidlm.config import Settings
from vidlm.errors import SettingsError
from vidlm.jobs import control, disposal
from vidlm.queue import CONSUME_ORDER, Queue, Task, broker_app, connect, tasks_of, waiting, wake
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from vidlm.store.ledger import Outbox
from vidlm.store.tables import DEFAULT_TENANT, Job, Video
from workers.app import worker_app
from workers.loops import BROKER_ERRORS
from workers.relay import relay_once
from workers.runtime import Runtime
from workers.sweeper import sweep_once
from workers.watchdog import is_stuck


def test_what_is_owed_arrives_as_an_id_and_nothing_else(database: Database, redis_url: str) -> None:
    job = accepted(database)
    app = broker_app(redis_url)
    assert relay_once(database, app) == 1
    assert relay_once(database, app) == 0
    message = redis.Redis.from_url(redis_url).lrange("cpu", 0, -1)
    assert isinstance(message, list)
    assert len(message) == 1
    with app.connection_for_read() as connection:
        got = connection.SimpleQueue("cpu").get(timeout=2)
    assert got.headers["task"] == "vidlm.prepare"
    assert got.payload[:2] == [[job.id], {}]


def test_a_broker_that_is_away_loses_nothing(database: Database, tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path) as server:
        app = broker_app(server.url)
        accepted(database)
        assert relay_once(database, app) == 1
        server.kill()
        accepted(database)
        for _ in range(2):
            with pytest.raises(BROKER_ERRORS):
                relay_once(database, app)
        server.start()  # empty: it keeps nothing
        assert relay_once(database, app) == 1
        assert waiting(connect(server.url), Queue.CPU) == 1


def test_the_sweeper_finds_what_a_flush_lost(database: Database, redis_url: str, tmp_path: Path) -> None:
    app, broker = broker_app(redis_url), connect(redis_url)
    for _ in range(3):
        accepted(database)
    assert relay_once(database, app) == 3
    broker.flushall()
    with database.write() as session:
        session.exec(update(Outbox).values(sent_at=datetime.now(UTC) - timedelta(seconds=60)))
    settings = Settings(data=tmp_path)
    for expected in (3, 0):  # the second round sees that they wait
        sweep_once(database, BlobStore(tmp_path), broker, settings)
        assert relay_once(database, app) == expected
    assert waiting(broker, Queue.CPU) == 3


def test_the_sweeper_ends_poison_and_purges_the_deleted(database: Database, redis_url: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, lease_s=0.01, max_attempts=1)
    poison, gone = accepted(database), accepted(database)
    must_take(database, Task.PREPARE, poison.id, lease_s=0.01)
    with database.write() as session:
        control.deleted(session, session.get_one(Video, gone.video_id), actor="key_test")
    late = tmp_path / f"work/{gone.id}/1"
    late.mkdir(parents=True)
    time.sleep(0.1)
    sweep_once(database, BlobStore(tmp_path), connect(redis_url), settings)
    with database.read() as session:
        assert session.get_one(Job, poison.id).error_code == "worker_lost"
        assert session.get_one(Video, gone.video_id).purged_at is not None
        assert session.exec(select(Outbox)).all() == []
    assert not late.exists()


@pytest.mark.filterwarnings("ignore:You're running the worker with superuser privileges")
def test_whoever_waits_for_an_answer_is_served_first(redis_url: str, tmp_path: Path) -> None:
    """A real worker on a backlog: questions overtake spans."""
    app = worker_app(Settings(data=tmp_path, redis_url=redis_url), Runtime(Settings(data=tmp_path)))
    served: list[str] = []

    def note(target_id: str) -> None:
        served.append(target_id)

    for task in tasks_of(*CONSUME_ORDER):  # the real names, with bodies that only note who was called
        app.tasks.pop(task.value)
        app.task(name=task.value)(note)
    for number in range(3):
        wake(app, Task.ANALYZE_SPAN, f"span {number}")
    for number in range(3):
        wake(app, Task.ANSWER, f"question {number}")
    worker = app.Worker(
        pool="solo", concurrency=1, queues=[queue.value for queue in CONSUME_ORDER], without_gossip=True,
        without_mingle=True, without_heartbeat=True, quiet=True,
    )  # fmt: skip

    def stop_when_done() -> None:
        for _ in range(300):
            if len(served) == 6:
                break
            time.sleep(0.02)
        worker.stop()

    stopper = threading.Thread(target=stop_when_done)
    stopper.start()
    worker.start()
    stopper.join()
    assert served == [f"{kind} {number}" for kind in ("question", "span") for number in range(3)]


def test_a_worker_without_a_broker_says_so(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with pytest.raises(SettingsError, match="VIDLM_REDIS_URL"):
        worker_app(settings, Runtime(settings))


def test_the_watchdog_knows_silence_from_idleness(database: Database, database_url: str, tmp_path: Path) -> None:
    runtime = Runtime(Settings(data=tmp_path, database_url=database_url))
    prepared(database, accepted(database))
    queues = [Queue.GPU]
    assert not is_stuck(runtime, queues, 0.0)  # nothing was sent yet
    with database.write() as session:
        session.exec(update(Outbox).values(sent_at=datetime.now(UTC) - timedelta(seconds=100)))
    assert is_stuck(runtime, queues, 0.0)
    assert not is_stuck(runtime, [Queue.CPU], 0.0)
    assert not is_stuck(runtime, queues, 60.0)  # we were busy a moment ago
    runtime.busy = True
    assert not is_stuck(runtime, queues, 0.0)
    runtime.database.close()


def test_files_nobody_knows_are_removed(database: Database, tmp_path: Path) -> None:
    """An API process may die between storing bytes and saying whose they are."""
    blobs = BlobStore(tmp_path)
    keys = []
    for data in (b"known", b"unknown"):
        with blobs.incoming() as incoming:
            incoming.write(data)
            incoming.place(sealed := incoming.seal(DEFAULT_TENANT))
            keys.append(sealed.key)
    job = accepted(database)
    with database.write() as session:
        session.get_one(Video, job.video_id).blob = keys[0]
    assert disposal.remove_unknown(database, blobs, older_than_s=60) == 0  # its row may be on the way
    assert disposal.remove_unknown(database, blobs, older_than_s=-1) == 1
    assert list(blobs.keys(older_than_s=-1)) == keys[:1]
