"""Resumable uploads by the tus protocol (tus.io, 1.0.0): a file comes in as many requests as the network needs.

    POST -> uploading; HEAD: how much is here; PATCH adds to it; the last byte -> queued; DELETE, or too late -> gone

How much has come stands in the file alone (`vidlm.store.partial`). An offset that is the length is said only after the
transaction that queues the job: whoever heard it may forget the file.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api import examples, tus
from api.deps import Service, ServiceDep
from api.once import Once, OnceDep
from api.problems import ProblemError, documented
from api.routes.videos import VideoId, existing
from api.schemas import VideoOut, video_out
from api.tus import TusCallerDep
from vidlm import crash
from vidlm.domain import JobState
from vidlm.errors import StorageError
from vidlm.jobs import control, disposal, intake
from vidlm.jobs.idempotency import Reply
from vidlm.store.columns import new_id
from vidlm.store.engine import lock_key
from vidlm.store.keys import Caller
from vidlm.store.partial import CHECKSUMS, Checksum, LockedError, OpenPartial, Partial
from vidlm.store.queries import VideoStatus, job_of

router = APIRouter(prefix=tus.PREFIX, tags=["uploads"])

_UPLOADING: Final[dict[str, Any]] = examples.VIDEO_QUEUED | {
    "sha256": None,
    "state": "uploading",
    "deadline_at": "2026-11-21T09:30:00Z",
    "progress": examples.VIDEO_QUEUED["progress"] | {"stage": "uploading"},
}
_BYTES: Final[dict[str, Any]] = {
    "content": {
        tus.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": "(some bytes of crossing.mp4)"}
    }
}

LengthHeader = Annotated[str | None, Header(description="Bytes of the whole file.")]
DeferHeader = Annotated[str | None, Header(description="Not taken: the length must be known.")]
OffsetHeader = Annotated[str | None, Header(description="Bytes that are here already: what HEAD said.")]
ChecksumHeader = Annotated[str | None, Header(description="Of this body: `sha256 <base64>` or `sha1 <base64>`.")]
MetadataHeader = Annotated[
    str | None,
    Header(
        description="`key <base64>,...`: filename, client_id, language, priority, deadline_s, webhook_url, or others."
    ),
]


@router.options("", status_code=204, responses={204: {"description": "What is spoken here, in Tus-* headers"}})
def describe(service: ServiceDep) -> Response:
    """Which version of the protocol is spoken, which extensions, and how large a file may be. Needs no key."""
    headers = {
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(service.settings.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "",
    status_code=201,
    response_model=VideoOut,
    responses=documented(
        {201: examples.shown("Begun; `Location` takes the bytes", _UPLOADING)}, 400, 410, 412, 413, 415, 422, 423, 507
    ),
    openapi_extra={"requestBody": _BYTES},
)
async def begin_upload(
    request: Request,
    service: ServiceDep,
    caller: TusCallerDep,
    once: OnceDep,
    *,
    upload_length: LengthHeader = None,
    upload_defer_length: DeferHeader = None,
    upload_metadata: MetadataHeader = None,
    upload_checksum: ChecksumHeader = None,
) -> JSONResponse:
    """Begin an upload. The body may hold its first bytes; `Upload-Offset` says how many of them were kept.

    `deadline_s` begins with the last byte. Sent again with its `Idempotency-Key` it is the same upload.
    """
    length = tus.length_of(upload_length, upload_defer_length, service.settings.max_upload_bytes)
    checksum = tus.checksum_of(upload_checksum)
    carries = tus.declared(request) > 0
    if carries:
        tus.check_bytes(request, room=length)
    metadata = upload_metadata or ""
    reply = await run_in_threadpool(_create, service, caller, once, length=length, metadata=metadata)
    video_id = reply.body["id"]
    if carries:
        await _take_first(request, service, video_id, length, checksum)
    status, offset = await run_in_threadpool(_settled, service, caller, video_id)
    headers = {"Location": f"{tus.PREFIX}/{video_id}"} | _standing_headers(status, offset) | reply.headers
    return JSONResponse(video_out(status).model_dump(mode="json"), 201, headers)


@router.head(
    "/{video_id}",
    responses=documented(
        {200: {"description": "In `Upload-Offset`: how many bytes are here"}}, 404, 410, 412, 422, 423
    ),
    response_class=Response,
)
def get_offset(video_id: VideoId, service: ServiceDep, caller: TusCallerDep) -> Response:
    """How much of the file is here. All of it is said only once its job is queued."""
    status, offset = _settled(service, caller, video_id)
    headers = {"Upload-Length": str(status.size_bytes), "Cache-Control": "no-store"}
    note = Partial(service.blobs, video_id).note()
    if note:
        headers["Upload-Metadata"] = note
    return Response(headers=headers | _standing_headers(status, offset))


@router.patch(
    "/{video_id}",
    status_code=204,
    responses=documented(
        {204: {"description": "Kept; `Upload-Offset` is where to go on"}},
        *(400, 404, 408, 409, 410, 412, 413, 415, 422, 423, 460, 507),
    ),
    openapi_extra={"requestBody": _BYTES | {"required": True}},
)
async def add_bytes(
    video_id: VideoId,
    request: Request,
    service: ServiceDep,
    caller: TusCallerDep,
    *,
    upload_offset: OffsetHeader = None,
    upload_checksum: ChecksumHeader = None,
) -> Response:
    """Add bytes at the end. What came of them before a connection broke off is kept, unless they have a checksum.

    With the last byte the file is a video and its job is queued. 409 `offset_conflict`: ask HEAD where to go on.
    """
    status = await run_in_threadpool(_standing, service, caller, video_id)
    tus.check_bytes(request, room=status.size_bytes)
    begin, checksum = tus.offset_of(upload_offset), tus.checksum_of(upload_checksum)
    file = None if status.sha256 else await run_in_threadpool(_open, service, video_id)
    if file is None:  # whole already, or gone
        status, offset = await run_in_threadpool(_settled, service, caller, video_id)
        _check_offset(begin, offset)
        tus.check_bytes(request, room=status.size_bytes - offset)
        return Response(status_code=204, headers=_standing_headers(status, offset))
    with file:
        _check_offset(begin, file.offset)
        room = status.size_bytes - begin
        tus.check_bytes(request, room=room)
        try:
            await tus.receive(request, await run_in_threadpool(file.chunk, checksum), room)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        offset = file.offset
        if offset == status.size_bytes:
            await run_in_threadpool(_complete, service, caller, video_id, file)
            status = await run_in_threadpool(_standing, service, caller, video_id)
    return Response(status_code=204, headers=_standing_headers(status, offset))


@router.delete(
    "/{video_id}", status_code=204, responses=documented({204: {"description": "Gone"}}, 404, 409, 410, 412, 422)
)
def end_upload(video_id: VideoId, service: ServiceDep, caller: TusCallerDep) -> Response:
    """Call an upload off and remove what has come of it. 409 `already_uploaded` for one that is whole."""
    with service.database.write() as session:
        existing(session, caller, video_id)
        job = job_of(session, video_id, lock=True)
        if job.state != JobState.UPLOADING:
            _not_over(existing(session, caller, video_id))
            raise ProblemError(409, "already_uploaded", "all bytes are here: it is a video now, delete or cancel that")
        control.cancel(session, job, actor=caller.id)
    service.blobs.remove_partial(video_id)
    return Response(status_code=204)


def _create(service: Service, caller: Caller, once: Once, *, length: int, metadata: str) -> Reply:
    """The video's rows and an empty file. Should the commit fail, the sweeper finds the file."""
    wishes = tus.wishes_in(metadata)
    video_id = new_id("vid")

    def do() -> Reply:
        intake.begin_upload(
            session,
            video_id=video_id,
            tenant_id=caller.tenant_id,
            actor=caller.id,
            size_bytes=length,
            patience_s=service.settings.upload_patience_s,
            wishes=wishes,
        )
        session.flush()
        Partial(service.blobs, video_id).begin(metadata)
        return Reply(201, {"id": video_id})

    with service.database.write() as session:
        return once(session, {"length": length, "metadata": metadata}, do)


