"""How the service stands, asked of its database: what waits, what is worked on, by whom, and what went wrong.

Knows rows, and how long the broker's queues are. Asks neither the API nor a worker, so it answers while they are down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import redis
from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, exists, func
from sqlmodel import Session, col, select

from vidlm.domain import JobState, WorkState
from vidlm.jobs import presence
from vidlm.jobs.claims import STAGES
from vidlm.operate import Disk
from vidlm.queue import CONSUME_ORDER, Queue, Task, tasks_of, waiting
from vidlm.store.backfill import BackfillWork
from vidlm.store.engine import Database, clock
from vidlm.store.hooks import Delivery, DeliveryAttempt
from vidlm.store.ledger import Event, Outbox, Worker
from vidlm.store.tables import Claimable, Job, Question, SpanWork

LATELY_S: Final = 24 * 3600.0
_MOST: Final = 100
_ENDS: Final = (JobState.FAILED.value, JobState.REJECTED.value, JobState.EXPIRED.value)


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue, in units of work.

    waiting: could be worked on now; `oldest_s`: how long the first of them could have been.  running: a worker holds
    them.  later: wait for their next attempt.  in_broker: wake-ups there; None where it cannot be asked.
    """

    queue: Queue
    waiting: int
    oldest_s: float | None
    running: int
    later: int
    in_broker: int | None
    workers: int


@dataclass(frozen=True, slots=True)
class Running:
    """A unit that a worker holds. `worker` ("host:pid") and `for_s` are known once that worker has said so."""

    task: Task
    target_id: str
    tenant_id: str
    video_id: str
    worker: str | None
    for_s: float | None
    attempt: int
    prepared_share: float
    spans_done: int
    spans_total: int


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """A worker process. One that is not `fresh` has not been heard of for too long: it died, or its machine did."""

    host: str
    pid: int
    queues: tuple[str, ...]
    heard_s: float
    fresh: bool
    task: str | None
    for_s: float | None


