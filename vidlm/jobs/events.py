"""What has happened to a video, written down in the transaction in which it happened, and who is to be told.

An event is a row: live followers read it (`since`), and for every address that wants it a delivery is owed, through the
same outbox as everything else. Knows rows and names; not HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import update
from sqlmodel import Session, col, select

from vidlm.domain import JobState
from vidlm.jobs import outbox
from vidlm.jobs.states import OPEN, checked
from vidlm.queue import Task
from vidlm.store.engine import clock
from vidlm.store.hooks import Delivery, WebhookEndpoint
from vidlm.store.ledger import Event
from vidlm.store.likeness import MatchRow
from vidlm.store.tables import FlagRow, Job, Video


class Told(StrEnum):
    """Events that webhooks are told of. Live followers see every `video.<state>` besides."""

    READY = "video.ready"
    REJECTED = "video.rejected"
    FAILED = "video.failed"
    CANCELLED = "video.cancelled"
    EXPIRED = "video.expired"
    DELETED = "video.deleted"
    FLAG = "flag.created"
    KNOWN = "known.matched"
    REVIEW = "review.decided"


TOLD: Final = frozenset(Told)


def moved(session: Session, job: Job, new: JobState) -> None:
    """The job goes on to `new`. Raises `TransitionError` where it cannot."""
    job.state = checked(job.state, new)
    if new is not JobState.DELETED:
        job.finished_at = None if new in OPEN else clock(session)
    state_told(session, job)


def state_told(session: Session, job: Job) -> None:
    """Write down that the job is in its state now."""
    video = session.get_one(Video, job.video_id)
    document = {
        "video_id": job.video_id,
        "client_id": video.client_id,
        "state": job.state,
        "error_code": job.error_code,
        "verdict": job.verdict_action,
        "toy_model": job.toy_model,
    }
    happened(session, job, f"video.{job.state}", document)


def flag_told(session: Session, job: Job, flag: FlagRow) -> None:
    """Write down a flag that was found."""
    fields = ("policy_id", "start_s", "end_s", "score", "severity", "action", "second_look")
    document = {"video_id": job.video_id, "flag_id": flag.id} | {name: getattr(flag, name) for name in fields}
    happened(session, job, Told.FLAG, document)


def known_told(session: Session, job: Job, match: MatchRow, *, bank: str, decision_id: str | None) -> None:
    """Write down that the video shows a known one: an entry of `bank`, made by a decision or by none."""
    fields = ("entry_id", "exact", "mirrored", "similarity", "start_s", "end_s")
    document = {"video_id": job.video_id, "bank": str(bank), "decision_id": decision_id}
    happened(session, job, Told.KNOWN, document | {name: getattr(match, name) for name in fields})


def happened(session: Session, job: Job, kind: str, document: dict[str, Any]) -> None:
    """One event of a job's video, and a delivery for everybody who wants to be told."""
    event = Event(tenant_id=job.tenant_id, video_id=job.video_id, kind=kind, document=document)
    session.add(event)
    if kind not in TOLD:
        return
    session.flush()
    assert event.id is not None
    for endpoint_id, url in _listeners(session, job, kind):
        delivery = Delivery(tenant_id=job.tenant_id, event_id=event.id, endpoint_id=endpoint_id, url=url)
        session.add(delivery)
        outbox.owe(session, Task.DELIVER, delivery.id, job.tenant_id)


def since(session: Session, video_id: str, after: int) -> Sequence[Event]:
    """A video's events that came after event number `after`, oldest first."""
    query = select(Event).where(Event.video_id == video_id, col(Event.id) > after)
    return session.exec(query.order_by(col(Event.id)).limit(outbox.BATCH)).all()


def forget(session: Session, video_id: str) -> None:
    """Of a deleted video's events only that they happened stays."""
    session.exec(update(Event).where(col(Event.video_id) == video_id).values(document={"video_id": video_id}))


def _listeners(session: Session, job: Job, kind: str) -> list[tuple[str | None, str]]:
    """(endpoint, address) of everybody who wants to be told; an address only once."""
    wanted = (
        WebhookEndpoint.tenant_id == job.tenant_id,
        col(WebhookEndpoint.enabled),
        col(WebhookEndpoint.deleted_at).is_(None),
    )
    endpoints = session.exec(select(WebhookEndpoint).where(*wanted).order_by(col(WebhookEndpoint.id))).all()
    found: dict[str, str | None] = {}
    for endpoint in endpoints:
        if not endpoint.events or kind in endpoint.events:
            found.setdefault(endpoint.url, endpoint.id)
    if job.webhook_url is not None:
        found.setdefault(job.webhook_url, None)
    return [(endpoint_id, url) for url, endpoint_id in found.items()]
