"""What webhooks were told: the log of deliveries, and telling them again."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples
from api import webhook_examples as shown
from api.deps import CallerDep, ServiceDep
from api.once import OnceDep, respond
from api.problems import ProblemError, documented, not_found
from api.routes.webhooks import WebhookId, webhook_of
from api.webhook_schemas import (
    DeliveryOut,
    DeliveryPage,
    DeliveryState,
    DeliveryWhole,
    ReplayIn,
    ReplayOut,
    delivery_out,
    delivery_whole,
    work_state,
)
from vidlm.jobs import delivery_log
from vidlm.jobs.delivery_log import Entry
from vidlm.jobs.idempotency import Reply
from vidlm.store.keys import Caller

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

DeliveryId = Annotated[str, Path(max_length=64, examples=[shown.DELIVERY["id"]])]
StateQuery = Annotated[DeliveryState | None, Query(description="Only deliveries in this state.")]
VideoQuery = Annotated[str | None, Query(max_length=64, description="Only what tells of this video.")]
WebhookQuery = Annotated[str | None, Query(max_length=64, description="Only this webhook's, deleted or not.")]
LimitQuery = Annotated[int, Query(ge=1, le=100)]
CursorQuery = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]

_PAGE: Final = {200: examples.shown("A page of deliveries", shown.DELIVERIES)}


@router.get("/deliveries", response_model=DeliveryPage, responses=documented(_PAGE, 422))
def get_deliveries(
    *,
    service: ServiceDep,
    caller: CallerDep,
    webhook_id: WebhookQuery = None,
    video_id: VideoQuery = None,
    state: StateQuery = None,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
) -> DeliveryPage:
    """What was told, or is to be, newest first: to webhooks, and to addresses that uploads named."""
    _check_text(webhook_id, video_id, cursor)
    with service.database.read() as session:
        found = delivery_log.page(
            session,
            caller.tenant_id,
            endpoint_id=webhook_id,
            video_id=video_id,
            state=work_state(state),
            before=cursor,
            limit=limit + 1,
        )
    return _page(found, limit)


@router.get(
    "/deliveries/{delivery_id}",
    response_model=DeliveryWhole,
    responses=documented({200: examples.shown("How it goes", shown.DELIVERY_WHOLE)}, 404, 422),
)
def get_delivery(delivery_id: DeliveryId, service: ServiceDep, caller: CallerDep) -> DeliveryWhole:
    """A delivery with its message and every attempt."""
    with service.database.read() as session:
        entry = _delivery(session, caller, delivery_id)
        return delivery_whole(entry, list(delivery_log.attempts_of(session, delivery_id)))


@router.post(
    "/deliveries/{delivery_id}/replay",
    status_code=202,
    response_model=DeliveryOut,
    responses=documented({202: examples.shown("On its way again", shown.DELIVERY_AGAIN)}, 404, 409, 422),
)
def replay_delivery(delivery_id: DeliveryId, service: ServiceDep, caller: CallerDep, once: OnceDep) -> JSONResponse:
    """Send a delivery's message once more, as a new delivery. 409 `webhook_deleted`, `webhook_disabled`."""
    with service.database.write() as session:

        def do() -> Reply:
            entry = _delivery(session, caller, delivery_id)
            copy = delivery_log.again(session, entry.delivery, actor=caller.id)
            session.flush()
            body = delivery_out(Entry(copy, entry.event, 0)).model_dump(mode="json")
            return Reply(202, body, {"Location": f"/v1/webhooks/deliveries/{copy.id}"})

        reply = once(session, None, do)
    return respond(reply)


@router.post(
    "/{webhook_id}/replay",
    status_code=202,
    response_model=ReplayOut,
    responses=documented({202: examples.shown("On their way again", shown.REPLAYED)}, 404, 409, 413, 422),
)
def replay_webhook(
    webhook_id: WebhookId,
    asked: Annotated[ReplayIn, Body(examples=[shown.REPLAY])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Tell it everything it wants to know that has happened since a time, oldest first. 409 `webhook_disabled`."""
    _check_text(asked.cursor)
    with service.database.write() as session:

        def do() -> Reply:
            row = webhook_of(session, caller, webhook_id)
            said = delivery_log.again_since(
                session, row, asked.since, actor=caller.id, undelivered=asked.undelivered, after=asked.cursor
            )
            return Reply(202, ReplayOut(deliveries=said.deliveries, next_cursor=said.last_event).model_dump())

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get("/{webhook_id}/deliveries", response_model=DeliveryPage, responses=documented(_PAGE, 404, 422))
def get_deliveries_of_webhook(
    *,
    webhook_id: WebhookId,
    service: ServiceDep,
    caller: CallerDep,
    video_id: VideoQuery = None,
    state: StateQuery = None,
    limit: LimitQuery = 20,
    cursor: CursorQuery = None,
) -> DeliveryPage:
    """What one webhook was told, or is to be, newest first."""
    with service.database.read() as session:
        webhook_of(session, caller, webhook_id)
    return get_deliveries(
        service=service,
        caller=caller,
        webhook_id=webhook_id,
        video_id=video_id,
        state=state,
        limit=limit,
        cursor=cursor,
    )


def _delivery(session: Session, caller: Caller, delivery_id: str) -> Entry:
    entry = None if "\0" in delivery_id else delivery_log.find(session, caller.tenant_id, delivery_id)
    if entry is None:
        raise not_found("delivery")
    return entry


def _check_text(*texts: str | None) -> None:
    """Raises `ProblemError` 422 for what no database keeps."""
    if any(text is not None and not text.isprintable() for text in texts):
        raise ProblemError(422, "invalid_request", "this is no id and no cursor of ours")


def _page(found: list[Entry], limit: int) -> DeliveryPage:
    more = found[limit - 1].delivery.id if len(found) > limit else None
    return DeliveryPage(items=[delivery_out(entry) for entry in found[:limit]], next_cursor=more)
