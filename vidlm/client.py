"""A few calls to a running service over its REST API, with nothing but the standard library.

Knows addresses, headers and problem documents. What the documents mean is the caller's business.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib import error, request

from vidlm.errors import ServiceError

_PATIENCE_S: Final = 60.0
_BLOCK: Final = 256 << 10  # bytes of a file in memory
_PASSING: Final = frozenset(
    {"service_error", "locked", "offset_conflict", "idle", "disk_full", "storage_failed", "database_unavailable"}
    | {"http_423", "http_502", "http_503", "http_504"}
)
"""Codes of failures after which the same may work in a while. An answer without a document has its status as code."""


@dataclass(frozen=True, slots=True)
class Client:
    """One service at `address` ("http://127.0.0.1:8000") and one API key. Failed calls raise `ServiceError`."""

    address: str
    key: str

    def get(self, path: str) -> Any:
        """The JSON document at a path."""
        return self._call("GET", path, None, {})

    def post(self, path: str, document: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Send a JSON document, return the answer's."""
        body = json.dumps(document).encode()
        return self._call("POST", path, body, {"Content-Type": "application/json"} | dict(headers or {}))

    def upload(self, file: Path) -> Any:
        """Send a file (small enough for memory) as the API's multipart form; the video's document."""
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        return self._call("POST", "/v1/videos", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def upload_resumable(self, file: Path, *, tries: int = 14) -> Any:
        """Send a file of any size; where a connection breaks off it is taken up again. The video's document.

        Gives up, with the last `ServiceError`, after `tries` failures in a row that brought no byte further.
        """
        size = file.stat().st_size
        speaks = {"Tus-Resumable": "1.0.0"}
        begin = speaks | {
            "Upload-Length": str(size),
            "Upload-Metadata": f"filename {base64.b64encode(file.name.encode(errors='replace')).decode()}",
            "Idempotency-Key": secrets.token_hex(16),
        }
        where, reached, failures = "", -1, 0
        while reached < size:
            try:
                where = where or str(self._exchange("POST", "/v1/uploads", b"", begin)[0]["Location"])
                offset = int(self._exchange("HEAD", where, None, speaks)[0]["Upload-Offset"])
                if offset > reached:
                    reached, failures = offset, 0
                if offset < size:
                    self._send_rest(file, where, speaks, offset, size)
            except ServiceError as exc:
                failures += 1
                if failures >= tries or exc.code not in _PASSING:
                    raise
                time.sleep(min(0.1 * 2**failures, 5.0))
        return self.get(f"/v1/videos/{where.rpartition('/')[2]}")

    def _send_rest(self, file: Path, where: str, speaks: Mapping[str, str], offset: int, size: int) -> None:
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size - offset),
            "Upload-Offset": str(offset),
        }
        with file.open("rb") as source:
            source.seek(offset)
            self._exchange("PATCH", where, _blocks(source, size - offset), dict(speaks) | headers)

    def _call(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        """The answer's document; `None` where it has none."""
        answer = self._exchange(method, path, body, headers)[1]
        try:
            return json.loads(answer) if answer else None
        except ValueError as exc:
            raise ServiceError(f"the service did not answer {method} {path}: {exc}") from exc

    def _exchange(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> tuple[HTTPMessage, bytes]:
        every = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"} | dict(headers)
        call = request.Request(self.address + path, data=body, headers=every, method=method)
        direct = request.build_opener(request.ProxyHandler({}))  # the service is ours: never through a proxy
        try:
            with direct.open(call, timeout=_PATIENCE_S) as answer:
                return answer.headers, answer.read()
        except error.HTTPError as exc:
            raise _problem(exc) from exc
        except (OSError, HTTPException) as exc:
            raise ServiceError(f"the service did not answer {method} {path}: {exc}") from exc


def _problem(failure: error.HTTPError) -> ServiceError:
    """An RFC 9457 problem document as an error with its code."""
    try:
        document = json.loads(failure.read())
        return ServiceError(str(document["detail"]), code=str(document["code"]))
    except (OSError, ValueError, KeyError, TypeError):
        phrase = HTTPStatus(failure.code).phrase
        return ServiceError(f"the service answered {failure.code} {phrase}", code=f"http_{failure.code}")


def _blocks(source: BinaryIO, size: int) -> Iterator[bytes]:
    """The next `size` bytes, however much longer the file has grown."""
    while size > 0 and (block := source.read(min(size, _BLOCK))):
        size -= len(block)
        yield block
