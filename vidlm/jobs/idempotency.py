"""A POST that is sent twice is done once: its reply is kept with its key, in the transaction that did it.

The rules are those of Stripe's API (stripe.com/docs/api/idempotent_requests): the same request under the same key gets
the same reply; another request under it is refused; an error is not kept, so that the request may be sent again. Two at
once: the second waits for the first one's transaction, then says what that said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from vidlm.errors import InputError
from vidlm.store.engine import clock
from vidlm.store.ledger import IdempotencyKey

KEPT_S: Final = 48 * 3600.0
"""How long a reply is kept; clients are promised half of it."""


class KeyReusedError(InputError):
    """The key came with another request before."""

    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request was answered: an HTTP status, a JSON document, headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def begin(session: Session, tenant_id: str, key: str, request_sha256: str) -> Reply | None:
    """The reply that is kept under `key`, or None: then the key is ours, and `keep` must follow in this transaction.

    Raises `KeyReusedError` where `key` came with another request.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    fields = {"tenant_id": tenant_id, "key": key, "request_sha256": request_sha256, "created_at": clock(session)}
    row = dialect.insert(IdempotencyKey).values(**fields, headers={}, body=None)
    made = session.exec(row.on_conflict_do_nothing().returning(col(IdempotencyKey.key)))
    if made.first() is not None:
        return None
    kept = session.get_one(IdempotencyKey, (tenant_id, key), populate_existing=True)
    if kept.request_sha256 != request_sha256:
        raise KeyReusedError("this Idempotency-Key came with another request before")
    assert kept.status is not None
    return Reply(kept.status, kept.body, dict(kept.headers))


def keep(session: Session, tenant_id: str, key: str, reply: Reply) -> None:
    """The key's request was answered so."""
    row = session.get_one(IdempotencyKey, (tenant_id, key), populate_existing=True)
    row.status, row.body, row.headers = reply.status, reply.body, reply.headers


def forget_old(session: Session) -> int:
    """Forget replies that are older than `KEPT_S`; how many there were."""
    before = clock(session) - timedelta(seconds=KEPT_S)
    return session.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < before)).rowcount
