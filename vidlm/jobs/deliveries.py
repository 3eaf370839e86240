"""One event on its way to one address, as rows: what is due, what the message is, how an attempt ended. No HTTP.

    next_due -> take -> begin -> delivered | refused -> (later) next_due ...

Each is called inside ONE transaction, which the caller commits. At least once: whatever dies in between, the outbox row
makes the delivery due again. Messages are those of Standard Webhooks (standardwebhooks.com).
"""

from __future__ import annotations

import base64
import hmac
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from vidlm.domain import WorkState
from vidlm.errors import VidlmError
from vidlm.jobs import outbox, webhooks
from vidlm.jobs.claims import WEBHOOK_ATTEMPTS, Claim, claim, hold
from vidlm.jobs.life import let_go
from vidlm.queue import Task
from vidlm.store.chain import audit
from vidlm.store.columns import new_id
from vidlm.store.engine import clock
from vidlm.store.hooks import Delivery, DeliveryAttempt, WebhookEndpoint
from vidlm.store.ledger import Event, Outbox

PER_ADDRESS: Final = 2
"""How many deliveries one courier has on their way to one address at most: a slow receiver holds up nobody else."""

TAKEN_S: Final = 15.0
"""A courier that took a delivery and died before it could claim it is replaced after this."""

GONE: Final = 410
TRIAL: Final = "webhook.test"
"""What a message says it is that was asked for to see whether it arrives."""
RECEIVER: Final = "receiver"
"""The actor where the receiver itself said that it wants no more."""

