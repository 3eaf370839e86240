"""The addresses that a tenant registered to be told of events, and the secrets that sign what goes there. No HTTP.

Who is told of what is decided in `events`; how a delivery goes stands in `deliveries`. Each function is called inside
ONE transaction, which the caller commits. Secrets are those of Standard Webhooks (standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from vidlm.errors import ConflictError, InputError
from vidlm.jobs.claims import call_off
from vidlm.jobs.events import Told
from vidlm.store.chain import audit
from vidlm.store.engine import clock, lock_key
from vidlm.store.hooks import Delivery, WebhookEndpoint
from vidlm.store.tables import Tenant

MAX_ENDPOINTS: Final = 100
"""Of one tenant: every event may become a delivery to each."""

SECRET_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = range(24, 65)


def create(
    session: Session, *, tenant_id: str, actor: str, url: str, events: Collection[Told] = (), description: str = ""
) -> WebhookEndpoint:
    """Register an address for events of these kinds, or of all.

    Raises `ConflictError`: `already_registered`, `too_many_webhooks`.
    """
    lock_key(session, _lock_of(tenant_id))
    if len(list_all(session, tenant_id)) >= MAX_ENDPOINTS:
        raise ConflictError(f"there are {MAX_ENDPOINTS} webhooks already", code="too_many_webhooks")
    _check_free(session, tenant_id, url)
    endpoint = WebhookEndpoint(
        tenant_id=tenant_id,
        url=url,
        secret=new_secret(),
        events=_kinds(events),
        description=description,
        created_at=clock(session),
    )
    session.add(endpoint)
    _audit(session, endpoint, actor, "webhook.created")
    return endpoint


def list_all(session: Session, tenant_id: str) -> Sequence[WebhookEndpoint]:
    """The tenant's addresses, the oldest first."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant_id, _alive())
    return session.exec(query.order_by(col(WebhookEndpoint.id))).all()


def find(session: Session, tenant_id: str, endpoint_id: str, *, lock: bool = False) -> WebhookEndpoint | None:
    """One of the tenant's addresses; with `lock`, nobody else changes it meanwhile."""
    named = (WebhookEndpoint.id == endpoint_id, WebhookEndpoint.tenant_id == tenant_id, _alive())
    query = select(WebhookEndpoint).where(*named)
    return session.exec(query.with_for_update() if lock else query).first()


def change(
    session: Session,
    endpoint: WebhookEndpoint,
    *,
    actor: str,
    url: str | None = None,
    events: Collection[Told] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> None:
    """Change what is not None. The caller holds the lock. Raises `ConflictError` (`already_registered`).

    What waits goes to the new address; once disabled nothing waits any more.
    """
    if url is not None and url != endpoint.url:
        lock_key(session, _lock_of(endpoint.tenant_id))
        _check_free(session, endpoint.tenant_id, url)
        endpoint.url = url
    if events is not None:
        endpoint.events = _kinds(events)
    if description is not None:
        endpoint.description = description
    if enabled is not None:
        endpoint.enabled = enabled
    if not endpoint.enabled:
        call_off(session, Delivery, col(Delivery.endpoint_id) == endpoint.id)
    _audit(session, endpoint, actor, "webhook.changed")


def rotate(session: Session, endpoint: WebhookEndpoint, *, actor: str, secret: str | None = None) -> None:
    """Another secret from the next attempt on: a new one, or the one given. Raises `InputError` (`invalid_secret`)."""
    endpoint.secret = new_secret() if secret is None else _checked_secret(secret)
    _audit(session, endpoint, actor, "webhook.rotated")


def delete(session: Session, endpoint: WebhookEndpoint, *, actor: str) -> None:
    """Leave a tombstone. Nothing more is sent there, nor tried again. The caller holds the lock."""
    endpoint.deleted_at, endpoint.enabled = clock(session), False
    call_off(session, Delivery, col(Delivery.endpoint_id) == endpoint.id)
    _audit(session, endpoint, actor, "webhook.deleted")


def signing_secret(session: Session, tenant_id: str) -> str:
    """What signs messages to addresses that a single job named; made when it is first asked for."""
    tenant = session.get_one(Tenant, tenant_id, populate_existing=True)
    if tenant.webhook_secret is None:
        tenant = _locked_tenant(session, tenant_id)
        tenant.webhook_secret = tenant.webhook_secret or new_secret()
    return tenant.webhook_secret


def rotate_signing_secret(session: Session, tenant_id: str, *, actor: str, secret: str | None = None) -> str:
    """Another one, from the next attempt on. Raises `InputError` (`invalid_secret`)."""
    tenant = _locked_tenant(session, tenant_id)
    tenant.webhook_secret = new_secret() if secret is None else _checked_secret(secret)
    audit(session, tenant_id=tenant_id, actor=actor, event="webhook.rotated", target_id=tenant_id)
    return tenant.webhook_secret


def new_secret() -> str:
    """24 random bytes, as Standard Webhooks writes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES.start)).decode()


def _checked_secret(raw: str) -> str:
    try:
        size = len(base64.b64decode(raw.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not raw.startswith(SECRET_PREFIX) or size not in _SECRET_BYTES:
        said = f"a secret is {SECRET_PREFIX} and base64 of {_SECRET_BYTES.start} to {_SECRET_BYTES.stop - 1} bytes"
        raise InputError(said, code="invalid_secret")
    return raw


def _locked_tenant(session: Session, tenant_id: str) -> Tenant:
    """The tenant, changed by nobody else meanwhile; rows that name it may still be added."""
    return session.get_one(Tenant, tenant_id, with_for_update={"key_share": True}, populate_existing=True)


def _check_free(session: Session, tenant_id: str, url: str) -> None:
    """Raises `ConflictError` where the address is registered: it would be told once all the same."""
    same = (WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.url == url, _alive())
    found = session.exec(select(WebhookEndpoint.id).where(*same)).first()
    if found is not None:
        raise ConflictError(f"{found} has this address already", code="already_registered")


def _alive() -> ColumnElement[bool]:
    return col(WebhookEndpoint.deleted_at).is_(None)


def _kinds(events: Collection[Told]) -> list[str]:
    return [kind.value for kind in Told if kind in events]


def _lock_of(tenant_id: str) -> str:
    return f"webhooks of {tenant_id}"


def _audit(session: Session, endpoint: WebhookEndpoint, actor: str, event: str) -> None:
    audit(session, tenant_id=endpoint.tenant_id, actor=actor, event=event, target_id=endpoint.id)
