"""What happens to a video, live: server-sent events. How streams are kept going stands in `api.following`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api import examples
from api.deps import CallerDep, ServiceDep
from api.following import EventStream, FollowersDep, Look, look_at
from api.problems import documented
from api.routes.videos import VideoId, existing

router = APIRouter(prefix="/v1/videos/{video_id}", tags=["videos"])

_NUMBER: Final = r"^\d{1,18}$"
_RESUME: Final = "The `id` of the last event you had: only what came after it is sent."


@router.get(
    "/events",
    response_model=None,
    response_class=StreamingResponse,
    responses=documented(
        {
            200: examples.shown("A stream, until the job has ended", examples.EVENTS, EventStream.media_type),
            204: {"description": "The job has ended and you had everything: come back no more"},
        },
        404,
        410,
        422,
    ),
)
async def follow_video(
    video_id: VideoId,
    service: ServiceDep,
    caller: CallerDep,
    followers: FollowersDep,
    *,
    last_event_id: Annotated[str | None, Header(pattern=_NUMBER, description=_RESUME)] = None,
    resume_after: Annotated[
        str | None, Query(alias="last_event_id", pattern=_NUMBER, description="The same; the header goes first.")
    ] = None,
) -> Response:
    """Everything that happened to a video, then what happens, as server-sent events (`EventSource` in browsers).

    `video.queued`, `video.preparing`, ... `flag.created` come once each, with an `id`; `progress` comes when it
    changes, at most once a second, and has none. The stream ends after everything an ended job told; a job that is
    retried may be followed again. 503 `too_many_streams` where this process has no room for one more.
    """
    after = int(last_event_id or resume_after or 0)

    def look() -> Look:
        with service.database.read() as session:
            return look_at(session, existing(session, caller, video_id), after)

    found = await run_in_threadpool(look)
    if found.over and not found.events:
        return Response(status_code=204)
    return EventStream(followers, caller.tenant_id, video_id, after)
