"""What goes wrong while a job is worked on: workers die or are told to stop, messages come twice, owners call off."""

from __future__ import annotations

import functools
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from sqlmodel import col, func, select

from tests.faults.doing import Doing
from tests.faults.ledger import Outcome, count_doubled, ended, seconds_open, wait_ended
from tests.faults.load import Uploads, fresh
from tests.faults.world import Crew, World, in_background
from vidlm.domain import JobState
from vidlm.jobs.claims import STAGES
from vidlm.queue import Task, broker_app, wake
from vidlm.store.ledger import Event
from vidlm.store.tables import AnalysisRow, Job, SpanWork

RERUN_S = 45.0
WARM_UP = 100  # jobs before memory is looked at
WORKED = (Task.PREPARE, Task.ANALYZE_SPAN, Task.FINISH)


def worker_kills(folder: Path, database_url: str | None, kills: int) -> Outcome:
    """Workers are killed in the middle of every stage; how long until somebody else has what they had in hand.

    Nobody is killed over one unit for the third time: a unit that takes three workers down is poison, and ends so.
    """
    chooser, waits, hit, units = random.Random(3), [], Counter[Task](), Counter[str]()
    with World(folder, database_url, Crew(cpu=2, model=2)) as world:
        uploads = Uploads(world)
        watchers = []
        send = functools.partial(uploads.keep_sending, data=b"slow:0.4 ", every_s=0.25, most_open=30)
        with in_background(send):
            while sum(hit.values()) < kills:
                name, at = _wait_at(world, min(WORKED, key=lambda task: (hit[task], chooser.random())))
                if units[at.target_id] == 2 or world.kill(name) is None:
                    time.sleep(0.02)
                    continue
                hit[at.task] += 1
                units[at.target_id] += 1
                watcher = threading.Thread(target=_time_rerun, args=(world, at, waits))
                watcher.start()
                watchers.append(watcher)
                time.sleep(chooser.uniform(0.2, 1.5))
        for watcher in watchers:
            watcher.join()
        done = wait_ended(world.database, uploads.acknowledged, 300)
        ready = list(done.values()).count(JobState.READY)
        return Outcome(
            "workers killed at any stage",
            kills,
            lost=len(uploads.acknowledged) - ready,
            doubled=count_doubled(world.database),
            worst_s=max(waits, default=0.0),
            bar=f"rerun starts <= {RERUN_S:.0f} s, 0 lost, exactly 1 result a job",
            held=max(waits, default=0.0) <= RERUN_S and ready == len(uploads.acknowledged) and len(waits) > 0,
            note=f"{len(uploads.acknowledged)} jobs; {len(waits)} kills left work behind; "
            + ", ".join(f"{count} at {task.value.rpartition('.')[2]}" for task, count in hit.items()),
        )


def _wait_at(world: World, stage: Task, patience_s: float = 5.0) -> tuple[str, Doing]:
    """A worker that is in the middle of this stage; of any, where nobody is for so long."""
    began_s = time.monotonic()
    while True:
        at = world.doing()
        for name, what in at.items():
            if what.task is stage or time.monotonic() - began_s > patience_s:
                return name, what
        time.sleep(0.02)


def _time_rerun(world: World, dead: Doing, waits: list[float]) -> None:
    """Wait until what the dead worker had in hand is in other hands; nothing where it was done in its last moment."""
    began_s = time.monotonic()
    table = STAGES[dead.task].table
    while (waited_s := time.monotonic() - began_s) < 2 * RERUN_S:
        with world.database.read() as session:
            now = session.get_one(table, dead.target_id)
        if now.token != dead.token:
            break
        if now.lease_until is None:
            return
        time.sleep(0.25)
    waits.append(waited_s)


