"""The tables of webhooks: where to tell, what was told, and how that went.

webhook_endpoint -< delivery -< delivery_attempt        a delivery: one event for one address
                    delivery >- event
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from vidlm.domain import WorkState
from vidlm.store import ledger  # noqa: F401  deliveries name its events
from vidlm.store.columns import CleanText, UtcDateTime, new_id, utc_now
from vidlm.store.tables import Claimable, one_of


class WebhookEndpoint(SQLModel, table=True):
    """An address that a tenant wants told of events. `secret` signs; it has to be kept to be used."""

    __tablename__: ClassVar[Any] = "webhook_endpoint"

    id: str = Field(default_factory=lambda: new_id("whk"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id", index=True)
    url: str
    secret: str
    events: list[str] = Field(sa_type=JSON)  # kinds of events; empty: all of them
    description: str = Field(default="", sa_type=CleanText)
    enabled: bool = True
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Delivery(Claimable, table=True):
    """One event on its way to one address: a registered endpoint's, or without one, the address its job named."""

    __tablename__: ClassVar[Any] = "delivery"
    __table_args__ = (
        one_of("state", WorkState),
        UniqueConstraint("event_id", "url", "replay"),
        Index(None, "state", "lease_until"),
        Index(None, "state", "priority", "turn"),
        Index(None, "tenant_id", "state", "priority", "turn"),
        Index(None, "tenant_id", "id"),
    )

    id: str = Field(default_factory=lambda: new_id("dlv"), primary_key=True)
    event_id: int = Field(foreign_key="event.id")
    endpoint_id: str | None = Field(default=None, foreign_key="webhook_endpoint.id", index=True)
    url: str
    replay: int = 0  # 0 for the first time, then counted up each time somebody asks for it again
    state: str = WorkState.WAITING.value
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class DeliveryAttempt(SQLModel, table=True):
    """One try of a delivery: what was answered, or why nothing was."""

    __tablename__: ClassVar[Any] = "delivery_attempt"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    id: str = Field(default_factory=lambda: new_id("att"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    delivery_id: str = Field(foreign_key="delivery.id")
    number: int  # from 1
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    seconds: float
    status: int | None = None  # what HTTP answered
    error: str | None = Field(default=None, sa_type=CleanText)
