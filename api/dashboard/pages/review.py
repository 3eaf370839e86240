"""The review page: one video, all that speaks for and against its flags, and a decision.

The page is a frame; what it shows is one document (`/review/{item_id}/data`), so that the next video is there before
this one is decided. Decisions go through the API's routes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api.bank_schemas import match_out
from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.deps import Service, ServiceDep
from api.review_views import case_out, decision_out
from api.routes.review import item_of
from vidlm.domain import Policy
from vidlm.known import matches
from vidlm.moderation.decisions import Occasion, RejectReason
from vidlm.people import accounts
from vidlm.policy import policy_sets
from vidlm.review import deciding
from vidlm.review.settings import settings_of
from vidlm.store.keys import Caller
from vidlm.store.queries import find_video
from vidlm.store.review import ReviewItem
from vidlm.store.tables import AnalysisRow, Job

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/review")

ItemId = Annotated[str, Path(max_length=64)]
MOST_PARTS: Final = 2400
"""Segments that a document holds; of a longer video, the scores and captions of some are left to its own page."""
WORTH: Final = 0.5
"""Of the keep threshold: policies whose score came so far in a video are drawn, beside those that were flagged."""


@dataclass(frozen=True, slots=True)
class ReviewData:
    """All that is shown of one video.

    segments: (start_s, end_s, caption).  bands: by policy, a score for each segment; null where it was not asked.
    policies: all that may be named in a decision.  shots: their starts in seconds.  gaps: what nobody looked at.
    history: earlier decisions, where whoever decides is to know them.  known: what it was recognised as.
    """

    item: dict[str, Any]
    video: dict[str, Any]
    verdict: dict[str, Any]
    summary: dict[str, Any]
    segments: list[tuple[float, float, str]]
    bands: dict[str, list[float | None]]
    policies: dict[str, dict[str, Any]]
    shots: list[float]
    gaps: list[dict[str, Any]]
    thumbnails: dict[str, Any] | None
    preview: bool
    provenance: dict[str, Any]
    coverage: dict[str, Any]
    looks: list[dict[str, Any]]
    history: list[dict[str, Any]]
    known: list[dict[str, Any]]
    names: dict[str, str]
    undo_s: float
    lock_s: float


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """`queue`: where the next item is to come from; empty: from anywhere."""

    data: dict[str, Any]
    queue: str
    reasons: tuple[str, ...]


@router.get("/{item_id}")
def get_review(
    item_id: ItemId, person: PersonDep, service: ServiceDep, queue: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """The page, with its first video in it."""
    page = ReviewPage(data_of(service, person.caller, item_id), queue, tuple(RejectReason))
    return rendering.html("review.html", rendering.frame("queue", person), page)


@router.get("/{item_id}/data")
def get_data(item_id: ItemId, person: PersonDep, service: ServiceDep) -> Response:
    """Another video for a page that is open."""
    return JSONResponse(data_of(service, person.caller, item_id))


def data_of(service: Service, caller: Caller, item_id: str) -> dict[str, Any]:
    """What is shown of an item. Raises `ProblemError` 404."""
    with service.database.read() as session:
        item = item_of(session, caller, item_id)
        found: dict[str, Any] = jsonable_encoder(asdict(_data(session, service, caller, item)))
    return found


def _data(session: Session, service: Service, caller: Caller, item: ReviewItem) -> ReviewData:
    job = session.get_one(Job, item.job_id)
    analysis = session.get(AnalysisRow, job.id)
    document: dict[str, Any] = {} if analysis is None else analysis.document
    pinned = policy_sets.pinned(session, job.policy_set_id, service.policies)
    policies = {policy.id: policy for policy in pinned.policies}
    case = case_out(session, caller, item).model_dump(mode="json")
    segments = document.get("segments", [])[:MOST_PARTS]
    prepared = job.prepared or {}
    video = find_video(session, caller.tenant_id, item.video_id)
    settings = settings_of(session, caller.tenant_id)
    told = item.occasion in (Occasion.ESCALATED, Occasion.APPEAL)  # others are to make up their own mind
    history = deciding.of_video(session, caller, item.video_id) if told else []
    kept = () if item.occasion == Occasion.GOLDEN else matches.matches_of(session, item.video_id)
    return ReviewData(
        item=case,
        video={
            "id": item.video_id,
            "duration_s": job.duration_s,
            "client_id": None if video is None else video.client_id,
            "filename": None if video is None else video.filename,
            "language": None if video is None else video.language,
            "created_at": None if video is None else video.created_at,
        },
        verdict=document.get("verdict", {}),
        summary=document.get("summary", {}),
        segments=[(one["start_s"], one["end_s"], one["caption"]) for one in segments],
        bands=_bands(segments, policies, {flag["policy_id"] for flag in case["flags"]}),
        policies={policy.id: _policy(policy) for policy in policies.values()},
        shots=[shot["start_s"] for shot in prepared.get("shots", [])],
        gaps=document.get("coverage", {}).get("gaps", []),
        thumbnails=prepared.get("thumbnails"),
        preview=bool(prepared.get("preview") or prepared.get("web_type")),
        provenance=document.get("provenance", {}),
        coverage=document.get("coverage", {}),
        looks=document.get("second_looks", []),
        history=[decision_out(*row).model_dump(mode="json") for row in history],
        known=[match_out(row, entry).model_dump(mode="json") for row, entry in kept],
        names=accounts.names(session, caller.tenant_id),
        undo_s=settings.undo_s,
        lock_s=settings.lock_s,
    )


def _bands(
    segments: list[dict[str, Any]], policies: dict[str, Policy], flagged: set[str]
) -> dict[str, list[float | None]]:
    """The scores of what was flagged and of what came near it."""
    peaks: dict[str, float] = {}
    for segment in segments:
        for policy_id, score in segment["scores"].items():
            peaks[policy_id] = max(score, peaks.get(policy_id, 0.0))

    def worth(policy_id: str) -> bool:
        policy = policies.get(policy_id)
        return policy_id in flagged or (policy is not None and peaks[policy_id] >= WORTH * policy.keep_threshold)

    def score_of(segment: dict[str, Any], policy_id: str) -> float | None:
        score = segment["scores"].get(policy_id)
        return None if score is None else round(score, 3)

    shown = sorted((one for one in peaks if worth(one)), key=lambda one: (one not in flagged, -peaks[one]))
    return {policy_id: [score_of(segment, policy_id) for segment in segments] for policy_id in shown}


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "title": policy.title,
        "severity": policy.severity,
        "blocked": policy.blocked,
        "allowed": policy.allowed,
        "review_threshold": policy.review_threshold,
        "block_threshold": policy.block_threshold,
        "keep_threshold": policy.keep_threshold,
    }
