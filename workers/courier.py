"""The courier: sends the webhooks that SQL owes. Any number may run; each delivery is one courier's at a time.

    claim a delivery -> POST it, outside any transaction -> settle it under the claim

At least once: a courier that dies is replaced when its lease ends, and what it may have sent is sent again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import structlog

from vidlm import outward
from vidlm.config import Settings
from vidlm.errors import LeaseLost
from vidlm.jobs import deliveries
from vidlm.jobs.claims import Claim
from vidlm.jobs.deliveries import Message
from vidlm.store.engine import Database
from workers.loops import OUTAGES, keep_doing

log = structlog.get_logger(__name__)

THREADS: Final = 8
POLL_S: Final = 0.2
"""Between two looks for what is due; each costs one indexed read."""

LEASE_S: Final = 3 * outward.DEADLINE_S
"""No attempt outlives its lease, so nobody needs to renew it."""


class Courier:
    """Deliveries on their way, a few at a time, and no more to one address than it may hold up."""

    def __init__(self, database: Database, settings: Settings, pool: ThreadPoolExecutor, threads: int) -> None:
        self._database, self._settings, self._pool, self._threads = database, settings, pool, threads
        self._under_way: dict[Future[str], str] = {}

    def begin_due(self) -> int:
        """Begin what is due, as far as there is room; how many are on their way now."""
        self._under_way = {task: address for task, address in self._under_way.items() if not task.done()}
        room = self._threads - len(self._under_way)
        if room > 0:
            with self._database.read() as session:
                due = deliveries.next_due(session, room, Counter(self._under_way.values()))
            if due:
                with self._database.write() as session:
                    due = deliveries.take(session, due)
            for item in due:
                task = self._pool.submit(_survive, self._database, self._settings, item.delivery_id)
                self._under_way[task] = item.address
        return len(self._under_way)

    def wait(self, seconds: float) -> None:
        """Until one delivery has ended, and no longer than so."""
        wait(self._under_way, timeout=seconds, return_when=FIRST_COMPLETED)


def run_courier(database: Database, settings: Settings, stop: threading.Event, *, threads: int = THREADS) -> None:
    """Send what falls due until `stop` is set; what is on its way then is brought to its end."""
    with ThreadPoolExecutor(threads, thread_name_prefix="courier") as pool:
        courier = Courier(database, settings, pool, threads)

        def step() -> float:
            if courier.begin_due() == 0:
                return POLL_S
            courier.wait(POLL_S)
            return 0.0

        keep_doing("courier", step, stop)


def courier_once(database: Database, settings: Settings, *, threads: int = THREADS) -> None:
    """Send what is due now, and what falls due meanwhile."""
    with ThreadPoolExecutor(threads, thread_name_prefix="courier") as pool:
        courier = Courier(database, settings, pool, threads)
        while courier.begin_due():
            courier.wait(POLL_S)


def deliver(database: Database, settings: Settings, delivery_id: str) -> str:
    """One attempt: "delivered", "waiting" (for the next one), "failed", "skipped" (not to be sent now), "lost"."""
    with database.write() as session:
        begun = deliveries.begin(session, delivery_id, lease_s=max(settings.lease_s, LEASE_S))
    if begun is None:
        return "skipped"
    held, message = begun
    told = log.bind(delivery=delivery_id, message=message.id, attempt=held.attempt)
    status, error, seconds = _send(message, private=settings.webhook_private)
    try:
        became = _settle(database, held, status, error, seconds)
    except LeaseLost:
        told.warning("webhook.lost", status=status)
        return "lost"
    told.info(f"webhook.{became}", status=status, error=error.code if error else None, seconds=seconds)
    return became


def _send(message: Message, *, private: bool) -> tuple[int | None, outward.OutwardError | None, float]:
    """The status, or the error that came instead, and how many seconds it took."""
    began_s = time.monotonic()
    status, error = None, None
    try:
        status = outward.post(message.url, message.body, message.headers(time.time()), private=private)
    except outward.OutwardError as exc:
        error = exc
    return status, error, round(time.monotonic() - began_s, 3)


def _settle(
    database: Database, held: Claim, status: int | None, error: outward.OutwardError | None, seconds: float
) -> str:
    with database.write() as session:
        if status is not None and 200 <= status < 300:
            deliveries.delivered(session, held, status=status, seconds=seconds)
            return "delivered"
        return deliveries.refused(session, held, seconds=seconds, status=status, error=error)


def _survive(database: Database, settings: Settings, delivery_id: str) -> str:
    """An attempt whose failure, whatever it is, costs this delivery its attempt and nothing else."""
    try:
        return deliver(database, settings, delivery_id)
    except OUTAGES as exc:
        log.warning("webhook.not_settled", delivery=delivery_id, error=type(exc).__name__)
    except Exception:  # one message that cannot be sent must not end the courier
        log.exception("webhook.broken", delivery=delivery_id)
    return "lost"
