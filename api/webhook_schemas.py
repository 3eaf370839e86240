"""What the documents about webhooks look like. The messages themselves are made in `vidlm.jobs.deliveries`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, get_args

from pydantic import AwareDatetime, BaseModel, Field

from api.schemas import ErrorOut
from api.wishes import MAX_URL_CHARS
from vidlm.domain import WorkState
from vidlm.jobs.deliveries import payload
from vidlm.jobs.delivery_log import REPLAY_BATCH, Entry
from vidlm.jobs.events import Told
from vidlm.store.hooks import DeliveryAttempt, WebhookEndpoint

MAX_DESCRIPTION_CHARS: Final = 500

DeliveryState = Literal["waiting", "sending", "delivered", "failed", "cancelled"]

_STATES: Final[dict[WorkState, DeliveryState]] = {
    WorkState.WAITING: "waiting",
    WorkState.RUNNING: "sending",
    WorkState.DONE: "delivered",
    WorkState.FAILED: "failed",
    WorkState.CANCELLED: "cancelled",
}
assert set(_STATES.values()) == set(get_args(DeliveryState))
_EVENTS: Final = "Kinds of events to be told of; none: all of them."


class WebhookIn(BaseModel):
    url: str = Field(max_length=MAX_URL_CHARS, description="An http or https address without user name.")
    events: list[Told] = Field(default=[], max_length=len(Told), description=_EVENTS)
    description: str = Field(default="", max_length=MAX_DESCRIPTION_CHARS)


class WebhookChange(BaseModel):
    """What is left out, or null, stays as it is."""

    url: str | None = Field(default=None, max_length=MAX_URL_CHARS)
    events: list[Told] | None = Field(default=None, max_length=len(Told), description=_EVENTS)
    description: str | None = Field(default=None, max_length=MAX_DESCRIPTION_CHARS)
    enabled: bool | None = Field(default=None, description="False: nothing is sent, and what waits is called off.")


class WebhookOut(BaseModel):
    """An address that is told of events. Its secret is shown when it is made, and not again."""

    id: str
    url: str
    events: list[Told] = Field(description=_EVENTS)
    description: str
    enabled: bool = Field(description="False once somebody disabled it, or the receiver answered 410 Gone.")
    created_at: datetime


class WebhookCreated(WebhookOut):
    secret: str = Field(description="Signs every message to this address.")


class WebhooksOut(BaseModel):
    """The oldest first."""

    items: list[WebhookOut]


class SecretIn(BaseModel):
    secret: str | None = Field(
        default=None,
        max_length=200,
        description="`whsec_` and base64 of 24 to 64 bytes that the receiver knows already; else one is made.",
    )


class SecretOut(BaseModel):
    secret: str


class DeliveryOut(BaseModel):
    """One event on its way to one address."""

    id: str
    webhook_id: str | None = Field(description="Null: the address is one that an upload named.")
    message_id: str = Field(description="The `webhook-id` header: the same at every attempt and every replay.")
    event: Told
    video_id: str
    url: str
    replay: int = Field(description="0 for the first time, then counted up each time it is asked for again.")
    state: DeliveryState
    attempts: int = Field(description="How many have ended.")
    created_at: datetime
    delivered_at: datetime | None
    next_attempt_at: datetime | None = Field(description="Null: at once, or never.")
    error: ErrorOut | None = Field(description="Why the last attempt failed.")


class DeliveryPage(BaseModel):
    """Newest first. `next_cursor` is null on the last page."""

    items: list[DeliveryOut]
    next_cursor: str | None


class TryOut(BaseModel):
    """One attempt: the HTTP status that was answered, or why there was none."""

    number: int
    at: datetime
    seconds: float
    status: int | None
    error: str | None


class DeliveryWhole(DeliveryOut):
    message: dict[str, Any] = Field(description="What is sent.")
    tries: list[TryOut] = Field(description="Every attempt that has ended, the first one first.")


class TestedOut(BaseModel):
    """What became of a test: the HTTP status that was answered, or why there was none."""

    message_id: str = Field(description="The `webhook-id` header.")
    seconds: float
    status: int | None
    error: str | None


class ReplayIn(BaseModel):
    since: AwareDatetime = Field(description="Events that happened then or later, with its offset from UTC.")
    undelivered: bool = Field(default=False, description="Leave out what has arrived or is on its way.")
    cursor: str | None = Field(default=None, max_length=64, description="`next_cursor` of the reply before.")


class ReplayOut(BaseModel):
    deliveries: int = Field(description=f"How many were begun; a request looks at {REPLAY_BATCH} events at most.")
    next_cursor: str | None = Field(description="Not null: there are more events.")


def work_state(state: DeliveryState | None) -> WorkState | None:
    """A state as the rows spell it."""
    return next((ours for ours, shown in _STATES.items() if shown == state), None)


def webhook_out(row: WebhookEndpoint) -> WebhookOut:
    """An address as the API shows it."""
    return WebhookOut(
        id=row.id,
        url=row.url,
        events=[Told(kind) for kind in row.events],
        description=row.description,
        enabled=row.enabled,
        created_at=row.created_at,
    )


def webhook_created(row: WebhookEndpoint) -> WebhookCreated:
    """The same with its secret."""
    return WebhookCreated(**webhook_out(row).model_dump(), secret=row.secret)


def delivery_out(entry: Entry) -> DeliveryOut:
    """A delivery as the API shows it."""
    row = entry.delivery
    return DeliveryOut(
        id=row.id,
        webhook_id=row.endpoint_id,
        message_id=entry.event.public_id,
        event=Told(entry.event.kind),
        video_id=entry.event.video_id,
        url=row.url,
        replay=row.replay,
        state=_STATES[WorkState(row.state)],
        attempts=entry.attempts,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        next_attempt_at=row.not_before if row.state == WorkState.WAITING else None,
        error=ErrorOut(code=row.error_code, detail=row.error_detail or "") if row.error_code else None,
    )


def delivery_whole(entry: Entry, tries: list[DeliveryAttempt]) -> DeliveryWhole:
    """The same with its message and every attempt."""
    shown = [
        TryOut(number=row.number, at=row.at, seconds=row.seconds, status=row.status, error=row.error) for row in tries
    ]
    return DeliveryWhole(**delivery_out(entry).model_dump(), message=payload(entry.event), tries=shown)
