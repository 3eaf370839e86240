"""Loops that run beside each other in one process until it is told to stop, whatever is away meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

BROKER_ERRORS: Final = (KombuError, RedisError, OSError)
OUTAGES: Final = (SQLAlchemyError, *BROKER_ERRORS)
"""What a loop waits out."""

PATIENCE_S: Final = 1.0
"""Between attempts while the broker or the database is away."""


def keep_doing(name: str, step: Callable[[], float], stop: threading.Event) -> None:
    """Call `step`, which says how many seconds to wait before the next call, until `stop` is set."""
    away, pause_s = False, 0.0
    while not stop.wait(pause_s):
        try:
            pause_s, away = step(), False
        except OUTAGES as exc:
            if not away:  # said once, not every second of an outage
                log.warning("loop.waiting", loop=name, error=f"{type(exc).__name__}: {exc}")
            away, pause_s = True, PATIENCE_S
