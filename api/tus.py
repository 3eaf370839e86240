"""The tus protocol (tus.io, 1.0.0) on the wire: its headers, refused in words where they mean nothing, its bodies, and
what holds for all its replies.

Knows HTTP and bytes; no table. What is done with them stands in `api.routes.uploads`.
"""

from __future__ import annotations

import binascii
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Final

import anyio
from fastapi import Depends, Header, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.deps import CallerDep
from api.problems import ProblemError
from api.uploads import SHORT_FIELDS, clean_filename
from api.wishes import wishes_of
from vidlm.jobs.intake import Wishes
from vidlm.store.keys import Caller
from vidlm.store.partial import CHECKSUMS, Checksum, ChecksumError, Chunk

PREFIX: Final = "/v1/uploads"
VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,expiration,termination,checksum"
MEDIA_TYPE: Final = "application/offset+octet-stream"
MAX_METADATA_CHARS: Final = 32 << 10  # a file name of 10 kB is odd, not forbidden
IDLE_S: Final = 30.0
"""A sender that is silent for so long is taken for gone, so that it can come back by another connection."""
_PIECE: Final = 256 << 10  # bytes gathered before they are written, off the event loop
_DRAIN: Final = 16 << 20  # bytes read and dropped after a refusal, so that a client that is still sending hears it
_DRAIN_S: Final = 5.0
_METHODS: Final = frozenset({"OPTIONS", "POST", "HEAD", "PATCH", "DELETE"})
_COUNT_DIGITS: Final = 18  # of more bytes than that no database knows the number


class _Body:
    """A request's body, as far as somebody has read it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def drop(self) -> None:
        """Read a little of what nobody wanted."""
        dropped = 0
        with anyio.move_on_after(_DRAIN_S):
            while not self._ended and dropped < _DRAIN:
                dropped += len((await self()).get("body", b""))


class TusReplies:
    """Below `PREFIX` every reply names the protocol's version, and X-HTTP-Method-Override is the method.

    A reply that ends the connection waits for some of what is still coming: cut while sending, it would not be heard.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_below(scope["path"]):
            await self._app(scope, receive, send)
            return

        headers, body = Headers(scope=scope), _Body(receive)
        closes = scope["http_version"] == "1.0" or headers.get("connection", "").lower() == "close"

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Tus-Resumable", VERSION)
                if closes and "expect" not in headers:
                    await body.drop()
            await send(message)

        meant = headers.get("x-http-method-override", "").upper()
        meant_scope = {**scope, "method": meant} if meant in _METHODS else scope
        await self._app(meant_scope, body, send_with_version)


