"""Errors as RFC 9457 problem documents, each with a `code` that a program can act on.

Every error leaves through here: ours, FastAPI's validation, Starlette's 404 and 405, a database that is away, and bugs.
No document holds a path, a stack or an SQL statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vidlm.errors import ConflictError, InputError, ServiceError, VidlmError

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

_DISK_FULL: Final = ("database or disk is full", "No space left on device")
"""How SQLite and PostgreSQL say it."""

_HTTP_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
_EXAMPLES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_multipart", "the body is not a complete multipart form"),
    401: ("unauthorized", "an API key is needed: Authorization: Bearer vk_..."),
    403: ("forbidden", "this needs the role lead; yours is reviewer"),
    404: ("not_found", "there is no such video"),
    408: ("idle", "nothing came for 30 s; what had come is kept"),
    409: ("not_ready", "the analysis is not ready: the job is analyzing"),
    410: ("deleted", "the video was deleted"),
    412: ("unsupported_version", "send Tus-Resumable: 1.0.0, the only version of the protocol spoken here"),
    413: ("too_large", "the file is larger than 4294967296 bytes"),
    415: ("unsupported_media_type", "send the video as multipart/form-data"),
    422: ("invalid_request", "limit: Input should be less than or equal to 100"),
    423: ("locked", "another request is sending to this upload; ask for its offset again soon"),
    460: ("checksum_mismatch", "the sha256 of these bytes is another; send them again"),
    503: ("database_unavailable", "the database does not answer; try again soon"),
    507: ("disk_full", "there is no room left to store this"),
}


_TITLES: Final = {status.value: status.phrase for status in HTTPStatus} | {460: "Checksum Mismatch"}
"""What each status is called; 460 is the tus protocol's own."""


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `detail` is for a person and may change."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str = Field(description="Machine readable and stable.")
    detail: str


class ProblemError(Exception):
    """Raised by a route to answer with a problem document. `members` are added to it."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.members = dict(headers or {}), members


def not_found(what: str) -> ProblemError:
    """404, the same for what never was and for what is another tenant's."""
    return ProblemError(404, "not_found", f"there is no such {what}")


def documented(answers: Mapping[int, dict[str, Any]], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`: its own `answers`, and problems of these statuses and of 401, 403, 503, with examples."""
    entries: dict[int | str, dict[str, Any]] = dict(answers.items())
    return entries | {status: documented_problem(status) for status in sorted({*statuses, 401, 403, 503})}


async def on_http(_request: Request, exc: Exception) -> JSONResponse:
    """What the framework refuses: an address that is not there, a method that it does not know."""
    assert isinstance(exc, HTTPException)
    code = _HTTP_CODES.get(exc.status_code, "http_error")
    return problem_response(exc.status_code, code, str(exc.detail), exc.headers)


def install(app: FastAPI) -> None:
    """Make every error of `app` leave as a problem document."""

    async def on_problem(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, ProblemError)
        return problem_response(exc.status, exc.code, exc.detail, exc.headers, exc.members)

    async def on_invalid(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        detail = "; ".join(_sentence(error) for error in exc.errors())
        return problem_response(422, "invalid_request", detail)

    async def on_vidlm(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, VidlmError)
        if isinstance(exc, (InputError, ConflictError)):
            return problem_response(422 if isinstance(exc, InputError) else 409, exc.code, exc.detail)
        log.error("request.failed", code=exc.code, error=str(exc))
        full = exc.code == "disk_full"
        again = {"Retry-After": "30"} if isinstance(exc, ServiceError) else None
        return problem_response(507 if full else 503, exc.code, exc.detail, again)

    async def on_database(_request: Request, exc: Exception) -> JSONResponse:
        if isinstance(exc, (IntegrityError, DataError)):  # it does answer, and says that we are wrong
            log.error("database.refused", exc_info=exc)
            return problem_response(500, "internal", "something went wrong inside")
        cause = str(exc.__cause__ or exc)
        log.error("database.failed", error=type(exc).__name__, cause=cause)
        if any(words in cause for words in _DISK_FULL):
            return problem_response(507, "disk_full", "there is no room left to store this", {"Retry-After": "30"})
        again = {"Retry-After": "5"}
        return problem_response(503, "database_unavailable", "the database does not answer; try again soon", again)

    async def on_gone(_request: Request, _exc: Exception) -> JSONResponse:  # nobody is there to read it
        return problem_response(400, "bad_request", "the client went away before its request was whole")

    async def on_bug(_request: Request, _exc: Exception) -> JSONResponse:  # the server logs the traceback itself
        return problem_response(500, "internal", "something went wrong inside")

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(VidlmError, on_vidlm)
    app.add_exception_handler(DBAPIError, on_database)
    app.add_exception_handler(PoolTimeoutError, on_database)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(Exception, on_bug)


def problem_response(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """A problem document as a response."""
    problem = Problem(title=_TITLES[status], status=status, code=code, detail=detail, **(members or {}))
    return JSONResponse(problem.model_dump(mode="json"), status, headers, MEDIA_TYPE)


def _sentence(error: Mapping[str, Any]) -> str:
    """Where and what, without the value: it may be huge, and it came from outside."""
    where: Sequence[Any] = error["loc"]
    return f"{'.'.join(str(part) for part in where[1:]) or where[0]}: {error['msg']}"


def documented_problem(status: int) -> dict[str, Any]:
    """One problem's entry in OpenAPI."""
    code, detail = _EXAMPLES[status]
    title = _TITLES[status]
    example = Problem(title=title, status=status, code=code, detail=detail).model_dump(mode="json")
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": title, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
