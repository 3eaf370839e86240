"""The sweeper: what has to be set right now and then. Any number may run; every step may be repeated.

work out of attempts whose worker was lost    -> failed
wake-ups that the broker lost                 -> owed again
files of deleted videos                       -> gone, and seen to be gone
uploads that broke off with their process     -> gone (`remove_unknown_blobs` for those already stored)
"""

from __future__ import annotations

import redis
import structlog
from redis.exceptions import RedisError

from vidlm.config import Settings
from vidlm.jobs import life, outbox
from vidlm.queue import Queue, Task, waiting
from vidlm.store.blobs import BlobStore, blob_key
from vidlm.store.engine import Database
from vidlm.store.tables import Video

log = structlog.get_logger(__name__)


def sweep_once(database: Database, blobs: BlobStore, broker: redis.Redis, settings: Settings) -> None:
    """One round."""
    for task in Task:
        with database.write() as session:
            ended = life.end_exhausted(session, task, max_attempts=settings.max_attempts)
        if ended:
            log.error("sweep.out_of_attempts", task=task.value, targets=ended)
    _resend_lost(database, broker)
    _purge(database, blobs, quiet_s=2 * settings.lease_s)
    blobs.remove_stale_incoming()


def remove_unknown_blobs(database: Database, blobs: BlobStore, *, older_than_s: float = 3600.0) -> int:
    """Remove files that an API process stored and died before it could say whose; how many there were.

    Looks at every file there is, so it is done when a process starts and not every round.
    """
    removed = 0
    for video_id in blobs.ids(older_than_s=older_than_s):
        with database.read() as session:
            known = session.get(Video, video_id) is not None
        if not known:
            blobs.remove(blob_key(video_id))
            removed += 1
    return removed


def _resend_lost(database: Database, broker: redis.Redis) -> None:
    for queue in Queue:
        try:
            length = waiting(broker, queue)
        except RedisError:
            return  # the next round is soon enough
        with database.write() as session:
            lost = outbox.resend_lost(session, queue, length)
        if lost:
            log.warning("sweep.wakeups_lost", queue=queue.value, count=lost)


def _purge(database: Database, blobs: BlobStore, quiet_s: float) -> None:
    with database.read() as session:
        unpurged = life.unpurged(session, quiet_s=quiet_s)
    for video_id, keys in unpurged:
        if blobs.remove(*keys):
            with database.write() as session:
                life.purged(session, video_id)
