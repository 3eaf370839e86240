"""Rows of review as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from api.queue_schemas import QueueOut, WaitingOut
from api.review_schemas import (
    ClaimOut,
    DecisionOut,
    ExposureOut,
    FlagDecisionOut,
    FlagToReviewOut,
    LockOut,
    ReviewCaseOut,
    ReviewItemOut,
)
from vidlm.domain import Severity
from vidlm.moderation.decisions import ItemState, Occasion
from vidlm.review import serving
from vidlm.review.case import evidence_of
from vidlm.review.queues import Waiting
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import FlagDecision, ReviewDecision, ReviewItem, ReviewQueue
from vidlm.store.tables import AnalysisRow, Job

_AS_FLAGGED = (Occasion.FLAGGED, Occasion.GOLDEN)
"""Occasions that nobody can tell from each other."""


def item_out(caller: Caller, item: ReviewItem, job: Job, queue: ReviewQueue) -> ReviewItemOut:
    """An item for a list. A golden one looks as one that was flagged."""
    occasion = Occasion(item.occasion)
    state = ItemState(item.state)
    mine = state is ItemState.CLAIMED and item.claimed_by == caller.id and item.claimed_until is not None
    since = job.finished_at if occasion in _AS_FLAGGED else None
    return ReviewItemOut(
        id=item.id,
        video_id=item.video_id,
        queue=queue.name,
        occasion=Occasion.FLAGGED if occasion in _AS_FLAGGED else occasion,
        state=state,
        severity=Severity(item.severity),
        score=item.score,
        restricted=item.restricted,
        waiting_since=since or item.created_at,
        claimed_by=item.claimed_by if state is ItemState.CLAIMED else None,
        lock=LockOut(token=item.token, until=item.claimed_until) if mine and item.claimed_until else None,
    )


def case_out(session: Session, caller: Caller, item: ReviewItem) -> ReviewCaseOut:
    """An item with all that is to be decided."""
    job = session.get_one(Job, item.job_id)
    queue = session.get_one(ReviewQueue, item.queue_id)
    analysis = session.get(AnalysisRow, job.id)  # gone with a deleted video
    document = {} if analysis is None else analysis.document
    flags = flags_out(session, job.id, document)
    here = f"/v1/videos/{item.video_id}"
    return ReviewCaseOut(
        **item_out(caller, item, job, queue).model_dump(),
        duration_s=round(job.duration_s or 0.0, 3),
        reason=job.verdict_reason or "",
        flags=flags,
        links={"video": here, "analysis": f"{here}/analysis", "content": f"{here}/content"},
    )


def flags_out(session: Session, job_id: str, document: Mapping[str, Any]) -> list[FlagToReviewOut]:
    """What was flagged in a job's video, in order of time. `document`: its analysis; empty where that is gone."""
    told = {"flags": [], "segments": []} | dict(document)
    flags = flags_of(session, job_id)
    return [FlagToReviewOut(**flag.model_dump(), evidence_s=evidence_of(told, flag)) for flag in flags]


def claim_out(session: Session, caller: Caller, item: ReviewItem | None) -> ClaimOut:
    """What somebody gets next, and what they have looked at."""
    return ClaimOut(
        item=None if item is None else case_out(session, caller, item),
        exposure=exposure_out(session, caller),
    )


def exposure_out(session: Session, caller: Caller) -> ExposureOut:
    """What the caller has looked at."""
    seen = serving.exposure_of(session, caller.tenant_id, caller.id)
    return ExposureOut.model_validate(seen, from_attributes=True)


def decision_out(decision: ReviewDecision, flags: Sequence[FlagDecision]) -> DecisionOut:
    """A decision. One on a golden item looks as one on any other."""
    shown = [FlagDecisionOut.model_validate(flag, from_attributes=True) for flag in flags]
    occasion = Occasion.FLAGGED if decision.occasion == Occasion.GOLDEN else Occasion(decision.occasion)
    fields = decision.model_dump(exclude={"tenant_id", "job_id", "state_before", "occasion"})
    return DecisionOut(**fields, occasion=occasion, flags=shown)


def queue_out(queue: ReviewQueue, waits: Waiting | None) -> QueueOut:
    """A queue and what waits in it."""
    waits = waits or Waiting({}, 0, None)
    shown = WaitingOut(
        total=sum(waits.waiting.values()), by_severity=waits.waiting, claimed=waits.claimed, oldest=waits.oldest
    )
    return QueueOut(**queue.model_dump(exclude={"id", "tenant_id", "created_at"}), waiting=shown)
