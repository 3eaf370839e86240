"""The review page: one video, all that speaks for and against its flags, and a decision.

The page is a frame; what it shows is one document (`/review/{item_id}/data`), so that the next video is there before
this one is decided. Decisions go through the API's routes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api.bank_schemas import match_out
from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.dashboard.video_document import VideoShown, video_shown
from api.deps import Service, ServiceDep
from api.review_views import case_out, decision_out
from api.routes.review import item_of
from vidlm.known import matches
from vidlm.moderation.decisions import Occasion
from vidlm.people import accounts
from vidlm.review import deciding
from vidlm.review.precedents import Precedent, precedents
from vidlm.review.settings import settings_of
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import ReviewItem
from vidlm.store.tables import Job, Video

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/review")

ItemId = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True, slots=True)
class ReviewData:
    """All that is shown of one item.

    shown: the video.  item: as the API shows it, but its flags, which the video has.  history: earlier decisions, where
    whoever decides is to know them.  known: what the video was recognised as.  precedents: what was decided about flags
    like these in other videos.
    """

    shown: VideoShown
    item: dict[str, Any]
    history: list[dict[str, Any]]
    known: list[dict[str, Any]]
    precedents: list[Precedent]
    names: dict[str, str]
    undo_s: float
    lock_s: float


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """`queue`: where the next item is to come from; empty: from anywhere."""

    data: dict[str, Any]
    queue: str


@router.get("/{item_id}")
def get_review(
    item_id: ItemId, person: PersonDep, service: ServiceDep, queue: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """The page, with its first video in it."""
    page = ReviewPage(data_of(service, person.caller, item_id), queue)
    return rendering.html("review.html", rendering.frame("queue", person), page)


@router.get("/{item_id}/data")
def get_data(item_id: ItemId, person: PersonDep, service: ServiceDep) -> Response:
    """Another video for a page that is open."""
    return JSONResponse(data_of(service, person.caller, item_id))


def data_of(service: Service, caller: Caller, item_id: str) -> dict[str, Any]:
    """What is shown of an item. Raises `ProblemError` 404."""
    with service.database.read() as session:
        data = asdict(_data(session, service, caller, item_of(session, caller, item_id)))
    found: dict[str, Any] = jsonable_encoder(data.pop("shown") | data)
    return found


def _data(session: Session, service: Service, caller: Caller, item: ReviewItem) -> ReviewData:
    job = session.get_one(Job, item.job_id)
    settings = settings_of(session, caller.tenant_id)
    told = item.occasion in (Occasion.ESCALATED, Occasion.APPEAL)  # others are to make up their own mind
    history = deciding.of_video(session, caller, item.video_id) if told else []
    kept = () if item.occasion == Occasion.GOLDEN else matches.matches_of(session, item.video_id)
    return ReviewData(
        shown=video_shown(session, service, session.get_one(Video, item.video_id), job),
        item=case_out(session, caller, item).model_dump(mode="json", exclude={"flags"}),
        history=[decision_out(*row).model_dump(mode="json") for row in history],
        known=[match_out(row, entry).model_dump(mode="json") for row, entry in kept],
        precedents=precedents(session, caller, item.video_id, flags_of(session, job.id)),
        names=accounts.names(session, caller.tenant_id),
        undo_s=settings.undo_s,
        lock_s=settings.lock_s,
    )
