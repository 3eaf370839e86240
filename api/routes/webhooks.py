"""Webhooks: addresses that are told of events, and the secrets that sign. What was told stands in `deliveries`."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples
from api import webhook_examples as shown
from api.deps import CallerDep, Service, ServiceDep
from api.once import OnceDep, respond
from api.problems import ProblemError, documented, not_found
from api.webhook_schemas import (
    SecretIn,
    SecretOut,
    TestedOut,
    WebhookChange,
    WebhookCreated,
    WebhookIn,
    WebhookOut,
    WebhooksOut,
    webhook_created,
    webhook_out,
)
from api.wishes import checked_url
from vidlm import outward
from vidlm.jobs import deliveries, webhooks
from vidlm.jobs.idempotency import Reply
from vidlm.store.hooks import WebhookEndpoint
from vidlm.store.keys import Caller

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, Path(max_length=64, examples=[shown.WEBHOOK["id"]])]
NewSecret = Annotated[SecretIn | None, Body(examples=[shown.SECRET_IN])]


@router.post(
    "",
    status_code=201,
    response_model=WebhookCreated,
    responses=documented(
        {201: examples.shown("Registered; the secret is shown now only", shown.WEBHOOK_CREATED)}, 409, 413, 422
    ),
)
def create_webhook(
    asked: Annotated[WebhookIn, Body(examples=[shown.WEBHOOK_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Register an address to be told of events. 409 `already_registered`, `too_many_webhooks`; 422
    `address_not_allowed` for an address of a private network, unless the service allows these.
    """
    url = _allowed_url(service, asked.url)
    with service.database.write() as session:

        def do() -> Reply:
            row = webhooks.create(
                session,
                tenant_id=caller.tenant_id,
                actor=caller.id,
                url=url,
                events=asked.events,
                description=asked.description,
            )
            session.flush()
            session.refresh(row)
            return Reply(201, webhook_created(row).model_dump(mode="json"), {"Location": f"/v1/webhooks/{row.id}"})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get("", response_model=WebhooksOut, responses=documented({200: examples.shown("All", shown.WEBHOOKS)}))
def get_webhooks(service: ServiceDep, caller: CallerDep) -> WebhooksOut:
    """The tenant's webhooks, without their secrets."""
    with service.database.read() as session:
        return WebhooksOut(items=[webhook_out(row) for row in webhooks.list_all(session, caller.tenant_id)])


@router.get(
    "/signing-secret", response_model=SecretOut, responses=documented({200: examples.shown("The secret", shown.SECRET)})
)
def get_signing_secret(service: ServiceDep, caller: CallerDep) -> SecretOut:
    """What signs messages to the `webhook_url` of an upload. It is made when it is first asked for, or first needed."""
    with service.database.write() as session:
        return SecretOut(secret=webhooks.signing_secret(session, caller.tenant_id))


@router.post(
    "/signing-secret/rotate",
    response_model=SecretOut,
    responses=documented({200: examples.shown("The new secret", shown.SECRET)}, 409, 413, 422),
)
def rotate_signing_secret(
    service: ServiceDep, caller: CallerDep, once: OnceDep, asked: NewSecret = None
) -> JSONResponse:
    """Replace it: from the next attempt on messages to such addresses are signed with the new one."""
    given = asked.secret if asked else None
    with service.database.write() as session:

        def do() -> Reply:
            made = webhooks.rotate_signing_secret(session, caller.tenant_id, actor=caller.id, secret=given)
            return Reply(200, {"secret": made})

        reply = once(session, given, do)
    return respond(reply)


@router.get(
    "/{webhook_id}",
    response_model=WebhookOut,
    responses=documented({200: examples.shown("The webhook", shown.WEBHOOK)}, 404, 422),
)
def get_webhook(webhook_id: WebhookId, service: ServiceDep, caller: CallerDep) -> WebhookOut:
    """A webhook, without its secret."""
    with service.database.read() as session:
        return webhook_out(webhook_of(session, caller, webhook_id))