async def _take_first(
    request: Request, service: Service, video_id: str, length: int, checksum: Checksum | None
) -> None:
    """The bytes that came with the beginning. Whatever becomes of them, the upload has begun; its offset tells."""
    with suppress(ProblemError, StorageError, ClientDisconnect):
        file = await run_in_threadpool(_open, service, video_id)
        if file is None:
            return
        with file:
            if file.offset == 0:  # else the request was sent before, and some of these bytes are here
                await tus.receive(request, await run_in_threadpool(file.chunk, checksum), length)


def _complete(service: Service, caller: Caller, video_id: str, file: OpenPartial) -> None:
    """All bytes are here: the upload becomes a video with a job, unless it is over. Can be done again after a crash."""
    sealed = file.seal(caller.tenant_id)
    crash.point("resumable.sealed")
    wishes = tus.wishes_in(Partial(service.blobs, video_id).note())
    try:
        with service.database.write() as session:
            job = job_of(session, video_id, lock=True)
            if job.state != JobState.UPLOADING:
                return
            lock_key(session, sealed.key)
            file.place(sealed)
            crash.point("resumable.placed")
            intake.uploaded(session, job, actor=caller.id, blob=sealed, deadline_s=wishes.deadline_s)
            crash.point("resumable.recorded")
    except BaseException:
        disposal.remove_if_unknown(service.database, service.blobs, sealed.key)
        raise
    crash.point("resumable.committed")
    file.leave()


