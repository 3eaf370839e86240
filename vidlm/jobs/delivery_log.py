"""What webhooks were told, how that went, and telling it again. Rows only; each function inside ONE transaction.

Every question that comes from outside names a tenant, and another tenant's rows are simply not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from vidlm.domain import WorkState
from vidlm.errors import ConflictError
from vidlm.jobs import outbox
from vidlm.jobs.events import TOLD
from vidlm.queue import Task
from vidlm.store.chain import audit
from vidlm.store.engine import lock_key
from vidlm.store.hooks import Delivery, DeliveryAttempt, WebhookEndpoint
from vidlm.store.ledger import Event

REPLAY_BATCH: Final = 1000
"""How many events are told again at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery, the event it tells of, and how many attempts ended so far."""

    delivery: Delivery
    event: Event
    attempts: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many deliveries were begun; `last_event` is the id of the last one, where more events follow it."""

    deliveries: int
    last_event: str | None


def page(
    session: Session,
    tenant_id: str,
    *,
    endpoint_id: str | None = None,
    video_id: str | None = None,
    state: WorkState | None = None,
    before: str | None = None,
    limit: int,
) -> list[Entry]:
    """Up to `limit` of the tenant's deliveries, newest first, older than the delivery `before`."""
    query = select(Delivery, Event).join(Event, col(Event.id) == col(Delivery.event_id))
    query = query.where(Delivery.tenant_id == tenant_id).order_by(col(Delivery.id).desc()).limit(limit)
    if endpoint_id is not None:
        query = query.where(Delivery.endpoint_id == endpoint_id)
    if video_id is not None:
        query = query.where(Event.video_id == video_id)
    if state is not None:
        query = query.where(Delivery.state == state.value)
    if before is not None:
        query = query.where(Delivery.id < before)
    rows = session.exec(query).all()
    attempts = _counted(session, [delivery.id for delivery, _ in rows])
    return [Entry(delivery, event, attempts.get(delivery.id, 0)) for delivery, event in rows]


def find(session: Session, tenant_id: str, delivery_id: str) -> Entry | None:
    """One of the tenant's deliveries."""
    query = select(Delivery, Event).join(Event, col(Event.id) == col(Delivery.event_id))
    row = session.exec(query.where(Delivery.id == delivery_id, Delivery.tenant_id == tenant_id)).first()
    if row is None:
        return None
    delivery, event = row
    return Entry(delivery, event, _counted(session, [delivery.id]).get(delivery.id, 0))


