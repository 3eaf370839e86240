"""Videos: upload, list, status, analysis, bytes, deletion. What else is done to a job stands in `control`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from sqlmodel import Session
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from api import examples
from api.deps import CallerDep, Service, ServiceDep
from api.following import ForecastDep
from api.lists import FiltersDep, PageDep, cursor_after
from api.once import Once, OnceDep, respond
from api.problems import ProblemError, documented, not_found
from api.schemas import VideoOut, VideoPage, video_out
from api.uploads import FIELD, receive_form
from api.wishes import wishes_of
from vidlm import crash
from vidlm.domain import JobState, Priority, Role, to_document
from vidlm.jobs import control, disposal, intake
from vidlm.jobs.idempotency import Reply
from vidlm.jobs.intake import Wishes
from vidlm.jobs.states import OPEN
from vidlm.review import grants
from vidlm.store.blobs import IncomingBlob
from vidlm.store.columns import new_id
from vidlm.store.engine import lock_key
from vidlm.store.keys import Caller
from vidlm.store.listing import list_videos
from vidlm.store.queries import VideoStatus, find_document, find_video, video_status

router = APIRouter(prefix="/v1/videos", tags=["videos"])

VideoId = Annotated[str, Path(max_length=64, examples=[examples.VIDEO_QUEUED["id"]])]

_FORM: Final = {
    "type": "object",
    "required": [FIELD],
    "properties": {
        FIELD: {"type": "string", "format": "binary", "description": "The video file."},
        "client_id": {"type": "string", "maxLength": 200, "description": "What you call it; need not be unique."},
        "language": {"type": "string", "description": "BCP 47, such as en or pt-BR: queues for review may ask for it."},
        "priority": {"type": "string", "enum": list(Priority), "default": "normal"},
        "deadline_s": {
            "type": "number",
            "description": "Seconds from now after which the result is of no use: the job then ends `expired`.",
        },
        "webhook_url": {"type": "string", "format": "uri", "description": "Told of this video, beside your endpoints."},
    },
}


@router.post(
    "",
    status_code=202,
    response_model=VideoOut,
    responses=documented(
        {202: examples.shown("Stored; its job is queued", examples.VIDEO_QUEUED)}, 400, 413, 415, 422, 507
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": _FORM, "example": {FIELD: "(the bytes of crossing.mp4)"}}},
        }
    },
)
async def upload_video(request: Request, service: ServiceDep, caller: CallerDep, once: OnceDep) -> JSONResponse:
    """Upload one video as the form's `file`. Once this answers 202 the bytes are durable and a job is queued.

    Whatever the file holds is accepted; if it is no video that can be analysed, its job ends `rejected` with a code.
    """
    incoming = await run_in_threadpool(service.blobs.incoming)
    with incoming:
        form = await receive_form(request, incoming, service.settings.max_upload_bytes)
        wishes = wishes_of(form.filename, form.fields)
        crash.point("upload.received")
        reply = await run_in_threadpool(_accept, service, caller, once, incoming, wishes)
    response = respond(reply)
    response.background = BackgroundTask(crash.point, "upload.answered")
    return response


@router.get(
    "",
    response_model=VideoPage,
    responses=documented({200: examples.shown("A page of videos", examples.PAGE)}, 422),
)
def get_videos(
    service: ServiceDep, caller: CallerDep, forecast: ForecastDep, filters: FiltersDep, page: PageDep
) -> VideoPage:
    """The tenant's videos, newest first unless `order` says otherwise, and only those that pass every filter.

    Deleted ones show only with `state=deleted`. A cursor goes on in the order it was given in: 422 in another.
    """
    with service.database.read() as session:
        found = list_videos(session, caller.tenant_id, filters, replace(page, limit=page.limit + 1))
        shown = found[: page.limit]
        items = [video_out(*pair) for pair in zip(shown, forecast.progress(session, shown), strict=True)]
    return VideoPage(items=items, next_cursor=cursor_after(shown[-1].id, page) if len(found) > len(shown) else None)


@router.get(
    "/{video_id}",
    response_model=VideoOut,
    responses=documented({200: examples.shown("Where the job stands", examples.VIDEO_READY)}, 404, 410, 422),
)
def get_video(video_id: VideoId, service: ServiceDep, caller: CallerDep, forecast: ForecastDep) -> VideoOut:
    """A video's state, its progress while it is worked on, and its verdict once it is ready."""
    with service.database.read() as session:
        status = existing(session, caller, video_id)
        return video_out(status, *forecast.progress(session, [status]))


