"""The queue: what waits, by severity and age, and a way to begin."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep, is_part
from api.dashboard.kept import Kept
from api.dashboard.live import MOST, Watch
from api.deps import ServiceDep
from api.problems import ProblemError, not_found
from api.review_schemas import ExposureOut, ReviewItemOut
from api.review_views import exposure_out, item_out
from vidlm.domain import Severity
from vidlm.moderation.decisions import ItemState
from vidlm.people import accounts, views
from vidlm.review import items, listing, queues, serving
from vidlm.store.keys import Caller
from vidlm.store.people import SavedView
from vidlm.store.review import ReviewItem, ReviewQueue

router = APIRouter(include_in_schema=False, route_class=PageRoute)

SHOWN: Final = 30
"""Items of a page."""
SEVERITIES: Final = (Severity.SEVERE, Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.NONE)


@dataclass(frozen=True, slots=True)
class Line:
    """A queue and what waits in it."""

    name: str
    title: str
    total: int
    by_severity: tuple[tuple[Severity, int], ...]
    claimed: int
    oldest: datetime | None
    restricted: bool
    mine: bool  # whoever looks may work on it


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters, as they stand in the address."""

    queue: str = ""
    severity: str = ""
    state: str = ItemState.WAITING.value
    mine: bool = False
    cursor: str = ""

    def address(self, **changes: object) -> str:
        """The page's address with other filters; what says nothing is left out."""
        values = {name: getattr(replace(self, cursor=""), name) for name in self.__slots__} | changes
        said = {key: "1" if value is True else value for key, value in values.items() if value}
        said = {key: value for key, value in said.items() if (key, value) != ("state", ItemState.WAITING.value)}
        return "/queue" + (f"?{urlencode(said)}" if said else "")


@dataclass(frozen=True, slots=True)
class QueuePage:
    """`held`: what whoever looks has taken and not decided. `names`: of people, by id."""

    lines: tuple[Line, ...]
    asked: Asked
    severities: tuple[Severity, ...]
    items: tuple[ReviewItemOut, ...]
    next: str | None
    held: tuple[ReviewItemOut, ...]
    names: dict[str, str]
    exposure: ExposureOut
    saved: Sequence[SavedView]
    total: int


