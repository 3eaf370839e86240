"""What a list may be asked for, out of query parameters, checked. Cursors are opaque: a place in one order.

Knows parameters; what they let through, and how it is found, stands in `vidlm.store.listing`.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

from fastapi import Depends, Query

from api.problems import ProblemError
from api.wishes import MAX_CLIENT_ID_CHARS
from vidlm.domain import Action, JobState, Priority
from vidlm.moderation.decisions import ReviewState
from vidlm.store.listing import Filters, Page

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PLACE: Final = re.compile(r"(newest|oldest):(vid_\w{1,40})", re.ASCII)
MAX_TEXT_CHARS: Final = 200
_WHEN: Final = "RFC 3339 with a zone, such as 2026-11-20T09:30:00Z (a + must be written %2B)."


class Order(StrEnum):
    """By when a video was uploaded."""

    NEWEST = "newest"
    OLDEST = "oldest"


def get_filters(
    *,
    state: Annotated[list[JobState] | None, Query(description="Only in one of these states; may be repeated.")] = None,
    verdict: Annotated[list[Action] | None, Query(description="Only so judged; may be repeated.")] = None,
    review: Annotated[
        list[ReviewState] | None, Query(description="Only where people have got so far; may be repeated.")
    ] = None,
    client_id: Annotated[
        str | None, Query(min_length=1, max_length=MAX_CLIENT_ID_CHARS, description="Only what you call so.")
    ] = None,
    sha256: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="Only with these very bytes; lower case.")
    ] = None,
    priority: Annotated[Priority | None, Query()] = None,
    policy: Annotated[
        str | None, Query(max_length=200, pattern=r"^[a-z0-9_.]+$", description="Only with a flag of this policy.")
    ] = None,
    q: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_TEXT_CHARS,
            description="Only with all these words in its names, its summary or its captions; the last may go on.",
        ),
    ] = None,
    created_from: Annotated[str | None, Query(max_length=64, description=f"Not before this. {_WHEN}")] = None,
    created_until: Annotated[str | None, Query(max_length=64, description=f"Before this. {_WHEN}")] = None,
) -> Filters:
    """The filters of a request. Raises `ProblemError` 422 that names the parameter."""
    return Filters(
        states=frozenset(state or ()),
        verdicts=frozenset(verdict or ()),
        reviews=frozenset(review or ()),
        client_id=client_id,
        sha256=sha256,
        priority=priority,
        policy=policy,
        text=q,
        created_from=None if created_from is None else moment(created_from, "created_from"),
        created_until=None if created_until is None else moment(created_until, "created_until"),
    )


def get_page(
    order: Annotated[Order, Query(description="A cursor belongs to the order it was given in.")] = Order.NEWEST,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")] = None,
) -> Page:
    """The page asked for. Raises `ProblemError` 422."""
    return Page(limit, order is Order.NEWEST, None if cursor is None else _place(cursor, order))


FiltersDep = Annotated[Filters, Depends(get_filters)]
PageDep = Annotated[Page, Depends(get_page)]


def cursor_after(video_id: str, page: Page) -> str:
    """What leads on after this video."""
    order = Order.NEWEST if page.newest_first else Order.OLDEST
    return base64.urlsafe_b64encode(f"{order}:{video_id}".encode()).decode().rstrip("=")


def moment(raw: str, parameter: str) -> datetime:
    """A time with its zone. Raises `ProblemError` 422."""
    try:
        if _MOMENT.fullmatch(raw):
            return datetime.fromisoformat(raw.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ProblemError(422, "invalid_request", f"{parameter}: a time as in RFC 3339, with its zone")


def _place(cursor: str, order: Order) -> str:
    try:
        place = _PLACE.fullmatch(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode())
    except (binascii.Error, ValueError):
        place = None
    if place is None:
        raise ProblemError(422, "invalid_request", "cursor: this is no cursor of ours")
    if place[1] != order:
        raise ProblemError(422, "invalid_request", f"cursor: this is one of order={place[1]}")
    return place[2]