@router.patch(
    "/{webhook_id}",
    response_model=WebhookOut,
    responses=documented({200: examples.shown("As it is now", shown.WEBHOOK)}, 404, 409, 413, 422),
)
def change_webhook(
    webhook_id: WebhookId,
    asked: Annotated[WebhookChange, Body(examples=[shown.CHANGE])],
    service: ServiceDep,
    caller: CallerDep,
) -> WebhookOut:
    """Change its address, events or description; disable it, which calls off what waits, or enable it again."""
    url = None if asked.url is None else _allowed_url(service, asked.url)
    with service.database.write() as session:
        row = webhook_of(session, caller, webhook_id, lock=True)
        changes = asked.model_dump(exclude_none=True) | ({} if url is None else {"url": url})
        webhooks.change(session, row, actor=caller.id, **changes)
        session.flush()
        session.refresh(row)
        return webhook_out(row)


@router.delete("/{webhook_id}", status_code=204, responses=documented({204: {"description": "Gone"}}, 404, 422))
def delete_webhook(webhook_id: WebhookId, service: ServiceDep, caller: CallerDep) -> Response:
    """Tell this address nothing more: what waits for it is called off. Its deliveries stay in the log."""
    with service.database.write() as session:
        webhooks.delete(session, webhook_of(session, caller, webhook_id, lock=True), actor=caller.id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/rotate",
    response_model=WebhookCreated,
    responses=documented({200: examples.shown("With its new secret", shown.WEBHOOK_CREATED)}, 404, 409, 413, 422),
)
def rotate_webhook(
    webhook_id: WebhookId, service: ServiceDep, caller: CallerDep, once: OnceDep, asked: NewSecret = None
) -> JSONResponse:
    """Replace its secret: from the next attempt on messages are signed with the new one. 422 `invalid_secret`."""
    given = asked.secret if asked else None
    with service.database.write() as session:

        def do() -> Reply:
            row = webhook_of(session, caller, webhook_id, lock=True)
            webhooks.rotate(session, row, actor=caller.id, secret=given)
            return Reply(200, webhook_created(row).model_dump(mode="json"))

        reply = once(session, given, do)
    return respond(reply)


@router.post(
    "/{webhook_id}/test",
    response_model=TestedOut,
    responses=documented({200: examples.shown("What was answered", shown.TESTED)}, 404, 422),
)
def try_webhook(webhook_id: WebhookId, service: ServiceDep, caller: CallerDep) -> TestedOut:
    """Send it a `webhook.test` message now, enabled or not, and say what was answered. Once, and not in the log."""
    with service.database.write() as session:
        message = deliveries.trial(session, webhook_of(session, caller, webhook_id), actor=caller.id)
    began_s = time.monotonic()
    status, error = None, None
    try:
        private = service.settings.webhook_private
        status = outward.post(message.url, message.body, message.headers(time.time()), private=private)
    except outward.OutwardError as exc:
        error = exc.code
    seconds = round(time.monotonic() - began_s, 3)
    return TestedOut(message_id=message.id, seconds=seconds, status=status, error=error)


def _allowed_url(service: Service, raw: str) -> str:
    """Raises `ProblemError` 422: `invalid_request`, `address_not_allowed`."""
    url = checked_url(raw, "url")
    try:
        inside = outward.named_inside(url) and not service.settings.webhook_private
    except outward.OutwardError as exc:
        raise ProblemError(422, exc.code, f"url: {exc.detail}") from exc
    if inside:
        raise ProblemError(422, "address_not_allowed", "url: the address is not one of the public internet")
    return url


def webhook_of(session: Session, caller: Caller, webhook_id: str, *, lock: bool = False) -> WebhookEndpoint:
    """The caller's webhook; with `lock`, nobody else changes it meanwhile. Raises `ProblemError` 404."""
    row = None if "\0" in webhook_id else webhooks.find(session, caller.tenant_id, webhook_id, lock=lock)
    if row is None:
        raise not_found("webhook")
    return row