@router.get("/queue")
def get_queue(
    request: Request,
    person: PersonDep,
    service: ServiceDep,
    *,
    queue: Annotated[str, Query(max_length=40)] = "",
    severity: Annotated[str, Query(max_length=20)] = "",
    state: Annotated[ItemState, Query()] = ItemState.WAITING,
    mine: Annotated[bool, Query()] = False,
    cursor: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    """The page, or for a page that is open already, its list alone."""
    asked = Asked(queue, severity if severity in list(Severity) else "", state.value, mine, cursor)
    with service.database.read() as session:
        page = _page(session, person.caller, asked, request.app.state.waiting)
    template = "parts/queue.html" if is_part(request) else "queue.html"
    return rendering.html(template, rendering.frame("queue", person), page)


@router.post("/review/start")
def start(person: PersonDep, service: ServiceDep, queue: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Take the next item, or go on with the one that was taken."""
    with service.database.write() as session:
        lines = queues.all_of(session, person.caller.tenant_id)
        chosen = [line for line in lines if not queue or line.name == queue]
        if not chosen:
            raise not_found("queue")
        item = _held(session, person.caller) or serving.next_item(session, person.caller, chosen)
        where = f"/review/{item.id}" if item is not None else "/queue?nothing=1"
    return RedirectResponse(where + (f"?queue={queue}" if queue and item is not None else ""), 303)


@router.get("/queue/events")
async def follow(request: Request, person: PersonDep, service: ServiceDep) -> Response:
    """`changed`, whenever the page would look different."""
    watch: Watch = request.app.state.watch
    if watch.open >= MOST:
        raise ProblemError(503, "too_many_streams", "too many streams are open here; try again soon")
    caller = person.caller

    def ask() -> Hashable:
        with service.database.read() as session:
            waits = queues.waiting(session, caller.tenant_id, restricted=caller.restricted)
        return tuple(sorted((key, one.claimed, tuple(sorted(one.waiting.items()))) for key, one in waits.items()))

    stream = watch.changes((caller.tenant_id, caller.restricted), ask)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/queue/views")
def save_view(
    person: PersonDep,
    service: ServiceDep,
    *,
    name: Annotated[str, Form(max_length=60)] = "",
    query: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Keep the filters under a name."""
    with service.database.write() as session:
        views.save(session, person.caller.id, "queue", name, query)
    return RedirectResponse("/queue" + (f"?{query}" if query else ""), 303)


@router.post("/queue/views/{view_id}/remove")
def remove_view(person: PersonDep, service: ServiceDep, view_id: Annotated[str, Path(max_length=64)]) -> Response:
    """Forget it."""
    with service.database.write() as session:
        views.remove(session, person.caller.id, view_id)
    return RedirectResponse("/queue", 303)


def _page(session: Session, caller: Caller, asked: Asked, counted: Kept[dict[str, queues.Waiting]]) -> QueuePage:
    known = {one.id: one for one in queues.listed(session, caller.tenant_id)}
    whose = (caller.tenant_id, caller.restricted)
    waits = counted.get(whose, lambda: queues.waiting(session, caller.tenant_id, restricted=caller.restricted))
    chosen = next((one for one in known.values() if one.name == asked.queue), None)
    if asked.queue and chosen is None:
        raise not_found("queue")
    wanted = listing.Wanted(
        state=ItemState(asked.state),
        queue_id=None if chosen is None else chosen.id,
        severity=Severity(asked.severity) if asked.severity else None,
        mine=asked.mine,
        after=listing.place_of(asked.cursor) if asked.cursor else None,
    )
    rows = listing.list_items(session, caller, wanted, SHOWN + 1)
    shown = [item_out(caller, item, job, known[item.queue_id]) for item, job in rows[:SHOWN]]
    mine = listing.Wanted(state=ItemState.CLAIMED, mine=True)
    held = listing.list_items(session, caller, mine, items.MOST_HELD)
    lines = tuple(_line(one, waits.get(one.id), caller) for one in known.values())
    last = rows[SHOWN - 1][0] if len(rows) > SHOWN else None
    return QueuePage(
        lines=lines,
        asked=asked,
        severities=SEVERITIES,
        items=tuple(shown),
        next=None if last is None else asked.address(cursor=listing.cursor_of(last)),
        held=tuple(item_out(caller, item, job, known[item.queue_id]) for item, job in held),
        names=accounts.names(session, caller.tenant_id),
        exposure=exposure_out(session, caller),
        saved=views.of(session, caller.id, "queue"),
        total=sum(line.total for line in lines if line.mine),
    )


def _line(queue: ReviewQueue, waits: queues.Waiting | None, caller: Caller) -> Line:
    waits = waits or queues.Waiting({}, 0, None)
    return Line(
        name=queue.name,
        title=queue.title,
        total=sum(waits.waiting.values()),
        by_severity=tuple((severity, waits.waiting.get(severity, 0)) for severity in SEVERITIES),
        claimed=waits.claimed,
        oldest=waits.oldest,
        restricted=queue.restricted,
        mine=queues.may_work(queue, caller),
    )


def _held(session: Session, caller: Caller) -> ReviewItem | None:
    """What the caller took before and nobody else took since, theirs for a while again."""
    mine = listing.Wanted(state=ItemState.CLAIMED, mine=True)
    for found, _ in listing.list_items(session, caller, mine, items.MOST_HELD):
        item = items.find(session, caller, found.id, locked=True)
        if item is not None and item.state == ItemState.CLAIMED and item.claimed_by == caller.id:
            items.keep(session, item, caller, item.token)
            return item
    return None
