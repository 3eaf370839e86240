"""From a page's context to HTML: templates, the frame around every page, and the headers that keep it safe.

A page's context is one dataclass, made by its route; templates hold no queries. Everything is escaped unless a template
says otherwise, and none does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.dashboard import words
from api.roles import needed
from vidlm.domain import Role
from vidlm.people import preferences
from vidlm.people.preferences import Preferences
from vidlm.people.signing_in import SignedIn

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
PAGES: Final = (
    ("queue", "/queue", "Queue"),
    ("library", "/library", "Library"),
    ("policies", "/policies", "Policies"),
    ("quality", "/quality", "Quality"),
    ("operations", "/operations", "Operations"),
    ("audit", "/audit", "Audit"),
    ("admin", "/admin", "Admin"),
)
"""What the menu offers: a page's name, its address, and what it is called."""
CSP: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from anywhere else, and nothing inline."""
_HEADERS: Final = {"Content-Security-Policy": CSP, "Vary": "Cookie, HX-Request"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What is around every page: who looks at it, and how they like it."""

    page: str
    name: str | None  # None: nobody is signed in
    role: Role | None
    restricted: bool
    preferences: Preferences
    menu: tuple[tuple[str, str, str], ...]

    @property
    def language(self) -> str:
        return self.preferences.language

    def may(self, method: str, path: str) -> bool:
        """Whether a route may be asked by whoever looks: what they may not do is not offered."""
        return self.role is not None and self.role.covers(needed(method, path))


def frame(page: str, person: SignedIn | None, language: str = "en") -> Frame:
    if person is None:
        return Frame(page, None, None, False, Preferences(language=language), ())
    role = person.caller.role
    menu = tuple(entry for entry in PAGES if role.covers(needed("GET", entry[1])))
    return Frame(page, person.name, role, person.caller.restricted, preferences.of(person.preferences), menu)


def html(
    template: str, around: Frame, context: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A page, or with a template of a part, that part alone. `context` is its dataclass, `page` in the template."""
    text = (
        environment().get_template(template).render(page=context, frame=around, t=partial(words.said, around.language))
    )
    return HTMLResponse(text, status_code=status, headers=_HEADERS | dict(headers or {}))


@cache
def environment() -> Environment:
    """The templates. Undefined names are errors."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}  # what scripts draw has an order
    made.filters |= {"clock": clock_text, "iso": iso, "percent": percent, "bytes": bytes_text, "words": spaced}
    made.globals |= {"asset": asset, "script_words": words.for_scripts}
    return made


def asset(name: str) -> str:
    """The address of a static file. It changes when any of them does, so browsers may keep it for ever, and scripts
    that import each other by relative names get files of one release."""
    return f"/static/{release()}/{name}"


@cache
def release() -> str:
    """A digest of all static files."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(STATIC).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def clock_text(seconds: float | None) -> str:
    """83.4 -> "1:23"; with hours where there are some."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def iso(at: datetime | None) -> str:
    """For `<time datetime>`; scripts show it in the reader's zone."""
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def bytes_text(size: float | None) -> str:
    if size is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def spaced(name: str) -> str:
    """ "second_opinion" -> "Second opinion"."""
    return name.replace("_", " ").replace(".", " · ").capitalize()
