"""The relay: sends the wake-ups that SQL owes to the broker. Any number may run; each takes different ones."""

from __future__ import annotations

import threading
from typing import Final

from celery import Celery

from vidlm import crash
from vidlm.jobs import outbox
from vidlm.queue import wake
from vidlm.store.engine import Database
from workers.loops import BROKER_ERRORS, keep_doing

PAUSE_S: Final = 0.1
"""Between two looks while nothing is owed; each costs one indexed read."""


def relay_once(database: Database, app: Celery) -> int:
    """Send what is due, up to a batch; how many were sent. Raises one of `BROKER_ERRORS`, and then they stay owed."""
    with database.read() as session:
        if not outbox.any_due(session):
            return 0
    with database.write() as session:
        due = outbox.take_due(session)
    crash.point("relay.taken")
    for index, item in enumerate(due):
        try:
            wake(app, item.task, item.target_id)
        except BROKER_ERRORS:
            with database.write() as session:
                outbox.take_back(session, due[index:])
            raise
    crash.point("relay.sent")
    return len(due)


def run_relay(database: Database, app: Celery, stop: threading.Event) -> None:
    """Send wake-ups as they fall due, until `stop` is set."""
    keep_doing("relay", lambda: 0.0 if relay_once(database, app) else PAUSE_S, stop)
