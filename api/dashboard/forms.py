"""What pages with forms share: what was typed when it was refused, and what is shown this once and never again."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Response

from api.dashboard import rendering
from vidlm.domain import Role
from vidlm.people.signing_in import SignedIn


@dataclass(frozen=True, slots=True)
class Shown:
    """A secret: somebody's password, or a key. `name`: whose, or what for."""

    name: str
    secret: str


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed into a form that was refused, to go on from there."""

    name: str = ""
    role: str = Role.REVIEWER.value
    restricted: bool = False


def answer(template: str, person: SignedIn, page: object, *, refused: bool = False, secret: bool = False) -> Response:
    """A page of the menu's last entry. One with a secret in it is kept by no browser."""
    headers = {"Cache-Control": "no-store"} if secret else {}
    around = rendering.frame("admin", person)
    return rendering.html(template, around, page, status=422 if refused else 200, headers=headers)
