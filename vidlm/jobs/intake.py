"""How a file comes in: at once, or bit by bit. Each step is called inside ONE transaction, which the caller commits.

accept                      a stored file becomes a video, its job and a wake-up
begin_upload -> uploaded    the same for a file whose bytes arrive over several requests
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from vidlm.domain import PIPELINE_VERSION, JobState, Priority
from vidlm.jobs import events, outbox, turns
from vidlm.queue import Task
from vidlm.store.blobs import StoredBlob
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.tables import Job, Video


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an uploader may say besides the bytes.

    `language`: BCP 47, of what is said or written in it. `deadline_s`: seconds from now after which the result is of
    no use. `webhook_url`: told of what happens to this video, beside the registered endpoints.
    """

    filename: str = ""
    client_id: str | None = None
    language: str | None = None
    priority: Priority = Priority.NORMAL
    deadline_s: float | None = None
    webhook_url: str | None = None


NO_WISHES: Final = Wishes()


def accept(
    session: Session, *, video_id: str, tenant_id: str, actor: str, blob: StoredBlob, wishes: Wishes = NO_WISHES
) -> Job:
    """A stored upload becomes a video, a job and a wake-up; after the commit it can be answered 202."""
    video = _video(video_id, tenant_id, wishes, blob.size_bytes)
    video.sha256, video.blob = blob.sha256, blob.key
    job = _enter(session, video, wishes, JobState.QUEUED)
    audit(session, tenant_id=tenant_id, actor=actor, event="video.accepted", target_id=video_id)
    return job


def begin_upload(
    session: Session,
    *,
    video_id: str,
    tenant_id: str,
    actor: str,
    size_bytes: int,
    patience_s: float,
    wishes: Wishes = NO_WISHES,
) -> Job:
    """A video whose bytes are still to come: it expires unless all are here in `patience_s`.

    What is wished for as `deadline_s` begins with the last byte, and is to be given to `uploaded` then.
    """
    video = _video(video_id, tenant_id, wishes, size_bytes)
    job = _enter(session, video, wishes, JobState.UPLOADING)
    job.deadline_at = clock(session) + timedelta(seconds=patience_s)
    audit(session, tenant_id=tenant_id, actor=actor, event="upload.begun", target_id=video_id)
    return job


def uploaded(session: Session, job: Job, *, actor: str, blob: StoredBlob, deadline_s: float | None) -> None:
    """All bytes are here and stored. The caller holds the job's lock and has seen that it is `uploading`."""
    video = session.get_one(Video, job.video_id)
    video.sha256, video.size_bytes, video.blob = blob.sha256, blob.size_bytes, blob.key
    job.deadline_at = None if deadline_s is None else clock(session) + timedelta(seconds=deadline_s)
    audit(session, tenant_id=job.tenant_id, actor=actor, event="video.accepted", target_id=job.video_id)
    events.moved(session, job, JobState.QUEUED)
    _queue(session, job)


def _video(video_id: str, tenant_id: str, wishes: Wishes, size_bytes: int) -> Video:
    return Video(
        id=video_id,
        tenant_id=tenant_id,
        client_id=wishes.client_id,
        language=wishes.language,
        filename=wishes.filename,
        sha256="",
        size_bytes=size_bytes,
    )


def _enter(session: Session, video: Video, wishes: Wishes, state: JobState) -> Job:
    session.add(video)
    session.flush()
    deadline_at = None if wishes.deadline_s is None else clock(session) + timedelta(seconds=wishes.deadline_s)
    job = Job(
        tenant_id=video.tenant_id,
        video_id=video.id,
        pipeline_version=PIPELINE_VERSION,
        state=state.value,
        priority=wishes.priority.rank,
        deadline_at=deadline_at,
        webhook_url=wishes.webhook_url,
    )
    if state is JobState.QUEUED:
        _queue(session, job)  # before it stands in the line itself, so that nothing is written twice
    session.add(job)
    events.state_told(session, job)
    return job


def _queue(session: Session, job: Job) -> None:
    job.turn = turns.next_turn(session, Job, (JobState.QUEUED.value,), job.tenant_id, job.priority)
    outbox.owe(session, Task.PREPARE, job.id, job.tenant_id)
