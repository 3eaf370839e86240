"""Everybody's own settings: language, theme, how video is shown, and their password."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Form, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api.dashboard import rendering, words
from api.dashboard.access import PageRoute, PersonDep
from api.deps import ServiceDep
from vidlm.errors import InputError
from vidlm.people import accounts, passwords, preferences, signing_in
from vidlm.people.preferences import CHOICES, Preferences
from vidlm.people.signing_in import SignedIn
from vidlm.store.people import Person

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/settings")


@dataclass(frozen=True, slots=True)
class SettingsPage:
    """`browsers`: how many somebody is signed in with. `said`: what was just done; `problem`: or why it was not."""

    preferences: Preferences
    choices: dict[str, tuple[object, ...]]
    browsers: int
    said: str | None = None
    problem: str | None = None


@router.get("")
def get_settings(person: PersonDep, service: ServiceDep) -> Response:
    return _page(service, person)


@router.post("/preferences")
def change_preferences(
    person: PersonDep, service: ServiceDep, wanted: Annotated[dict[str, Any], Body(max_length=20)]
) -> Response:
    """Change what is named."""
    with service.database.write() as session:
        row = session.get_one(Person, person.caller.id)
        changed = asdict(preferences.changed(preferences.of(row.preferences), wanted))
        row.preferences = changed
        session.add(row)
    return JSONResponse(changed)


@router.post("/password")
def change_password(
    person: PersonDep,
    service: ServiceDep,
    *,
    old: Annotated[str, Form(max_length=1000)] = "",
    new: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Another password, for whoever knows the one there is. Their other browsers are signed out."""
    try:
        with service.database.write() as session:
            row = session.get_one(Person, person.caller.id)
            if not passwords.is_right(old, row.password_hash)[0]:
                raise InputError("this is not your password", code="wrong_password")
            accounts.set_password(session, row, new, actor=row.id, keep=person.secret_sha256)
    except InputError as exc:
        language = preferences.of(person.preferences).language
        return _page(service, person, problem=words.problem(language, exc.code, exc.detail), status=422)
    return RedirectResponse("/settings?changed=password", 303)


@router.post("/sign-out-others")
def sign_out_others(person: PersonDep, service: ServiceDep) -> Response:
    """Only this browser stays signed in."""
    with service.database.write() as session:
        accounts.sign_out_everywhere(session, person.caller.id, keep=person.secret_sha256)
    return RedirectResponse("/settings", 303)


def _page(service: ServiceDep, person: SignedIn, *, problem: str | None = None, status: int = 200) -> Response:
    with service.database.read() as session:
        browsers = signing_in.open_browsers(session, person.caller.id)
    page = SettingsPage(preferences.of(person.preferences), CHOICES, browsers, problem=problem)
    return rendering.html("settings.html", rendering.frame("settings", person), page, status=status)
