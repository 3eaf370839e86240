"""Who looks at a page, and what happens to those who may not: a way to sign in, or a page that says why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api import browsers
from api.dashboard import rendering
from api.dashboard.contexts import ErrorPage
from api.deps import ServiceDep, check_role
from api.problems import ProblemError
from vidlm.errors import ConflictError, InputError, VidlmError
from vidlm.people.signing_in import SignedIn


class NotSignedInError(Exception):
    """Nobody is signed in with this browser (any more)."""


def get_person(request: Request, service: ServiceDep) -> SignedIn:
    """Who looks. Their role must allow the route, and what changes something must come from a page of ours."""
    person = browsers.signed_in(request, service.database)
    if person is None:
        raise NotSignedInError
    browsers.check_origin(request)
    check_role(request, person.caller)
    return person


PersonDep = Annotated[SignedIn, Depends(get_person)]


class PageRoute(APIRoute):
    """A route whose errors a person reads: as a page, not as a problem document."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                return await handle(request)
            except NotSignedInError:
                return _to_sign_in(request)
            except (ProblemError, RequestValidationError, VidlmError, SQLAlchemyError) as exc:
                return await run_in_threadpool(_error, request, _told(exc))

        return handle_for_people


def install(app: FastAPI, otherwise: Callable[[Request, Exception], Awaitable[Response]]) -> None:
    """Addresses that are no page's, asked for by a browser, are answered by a page; all others as they were."""

    async def on_http(request: Request, exc: Exception) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
        if not wants_page:
            return await otherwise(request, exc)
        assert isinstance(exc, HTTPException)
        return await run_in_threadpool(_error, request, ErrorPage(exc.status_code, "not_found", str(exc.detail)))

    app.add_exception_handler(HTTPException, on_http)


def is_part(request: Request) -> bool:
    """Whether a page asks for a part of itself; one that goes back in its history wants to be whole again."""
    asks = request.headers.get
    return asks("hx-request") == "true" and "true" not in (asks("hx-boosted"), asks("hx-history-restore-request"))


def _to_sign_in(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    where = "/sign-in" if request.method != "GET" or here == "/" else f"/sign-in?next={quote(here)}"
    if is_part(request):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    return RedirectResponse(where, 303)


def _told(exc: Exception) -> ErrorPage:
    """What went wrong, for a person."""
    match exc:
        case ProblemError():
            return ErrorPage(exc.status, exc.code, exc.detail)
        case InputError():
            return ErrorPage(422, exc.code, exc.detail)
        case ConflictError():
            return ErrorPage(409, exc.code, exc.detail)
        case VidlmError():
            return ErrorPage(503, exc.code, exc.detail)
        case RequestValidationError():
            return ErrorPage(422, "invalid_request", "this address has something in it that makes no sense")
        case _:
            return ErrorPage(503, "database_unavailable", "the database does not answer; try again soon")


def _error(request: Request, page: ErrorPage) -> Response:
    try:
        person = browsers.signed_in(request, request.app.state.service.database)
    except SQLAlchemyError:
        person = None
    template = "parts/problem.html" if is_part(request) else "error.html"
    return rendering.html(template, rendering.frame("error", person), page, status=page.status)