def is_below(path: str) -> bool:
    """Whether a path is one of this protocol's."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def get_tus_caller(
    caller: CallerDep,
    tus_resumable: Annotated[str | None, Header(description=f"The protocol's version: {VERSION}.")] = None,
) -> Caller:
    """Who calls; 412 in a version of the protocol that is not ours."""
    if tus_resumable != VERSION:
        detail = f"send Tus-Resumable: {VERSION}, the only version of the protocol spoken here"
        raise ProblemError(412, "unsupported_version", detail, headers={"Tus-Version": VERSION})
    return caller


TusCallerDep = Annotated[Caller, Depends(get_tus_caller)]


def length_of(raw: str | None, deferred: str | None, max_bytes: int) -> int:
    """Upload-Length, in bytes. Raises `ProblemError` 422, or 413 where it is more than `max_bytes`."""
    if raw is None and deferred is not None:
        raise ProblemError(422, "deferred_length", "say the file's length at once: Upload-Length, in bytes")
    length = _count("Upload-Length", raw)
    if length > max_bytes:
        raise ProblemError(413, "too_large", f"the file is larger than {max_bytes} bytes", max_bytes=max_bytes)
    return length


def offset_of(raw: str | None) -> int:
    """Upload-Offset, in bytes. Raises `ProblemError` 422."""
    return _count("Upload-Offset", raw)


def checksum_of(raw: str | None) -> Checksum | None:
    """Upload-Checksum, "sha256 <base64>". Raises `ProblemError` 400 for another algorithm or what is no digest."""
    if raw is None:
        return None
    algorithm, _, encoded = raw.partition(" ")
    if algorithm not in CHECKSUMS:
        raise ProblemError(400, "unsupported_checksum", f"Upload-Checksum: one of {', '.join(CHECKSUMS)}")
    try:
        return Checksum(algorithm, binascii.a2b_base64(encoded, strict_mode=True))
    except ValueError as exc:
        raise ProblemError(400, "invalid_checksum", "Upload-Checksum: this is no base64") from exc


def metadata_of(raw: str) -> dict[str, bytes]:
    """The pairs of Upload-Metadata, "key <base64>,key <base64>,key". Raises `ProblemError` 422."""
    if len(raw) > MAX_METADATA_CHARS:
        raise _invalid(f"at most {MAX_METADATA_CHARS} characters")
    if raw and not (raw.isascii() and raw.isprintable()):
        raise _invalid("printable ASCII only: values are base64")
    pairs: dict[str, bytes] = {}
    for pair in raw.split(",") if raw.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not key or key in pairs:
            raise _invalid("every pair has a key, and no two have the same")
        try:
            pairs[key] = binascii.a2b_base64(value, strict_mode=True)
        except ValueError as exc:
            raise _invalid("a value is no base64") from exc
    return pairs


def wishes_in(metadata: str) -> Wishes:
    """What an uploader says in Upload-Metadata that means something here. Raises `ProblemError` 422."""
    pairs = metadata_of(metadata)
    fields = {name: pairs[name].decode("utf-8", "replace") for name in SHORT_FIELDS if name in pairs}
    return wishes_of(clean_filename(pairs.get("filename", b"")), fields)


async def receive(request: Request, chunk: Chunk, room: int) -> None:
    """Stream the body into `chunk`. What had come is kept when it breaks off; nothing of a body longer than `room`.

    Raises `ProblemError` 408 (silent for too long), 413, 460, `StorageError`, and Starlette's `ClientDisconnect`.
    """
    stream = request.stream()
    gathered = bytearray()
    try:
        while True:
            with anyio.fail_after(IDLE_S):
                data = await anext(stream, None)
            if data is None:
                break
            gathered += data
            room -= len(data)
            if room < 0:
                await run_in_threadpool(chunk.take_back)
                raise _too_large()
            if len(gathered) >= _PIECE:
                piece, gathered = gathered, bytearray()
                await run_in_threadpool(chunk.write, piece)
        piece, gathered = gathered, bytearray()
        await run_in_threadpool(chunk.write, piece)
        await run_in_threadpool(chunk.finish)
    except ProblemError:
        raise
    except ChecksumError as exc:
        raise ProblemError(460, exc.code, exc.detail) from exc
    except BaseException as exc:
        chunk.break_off(gathered)  # few bytes, here and now: a server that is being stopped waits for no thread
        if isinstance(exc, TimeoutError):
            raise ProblemError(408, "idle", f"nothing came for {IDLE_S:.0f} s; what had come is kept") from exc
        raise


def check_bytes(request: Request, *, room: int) -> None:
    """Whether the body can be taken, as far as its headers tell. Raises `ProblemError` 413 or 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise ProblemError(415, "unsupported_media_type", f"send bytes as {MEDIA_TYPE}")
    if declared(request) > room:
        raise _too_large()


def declared(request: Request) -> int:
    """How many bytes the body is said to have; 1 where it is not said how many."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else int("transfer-encoding" in request.headers)


def http_date(when: datetime) -> str:
    """A time as HTTP writes it: "Fri, 20 Nov 2026 09:30:00 GMT". `when` is in UTC."""
    return format_datetime(when, usegmt=True)


def _count(name: str, raw: str | None) -> int:
    if raw is None or not (raw.isascii() and raw.isdecimal()) or len(raw) > _COUNT_DIGITS:
        raise ProblemError(422, "invalid_request", f"{name}: a number of bytes")
    return int(raw)


def _invalid(why: str) -> ProblemError:
    return ProblemError(422, "invalid_request", f"Upload-Metadata: {why}")


def _too_large() -> ProblemError:
    return ProblemError(413, "too_large", "these are more bytes than Upload-Length said; none of them is kept")
