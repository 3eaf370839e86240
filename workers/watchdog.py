"""Ends a worker process that has stopped listening, so that whoever supervises it starts a fresh one.

A consumer can lose its broker without noticing. The sign: we are idle, yet wake-ups for our queues have waited long.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from vidlm.jobs import outbox
from vidlm.queue import Queue
from workers.runtime import Runtime

log = structlog.get_logger(__name__)

SILENCE_S: Final = 90.0
EXIT_STATUS: Final = 75  # EX_TEMPFAIL


def start(runtime: Runtime, queues: Sequence[Queue], silence_s: float = SILENCE_S) -> threading.Thread:
    """Watch from a daemon thread for as long as the process lives."""

    def watch() -> None:
        while True:
            time.sleep(silence_s / 6)
            if is_stuck(runtime, queues, silence_s):
                log.error("watchdog.stuck", queues=[queue.value for queue in queues])
                os._exit(EXIT_STATUS)  # the main thread is the one that hangs

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    return thread


def is_stuck(runtime: Runtime, queues: Sequence[Queue], silence_s: float) -> bool:
    """Idle for `silence_s` while a wake-up for one of `queues` has waited at least as long."""
    if runtime.busy or time.monotonic() - runtime.last_active_s < silence_s:
        return False
    try:
        with runtime.database.read() as session:
            return outbox.waits_since(session, queues, silence_s)
    except SQLAlchemyError:
        return False  # without the database nobody has anything to do
