"""Which worker processes there are: each says so every few seconds in a row of its own, and is believed for a while."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import delete
from sqlmodel import Session, col, select

from vidlm.queue import CONSUME_ORDER, Queue
from vidlm.store.engine import clock
from vidlm.store.ledger import Worker

SAY_EVERY_S: Final = 5.0
FRESH_S: Final = 30.0
"""A worker that has not been heard of for so long counts as gone."""
_FORGET_S: Final = 24 * 3600.0


def arrive(session: Session, queues: Sequence[Queue]) -> str:
    """This process takes work from `queues` from now on; the id of its row."""
    now = clock(session)
    worker = Worker(
        host=socket.gethostname(),
        pid=os.getpid(),
        queues=[queue.value for queue in queues],
        started_at=now,
        seen_at=now,
    )
    session.add(worker)
    return worker.id


def say(session: Session, worker_id: str, task: str | None, target_id: str | None) -> bool:
    """It is still there, at this work or at none; False where its row was forgotten."""
    now = clock(session)
    worker = session.get(Worker, worker_id)
    if worker is None:
        return False
    if worker.target_id != target_id:
        worker.task_since = None if target_id is None else now
    worker.task, worker.target_id, worker.seen_at = task, target_id, now
    return True


def leave(session: Session, worker_id: str) -> None:
    """It takes no more work."""
    session.exec(delete(Worker).where(col(Worker.id) == worker_id))


def fresh(session: Session) -> Sequence[Worker]:
    """The workers that were heard of lately, the oldest first."""
    since = clock(session) - timedelta(seconds=FRESH_S)
    return session.exec(select(Worker).where(col(Worker.seen_at) >= since).order_by(col(Worker.id))).all()


def unattended(session: Session) -> list[Queue]:
    """The queues that nobody takes work from."""
    taken = {name for worker in fresh(session) for name in worker.queues}
    return [queue for queue in CONSUME_ORDER if queue.value not in taken]


def forget_silent(session: Session) -> int:
    """Forget workers that died long ago; how many there were."""
    before = clock(session) - timedelta(seconds=_FORGET_S)
    return session.exec(delete(Worker).where(col(Worker.seen_at) < before)).rowcount
