"""Webhooks: which addresses are told of events, and what became of each message.

What changes something goes through the API's own routes, by `static/js/webhooks.js`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep, is_part
from api.deps import ServiceDep
from api.webhook_schemas import DeliveryOut, DeliveryState, WebhookOut, delivery_out, webhook_out, work_state
from vidlm.jobs import delivery_log, webhooks
from vidlm.jobs.events import Told
from vidlm.store.hooks import DeliveryAttempt

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/admin/webhooks")

SHOWN: Final = 25
"""Deliveries of a page."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters of the log, as they stand in the address."""

    endpoint: str = ""
    state: str = ""
    cursor: str = ""

    def address(self, cursor: str = "") -> str:
        other = replace(self, cursor=cursor)
        said = {name: getattr(other, name) for name in self.__slots__ if getattr(other, name)}
        return "/admin/webhooks" + (f"?{urlencode(said)}" if said else "")


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery and every attempt that has ended, the first one first."""

    delivery: DeliveryOut
    tries: tuple[DeliveryAttempt, ...]


@dataclass(frozen=True, slots=True)
class WebhooksPage:
    """`kinds`: of events that an address may be told of."""

    endpoints: tuple[WebhookOut, ...]
    kinds: tuple[Told, ...]
    states: tuple[str, ...]
    asked: Asked
    lines: tuple[Line, ...]
    next: str | None


@router.get("")
def get_webhooks(
    request: Request,
    person: PersonDep,
    service: ServiceDep,
    *,
    endpoint: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    cursor: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The page, or for a page that is open already, what changes on it."""
    endpoint, cursor = (one if one.isprintable() else "" for one in (endpoint, cursor))
    asked = Asked(endpoint, state if state in get_args(DeliveryState) else "", cursor)
    with service.database.read() as session:
        page = _page(session, person.caller.tenant_id, asked)
    template = "parts/webhooks.html" if is_part(request) else "webhooks.html"
    return rendering.html(template, rendering.frame("admin", person), page)


def _page(session: Session, tenant_id: str, asked: Asked) -> WebhooksPage:
    found = delivery_log.page(
        session,
        tenant_id,
        endpoint_id=asked.endpoint or None,
        state=next((work_state(state) for state in get_args(DeliveryState) if state == asked.state), None),
        before=asked.cursor or None,
        limit=SHOWN + 1,
    )
    shown = found[:SHOWN]
    tries = delivery_log.tries_of(session, [entry.delivery.id for entry in shown])
    return WebhooksPage(
        endpoints=tuple(webhook_out(row) for row in webhooks.list_all(session, tenant_id)),
        kinds=tuple(Told),
        states=get_args(DeliveryState),
        asked=asked,
        lines=tuple(Line(delivery_out(entry), tuple(tries.get(entry.delivery.id, ()))) for entry in shown),
        next=asked.address(cursor=shown[-1].delivery.id) if len(found) > SHOWN else None,
    )
