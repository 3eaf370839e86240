"""The sweeper: what has to be set right now and then. Any number may run; every step may be repeated.

work out of attempts whose worker was lost    -> failed
jobs whose deadline has passed                -> expired
wake-ups that the broker lost                 -> owed again
flagged videos that nobody was asked about    -> in a queue for review
videos whose words were never written down    -> found by their words, some batches a round
files of deleted videos                       -> gone, and seen to be gone
what is older than it may become              -> gone, unless a legal hold keeps it
uploads that broke off with their process     -> gone
replies to old idempotency keys, workers that have long been silent    -> forgotten
where the audit ends, once an hour            -> anchored outside the database, where a setting says so
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import redis
import structlog
from redis.exceptions import RedisError

from vidlm.audit import anchors
from vidlm.config import Settings
from vidlm.errors import VidlmError
from vidlm.jobs import control, disposal, idempotency, life, outbox, presence, wording
from vidlm.jobs.claims import attempts_of
from vidlm.queue import CONSUME_ORDER, Task, waiting
from vidlm.review import filing
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from workers.loops import OUTAGES, keep_doing

log = structlog.get_logger(__name__)

UNKNOWN_AFTER_S: Final = 3600.0
"""A file that no row speaks of may belong to a transaction that is not over yet."""
WORD_BATCHES: Final = 10
"""Of one round, each a transaction: others get to write in between."""


def run_sweeper(
    database: Database, blobs: BlobStore, broker: redis.Redis | None, settings: Settings, stop: threading.Event
) -> None:
    """A round every `settings.sweep_every_s`, until `stop` is set; first what is done once at a start."""
    with suppress(*OUTAGES):  # it can wait for the next start
        removed = disposal.remove_unknown(database, blobs, older_than_s=UNKNOWN_AFTER_S)
        if removed:
            log.warning("sweep.unknown_files_removed", count=removed)

    def step() -> float:
        sweep_once(database, blobs, broker, settings)
        return settings.sweep_every_s

    keep_doing("sweeper", step, stop)


def sweep_once(database: Database, blobs: BlobStore, broker: redis.Redis | None, settings: Settings) -> None:
    """One round. A step that fails is said and does not keep the others from their turn.

    Without a broker the search for lost wake-ups is left out.
    """
    steps: list[Callable[[], None]] = [
        lambda: _end_exhausted(database, settings),
        lambda: _expire(database, blobs),
        lambda: _resend_lost(database, broker) if broker is not None else None,
        lambda: _file_missing(database),
        lambda: _word_missing(database),
        lambda: _purge(database, blobs, quiet_s=2 * settings.lease_s),
        lambda: _enforce_ages(database, blobs, disposal.Ages.of(settings)),
        lambda: _forget(database, blobs, settings),
        lambda: _anchor(database, settings.audit_anchor) if settings.audit_anchor is not None else None,
        lambda: _send_anchors(database, settings),
    ]
    failed: Exception | None = None
    for step in steps:
        try:
            step()
        except OUTAGES as exc:
            failed = exc
    if failed is not None:
        raise failed


def _end_exhausted(database: Database, settings: Settings) -> None:
    for task in Task:
        attempts = attempts_of(task, settings.max_attempts)
        with database.write() as session:
            ended = life.end_exhausted(session, task, max_attempts=attempts)
        if ended:
            log.error("sweep.out_of_attempts", task=task.value, targets=ended)


def _expire(database: Database, blobs: BlobStore) -> None:
    with database.write() as session:
        expired = control.expire_due(session)
    for video_id in expired:
        blobs.remove_partial(video_id)
    if expired:
        log.warning("sweep.expired", videos=expired)


def _enforce_ages(database: Database, blobs: BlobStore, ages: disposal.Ages) -> None:
    went = disposal.enforce_ages(database, blobs, ages)
    if any(went.values()):
        log.info("sweep.too_old", **went)


def _forget(database: Database, blobs: BlobStore, settings: Settings) -> None:
    blobs.remove_stale_incoming(older_than_s=2 * settings.upload_patience_s)
    with database.write() as session:
        idempotency.forget_old(session)
        presence.forget_silent(session)


def _anchor(database: Database, path: Path) -> None:
    if not anchors.is_due(path):
        return
    try:
        done = anchors.write(database, path)
    except VidlmError as exc:  # a file that cannot be used does not keep the service from its work
        log.error("sweep.audit_not_anchored", code=exc.code, detail=exc.detail)
        return
    if done.went_back:
        log.error("sweep.audit_went_back", tenants=done.went_back)


def _send_anchors(database: Database, settings: Settings) -> None:
    url, mark = settings.audit_anchor_url, settings.data / "run" / "anchors-sent"  # its time says when it was
    if url is None or not anchors.is_due(mark):
        return
    try:
        anchors.send(database, url, private=settings.webhook_private)
    except VidlmError as exc:  # the next round tries again
        log.error("sweep.audit_not_anchored", code=exc.code, detail=exc.detail)
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _resend_lost(database: Database, broker: redis.Redis) -> None:
    for queue in CONSUME_ORDER:
        try:
            length = waiting(broker, queue)
        except RedisError:
            return  # the next round is soon enough
        with database.write() as session:
            lost = outbox.resend_lost(session, queue, length)
        if lost:
            log.warning("sweep.wakeups_lost", queue=queue.value, count=lost)


def _file_missing(database: Database) -> None:
    with database.read() as session:
        if not filing.any_missing(session):
            return
    with database.write() as session:
        count = filing.file_missing(session)
    log.info("sweep.filed_for_review", count=count)


def _word_missing(database: Database) -> None:
    count = 0
    for _ in range(WORD_BATCHES):
        with database.read() as session:
            if not wording.any_missing(session):
                break
        with database.write() as session:
            count += wording.keep_missing(session)
    if count:
        log.info("sweep.worded", count=count)


def _purge(database: Database, blobs: BlobStore, quiet_s: float) -> None:
    with database.read() as session:
        unpurged = disposal.unpurged(session, quiet_s=quiet_s)
    for video_id in unpurged:
        disposal.dispose(database, blobs, video_id, final=True)
