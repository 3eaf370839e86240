"""Who works on what: a claim is a lease on a row and a token that fences off everybody who held it before.

    claim()        one UPDATE; whoever changes the row wins, the token grows, the attempt is counted
    claim_next()   the same for whichever unit is the most urgent
    renew()        the heartbeat: the lease is pushed on while the work goes on
    hold()         first line of every transaction that saves: the row, locked, if the claim is still the newest

Knows rows and leases, not what the work is. Each claim also keeps the unit's outbox row due when the lease ends,
so that a worker that dies is replaced without anybody noticing it died.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final, TypeVar

import structlog
from sqlalchemy import ColumnElement, Select, bindparam, exists, or_, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import Session, col, select

from vidlm.domain import JobState, WorkState
from vidlm.errors import LeaseLost
from vidlm.jobs import events, outbox
from vidlm.queue import Task
from vidlm.store.backfill import BackfillWork
from vidlm.store.columns import UtcDateTime
from vidlm.store.engine import Database, clock
from vidlm.store.hooks import Delivery
from vidlm.store.tables import Claimable, Job, Question, SpanWork

log = structlog.get_logger(__name__)

MAX_WORK_S: Final = 3600.0
"""A heartbeat stops after this long: work that hangs loses its lease like work that died."""

LOOK_EVERY_S: Final = 2.0
"""How often a heartbeat looks, between two renewals, whether its work is still wanted."""

WEBHOOK_ATTEMPTS: Final = 9
"""A receiver that is away for a day is still told (`vidlm.jobs.deliveries`)."""

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
    Task.BACKFILL: Stage(BackfillWork, WorkState.WAITING.value, WorkState.RUNNING.value),
    Task.DELIVER: Stage(Delivery, WorkState.WAITING.value, WorkState.RUNNING.value),
}


def attempts_of(task: Task, usual: int) -> int:
    """How often a unit of `task` is tried at most."""
    return WEBHOOK_ATTEMPTS if task is Task.DELIVER else usual


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one row until its lease ends. `attempt` counts from 1."""

    task: Task
    target_id: str
    token: int
    attempt: int


def claim(session: Session, task: Task, target_id: str, *, lease_s: float, max_attempts: int) -> Claim | None:
    """Claim the row, or None: gone, finished, held by another, not due yet, or out of attempts."""
    now = clock(session)
    known = {"target": target_id, "now": now, "until": now + timedelta(seconds=lease_s), "most": max_attempts}
    row = session.execute(_claiming(task), known).one_or_none()
    if row is None:
        return None
    outbox.postpone(session, task, target_id, now + timedelta(seconds=lease_s))
    if task is Task.PREPARE:
        job = session.get_one(Job, target_id, populate_existing=True)
        job.started_at, job.prepared_share = job.started_at or now, 0.0
        events.state_told(session, job)
    return Claim(task, target_id, token=row.token, attempt=row.attempts)


@cache
def _claiming(task: Task) -> ReturningUpdate[int, int]:
    """One UPDATE a task, made once: making it takes longer than running it, and on SQLite all other writers wait."""
    stage = STAGES[task]
    table = stage.table
    now = bindparam("now", type_=UtcDateTime)
    statement = (
        update(table)
        .where(
            col(table.id) == bindparam("target"),
            col(table.state).in_({stage.waiting, stage.running}),
            or_(col(table.lease_until).is_(None), col(table.lease_until) < now),
            or_(col(table.not_before).is_(None), col(table.not_before) <= now),
            col(table.attempts) < bindparam("most"),
        )
        .values(
            state=stage.running,
            token=col(table.token) + 1,
            attempts=col(table.attempts) + 1,
            lease_until=bindparam("until", type_=UtcDateTime),
        )
    )
    if table is SpanWork:
        statement = statement.where(_job_is_analyzed())
    returning = statement.returning(col(table.token), col(table.attempts))
    return returning.execution_options(synchronize_session=False)