@dataclass(frozen=True, slots=True)
class Failures:
    """Jobs that ended alike lately."""

    state: str
    code: str
    jobs: int
    last_s: float


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Deliveries: those still to be made, and those given up within `LATELY_S`."""

    waiting: int
    failed: int


@dataclass(frozen=True, slots=True)
class Overview:
    """How everything stands at `at`. `broker`: whether it answers; None where none is named or to be seen."""

    at: datetime
    database: str
    broker: bool | None
    jobs: dict[str, int]
    queues: tuple[QueueLine, ...]
    running: tuple[Running, ...]
    workers: tuple[WorkerLine, ...]
    failures: tuple[Failures, ...]
    webhooks: Webhooks
    disk: Disk | None


def survey(
    database: Database, broker: redis.Redis | None, disk: Disk | None, *, tenant_id: str | None = None
) -> Overview:
    """Everything at once. Raises SQLAlchemy's errors while the database is away.

    `tenant_id`: for somebody of that tenant, who sees its jobs, units at work, failures and webhooks alone. Queues,
    workers and the disk are everybody's.
    """
    lengths = {queue: _length(broker, queue) for queue in CONSUME_ORDER}
    with database.read() as session:
        now = clock(session)
        rows = session.exec(select(Worker).order_by(col(Worker.id))).all()
        running = _running(session, now, rows)
        workers = tuple(_worker_line(row, now) for row in rows)
        return Overview(
            at=now,
            database=session.get_bind().dialect.name,
            broker=None if broker is None else None not in lengths.values(),
            jobs=_jobs(session, tenant_id),
            queues=_queues(session, now, running, workers, lengths),
            running=tuple(unit for unit in running if tenant_id in (None, unit.tenant_id)),
            workers=workers,
            failures=failures(session, now, tenant_id=tenant_id),
            webhooks=_webhooks(session, now, tenant_id),
            disk=disk,
        )


def _length(broker: redis.Redis | None, queue: Queue) -> int | None:
    try:
        return None if broker is None else waiting(broker, queue)
    except RedisError:
        return None


def _jobs(session: Session, tenant_id: str | None) -> dict[str, int]:
    query = select(Job.state, func.count()).where(*_of(Job.tenant_id, tenant_id))
    counted = dict(session.exec(query.group_by(Job.state)).all())
    return {state.value: counted[state.value] for state in JobState if state.value in counted}


def _queues(
    session: Session,
    now: datetime,
    running: Sequence[Running],
    workers: Sequence[WorkerLine],
    lengths: dict[Queue, int | None],
) -> tuple[QueueLine, ...]:
    """From the outbox: it holds one row for every unit that still wants a worker, due since it could have one."""
    counted = select(Outbox.task, func.count(), func.min(Outbox.due_at)).group_by(Outbox.task)
    owed = {task: count for task, count, _ in session.exec(counted).all()}
    due = {task: (count, oldest) for task, count, oldest in session.exec(counted.where(Outbox.due_at <= now)).all()}
    lines = []
    for queue in (*CONSUME_ORDER, Queue.WEBHOOK):
        tasks = [task.value for task in tasks_of(queue)]
        waits = sum(due[task][0] for task in tasks if task in due)
        oldest = min((due[task][1] for task in tasks if task in due), default=None)
        held = sum(unit.task.queue is queue for unit in running)
        line = QueueLine(
            queue=queue,
            waiting=waits,
            oldest_s=None if oldest is None else (now - oldest).total_seconds(),
            running=held,
            later=max(0, sum(owed.get(task, 0) for task in tasks) - waits - held),
            in_broker=lengths.get(queue),
            workers=sum(worker.fresh and queue.value in worker.queues for worker in workers),
        )
        lines.append(line)
    return tuple(lines)


def _running(session: Session, now: datetime, workers: Sequence[Worker]) -> tuple[Running, ...]:
    holders = {(worker.task, worker.target_id): worker for worker in workers}
    found = []
    for task, stage in STAGES.items():
        table = stage.table
        held = (col(table.state) == stage.running, col(table.lease_until) >= now)
        for unit in session.exec(select(table).where(*held).order_by(col(table.id)).limit(_MOST)).all():
            worker = holders.get((task.value, unit.id))
            job = _job_of(session, unit)
            line = Running(
                task=task,
                target_id=unit.id,
                tenant_id=unit.tenant_id,
                video_id=_video_of(session, unit, job),
                worker=f"{worker.host}:{worker.pid}" if worker else None,
                for_s=(now - worker.task_since).total_seconds() if worker and worker.task_since else None,
                attempt=unit.attempts,
                prepared_share=job.prepared_share if job else 0.0,
                spans_done=job.spans_done if job else 0,
                spans_total=job.spans_total if job else 0,
            )
            found.append(line)
    return tuple(found)


def _job_of(session: Session, unit: Claimable) -> Job | None:
    if isinstance(unit, SpanWork):
        return session.get_one(Job, unit.job_id)
    return unit if isinstance(unit, Job) else None


def _video_of(session: Session, unit: Claimable, job: Job | None) -> str:
    if isinstance(unit, Question | BackfillWork):
        return unit.video_id
    if isinstance(unit, Delivery):
        return session.get_one(Event, unit.event_id).video_id
    return job.video_id if job else ""


def _worker_line(row: Worker, now: datetime) -> WorkerLine:
    heard_s = (now - row.seen_at).total_seconds()
    return WorkerLine(
        host=row.host,
        pid=row.pid,
        queues=tuple(row.queues),
        heard_s=heard_s,
        fresh=heard_s <= presence.FRESH_S,
        task=row.task,
        for_s=(now - row.task_since).total_seconds() if row.task_since else None,
    )


def failures(
    session: Session, now: datetime, *, lately_s: float = LATELY_S, tenant_id: str | None = None
) -> tuple[Failures, ...]:
    """Jobs that ended badly within so many seconds, the most frequent end first."""
    since = now - timedelta(seconds=lately_s)
    ended = (col(Job.state).in_(_ENDS), col(Job.finished_at) >= since, *_of(Job.tenant_id, tenant_id))
    rows = session.exec(
        select(Job.state, Job.error_code, func.count(), func.max(Job.finished_at))
        .where(*ended)
        .group_by(col(Job.state), col(Job.error_code))
        .order_by(func.count().desc(), col(Job.state), col(Job.error_code))
    ).all()
    return tuple(
        Failures(state, code or "", count, (now - last).total_seconds()) for state, code, count, last in rows if last
    )


def _webhooks(session: Session, now: datetime, tenant_id: str | None) -> Webhooks:
    since = now - timedelta(seconds=LATELY_S)
    lately = exists().where(col(DeliveryAttempt.delivery_id) == col(Delivery.id), col(DeliveryAttempt.at) >= since)
    count = select(func.count()).select_from(Delivery).where(*_of(Delivery.tenant_id, tenant_id))
    still = col(Delivery.state).in_((WorkState.WAITING.value, WorkState.RUNNING.value))
    given_up = col(Delivery.state) == WorkState.FAILED.value
    return Webhooks(session.exec(count.where(still)).one(), session.exec(count.where(given_up, lately)).one())


def _of(column: str, tenant_id: str | None) -> list[ColumnElement[bool]]:
    """That a row is the tenant's, if it is asked for."""
    return [] if tenant_id is None else [col(column) == tenant_id]
