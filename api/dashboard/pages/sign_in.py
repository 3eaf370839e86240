"""Signing in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from api import browsers
from api.dashboard import rendering, words
from api.dashboard.access import PageRoute, PersonDep
from api.deps import ServiceDep
from vidlm.domain import Role
from vidlm.people import signing_in
from vidlm.people.preferences import CHOICES
from vidlm.people.signing_in import ThrottledError

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class SignInPage:
    """`problem`: why it did not work, if it did not. `next`: where to go then."""

    name: str
    next: str
    problem: str | None


@router.get("/")
def start(person: PersonDep) -> Response:
    """To work: reviewers to the queue, others to the library."""
    return RedirectResponse("/queue" if person.caller.role.covers(Role.REVIEWER) else "/library", 303)


@router.get("/sign-in")
def get_sign_in(
    request: Request, service: ServiceDep, wanted: Annotated[str, Query(alias="next", max_length=2000)] = "/"
) -> Response:
    """The form; whoever is signed in goes on."""
    if browsers.signed_in(request, service.database) is not None:
        return RedirectResponse(_here(wanted), 303)
    return _form(request, SignInPage("", _here(wanted), None), 200)


@router.post("/sign-in")
def sign_in(
    request: Request,
    service: ServiceDep,
    *,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    wanted: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Sign in with a name and a password."""
    browsers.check_origin(request)
    address = request.client.host if request.client is not None else ""
    language = _language(request)
    try:
        with service.database.write() as session:
            secret = signing_in.sign_in(session, name.strip(), password, address)
    except ThrottledError as exc:
        minutes = -(-exc.retry_after_s // 60)
        why = words.said(language, "Too many wrong passwords. Try again in {minutes} min.", minutes=minutes)
        answer = _form(request, SignInPage(name, _here(wanted), why), 429)
        answer.headers["Retry-After"] = str(exc.retry_after_s)
        return answer
    if secret is None:
        why = words.said(language, "This name and password do not belong together.")
        return _form(request, SignInPage(name, _here(wanted), why), 401)
    answer = RedirectResponse(_here(wanted), 303)
    browsers.remember(request, answer, secret)
    return answer


@router.post("/sign-out")
def sign_out(person: PersonDep, service: ServiceDep) -> Response:
    """Forget this browser."""
    with service.database.write() as session:
        signing_in.sign_out(session, person)
    answer = RedirectResponse("/sign-in", 303)
    browsers.forget(answer)
    answer.headers["Clear-Site-Data"] = '"cache"'  # not storage: decisions may wait there to be sent
    return answer


def _form(request: Request, page: SignInPage, status: int) -> Response:
    return rendering.html("sign_in.html", rendering.frame("sign-in", None, _language(request)), page, status=status)


def _here(wanted: str) -> str:
    """An address of ours, whatever was asked for: never another site's."""
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if plain and "\\" not in wanted else "/"


def _language(request: Request) -> str:
    """The first language that a browser likes of those there are."""
    liked = (part.split(";")[0].strip().lower() for part in request.headers.get("accept-language", "").split(","))
    return next((str(known) for one in liked for known in CHOICES["language"] if one.split("-")[0] == known), "en")
