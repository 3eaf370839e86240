"""How a file comes in: at once, or bit by bit. Each step is called inside ONE transaction, which the caller commits.

accept                      a stored file becomes a video, its job and a wake-up
begin_upload -> uploaded    the same for a file whose bytes arrive over several requests
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session

from vidlm.domain import PIPELINE_VERSION, JobState, Priority
from vidlm.jobs import events, outbox, turns
from vidlm.queue import Task
from vidlm.store.blobs import StoredBlob
from vidlm.store.engine import clock
from vidlm.store.ledger import Audit
from vidlm.store.tables import Job, Video


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an uploader may say besides the bytes.

    `deadline_s`: seconds from now after which the result is of no use. `webhook_url`: told of what happens to this
    video, beside the registered endpoints.
    """

    filename: str = ""
    client_id: str | None = None
    priority: Priority = Priority.NORMAL
    deadline_s: float | None = None
    webhook_url: str | None = None


def accept(
    session: Session, *, video_id: str, tenant_id: str, actor: str, blob: StoredBlob, wishes: Wishes | None = None
) -> Job:
    """A stored upload becomes a video, a job and a wake-up; after the commit it can be answered 202."""
    job = _enter(
        session,
        video_id=video_id,
        tenant_id=tenant_id,
        wishes=wishes or Wishes(),
        size_bytes=blob.size_bytes,
        state=JobState.QUEUED,
        blob=blob,
    )
    session.add(Audit(tenant_id=tenant_id, actor=actor, event="video.accepted", target_id=video_id))
    _queue(session, job)
    return job


def begin_upload(
    session: Session,
    *,
    video_id: str,
    tenant_id: str,
    actor: str,
    size_bytes: int,
    patience_s: float,
    wishes: Wishes | None = None,
) -> Job:
    """A video whose bytes are still to come: it expires unless all are here in `patience_s`.

    What is wished for as `deadline_s` begins with the last byte, and is to be given to `uploaded` then.
    """
    job = _enter(
        session,
        video_id=video_id,
        tenant_id=tenant_id,
        wishes=wishes or Wishes(),
        size_bytes=size_bytes,
        state=JobState.UPLOADING,
        blob=None,
    )
    job.deadline_at = clock(session) + timedelta(seconds=patience_s)
    session.add(Audit(tenant_id=tenant_id, actor=actor, event="upload.begun", target_id=video_id))
    return job


def uploaded(session: Session, job: Job, *, actor: str, blob: StoredBlob, deadline_s: float | None) -> None:
    """All bytes are here and stored. The caller holds the job's lock and has seen that it is `uploading`."""
    video = session.get_one(Video, job.video_id)
    video.sha256, video.size_bytes, video.blob = blob.sha256, blob.size_bytes, blob.key
    job.deadline_at = None if deadline_s is None else clock(session) + timedelta(seconds=deadline_s)
    session.add(Audit(tenant_id=job.tenant_id, actor=actor, event="video.accepted", target_id=job.video_id))
    events.moved(session, job, JobState.QUEUED)
    _queue(session, job)


def _enter(
    session: Session,
    *,
    video_id: str,
    tenant_id: str,
    wishes: Wishes,
    size_bytes: int,
    state: JobState,
    blob: StoredBlob | None,
) -> Job:
    session.add(
        Video(
            id=video_id,
            tenant_id=tenant_id,
            client_id=wishes.client_id,
            filename=wishes.filename,
            sha256=blob.sha256 if blob else "",
            size_bytes=size_bytes,
            blob=blob.key if blob else None,
        )
    )
    session.flush()
    deadline_at = None if wishes.deadline_s is None else clock(session) + timedelta(seconds=wishes.deadline_s)
    job = Job(
        tenant_id=tenant_id,
        video_id=video_id,
        pipeline_version=PIPELINE_VERSION,
        state=state.value,
        priority=wishes.priority.rank,
        deadline_at=deadline_at,
        webhook_url=wishes.webhook_url,
    )
    session.add(job)
    events.state_told(session, job)
    return job


def _queue(session: Session, job: Job) -> None:
    job.turn = turns.next_turn(session, Job, (JobState.QUEUED.value,), job.tenant_id, job.priority)
    outbox.owe(session, Task.PREPARE, job.id, job.tenant_id)
