"""What people look at: poster, thumbnails and a preview, there as soon as a video is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as File
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse

from api import examples
from api.deps import CallerDep, Service, ServiceDep
from api.problems import ProblemError, documented, not_found
from api.routes.videos import VideoId, shown
from api.schemas import ThumbnailsOut
from vidlm.jobs.states import ACTIVE
from vidlm.store.keys import Caller
from vidlm.store.queries import find_prepared, find_video

router = APIRouter(prefix="/v1/videos/{video_id}", tags=["videos"])

_JPEG: Final = "image/jpeg"
_MP4: Final = "video/mp4"


@dataclass(frozen=True)
class _Prepared:
    """A video's work folder, the document that says what is in it, and the uploaded file."""

    folder: File
    document: dict[str, Any]
    original: File

    def picture(self, name: str) -> FileResponse:
        """A JPEG of the work folder. Raises `ProblemError` 404."""
        if not (self.folder / name).is_file():
            raise not_found("picture")
        return FileResponse(self.folder / name, media_type=_JPEG)


@router.get(
    "/poster",
    response_model=None,
    response_class=FileResponse,
    responses=documented({200: examples.shown("A picture", "(bytes)", _JPEG)}, 404, 409, 410, 422),
)
def get_poster(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> FileResponse:
    """One picture of the video, at most 640 pixels a side."""
    prepared = _find(service, caller, video_id)
    return prepared.picture(prepared.document["poster"])


@router.get(
    "/thumbnails",
    response_model=ThumbnailsOut,
    responses=documented({200: examples.shown("What there is", examples.THUMBNAILS)}, 404, 409, 410, 422),
)
def get_thumbnails(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> ThumbnailsOut:
    """How many small pictures there are, and how many seconds apart: number n is on screen at `n * interval_s`."""
    return ThumbnailsOut(**_find(service, caller, video_id).document["thumbnails"])


@router.get(
    "/thumbnails/{number}",
    response_model=None,
    response_class=FileResponse,
    responses=documented({200: examples.shown("A picture", "(bytes)", _JPEG)}, 404, 409, 410, 422),
)
def get_thumbnail(
    video_id: VideoId, number: Annotated[int, Path(ge=0, lt=100_000)], service: ServiceDep, caller: CallerDep
) -> FileResponse:
    """One small picture."""
    return _find(service, caller, video_id).picture(f"thumbnail-{number}.jpg")


@router.get(
    "/preview",
    response_model=None,
    response_class=FileResponse,
    responses=documented(
        {
            200: examples.shown("The video as every browser plays it", "(bytes)", _MP4),
            206: examples.shown("The range asked for", "(bytes)", _MP4),
            416: {"description": "There is no such range"},
        },
        404,
        409,
        410,
        422,
    ),
)
def get_preview(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> FileResponse:
    """The video as every browser plays it, whole or a `Range`: the uploaded file if it is such a one."""
    prepared = _find(service, caller, video_id)
    name, web_type = prepared.document["preview"], prepared.document["web_type"]
    if name is None and web_type is None:
        raise not_found("preview")
    path, media_type = (prepared.original, web_type) if name is None else (prepared.folder / name, _MP4)
    if not path.is_file():
        raise ProblemError(410, "deleted", "the video was deleted")
    return FileResponse(path, media_type=media_type)


def _find(service: Service, caller: Caller, video_id: str) -> _Prepared:
    """What was prepared of the caller's video. Raises `ProblemError` 404, 409 before and 410 after its time."""
    with service.database.read() as session:
        status = shown(session, caller, video_id)
        found = find_prepared(session, caller.tenant_id, video_id)
        video = find_video(session, caller.tenant_id, video_id)
    if video is None or video.blob is None:
        raise ProblemError(410, "deleted", "the video was deleted")
    if found is None:
        if status.state in ACTIVE:
            raise ProblemError(409, "not_ready", f"there are no pictures yet: the job is {status.state}")
        raise ProblemError(409, "no_analysis", f"there are no pictures: the job ended {status.state}")
    folder, document = found
    return _Prepared(service.blobs.path(folder), document, service.blobs.path(video.blob))