def claim_next(
    session: Session, tasks: Sequence[Task], *, lease_s: float, max_attempts: int, woken: bool = False
) -> Claim | None:
    """Claim the most urgent unit of any of `tasks` (`vidlm.jobs.turns`), or None where nothing is to be done.

    Of units that are equally urgent, those of the task named first go first. `woken`: a wake-up led here. If the unit
    taken is one whose own was not sent yet, and now never will be, some other unit goes short: one is owed anew.
    """
    known = {"now": clock(session), "most": max_attempts}
    heads = [
        (head.priority, number, head.turn, head.id, task)
        for number, task in enumerate(tasks)
        for query in _heads(task)
        for head in session.execute(query, known)
    ]
    for _, _, _, target_id, task in sorted(heads):
        has_wakeup = outbox.is_sent(session, task, target_id)
        held = claim(session, task, target_id, lease_s=lease_s, max_attempts=max_attempts)
        if held is not None:
            if woken and not has_wakeup:
                outbox.owe_again(session, tasks)
            return held
    return None


@cache
def _heads(task: Task) -> tuple[Select[str, int, int], ...]:
    """Find the first unit in line, and the first whose worker was lost; none that another worker is just claiming."""
    stage = STAGES[task]
    table = stage.table
    now = bindparam("now", type_=UtcDateTime)
    runnable = (
        (
            col(table.state) == stage.waiting,
            col(table.lease_until).is_(None),
            or_(col(table.not_before).is_(None), col(table.not_before) <= now),
        ),
        (col(table.state) == stage.running, col(table.lease_until) < now),
    )
    found = []
    for where in runnable:
        query = select(table.id, table.priority, table.turn).where(*where, col(table.attempts) < bindparam("most"))
        if table is SpanWork:
            query = query.where(_job_is_analyzed())
        first = query.order_by(col(table.priority), col(table.turn), col(table.id)).limit(1)
        found.append(first.with_for_update(skip_locked=True, of=table))
    return tuple(found)


def _job_is_analyzed() -> ColumnElement[bool]:
    """A span of a job that failed or was deleted is nobody's work any more."""
    return exists().where(col(Job.id) == col(SpanWork.job_id), col(Job.state) == JobState.ANALYZING.value)


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


def call_off(session: Session, table: type[Claimable], which: ColumnElement[bool]) -> None:
    """Those units of `table` (spans, questions, deliveries, ...) that are still open are nobody's work any more:
    cancelled, owed to nobody, and whoever is at one of them is fenced off."""
    open_states = (WorkState.WAITING.value, WorkState.RUNNING.value)
    called_off = session.exec(
        update(table)
        .where(which, col(table.state).in_(open_states))
        .values(state=WorkState.CANCELLED.value, token=col(table.token) + 1, lease_until=None, not_before=None)
        .returning(col(table.id))
        .execution_options(synchronize_session=False)
    ).all()
    outbox.settle_all(session, [row.id for row in called_off])


def check(session: Session, held: Claim) -> None:
    """Raises `LeaseLost` when the claim is not the newest any more or the work has ended; changes nothing."""
    stage = STAGES[held.task]
    table = stage.table
    ours = (col(table.id) == held.target_id, col(table.token) == held.token, col(table.state) == stage.running)
    if session.exec(select(table.id).where(*ours)).first() is None:
        raise LeaseLost(f"{held.task} {held.target_id} is nobody's now, or somebody else's")


def hold(session: Session, held: Claim, table: type[U]) -> U:
    """The claimed row, locked until the transaction ends. Raises `LeaseLost` when a newer claim exists."""
    row = session.get(table, held.target_id, with_for_update=True, populate_existing=True)
    if row is None or row.token != held.token or row.state != STAGES[held.task].running:
        raise LeaseLost(f"{held.task} {held.target_id} is somebody else's now")
    return row


@contextmanager
def heartbeat(database: Database, held: Claim, lease_s: float) -> Iterator[threading.Event]:
    """Renew the lease three times as often as it ends while the block runs. The event is set once the lease is lost,
    or `LOOK_EVERY_S` after nobody wants the work any more."""
    done, lost = threading.Event(), threading.Event()

    def beat() -> None:
        renewed_s = begun_s = time.monotonic()
        while time.monotonic() - begun_s < MAX_WORK_S:
            if done.wait(min(LOOK_EVERY_S, lease_s / 3)):
                return
            try:
                if time.monotonic() - renewed_s >= lease_s / 3 - 0.01:
                    with database.write() as session:
                        renew(session, held, lease_s)
                    renewed_s = time.monotonic()
                else:
                    with database.read() as session:
                        check(session, held)
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