WAITS_S: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 28_800.0, 30_600.0, 30_600.0)
"""Between one attempt and the next: over a day, even where the longest wait is lost together with its courier."""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may be sent now. `address` is the part of its URL that names the receiver."""

    outbox_id: str
    delivery_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent: the same id and bytes at every attempt, signed anew each time."""

    id: str
    url: str
    body: bytes = field(repr=False)
    secret: str = field(repr=False)

    def headers(self, now_s: float) -> dict[str, str]:
        """The headers of an attempt at `now_s`, in Unix seconds."""
        stamp = str(int(now_s))
        key = base64.b64decode(self.secret.removeprefix(webhooks.SECRET_PREFIX))
        digest = hmac.digest(key, f"{self.id}.{stamp}.".encode() + self.body, "sha256")
        return {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def wait_s(attempt: int, jitter: float) -> float:
    """Seconds until the next attempt after number `attempt` (from 1) failed, plus up to a tenth: `jitter` in [0, 1)."""
    return WAITS_S[min(attempt, len(WAITS_S)) - 1] * (1 + 0.1 * jitter)


def payload(event: Event) -> dict[str, Any]:
    """The message that tells of `event`. Once its video is deleted nothing but ids is left of it."""
    at = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = event.document | {"event_id": event.public_id, "video_id": event.video_id}
    return {"type": event.kind, "timestamp": at, "data": data}


def trial(session: Session, endpoint: WebhookEndpoint, *, actor: str) -> Message:
    """A message that tells of nothing, signed as any other: to see whether the address answers."""
    at = clock(session).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message_id = new_id("tst")
    document = {"type": TRIAL, "timestamp": at, "data": {"webhook_id": endpoint.id}}
    audit(session, tenant_id=endpoint.tenant_id, actor=actor, event="webhook.tested", target_id=endpoint.id)
    return Message(message_id, endpoint.url, _written(document), endpoint.secret)


def next_due(session: Session, room: int, under_way: Mapping[str, int]) -> list[Due]:
    """Up to `room` deliveries that are due, oldest first; none to an address that has `PER_ADDRESS` of them already.

    `under_way` says how many are on their way to which address. Costs no lock.
    """
    busy = Counter(under_way)
    found: dict[str, Due] = {}
    unsent = (col(Outbox.task) == Task.DELIVER.value, col(Outbox.sent_at).is_(None))
    due = (*unsent, col(Outbox.due_at) <= clock(session))
    query = select(Outbox.id, Delivery.id, Delivery.url).join(Delivery, col(Delivery.id) == col(Outbox.target_id))
    query = query.where(*due).order_by(col(Outbox.due_at), col(Outbox.id)).limit(room)
    while len(found) < room:
        full = [address for address, count in busy.items() if count >= PER_ADDRESS]
        others = (col(Outbox.id).not_in(list(found)), *(~_goes_to(address) for address in full))
        before = len(found)
        for outbox_id, delivery_id, url in session.exec(query.where(*others)).all():
            address = address_of(url)
            if busy[address] < PER_ADDRESS and len(found) < room:
                busy[address] += 1
                found[outbox_id] = Due(outbox_id, delivery_id, address)
        if len(found) == before:
            break
    return list(found.values())


def take(session: Session, due: Sequence[Due]) -> list[Due]:
    """Those of `due` that no other courier took first; they are this one's to claim for `TAKEN_S`."""
    now = clock(session)
    ours = {item.outbox_id: item for item in due}
    still = (col(Outbox.id).in_(list(ours)), col(Outbox.sent_at).is_(None), col(Outbox.due_at) <= now)
    rows = session.exec(select(Outbox).where(*still).with_for_update(skip_locked=True)).all()
    for row in rows:
        row.due_at = now + timedelta(seconds=TAKEN_S)
    return [ours[row.id] for row in rows]


def begin(session: Session, delivery_id: str, *, lease_s: float) -> tuple[Claim, Message] | None:
    """Claim a delivery and say what to send; None where there is nothing to do, or nobody to tell any more."""
    held = claim(session, Task.DELIVER, delivery_id, lease_s=lease_s, max_attempts=WEBHOOK_ATTEMPTS)
    if held is None:
        return None
    delivery = session.get_one(Delivery, delivery_id, populate_existing=True)
    event = session.get_one(Event, delivery.event_id)
    secret = _secret_for(session, delivery)
    if secret is None:
        delivery.token += 1
        _end(session, delivery, WorkState.CANCELLED)
        return None
    return held, Message(event.public_id, delivery.url, _written(payload(event)), secret)


def delivered(session: Session, held: Claim, *, status: int, seconds: float) -> None:
    """The receiver has it. Raises `LeaseLost`."""
    delivery = hold(session, held, Delivery)
    session.add(_attempt(session, held, delivery, seconds, status=status))
    delivery.delivered_at = clock(session)
    delivery.error_code = delivery.error_detail = None
    _end(session, delivery, WorkState.DONE)


def refused(
    session: Session, held: Claim, *, seconds: float, status: int | None = None, error: VidlmError | None = None
) -> str:
    """The receiver answered another `status`, or an `error` came instead: tried again later, until it is too late.

    An address that answers 410 Gone is disabled. Returns what became of the delivery: "waiting" or "failed". Raises
    `LeaseLost`.
    """
    endpoint = _locked_endpoint(session, held.target_id) if status == GONE else None  # before the delivery, everywhere
    delivery = hold(session, held, Delivery)
    session.add(_attempt(session, held, delivery, seconds, status=status, error=error))
    delivery.error_code = error.code if error else f"http_{status}"
    delivery.error_detail = error.detail if error else f"the receiver answered {status}"
    if status != GONE and held.attempt < WEBHOOK_ATTEMPTS:
        again_at = clock(session) + timedelta(seconds=wait_s(held.attempt, random.random()))
        delivery.state, delivery.lease_until, delivery.not_before = WorkState.WAITING.value, None, again_at
        outbox.postpone(session, held.task, held.target_id, again_at)
        return WorkState.WAITING.value
    _end(session, delivery, WorkState.FAILED)
    if endpoint is not None and endpoint.enabled:
        webhooks.change(session, endpoint, actor=RECEIVER, enabled=False)
    return WorkState.FAILED.value


def address_of(url: str) -> str:
    """`https://host:port` of a URL, as it is written there."""
    parts = urlsplit(url)
    return url[: len(f"{parts.scheme}://{parts.netloc}")]


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _goes_to(address: str) -> ColumnElement[bool]:
    begins = func.substr(Delivery.url, 1, len(address)) == address
    return begins & func.substr(Delivery.url, len(address) + 1, 1).in_(("", "/", "?", "#"))


def _secret_for(session: Session, delivery: Delivery) -> str | None:
    """What signs the message. None where nobody is to be told (any more): the address was deleted or disabled while the
    event was being written down, or it changed to one that was told already."""
    if delivery.endpoint_id is None:
        return webhooks.signing_secret(session, delivery.tenant_id)
    endpoint = session.get_one(WebhookEndpoint, delivery.endpoint_id)
    if endpoint.deleted_at is not None or not endpoint.enabled:
        return None
    if delivery.url != endpoint.url:
        told = (Delivery.event_id == delivery.event_id, Delivery.replay == delivery.replay)
        if session.exec(select(Delivery.id).where(*told, Delivery.url == endpoint.url)).first() is not None:
            return None
        delivery.url = endpoint.url
    return endpoint.secret


def _attempt(
    session: Session,
    held: Claim,
    delivery: Delivery,
    seconds: float,
    *,
    status: int | None,
    error: VidlmError | None = None,
) -> DeliveryAttempt:
    return DeliveryAttempt(
        tenant_id=delivery.tenant_id,
        delivery_id=delivery.id,
        number=held.attempt,
        at=clock(session) - timedelta(seconds=seconds),
        seconds=seconds,
        status=status,
        error=error.code if error else None,
    )


def _end(session: Session, delivery: Delivery, end: WorkState) -> None:
    delivery.state = end.value
    let_go(delivery)
    outbox.settle(session, Task.DELIVER, delivery.id)


def _locked_endpoint(session: Session, delivery_id: str) -> WebhookEndpoint | None:
    endpoint_id = session.exec(select(Delivery.endpoint_id).where(Delivery.id == delivery_id)).first()
    return session.get(WebhookEndpoint, endpoint_id, with_for_update=True) if endpoint_id is not None else None
