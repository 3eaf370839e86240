"""What goes wrong around the service: the broker dies or forgets, the database is killed, and all of it at once."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import redis
from sqlmodel import col, func, select

from tests.faults.ledger import Outcome, count_doubled, seconds_open, wait_ended
from tests.faults.load import Uploads, fresh, receiver
from tests.faults.world import Crew, World, in_background
from vidlm.domain import JobState
from vidlm.store.hooks import Delivery
from vidlm.store.ledger import Event
from vidlm.store.tables import AnalysisRow


def broker_outages(folder: Path, database_url: str | None, kills: int) -> Outcome:
    """The broker is killed and emptied under load, and once it is away for a while."""
    away_s = 60.0 if kills >= 20 else 5.0
    with World(folder, database_url, Crew(cpu=2, model=1)) as world:
        uploads = Uploads(world)
        with in_background(uploads.keep_sending):
            broker = redis.Redis.from_url(str(world.settings.redis_url))
            for number in range(kills):
                world.kill("valkey")
                time.sleep(random.uniform(0.3, 1.5))
                if number % 4 == 0:
                    _patiently(broker.flushall)
            world.stop("valkey")
            time.sleep(away_s)
            world.start("valkey")
        back_s = time.monotonic()
        done = wait_ended(world.database, uploads.acknowledged, 180)
        drained_s = time.monotonic() - back_s
        return Outcome(
            "broker killed, emptied, away",
            kills,
            lost=len(uploads.acknowledged) - list(done.values()).count(JobState.READY),
            doubled=count_doubled(world.database),
            worst_s=drained_s,
            bar="uploads still 202, backlog drained <= 120 s after the return",
            held=len(done) == len(uploads.acknowledged) and drained_s <= 120 and uploads.slowest_s < 10,
            note=f"{len(uploads.acknowledged)} uploads, the slowest {uploads.slowest_s:.1f} s; away for {away_s:.0f} s",
        )


def _patiently(command: Callable[[], object]) -> None:
    for _ in range(50):
        try:
            command()
            return
        except redis.exceptions.RedisError:
            time.sleep(0.1)


def database_killed(folder: Path, database_url: str, kills: int, restart: Callable[[], None]) -> Outcome:
    """PostgreSQL is killed under load; `restart` kills it and starts it again."""
    with World(folder, database_url, Crew(cpu=1, model=1)) as world:
        uploads = Uploads(world)
        with in_background(uploads.keep_sending, 2):
            for _ in range(kills):
                time.sleep(random.uniform(1.0, 2.0))
                restart()
        done = wait_ended(world.database, uploads.acknowledged, 300)
        return Outcome(
            "PostgreSQL killed under load",
            kills,
            lost=len(uploads.acknowledged) - len(done),
            doubled=count_doubled(world.database) + uploads.contradictions,
            worst_s=seconds_open(world.database, uploads.acknowledged),
            bar="0 acknowledged rows lost, 0 corrupt",
            held=len(done) == len(uploads.acknowledged) == list(done.values()).count(JobState.READY),
            note=f"{len(uploads.acknowledged)} uploads",
        )


def writers_killed(folder: Path, _database_url: str | None, kills: int) -> Outcome:
    """Every process that writes to SQLite is killed, in any order; then the file is checked."""
    with World(folder, None, Crew(cpu=1, model=1)) as world:
        uploads = Uploads(world)
        with in_background(uploads.keep_sending, 2):
            killed = 0
            while killed < kills:
                time.sleep(random.uniform(0.2, 0.8))
                killed += world.kill(random.choice(world.names("api", "relay", "cpu", "model"))) is not None
        done = wait_ended(world.database, uploads.acknowledged, 300)
        file = world.settings.sql_url.removeprefix("sqlite:///")
        with sqlite3.connect(file) as connection:
            sound = [row[0] for row in connection.execute("PRAGMA integrity_check")] == ["ok"]
            sound &= connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return Outcome(
            "SQLite's writers killed",
            kills,
            lost=len(uploads.acknowledged) - len(done),
            doubled=count_doubled(world.database) + uploads.contradictions,
            worst_s=seconds_open(world.database, uploads.acknowledged),
            bar="0 acknowledged rows lost, 0 corrupt",
            held=len(done) == len(uploads.acknowledged) and sound,
            note=f"{len(uploads.acknowledged)} uploads; the file is {'sound' if sound else 'CORRUPT'}",
        )


def storm(folder: Path, database_url: str | None, jobs: int) -> Outcome:
    """Thousands of jobs, a webhook for each, and kills of anything."""
    kills = max(10, jobs // 100)
    with (
        receiver(chance_to_fail=0.02) as (address, taken),
        World(folder, database_url, Crew(cpu=2, model=2), lease_s=10.0) as world,
    ):
        uploads = Uploads(world)
        killed = 0

        def kill(stop: threading.Event) -> None:
            nonlocal killed
            while killed < kills and not stop.is_set():
                stop.wait(random.uniform(0.5, 2.0))
                killed += world.kill(random.choice(world.names())) is not None

        began_s = time.monotonic()
        with in_background(kill):
            videos = uploads.send_many(jobs, fresh, clients=4, webhook_url=address)
            done = wait_ended(world.database, videos, 3600)
            while killed < kills:
                time.sleep(0.2)
        told = _wait_told(world, videos, taken, 600)
        seconds = time.monotonic() - began_s
        with world.database.read() as session:
            results = session.exec(select(func.count()).select_from(AnalysisRow)).one()
        return Outcome(
            "a storm: jobs with webhooks, and kills of anything",
            jobs,
            lost=(jobs - len(done)) + (jobs - told),
            doubled=count_doubled(world.database) + max(0, results - jobs),
            worst_s=seconds_open(world.database, videos),
            bar="an end and a webhook for each, 0 duplicate rows",
            held=len(done) == jobs == told == results,
            note=f"{killed} kills; {jobs / seconds:.0f} jobs a second; {sum(taken.values())} webhooks taken",
        )


def _wait_told(world: World, videos: list[str], taken: dict[str, int], timeout_s: float) -> int:
    """How many videos' end has reached the receiver at least once."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        with world.database.read() as session:
            ends = session.exec(select(Event.public_id).where(col(Event.kind) == "video.ready")).all()
            open_states = col(Delivery.state).in_(("waiting", "running"))
            waiting = session.exec(select(func.count()).select_from(Delivery).where(open_states)).one()
        told = sum(public_id in taken for public_id in ends)
        if told >= len(videos) or (waiting == 0 and told == len(ends)) or time.monotonic() > deadline_s:
            return told
        time.sleep(0.5)
