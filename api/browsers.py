"""Requests of browsers: whose they are, and whether a page of ours sent them.

A browser signs in once and holds a secret in a cookie. Other sites can make it send requests with that cookie, so what
changes something is taken only from our own pages: the browser itself says where a request comes from.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from api.problems import ProblemError
from vidlm.people import signing_in
from vidlm.people.signing_in import SignedIn
from vidlm.store.engine import Database

COOKIE: Final = "vidlm_session"
_LOOKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def signed_in(request: Request, database: Database) -> SignedIn | None:
    """Who is signed in with the browser that asks, or None."""
    secret = request.cookies.get(COOKIE)
    if not secret:
        return None
    with database.read() as session:
        found = signing_in.find(session, secret)
        stale = found is not None and signing_in.is_stale(session, found)
    if found is not None and stale:
        with database.write() as session:
            signing_in.heard(session, found)
    return found


def check_origin(request: Request) -> None:
    """Raises `ProblemError` 403 (`cross_site`) for a change that another site asked for.

    `Sec-Fetch-Site` is the browser's own word; older ones send `Origin`. A request with neither is no browser's form.
    """
    if request.method in _LOOKING:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        origin = request.headers.get("origin")
        ours = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    if not ours:
        raise ProblemError(403, "cross_site", "this did not come from a page of this service")


def remember(request: Request, response: Response, secret: str) -> None:
    """Put the secret where no script and no other site gets at it."""
    secure = request.url.scheme == "https"
    age_s = int(signing_in.LONGEST.total_seconds())
    response.set_cookie(COOKIE, secret, max_age=age_s, httponly=True, samesite="lax", secure=secure, path="/")


def forget(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