def attempts_of(session: Session, delivery_id: str) -> Sequence[DeliveryAttempt]:
    """Every attempt of a delivery that ended, the first one first. One that took its courier down has no row."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return session.exec(query.order_by(col(DeliveryAttempt.number))).all()


def tries_of(session: Session, delivery_ids: Sequence[str]) -> dict[str, list[DeliveryAttempt]]:
    """The same of several deliveries, by their ids; one that was not tried yet is not among them."""
    query = select(DeliveryAttempt).where(col(DeliveryAttempt.delivery_id).in_(delivery_ids))
    found: dict[str, list[DeliveryAttempt]] = {}
    for row in session.exec(query.order_by(col(DeliveryAttempt.number))).all():
        found.setdefault(row.delivery_id, []).append(row)
    return found


def again(session: Session, delivery: Delivery, *, actor: str) -> Delivery:
    """Tell a delivery's event once more, at once, wherever its address is now.

    Raises `ConflictError`: `webhook_deleted`, `webhook_disabled`.
    """
    endpoint = session.get(WebhookEndpoint, delivery.endpoint_id) if delivery.endpoint_id is not None else None
    if endpoint is not None:
        _check_open(endpoint)
    url = delivery.url if endpoint is None else endpoint.url
    _lock(session, delivery.tenant_id)
    number = _last_replay(session, [delivery.event_id], delivery.endpoint_id, url)[delivery.event_id] + 1
    _audit(session, delivery.tenant_id, actor, delivery.id)
    copy = Delivery(
        tenant_id=delivery.tenant_id,
        event_id=delivery.event_id,
        endpoint_id=delivery.endpoint_id,
        url=url,
        replay=number,
    )
    _owe(session, copy)
    return copy


def again_since(
    session: Session,
    endpoint: WebhookEndpoint,
    since: datetime,
    *,
    actor: str,
    undelivered: bool = False,
    after: str | None = None,
    limit: int = REPLAY_BATCH,
) -> Replayed:
    """Tell `endpoint` of everything it wants to know that has happened since then, told before or not, oldest first.

    `undelivered` leaves out what has arrived or is on its way. At most `limit` events at once: the next ones follow
    `after` the id of the last. Raises `ConflictError` (`webhook_disabled`).
    """
    _check_open(endpoint)
    _lock(session, endpoint.tenant_id)
    wanted = (
        Event.tenant_id == endpoint.tenant_id,
        col(Event.kind).in_(endpoint.events or sorted(TOLD)),
        col(Event.public_id) >= _first_id(since),
    )
    query = select(Event.id, Event.public_id).where(*wanted).order_by(col(Event.public_id)).limit(limit + 1)
    if after is not None:
        query = query.where(Event.public_id > after)
    rows = session.exec(query).all()
    events = [event_id for event_id, _ in rows[:limit] if event_id is not None]
    last = _last_replay(session, events, endpoint.id, endpoint.url)
    skipped = _arriving(session, events, endpoint) if undelivered else set()
    for event_id in events:
        if event_id not in skipped:
            copy = Delivery(
                tenant_id=endpoint.tenant_id,
                event_id=event_id,
                endpoint_id=endpoint.id,
                url=endpoint.url,
                replay=last.get(event_id, -1) + 1,
            )
            _owe(session, copy)
    _audit(session, endpoint.tenant_id, actor, endpoint.id)
    return Replayed(len(events) - len(skipped), rows[limit - 1][1] if len(rows) > limit else None)


def _check_open(endpoint: WebhookEndpoint) -> None:
    if endpoint.deleted_at is not None:
        raise ConflictError("the webhook this went to was deleted", code="webhook_deleted")
    if not endpoint.enabled:
        raise ConflictError("the webhook is disabled", code="webhook_disabled")


def _owe(session: Session, delivery: Delivery) -> None:
    session.add(delivery)
    outbox.owe(session, Task.DELIVER, delivery.id, delivery.tenant_id)


def _last_replay(session: Session, events: Sequence[int], endpoint_id: str | None, url: str) -> dict[int, int]:
    """Of each event that was told there: the number of the last time."""
    there = col(Delivery.url) == url
    if endpoint_id is not None:
        there = or_(there, col(Delivery.endpoint_id) == endpoint_id)
    query = select(Delivery.event_id, func.max(Delivery.replay)).where(col(Delivery.event_id).in_(events), there)
    return dict(session.exec(query.group_by(col(Delivery.event_id))).all())


def _arriving(session: Session, events: Sequence[int], endpoint: WebhookEndpoint) -> set[int]:
    """Those of `events` that the endpoint was told of, or is about to be."""
    fine = (WorkState.DONE.value, WorkState.WAITING.value, WorkState.RUNNING.value)
    there = (col(Delivery.event_id).in_(events), Delivery.endpoint_id == endpoint.id, col(Delivery.state).in_(fine))
    return set(session.exec(select(Delivery.event_id).where(*there)).all())


def _first_id(since: datetime) -> str:
    """What ids of events are not smaller than that were born at `since` or later (`vidlm.store.columns.new_id`)."""
    return f"evt_{max(0, int(since.timestamp() * 1000)):012x}"


def _counted(session: Session, delivery_ids: Sequence[str]) -> dict[str, int]:
    ours = col(DeliveryAttempt.delivery_id).in_(delivery_ids)
    query = select(DeliveryAttempt.delivery_id, func.count()).where(ours).group_by(DeliveryAttempt.delivery_id)
    return dict(session.exec(query).all())


def _lock(session: Session, tenant_id: str) -> None:
    """One replay of a tenant at a time: two would count to the same number."""
    lock_key(session, f"replays of {tenant_id}")


def _audit(session: Session, tenant_id: str, actor: str, target_id: str) -> None:
    audit(session, tenant_id=tenant_id, actor=actor, event="webhook.replayed", target_id=target_id)
