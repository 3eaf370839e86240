"""A few calls to a running service over its REST API, with nothing but the standard library.

Knows addresses, headers and problem documents. What the documents mean is the caller's business.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib import error, request

from vidlm.errors import ServiceError

_PATIENCE_S: Final = 60.0


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

    def _call(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        every = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"} | dict(headers)
        call = request.Request(self.address + path, data=body, headers=every, method=method)
        direct = request.build_opener(request.ProxyHandler({}))  # the service is ours: never through a proxy
        try:
            with direct.open(call, timeout=_PATIENCE_S) as answer:
                return json.load(answer)
        except error.HTTPError as exc:
            raise _problem(exc) from exc
        except (OSError, HTTPException, ValueError) as exc:
            raise ServiceError(f"the service did not answer {method} {path}: {exc}") from exc


def _problem(failure: error.HTTPError) -> ServiceError:
    """An RFC 9457 problem document as an error with its code."""
    try:
        document = json.loads(failure.read())
        return ServiceError(str(document["detail"]), code=str(document["code"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ServiceError(f"the service answered {failure.code} {HTTPStatus(failure.code).phrase}")