def _settled(service: Service, caller: Caller, video_id: str) -> tuple[VideoStatus, int]:
    """How an upload stands, and its offset. One whose bytes are all here becomes a video first.

    Raises `ProblemError` 404, 410, or 423 while somebody else is at that.
    """
    status = _standing(service, caller, video_id)
    partial = Partial(service.blobs, video_id)
    if not status.sha256 and partial.offset() in (None, status.size_bytes):
        file = _open(service, video_id)
        if file is not None:
            with file:
                if file.offset == status.size_bytes:
                    _complete(service, caller, video_id, file)
        status = _standing(service, caller, video_id)
    offset = status.size_bytes if status.sha256 else partial.offset()
    if offset is None:
        raise ProblemError(410, "upload_lost", "the bytes of this upload are not here any more: begin again")
    return status, offset


def _standing(service: Service, caller: Caller, video_id: str) -> VideoStatus:
    """The caller's upload. Raises `ProblemError` 404, or 410 where it is over."""
    with service.database.read() as session:
        status = existing(session, caller, video_id)
    _not_over(status)
    return status


def _not_over(status: VideoStatus) -> None:
    if not status.sha256 and status.state is not JobState.UPLOADING:
        raise ProblemError(410, str(status.state), f"the upload is over: it was {status.state}")


def _open(service: Service, video_id: str) -> OpenPartial | None:
    try:
        return Partial(service.blobs, video_id).open()
    except LockedError as exc:
        raise ProblemError(423, exc.code, exc.detail, headers={"Retry-After": "1"}) from exc


def _check_offset(said: int, offset: int) -> None:
    if said != offset:
        raise ProblemError(409, "offset_conflict", f"{offset} bytes are here, not {said}: go on there", offset=offset)


def _standing_headers(status: VideoStatus, offset: int) -> dict[str, str]:
    headers = {"Upload-Offset": str(offset)}
    if status.state is JobState.UPLOADING and status.deadline_at is not None:
        headers["Upload-Expires"] = tus.http_date(status.deadline_at)
    return headers
