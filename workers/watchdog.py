"""What watches over a worker process from beside its work: says that it is there, and ends it when it stops listening.

A consumer can lose its broker without noticing. The sign: we are idle, yet wake-ups for our queues have waited long.
Whoever supervises the process starts a fresh one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from vidlm.jobs import outbox, presence
from vidlm.queue import Queue
from workers.runtime import Runtime

log = structlog.get_logger(__name__)

SILENCE_S: Final = 90.0
EXIT_STATUS: Final = 75  # EX_TEMPFAIL


@contextmanager
def watched(runtime: Runtime, queues: Sequence[Queue], silence_s: float = SILENCE_S) -> Iterator[None]:
    """While the block runs, this process is known to take work from `queues`, and ended where it does not."""
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(runtime, queues, silence_s, done), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def is_stuck(runtime: Runtime, queues: Sequence[Queue], silence_s: float) -> bool:
    """Idle for `silence_s` while a wake-up for one of `queues` has waited at least as long."""
    if runtime.busy or time.monotonic() - runtime.last_active_s < silence_s:
        return False
    try:
        with runtime.database.read() as session:
            return outbox.waits_since(session, queues, silence_s)
    except SQLAlchemyError:
        return False  # without the database nobody has anything to do


def _watch(runtime: Runtime, queues: Sequence[Queue], silence_s: float, done: threading.Event) -> None:
    worker_id: str | None = None
    looked_s = time.monotonic()
    while True:
        with suppress(SQLAlchemyError):  # nobody can hear us; the next time is soon
            worker_id = _say(runtime, queues, worker_id)
        if done.wait(presence.SAY_EVERY_S):
            break
        if time.monotonic() - looked_s >= silence_s / 6:
            looked_s = time.monotonic()
            if is_stuck(runtime, queues, silence_s):
                log.error("watchdog.stuck", queues=[queue.value for queue in queues])
                os._exit(EXIT_STATUS)  # the main thread is the one that hangs
    if worker_id is not None:
        with suppress(SQLAlchemyError), runtime.database.write() as session:
            presence.leave(session, worker_id)


def _say(runtime: Runtime, queues: Sequence[Queue], worker_id: str | None) -> str:
    held = runtime.at
    task, target_id = (held.task.value, held.target_id) if held is not None else (None, None)
    with runtime.database.write() as session:
        if worker_id is not None and presence.say(session, worker_id, task, target_id):
            return worker_id
        return presence.arrive(session, queues)