@router.get(
    "/{video_id}/analysis",
    response_model=None,
    responses=documented({200: examples.shown("The analysis", examples.ANALYSIS)}, 404, 409, 410, 422),
)
def get_analysis(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> JSONResponse:
    """The whole analysis, exactly the document that `vidlm analyze --json` prints. 409 until the job is `ready`."""
    with service.database.read() as session:
        status = shown(session, caller, video_id)
        document = find_document(session, caller.tenant_id, video_id)
    if document is None:
        raise not_ready(status)
    return JSONResponse(document)


@router.get(
    "/{video_id}/content",
    response_model=None,
    response_class=FileResponse,
    responses=documented(
        {
            200: examples.shown("The file as it was uploaded", "(bytes)", "application/octet-stream"),
            206: examples.shown("The range asked for", "(bytes)", "application/octet-stream"),
            416: {"description": "There is no such range"},
        },
        404,
        410,
        422,
    ),
)
def get_content(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> FileResponse:
    """The uploaded bytes, whole or a `Range`, as an attachment that no browser interprets."""
    with service.database.read() as session:
        shown(session, caller, video_id)
        video = find_video(session, caller.tenant_id, video_id)
    if video is None or video.blob is None or not service.blobs.path(video.blob).is_file():
        raise ProblemError(410, "deleted", "the video was deleted")
    # the name offered is ours: what a client called its file may be anything
    return FileResponse(
        service.blobs.path(video.blob),
        media_type="application/octet-stream",
        filename=video_id,
        content_disposition_type="attachment",
    )


@router.delete("/{video_id}", status_code=204, responses=documented({204: {"description": "Gone"}}, 404, 409, 422))
def delete_video(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> Response:
    """Remove the bytes, the frames and every text about a video, and stop whoever works on it. May be repeated.

    409 `legal_hold` for a video that must be kept.
    """
    with service.database.write() as session:
        video = find_video(session, caller.tenant_id, video_id)
        if video is None:
            raise not_found("video")
        control.deleted(session, video, actor=caller.id)
    disposal.dispose(service.database, service.blobs, video_id)
    return Response(status_code=204)


def existing(session: Session, caller: Caller, video_id: str) -> VideoStatus:
    """The caller's video. Raises `ProblemError` 404, or 410 where it was deleted."""
    status = None if "\0" in video_id else video_status(session, caller.tenant_id, video_id)
    if status is None:
        raise not_found("video")
    if status.state is JobState.DELETED:
        raise ProblemError(410, "deleted", "the video was deleted")
    return status


def shown(session: Session, caller: Caller, video_id: str) -> VideoStatus:
    """The caller's video, where they may see what is in it. Raises `ProblemError` 404 or 410.

    What child safety flagged is shown to those with the grant, and to admins, who give it.
    """
    status = existing(session, caller, video_id)
    granted = caller.restricted or caller.role is Role.ADMIN
    if not granted and grants.is_restricted(session, video_id):
        raise not_found("video")
    return status


def not_ready(status: VideoStatus) -> ProblemError:
    """409: `not_ready` while the job may still get there, `no_analysis` when it ended without a result."""
    if status.state in OPEN:
        return ProblemError(
            409, "not_ready", f"the analysis is not ready: the job is {status.state}", state=status.state
        )
    why = f"{status.state} ({status.error_code})" if status.error_code else str(status.state)
    members: dict[str, Any] = {"state": status.state, "reason": status.error_code}
    return ProblemError(409, "no_analysis", f"there is no analysis: the job ended {why}", **members)


def _accept(service: Service, caller: Caller, once: Once, incoming: IncomingBlob, wishes: Wishes) -> Reply:
    """Bytes first, rows second: a crash in between leaves a file nobody knows, never a row without its file."""
    sealed = incoming.seal(caller.tenant_id)
    crash.point("upload.sealed")
    asked = to_document(wishes) | {"sha256": sealed.sha256}
    video_id = new_id("vid")

    def do() -> Reply:
        lock_key(session, sealed.key)
        incoming.place(sealed)
        crash.point("upload.placed")
        intake.accept(
            session, video_id=video_id, tenant_id=caller.tenant_id, actor=caller.id, blob=sealed, wishes=wishes
        )
        session.flush()
        crash.point("upload.recorded")
        return accepted(session, caller, video_id)

    try:
        with service.database.write() as session:
            reply = once(session, asked, do)
        crash.point("upload.committed")
        return reply
    except BaseException:
        disposal.remove_if_unknown(service.database, service.blobs, sealed.key)
        raise


def accepted(session: Session, caller: Caller, video_id: str) -> Reply:
    """202 and where to look."""
    status = video_status(session, caller.tenant_id, video_id)
    assert status is not None
    body = video_out(status).model_dump(mode="json")
    return Reply(202, body, {"Location": f"/v1/videos/{video_id}"})
