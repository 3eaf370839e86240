"""The library: every video with its picture, found by filters and by words; new ones are uploaded here."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep, is_part
from api.deps import Service, ServiceDep
from api.following import ForecastDep
from api.lists import MAX_TEXT_CHARS, Order, cursor_after, get_page
from api.routes.videos import existing
from vidlm.domain import Action, JobState, Priority
from vidlm.jobs.forecast import Forecast
from vidlm.jobs.progress import Progress
from vidlm.jobs.states import OPEN, RETRIABLE
from vidlm.moderation.decisions import ReviewState
from vidlm.policy import policy_sets
from vidlm.review import gallery, grants
from vidlm.store.keys import Caller
from vidlm.store.listing import Filters, Page, list_videos
from vidlm.store.queries import VideoStatus

router = APIRouter(include_in_schema=False, route_class=PageRoute)

SHOWN: Final = 24
"""Videos of a page: whole rows of two, three, four and six."""
WORKING: Final = "working"
"""Stands for every state a job can be in before its end."""
STATES: Final = (WORKING, *(state.value for state in JobState if state not in OPEN | {JobState.DELETED}))
_ZONES_MIN: Final = 14 * 60
_POLICY: Final = re.compile(r"[a-z0-9_.]+", re.ASCII)
_NO_PICTURE: Final = frozenset({JobState.REJECTED, JobState.FAILED})


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters, as they stand in the address. Empty lets everything through, and so does what makes no sense.

    `since`, `until`: days, both included, in a zone so many minutes east of Greenwich.
    """

    q: str = ""
    state: str = ""
    verdict: str = ""
    review: str = ""
    policy: str = ""
    priority: str = ""
    since: str = ""
    until: str = ""
    zone: int = 0

    def address(self, **changes: object) -> str:
        """The page's address with other filters; what says nothing is left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | changes
        said = {key: value for key, value in values.items() if value}
        if not (self.since or self.until):
            said.pop("zone", None)
        return "/library" + (f"?{urlencode(said)}" if said else "")

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self.address() != "/library"

    @property
    def narrowed_further(self) -> bool:
        """Whether a filter is that the page does not show at once."""
        return replace(self, q="", state="", verdict="").any

    def filters(self) -> Filters:
        """The same for the list."""
        until = _day(self.until, self.zone)
        return Filters(
            states=frozenset(OPEN if self.state == WORKING else {JobState(self.state)} if self.state else ()),
            verdicts=frozenset({Action(self.verdict)} if self.verdict else ()),
            reviews=frozenset({ReviewState(self.review)} if self.review else ()),
            policy=self.policy or None,
            priority=Priority(self.priority) if self.priority else None,
            text=self.q or None,
            created_from=_day(self.since, self.zone),
            created_until=None if until is None else until + timedelta(days=1),
        )


@dataclass(frozen=True, slots=True)
class Card:
    """A video. `picture`: a poster is there and may be shown; `veiled`: it was flagged, removed by a person, or nobody
    knows yet; `restricted`: whoever looks may not see what it is. `fraction` of the work is done, 0..1."""

    id: str
    name: str
    created_at: datetime
    duration_s: float | None
    size_bytes: int
    state: JobState
    verdict: str | None
    review: str
    picture: bool
    veiled: bool
    restricted: bool
    fraction: float
    error_code: str | None
    error_detail: str | None

    @property
    def working(self) -> bool:
        return self.state in OPEN

    @property
    def retriable(self) -> bool:
        return self.state in RETRIABLE


@dataclass(frozen=True, slots=True)
class LibraryPage:
    """`policies`: (id, title) of those in force. `next`: the address of the page after this one."""

    asked: Asked
    cards: tuple[Card, ...]
    next: str | None
    states: tuple[str, ...]
    verdicts: tuple[str, ...]
    reviews: tuple[str, ...]
    priorities: tuple[str, ...]
    policies: tuple[tuple[str, str], ...]
    max_upload_bytes: int


def get_asked(
    *,
    q: Annotated[str, Query(max_length=MAX_TEXT_CHARS)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    verdict: Annotated[str, Query(max_length=20)] = "",
    review: Annotated[str, Query(max_length=20)] = "",
    policy: Annotated[str, Query(max_length=200)] = "",
    priority: Annotated[str, Query(max_length=20)] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    until: Annotated[str, Query(max_length=10)] = "",
    zone: Annotated[int, Query(ge=-_ZONES_MIN, le=_ZONES_MIN)] = 0,
) -> Asked:
    """The filters of a request; an address that somebody mistyped shows more, not nothing."""
    return Asked(
        q=q.strip(),
        state=state if state in STATES else "",
        verdict=verdict if verdict in list(Action) else "",
        review=review if review in list(ReviewState) else "",
        policy=policy if _POLICY.fullmatch(policy) else "",
        priority=priority if priority in list(Priority) else "",
        since=since if _day(since, zone) else "",
        until=until if _day(until, zone) else "",
        zone=zone,
    )


@router.get("/library")
def get_library(
    request: Request,
    person: PersonDep,
    service: ServiceDep,
    *,
    forecast: ForecastDep,
    asked: Annotated[Asked, Depends(get_asked)],
    cursor: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The page; for a page that is open already what was found, or after a cursor, only the cards that follow."""
    page = page_of(service, person.caller, forecast, asked, cursor)
    if not is_part(request):
        template = "library.html"
    else:
        template = "parts/library_cards.html" if cursor else "parts/library.html"
    headers = {"HX-Push-Url": asked.address()} if is_part(request) and not cursor else {}
    return rendering.html(template, rendering.frame("library", person), page, headers=headers)


