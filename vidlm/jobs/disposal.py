"""Takes files away: of videos that were deleted, and what is older than it may become. Knows rows and blobs.

The rows say first that something is gone, or are locked while it goes; a crash in between leaves a file that the next
round takes. Bytes that several videos share go with the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from vidlm.config import Settings
from vidlm.errors import ConflictError
from vidlm.jobs import control, outbox
from vidlm.jobs.states import OPEN
from vidlm.store.blobs import BlobStore, tokens_root, work_root
from vidlm.store.engine import Database, clock, lock_key
from vidlm.store.tables import Job, Video

RETENTION: Final = "retention"
"""The actor of what is deleted because of its age."""


@dataclass(frozen=True, slots=True)
class Ages:
    """Seconds after a job's end until something of its video goes; None keeps it for ever."""

    originals_s: float | None = None
    proxies_s: float | None = None
    tokens_s: float | None = None
    results_s: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Ages:
        return cls(
            originals_s=settings.keep_originals_s,
            proxies_s=settings.keep_proxies_s,
            tokens_s=settings.keep_tokens_s,
            results_s=settings.keep_results_s,
        )


def dispose(database: Database, blobs: BlobStore, video_id: str, *, final: bool = False) -> bool:
    """Take away every file of a deleted video; whether none is left. `final`: nobody can be writing any more."""
    with database.write() as session:
        video = session.get_one(Video, video_id)
        job_id = session.exec(select(Job.id).where(Job.video_id == video_id)).one()
        gone = _drop_blob(session, blobs, video)
        gone &= blobs.remove(work_root(job_id), *([tokens_root(video.sha256)] if video.sha256 else []))
        gone &= blobs.remove_partial(video_id)
        if gone and final:
            video.purged_at = clock(session)
    return gone


def unpurged(session: Session, *, quiet_s: float) -> Sequence[str]:
    """Videos deleted `quiet_s` ago or earlier whose files nobody has seen gone.

    The delay lets a worker that was at work lose its lease first, so that nothing it still writes is left behind.
    """
    before = clock(session) - timedelta(seconds=quiet_s)
    query = select(Video.id).where(col(Video.purged_at).is_(None), col(Video.deleted_at) < before)
    return session.exec(query.limit(outbox.BATCH)).all()


def remove_unknown(database: Database, blobs: BlobStore, *, older_than_s: float) -> int:
    """Remove files that a process stored and died before it could say whose; how many there were."""
    return sum(remove_if_unknown(database, blobs, key) for key in blobs.keys(older_than_s=older_than_s))


def remove_if_unknown(database: Database, blobs: BlobStore, key: str) -> bool:
    """Remove a file that no row speaks of; whether it was so. Without a database it stays for a later round."""
    try:
        with database.read() as session:
            if _in_use(session, key):
                return False
        with database.write() as session:
            lock_key(session, key)
            return not _in_use(session, key) and blobs.remove(key)
    except SQLAlchemyError:
        return False


def enforce_ages(database: Database, blobs: BlobStore, ages: Ages) -> dict[str, int]:
    """Take away what is too old, up to a batch of each kind: how many originals, proxies, tokens and results went."""
    went = dict.fromkeys(("originals", "proxies", "tokens", "results"), 0)
    if ages.results_s is not None:
        went["results"] = _delete_old(database, blobs, ages.results_s)
    if ages.originals_s is not None:
        went["originals"] = _drop_originals(database, blobs, ages.originals_s)
    if ages.proxies_s is not None:
        went["proxies"] = _drop_proxies(database, blobs, ages.proxies_s)
    if ages.tokens_s is not None:
        with database.read() as session:
            held = set(session.exec(select(Video.sha256).where(col(Video.legal_hold))).all())
        went["tokens"] = blobs.remove_old_tokens(older_than_s=ages.tokens_s, keep=held)
    return went


def _delete_old(database: Database, blobs: BlobStore, age_s: float) -> int:
    with database.read() as session:
        old = session.exec(select(Video.id).join(Job).where(*_ended_before(session, age_s)).limit(outbox.BATCH)).all()
    gone: list[str] = []
    for video_id in old:
        with database.write() as session, suppress(ConflictError):  # held since we looked
            control.deleted(session, session.get_one(Video, video_id), actor=RETENTION)
            gone.append(video_id)
    for video_id in gone:
        dispose(database, blobs, video_id)
    return len(gone)


def _drop_originals(database: Database, blobs: BlobStore, age_s: float) -> int:
    with database.write() as session:
        query = select(Video).join(Job).where(*_ended_before(session, age_s), col(Video.blob).is_not(None))
        videos = session.exec(query.limit(outbox.BATCH).with_for_update(skip_locked=True, of=Video)).all()
        for video in videos:
            _drop_blob(session, blobs, video)
    return len(videos)


def _drop_proxies(database: Database, blobs: BlobStore, age_s: float) -> int:
    with database.write() as session:
        query = select(Job).join(Video).where(*_ended_before(session, age_s), col(Job.work_folder).is_not(None))
        jobs = session.exec(query.limit(outbox.BATCH).with_for_update(skip_locked=True, of=Job)).all()
        for job in jobs:
            job.work_folder = None
            blobs.remove(work_root(job.id))
    return len(jobs)


def _ended_before(session: Session, age_s: float) -> tuple[ColumnElement[bool], ...]:
    """Of videos that are neither deleted nor held: those whose job ended so long ago."""
    before = clock(session) - timedelta(seconds=age_s)
    return (
        col(Video.deleted_at).is_(None),
        col(Video.legal_hold).is_(False),
        col(Job.state).not_in(OPEN),
        col(Job.finished_at) < before,
    )


def _drop_blob(session: Session, blobs: BlobStore, video: Video) -> bool:
    """The video lets go of its bytes, and the last one takes them along; whether they are gone, or somebody else's."""
    key = video.blob
    if key is None:
        return True
    lock_key(session, key)
    video.blob = None
    session.flush()
    return _in_use(session, key) or blobs.remove(key)


def _in_use(session: Session, key: str) -> bool:
    query = select(Video.id).where(Video.blob == key, col(Video.deleted_at).is_(None)).limit(1)
    return session.exec(query).first() is not None
