"""Making videos findable: which of a video's texts people search in, and when its words are written down.

    ready, in whatever way   -> its words, in the same transaction
    deleted                  -> none (`control.deleted`)
    ready before there were words, or made by an older version -> the sweeper, a batch at a time

Knows rows and documents; how a text is taken apart stands in `vidlm.store.words`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, delete, insert, literal_column
from sqlmodel import Session, col, select

from vidlm.domain import JobState
from vidlm.store.tables import AnalysisRow, Job, Video
from vidlm.store.words import VideoWord, distinct_words

BATCH: Final = 100


def keep(session: Session, job: Job, document: Mapping[str, Any] | None) -> None:
    """Write down the words of a video whose analysis is `document`. May be repeated; the caller holds the lock."""
    video = session.get_one(Video, job.video_id)
    words = distinct_words(texts_of(video, document))
    session.exec(delete(VideoWord).where(col(VideoWord.video_id) == video.id))
    if words:
        owner = {"tenant_id": video.tenant_id, "video_id": video.id}
        session.execute(insert(VideoWord), [owner | {"word": word} for word in words])
    job.worded = True


def texts_of(video: Video, document: Mapping[str, Any] | None) -> Iterator[str]:
    """What a video is called, what it is summed up as, and what is seen in it, in this order."""
    yield from (name for name in (video.client_id, video.filename) if name)
    if document is None:
        return
    yield document["summary"]["text"]
    yield from (chapter["title"] for chapter in document["summary"]["chapters"])
    yield from (segment["caption"] for segment in document["segments"])


def any_missing(session: Session) -> bool:
    """Whether a video is ready and its words were never written down."""
    return session.exec(select(Job.id).where(*_missing()).limit(1)).first() is not None


def keep_missing(session: Session) -> int:
    """Write those down, of at most `BATCH` videos; of how many."""
    query = select(Job, AnalysisRow.document).outerjoin(AnalysisRow, col(AnalysisRow.job_id) == col(Job.id))
    query = query.where(*_missing()).order_by(col(Job.id)).limit(BATCH).with_for_update(skip_locked=True, of=Job)
    rows = session.exec(query).all()
    for job, document in rows:
        keep(session, job, document)
    return len(rows)


def _missing() -> tuple[ColumnElement[bool], ...]:
    """Said as the index `ix_job_unworded` says it."""
    return col(Job.state) == literal_column(f"'{JobState.READY.value}'"), literal_column("NOT job.worded", Boolean)
