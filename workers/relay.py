"""The relay: sends the wake-ups that SQL owes to the broker. Any number may run; each takes different ones."""

from __future__ import annotations

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from vidlm.jobs import outbox
from vidlm.queue import wake
from vidlm.store.engine import Database

log = structlog.get_logger(__name__)

BROKER_ERRORS = (KombuError, RedisError, OSError)


def relay_once(database: Database, app: Celery) -> int:
    """Send what is due, up to a batch; how many were sent. Raises one of `BROKER_ERRORS`, and then they stay owed."""
    with database.read() as session:
        if not outbox.any_due(session):
            return 0
    with database.write() as session:
        due = outbox.take_due(session)
    for index, item in enumerate(due):
        try:
            wake(app, item.task, item.target_id)
        except BROKER_ERRORS:
            with database.write() as session:
                outbox.take_back(session, due[index:])
            raise
    return len(due)
