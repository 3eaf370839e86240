"""One file out of a multipart form, straight from the socket to the disk, the size cap enforced on the way; and the
form's few short fields beside it.

Knows multipart and bytes; knows no table. At most `_CHUNK` bytes of a file are in memory, however many clients upload.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.draining import drain
from api.problems import ProblemError
from vidlm.store.blobs import IncomingBlob

FIELD: Final = "file"
SHORT_FIELDS: Final = frozenset({"client_id", "priority", "deadline_s", "webhook_url"})
_SHORT_BYTES: Final = 4096
_CHUNK: Final = 1 << 20  # bytes gathered before they are hashed and written, off the event loop
_FORM_OVERHEAD: Final = 1 << 20  # what boundaries, headers and other fields may add to a file
_HEADER_BYTES: Final = 64 << 10  # a file name of 10 kB is odd, not forbidden
_NAME_CHARS: Final = 255
_NAME_TAIL: Final = 40  # kept of a long name's end, where the extension is


@dataclass(frozen=True, slots=True)
class Form:
    """What came beside the bytes: the file's clean name, and those of `SHORT_FIELDS` that were there."""

    filename: str
    fields: dict[str, str]


class _Parts:
    """The parser's callbacks: gathers the bytes of the part called `file`, the name it came with, and short fields."""

    def __init__(self) -> None:
        self.filename: str | None = None  # set once the part has begun
        self.data = bytearray()
        self.fields: dict[str, bytearray] = {}
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        self._into: bytearray | None = None
        self._is_file = False

    def on_part_begin(self) -> None:
        self._headers.clear()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file, self._into = name == FIELD, None
        if self._is_file and self.filename is not None:
            raise ProblemError(422, "too_many_files", f"the form has more than one part named {FIELD!r}")
        if self._is_file:
            self.filename = clean_filename(options.get(b"filename", b""))
        elif name in SHORT_FIELDS:
            self._into = self.fields[name] = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.data += data[start:end]
        elif self._into is not None:
            self._into += data[start:end]
            if len(self._into) > _SHORT_BYTES:
                raise ProblemError(422, "invalid_request", f"a field is longer than {_SHORT_BYTES} bytes")

    def on_end(self) -> None:
        self.ended = True


async def receive_form(request: Request, blob: IncomingBlob, max_bytes: int) -> Form:
    """Stream the form's `file` into `blob` and return what came with it.

    Raises `ProblemError` 400 (not a complete form), 413 (larger than `max_bytes`), 422 (no such part), `StorageError`,
    and Starlette's `ClientDisconnect`.
    """
    stream = request.stream()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes + _FORM_OVERHEAD:
        raise await _too_large(stream, max_bytes)
    part = _Parts()
    received = 0
    try:
        parser = _parser(request, part)
        async for chunk in stream:
            received += len(chunk)
            parser.write(chunk)
            if blob.size_bytes + len(part.data) > max_bytes or received > max_bytes + _FORM_OVERHEAD:
                raise await _too_large(stream, max_bytes)
            if len(part.data) >= _CHUNK:
                await _flush(part, blob)
        parser.finalize()
    except FormParserError as exc:
        raise ProblemError(400, "invalid_multipart", "the body is not a multipart form") from exc
    if not part.ended:
        raise ProblemError(400, "invalid_multipart", "the multipart form breaks off before its end")
    if part.filename is None:
        raise ProblemError(422, "file_missing", f"the form has no part named {FIELD!r}")
    await _flush(part, blob)
    return Form(part.filename, {name: value.decode("utf-8", "replace") for name, value in part.fields.items()})


def clean_filename(raw: bytes) -> str:
    """What a client called its file, as text that any database keeps: no NUL, at most 255 characters, end kept.

    Nothing else is changed: it is opaque, never part of a path or a prompt, and escaped where it is shown.
    """
    name = raw.decode("utf-8", errors="replace").replace("\0", "\ufffd")
    if len(name) > _NAME_CHARS:
        name = f"{name[: _NAME_CHARS - _NAME_TAIL - 1]}…{name[-_NAME_TAIL:]}"
    return name


def _parser(request: Request, part: _Parts) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ProblemError(415, "unsupported_media_type", "send the video as multipart/form-data")
    return MultipartParser(
        boundary,
        {
            "on_part_begin": part.on_part_begin,
            "on_header_field": part.on_header_field,
            "on_header_value": part.on_header_value,
            "on_header_end": part.on_header_end,
            "on_headers_finished": part.on_headers_finished,
            "on_part_data": part.on_part_data,
            "on_end": part.on_end,
        },
        max_header_size=_HEADER_BYTES,
    )


async def _flush(part: _Parts, blob: IncomingBlob) -> None:
    data, part.data = part.data, bytearray()
    if data:
        await run_in_threadpool(blob.write, memoryview(data))


async def _too_large(stream: AsyncGenerator[bytes, None], max_bytes: int) -> ProblemError:
    await drain(stream)
    return ProblemError(413, "too_large", f"the file is larger than {max_bytes} bytes", max_bytes=max_bytes)
