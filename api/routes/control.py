"""What an owner does to a job: cancel it, retry it, put its video under a legal hold."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlmodel import Session

from api import examples
from api.deps import CallerDep, ServiceDep
from api.once import OnceDep, respond
from api.problems import documented, not_found
from api.routes.videos import VideoId, accepted, existing
from api.schemas import VideoOut
from api.wishes import MAX_DEADLINE_S
from vidlm.jobs import control
from vidlm.jobs.idempotency import Reply
from vidlm.store.keys import Caller
from vidlm.store.queries import find_video, job_of
from vidlm.store.tables import Job, Video

router = APIRouter(prefix="/v1/videos/{video_id}", tags=["videos"])

_PROBLEMS: Final = (404, 409, 410, 422)


class RetryIn(BaseModel):
    deadline_s: float | None = Field(
        default=None, gt=0, le=MAX_DEADLINE_S, description="Seconds from now after which the result is of no use."
    )


@router.post(
    "/cancel",
    status_code=202,
    response_model=VideoOut,
    responses=documented({202: examples.shown("Called off", examples.VIDEO_CANCELLED)}, *_PROBLEMS),
)
def cancel_video(video_id: VideoId, service: ServiceDep, caller: CallerDep, once: OnceDep) -> JSONResponse:
    """Call a job off, whatever it is at. No result comes of it, unless it is retried. 409 `already_ended`."""
    with service.database.write() as session:

        def do() -> Reply:
            control.cancel(session, _locked(session, caller, video_id), actor=caller.id)
            session.flush()
            return accepted(session, caller, video_id)

        reply = once(session, None, do)
    service.blobs.remove_partial(video_id)  # where it was still being uploaded
    return respond(reply)


@router.post(
    "/retry",
    status_code=202,
    response_model=VideoOut,
    responses=documented({202: examples.shown("Goes on", examples.VIDEO_QUEUED)}, *_PROBLEMS),
)
def retry_video(
    video_id: VideoId,
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
    asked: Annotated[RetryIn | None, Body(examples=[{"deadline_s": 3600}])] = None,
) -> JSONResponse:
    """Let a failed, cancelled or expired job go on where it stopped.

    409 `not_retriable` in any other state, `original_removed` where the bytes are not kept any more.
    """
    wanted = asked or RetryIn()
    with service.database.write() as session:

        def do() -> Reply:
            job = _locked(session, caller, video_id)
            control.retry(session, job, actor=caller.id, deadline_s=wanted.deadline_s)
            session.flush()
            return accepted(session, caller, video_id)

        reply = once(session, wanted.model_dump(), do)
    return respond(reply)


@router.put("/hold", status_code=204, responses=documented({204: {"description": "Held"}}, *_PROBLEMS))
def hold_video(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> Response:
    """Put a legal hold on a video: until it is lifted nothing of it is deleted, neither asked for nor by age."""
    with service.database.write() as session:
        control.hold(session, _video(session, caller, video_id), True, actor=caller.id)
    return Response(status_code=204)


@router.delete("/hold", status_code=204, responses=documented({204: {"description": "Lifted"}}, *_PROBLEMS))
def release_video(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> Response:
    """Lift a video's legal hold."""
    with service.database.write() as session:
        control.hold(session, _video(session, caller, video_id), False, actor=caller.id)
    return Response(status_code=204)


def _locked(session: Session, caller: Caller, video_id: str) -> Job:
    """The caller's video's job, locked. Raises `ProblemError` 404 or 410."""
    existing(session, caller, video_id)
    return job_of(session, video_id, lock=True)


def _video(session: Session, caller: Caller, video_id: str) -> Video:
    existing(session, caller, video_id)
    video = find_video(session, caller.tenant_id, video_id, lock=True)
    if video is None:
        raise not_found("video")
    return video
