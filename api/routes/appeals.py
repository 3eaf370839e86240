"""What people decided about a video, and what its owner says to that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples, review_examples
from api.deps import CallerDep, ServiceDep
from api.once import OnceDep, respond
from api.problems import documented, not_found
from api.review_schemas import AppealIn, AppealOut, AppealsOut, HistoryOut
from api.review_views import decision_out
from api.routes.videos import VideoId
from vidlm.jobs.idempotency import Reply
from vidlm.moderation.decisions import Outcome, ReviewState
from vidlm.review import appeals, deciding
from vidlm.store.keys import Caller
from vidlm.store.queries import find_video, job_of
from vidlm.store.review import Appeal

router = APIRouter(prefix="/v1/videos", tags=["review"])


@router.get(
    "/{video_id}/decisions",
    response_model=HistoryOut,
    responses=documented({200: examples.shown("What was decided", review_examples.HISTORY)}, 404, 422),
)
def get_decisions(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> HistoryOut:
    """All that people decided about a video, undone decisions too, oldest first."""
    with service.database.read() as session:
        _check_there(session, caller, video_id)
        rows = deciding.of_video(session, caller, video_id)
        state = ReviewState(job_of(session, video_id).review_state)
        return HistoryOut(review=state, decisions=[decision_out(*row) for row in rows])


@router.post(
    "/{video_id}/appeals",
    status_code=201,
    response_model=AppealOut,
    responses=documented({201: examples.shown("The appeal", review_examples.APPEAL)}, 404, 409, 413, 422),
)
def create_appeal(
    video_id: VideoId,
    asked: Annotated[AppealIn, Body(examples=[review_examples.APPEAL_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Appeal against what people decided: somebody else looks again.

    409 `not_decided` while nobody decided or somebody is about to, `too_many_appeals`.
    """
    with service.database.write() as session:

        def do() -> Reply:
            _check_there(session, caller, video_id)
            row = appeals.appeal(session, caller, job_of(session, video_id, lock=True), note=asked.note)
            return Reply(201, _shown(row, None).model_dump(mode="json"), {})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get(
    "/{video_id}/appeals",
    response_model=AppealsOut,
    responses=documented({200: examples.shown("The appeals", review_examples.APPEALS)}, 404, 422),
)
def get_appeals(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> AppealsOut:
    """The appeals about a video, oldest first, and what was decided then."""
    with service.database.read() as session:
        _check_there(session, caller, video_id)
        rows = appeals.of_video(session, caller.tenant_id, video_id)
        return AppealsOut(appeals=[_shown(row, outcome) for row, outcome in rows])


def _shown(row: Appeal, outcome: Outcome | None) -> AppealOut:
    return AppealOut(**row.model_dump(exclude={"tenant_id", "item_id"}), outcome=outcome)


def _check_there(session: Session, caller: Caller, video_id: str) -> None:
    if "\0" in video_id or find_video(session, caller.tenant_id, video_id) is None:
        raise not_found("video")
