"""The tables of what is owed, what has happened and what was said: everything beside the videos themselves.

outbox        wake-ups that are owed: one row for every unit of work that still wants a worker
event         what has happened to a video, in order: followed live, and told to webhooks
audit         who did what; only ever appended to, each tenant's rows a chain of hashes (`vidlm.store.chain`)
audit_head    where each of those chains ends
idempotency   what a POST with an Idempotency-Key was answered, to be said again
worker        which processes are there to work, and when they last said so
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, Index, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from vidlm.store import tables  # noqa: F401  rows here name theirs; the naming of constraints is set there
from vidlm.store.columns import UtcDateTime, new_id, utc_now


class Outbox(SQLModel, table=True):
    """A wake-up owed to one unit of work, from its birth to its end: to be sent at `due_at` while `sent_at` is unset.

    While a worker holds the unit, `due_at` lies just after its lease: a worker that dies is replaced by this very row.
    """

    __tablename__: ClassVar[Any] = "outbox"
    __table_args__ = (UniqueConstraint("task", "target_id"), Index(None, "sent_at", "due_at"))

    id: str = Field(default_factory=lambda: new_id("out"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    task: str
    target_id: str
    due_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class JsonText(TypeDecorator[dict[str, Any]]):
    """A JSON document kept as text, byte for byte as it was written: what is hashed must come back as it was."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        return None if value is None else json.loads(value)


def json_text(document: dict[str, Any]) -> str:
    """The document in ASCII, keys in order, no spaces. Raises `TypeError`, `ValueError` for what JSON cannot say."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Audit(SQLModel, table=True):
    """Who did what, when: the row `number` of its tenant's chain. Written by `vidlm.store.chain.audit` alone.

    Ids, codes and numbers; no text that a client or a model wrote, so it stays when a video is deleted. The database
    refuses to change or to remove a row.
    """

    __tablename__: ClassVar[Any] = "audit"
    __table_args__ = (
        UniqueConstraint("tenant_id", "number"),
        Index(None, "tenant_id", "actor", "number"),
        Index(None, "tenant_id", "event", "number"),
        Index(None, "tenant_id", "target_id", "number"),
    )

    id: int | None = Field(default=None, primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    number: int = Field(sa_type=BigInteger)  # 1, 2, 3, ... without holes
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    actor: str  # an API key's id
    event: str  # "video.accepted", "video.deleted"
    target_id: str
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)  # what was decided, and on what grounds
    previous: str  # the hash of the row before
    hash: str  # SHA-256 of all the above (`vidlm.store.chain.digest`)


class AuditHead(SQLModel, table=True):
    """The last row of a tenant's chain: rows cut off at its end are missed. Moves in the transaction that adds rows."""

    __tablename__: ClassVar[Any] = "audit_head"

    tenant_id: str = Field(foreign_key="tenant.id", primary_key=True)
    number: int = Field(sa_type=BigInteger)
    hash: str


class Event(SQLModel, table=True):
    """Something that happened to a video. Within one video ids grow in the order of what happened.

    `document` holds ids, states, codes and numbers; no text that a model or a client wrote.
    """

    __tablename__: ClassVar[Any] = "event"
    __table_args__ = (Index(None, "video_id", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    public_id: str = Field(default_factory=lambda: new_id("evt"), unique=True)  # says nothing of how many there are
    tenant_id: str = Field(foreign_key="tenant.id")
    video_id: str = Field(foreign_key="video.id")
    kind: str  # "video.ready", "flag.created", ...
    document: dict[str, Any] = Field(sa_type=JSON)
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class IdempotencyKey(SQLModel, table=True):
    """The reply to a POST that carried this key. `status` is unset only inside the transaction that made the row."""

    __tablename__: ClassVar[Any] = "idempotency"

    tenant_id: str = Field(foreign_key="tenant.id", primary_key=True)
    key: str = Field(primary_key=True)
    request_sha256: str  # of what was asked: another request under the same key is refused
    status: int | None = None
    body: Any = Field(default=None, sa_type=JSON)
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)


class Worker(SQLModel, table=True):
    """A process that takes work, as long as it says so. Belongs to nobody: it works for all."""

    __tablename__: ClassVar[Any] = "worker"

    id: str = Field(default_factory=lambda: new_id("wrk"), primary_key=True)
    host: str
    pid: int
    queues: list[str] = Field(sa_type=JSON)
    started_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    seen_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    task: str | None = None  # what it is at, and since when
    target_id: str | None = None
    task_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
