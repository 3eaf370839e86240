"""Who works on what: a claim is a lease on a row and a token that fences off everybody who held it before.

    claim()    one UPDATE; whoever changes the row wins, the token grows, the attempt is counted
    renew()    the heartbeat: the lease is pushed on while the work goes on
    hold()     first line of every transaction that saves: the row, locked, if the claim is still the newest

Knows rows and leases, not what the work is. Each claim also keeps the unit's outbox row due when the lease ends,
so that a worker that dies is replaced without anybody noticing it died.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import structlog
from sqlalchemy import exists, or_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col

from vidlm.domain import JobState, WorkState
from vidlm.errors import LeaseLost
from vidlm.jobs import outbox
from vidlm.queue import Task
from vidlm.store.engine import Database, clock
from vidlm.store.tables import Claimable, Job, Question, SpanWork

log = structlog.get_logger(__name__)

MAX_WORK_S: Final = 3600.0
"""A heartbeat stops after this long: work that hangs loses its lease like work that died."""

U = TypeVar("U", bound=Claimable)


@dataclass(frozen=True, slots=True)
class Stage:
    """Which rows a task works on: those in `waiting`, and those in `running` whose lease ran out."""

    table: type[Claimable]
    waiting: str
    running: str


STAGES: Final = {
    Task.PREPARE: Stage(Job, JobState.QUEUED.value, JobState.PREPARING.value),
    Task.ANALYZE_SPAN: Stage(SpanWork, WorkState.WAITING.value, WorkState.RUNNING.value),
    Task.FINISH: Stage(Job, JobState.FINISHING.value, JobState.FINISHING.value),
    Task.ANSWER: Stage(Question, WorkState.WAITING.value, WorkState.RUNNING.value),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one row until its lease ends. `attempt` counts from 1."""

    task: Task
    target_id: str
    token: int
    attempt: int


def claim(session: Session, task: Task, target_id: str, *, lease_s: float, max_attempts: int) -> Claim | None:
    """Claim the row, or None: gone, finished, held by another, not due yet, or out of attempts."""
    stage = STAGES[task]
    table = stage.table
    now = clock(session)
    statement = (
        update(table)
        .where(
            col(table.id) == target_id,
            col(table.state).in_({stage.waiting, stage.running}),
            or_(col(table.lease_until).is_(None), col(table.lease_until) < now),
            or_(col(table.not_before).is_(None), col(table.not_before) <= now),
            col(table.attempts) < max_attempts,
        )
        .values(
            state=stage.running,
            token=col(table.token) + 1,
            attempts=col(table.attempts) + 1,
            lease_until=now + timedelta(seconds=lease_s),
        )
        .returning(col(table.token), col(table.attempts))
        .execution_options(synchronize_session=False)
    )
    if table is SpanWork:  # a span of a job that failed or was deleted is nobody's work any more
        statement = statement.where(
            exists().where(col(Job.id) == col(SpanWork.job_id), col(Job.state) == JobState.ANALYZING.value)
        )
    row = session.exec(statement).one_or_none()
    if row is None:
        return None
    outbox.postpone(session, task, target_id, now + timedelta(seconds=lease_s))
    return Claim(task, target_id, token=row.token, attempt=row.attempts)


def renew(session: Session, held: Claim, lease_s: float) -> None:
    """Push the lease on. Raises `LeaseLost` when the claim is not the newest any more or the work has ended."""
    stage = STAGES[held.task]
    table = stage.table
    until = clock(session) + timedelta(seconds=lease_s)
    renewed = session.exec(
        update(table)
        .where(col(table.id) == held.target_id, col(table.token) == held.token, col(table.state) == stage.running)
        .values(lease_until=until)
    )
    if renewed.rowcount != 1:
        raise LeaseLost(f"{held.task} {held.target_id} is somebody else's now")
    outbox.postpone(session, held.task, held.target_id, until)


def hold(session: Session, held: Claim, table: type[U]) -> U:
    """The claimed row, locked until the transaction ends. Raises `LeaseLost` when a newer claim exists."""
    row = session.get(table, held.target_id, with_for_update=True, populate_existing=True)
    if row is None or row.token != held.token or row.state != STAGES[held.task].running:
        raise LeaseLost(f"{held.task} {held.target_id} is somebody else's now")
    return row


@contextmanager
def heartbeat(database: Database, held: Claim, lease_s: float) -> Iterator[threading.Event]:
    """Renew the lease three times as often as it ends while the block runs. The event is set once the lease is lost."""
    done, lost = threading.Event(), threading.Event()

    def beat() -> None:
        every_s = lease_s / 3
        for _ in range(int(MAX_WORK_S / every_s) + 1):
            if done.wait(every_s):
                return
            try:
                with database.write() as session:
                    renew(session, held, lease_s)
            except LeaseLost:
                lost.set()
                return
            except SQLAlchemyError as exc:  # the database may be back for the next beat, before the lease ends
                log.warning("heartbeat.missed", task=held.task, target=held.target_id, error=type(exc).__name__)
        log.error("heartbeat.gave_up", task=held.task, target=held.target_id, after_s=MAX_WORK_S)

    thread = threading.Thread(target=beat, name=f"heartbeat-{held.target_id}", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()