@router.get("/library/cards/{video_id}")
def get_card(
    person: PersonDep, service: ServiceDep, forecast: ForecastDep, video_id: Annotated[str, Path(max_length=64)]
) -> Response:
    """One card as it looks now."""
    with service.database.read() as session:
        status = existing(session, person.caller, video_id)
        (card,) = cards_of(session, person.caller, [status], forecast.progress(session, [status]))
    return rendering.html("parts/library_card.html", rendering.frame("library", person), card)


def page_of(service: Service, caller: Caller, forecast: Forecast, asked: Asked, cursor: str) -> LibraryPage:
    place = get_page(Order.NEWEST, SHOWN, cursor or None)
    with service.database.read() as session:
        found = list_videos(session, caller.tenant_id, asked.filters(), Page(SHOWN + 1, True, place.after))
        shown = found[:SHOWN]
        cards = cards_of(session, caller, shown, forecast.progress(session, shown))
        policies = policy_sets.in_force(session, caller.tenant_id, service.policies).policies.policies
    more = cursor_after(shown[-1].id, place) if len(found) > SHOWN else None
    return LibraryPage(
        asked=asked,
        cards=cards,
        next=None if more is None else asked.address(cursor=more),
        states=STATES,
        verdicts=tuple(Action),
        reviews=tuple(ReviewState),
        priorities=tuple(Priority),
        policies=tuple(sorted(((policy.id, policy.title) for policy in policies), key=lambda pair: pair[1])),
        max_upload_bytes=service.settings.max_upload_bytes,
    )


def cards_of(session: Session, caller: Caller, videos: list[VideoStatus], progress: list[Progress]) -> tuple[Card, ...]:
    """The cards of some videos, in their order. What is restricted says nothing of itself to who has no grant."""
    ids = [video.id for video in videos]
    pictured = gallery.pictured(session, ids)
    hidden = frozenset() if caller.restricted else grants.restricted(session, ids)
    return tuple(
        _card(video, done.fraction, has_picture=video.id in pictured, restricted=video.id in hidden)
        for video, done in zip(videos, progress, strict=True)
    )


def _card(video: VideoStatus, fraction: float, *, has_picture: bool, restricted: bool) -> Card:
    return Card(
        id=video.id,
        name="" if restricted else video.client_id or video.filename or "",
        created_at=video.created_at,
        duration_s=video.duration_s,
        size_bytes=video.size_bytes,
        state=video.state,
        verdict=video.verdict_action,
        review=video.review_state,
        picture=has_picture and not restricted and video.state not in _NO_PICTURE,
        veiled=video.verdict_action != Action.ALLOW or video.review_state == ReviewState.REMOVED,
        restricted=restricted,
        fraction=fraction,
        error_code=video.error_code,
        error_detail=video.error_detail,
    )


def _day(text: str, zone_min: int) -> datetime | None:
    """When a day begins, in UTC; None where the text is no day that can be."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    if not 1970 < day.year < 9999:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(minutes=zone_min)