def doubles(folder: Path, database_url: str | None, count: int) -> Outcome:
    """Every wake-up is sent again and again, to several workers."""
    with World(folder, database_url, Crew(cpu=2, model=2)) as world:
        uploads = Uploads(world)
        app = broker_app(str(world.settings.redis_url))
        forced = 0
        videos = uploads.send_many(max(10, count // 20), fresh)
        while forced < count:
            with world.database.read() as session:
                targets = [(Task.PREPARE, unit) for unit in session.exec(select(Job.id)).all()]
                targets += [(Task.ANALYZE_SPAN, unit) for unit in session.exec(select(SpanWork.id)).all()]
                targets += [(Task.FINISH, unit) for unit in session.exec(select(Job.id)).all()]
            for task, unit in targets[: count - forced]:
                wake(app, task, unit)
                forced += 1
        done = wait_ended(world.database, videos, 300)
        with world.database.read() as session:
            results = session.exec(select(func.count()).select_from(AnalysisRow)).one()
        return Outcome(
            "wake-ups delivered more than once",
            forced,
            lost=len(videos) - list(done.values()).count(JobState.READY),
            doubled=count_doubled(world.database) + max(0, results - len(videos)),
            worst_s=None,
            bar="0 duplicate results, flags, webhooks, audit rows",
            held=list(done.values()).count(JobState.READY) == len(videos) == results,
        )


def poison(folder: Path, database_url: str | None, count: int) -> Outcome:
    """Files that kill whoever looks at them, among others that are fine."""
    with World(folder, database_url, Crew(cpu=3, model=1), lease_s=6.0, sweep_every_s=2.0) as world:
        uploads = Uploads(world)
        bad = uploads.send_many(count, lambda number: b"poison " + fresh(number))
        good = uploads.send_many(5 * count, fresh)
        done = wait_ended(world.database, [*bad, *good], 900)
        with world.database.read() as session:
            tokens = session.exec(select(Job.token).where(col(Job.video_id).in_(bad))).all()
            codes = set(session.exec(select(Job.error_code).where(col(Job.video_id).in_(bad))).all())
        fine = sum(done.get(video) is JobState.READY for video in good)
        failed = sum(done.get(video) is JobState.FAILED for video in bad)
        attempts = max(tokens) - 1  # ending it takes a token as well
        return Outcome(
            "poison among good files",
            count,
            lost=len(bad) + len(good) - fine - failed,
            doubled=count_doubled(world.database),
            worst_s=seconds_open(world.database, [*bad, *good]),
            bar="<= 3 attempts, then failed; all good ones finish",
            held=fine == len(good) and failed == len(bad) and attempts <= 3 and codes == {"worker_lost"},
            note=f"{attempts} attempts at most",
        )


def cancels(folder: Path, database_url: str | None, count: int) -> Outcome:
    """Jobs called off in the middle, some while workers are being killed."""
    chooser, waits, late = random.Random(5), [], 0
    with World(folder, database_url, Crew(cpu=2, model=2)) as world, world.client() as client:
        uploads = Uploads(world)
        for number in range(count):
            video = uploads.send(client, b"slow:2 " + fresh(number))
            time.sleep(chooser.uniform(0.0, 3.0))
            if number % 5 == 0:
                world.kill(chooser.choice(world.names("cpu", "model")))
            began_s = time.monotonic()
            answer = client.post(f"/v1/videos/{video}/cancel")
            while client.get(f"/v1/videos/{video}").json()["state"] not in ("cancelled", "ready"):
                time.sleep(0.02)
            if answer.status_code == 202:
                waits.append(time.monotonic() - began_s + _seconds_busy_with(world, video))
        time.sleep(3)
        with world.database.read() as session:
            cancelled = session.exec(select(Job).where(Job.state == JobState.CANCELLED.value)).all()
            for job in cancelled:
                kinds = session.exec(
                    select(Event.kind).where(Event.video_id == job.video_id).order_by(col(Event.id))
                ).all()
                late += kinds[-1] != "video.cancelled" or session.get(AnalysisRow, job.id) is not None
        return Outcome(
            "jobs called off",
            count,
            lost=count - len(ended(world.database, uploads.acknowledged)),
            doubled=late,
            worst_s=max(waits, default=0.0),
            bar="honoured <= 10 s, 0 late results",
            held=max(waits, default=0.0) <= 10 and late == 0,
            note=f"{len(cancelled)} were called off in time",
        )


def _seconds_busy_with(world: World, video_id: str) -> float:
    """How long a worker still works on a video's job or spans."""
    began_s = time.monotonic()
    with world.database.read() as session:
        job_id = session.exec(select(Job.id).where(Job.video_id == video_id)).one()
        ours = {job_id, *session.exec(select(SpanWork.id).where(SpanWork.job_id == job_id)).all()}
    while time.monotonic() - began_s < 30 and any(what.target_id in ours for what in world.doing().values()):
        time.sleep(0.1)
    return time.monotonic() - began_s


def rolling_restart(folder: Path, database_url: str | None, stops: int) -> Outcome:
    """Every process but the broker is told to stop, again and again, while jobs come in."""
    chooser = random.Random(9)
    with World(folder, database_url, Crew(cpu=2, model=2)) as world:
        uploads = Uploads(world)
        send = functools.partial(uploads.keep_sending, data=b"slow:0.5 ", every_s=0.3)
        with in_background(send):
            names = world.names("api", "relay", "cpu", "model")
            for number in range(stops):
                name = names[number % len(names)]
                before = world.deaths(name)
                while world.kill(name, signal.SIGTERM) is None:
                    time.sleep(0.1)
                while world.deaths(name) == before:
                    time.sleep(0.1)
                world.wait_ready()
                time.sleep(chooser.uniform(0.5, 2.0))
        done = wait_ended(world.database, uploads.acknowledged, 300)
        ready = list(done.values()).count(JobState.READY)
        return Outcome(
            "rolling restart under load",
            stops,
            lost=len(uploads.acknowledged) - len(done),
            doubled=count_doubled(world.database),
            worst_s=seconds_open(world.database, uploads.acknowledged),
            bar="0 lost, 0 extra failures",
            held=ready == len(uploads.acknowledged),
            note=f"{len(uploads.acknowledged)} jobs, {len(done) - ready} failed",
        )


def leak(folder: Path, database_url: str | None, jobs: int) -> Outcome:
    """The memory of every process over many jobs, after those that warm it up."""
    with World(folder, database_url, Crew()) as world:
        uploads = Uploads(world)

        def run(count: int) -> dict[str, int]:
            wait_ended(world.database, uploads.send_many(count, fresh), 600)
            return {name: _resident_bytes(world.pid(name)) for name in world.names("api", "relay", "cpu", "model")}

        before = run(WARM_UP)
        after = run(jobs)
        per_hundred = {name: (after[name] - before[name]) / 1e6 / (jobs / 100) for name in before}
        worst = max(per_hundred, key=lambda name: per_hundred[name])
        return Outcome(
            "memory over many jobs",
            jobs,
            lost=0,
            doubled=count_doubled(world.database),
            worst_s=None,
            bar="<= 1 MB per 100 jobs",
            held=per_hundred[worst] <= 1.0,
            note=f"{per_hundred[worst]:.2f} MB per 100 jobs in {worst}",
        )


def _resident_bytes(pid: int | None) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
