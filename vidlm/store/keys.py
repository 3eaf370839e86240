"""API keys: made here, shown once, known afterwards by their SHA-256 alone, revoked.

A key is 256 random bits, so a plain fast hash is enough: there is nothing to guess a dictionary against.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from vidlm.domain import Role
from vidlm.errors import InputError
from vidlm.store.chain import audit
from vidlm.store.columns import utc_now
from vidlm.store.engine import clock
from vidlm.store.tables import DEFAULT_TENANT, ApiKey

PREFIX = "vk_"
OPERATOR: Final = "cli"
"""Who works on the machine itself, in the audit."""
NAME_MOST: Final = 100
"""Characters of a key's name."""
USED_EVERY: Final = timedelta(hours=1)
"""How exactly it is known when a key was used last: to know is to write."""

_CALLER: Final = select_columns(
    *(col(getattr(ApiKey, name)) for name in ("tenant_id", "id", "role", "restricted", "used_at"))
).where(col(ApiKey.key_sha256) == bindparam("digest"), col(ApiKey.revoked_at).is_(None))
"""Asked by every request: made once."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from, and what they may do.

    id: of the API key, or of the person who signed in; the actor in the audit.
    restricted: may see videos that only some may see in review.
    """

    tenant_id: str
    id: str
    role: Role = Role.ADMIN
    restricted: bool = False
    used_at: datetime | None = field(default=None, compare=False)  # when the key was last heard of, to the hour


def create_key(
    session: Session,
    name: str,
    tenant_id: str = DEFAULT_TENANT,
    *,
    role: Role = Role.ADMIN,
    restricted: bool = False,
    actor: str = OPERATOR,
) -> str:
    """Make a key for `tenant_id` and return it: nobody can read it again. That it was made stands in the audit.

    Raises `InputError` (`invalid_name`).
    """
    name = name.strip()
    if not 0 < len(name) <= NAME_MOST or not name.isprintable():
        raise InputError(f"a key needs a name of up to {NAME_MOST} characters, on one line", code="invalid_name")
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(tenant_id=tenant_id, name=name, key_sha256=_digest(key), role=role.value, restricted=restricted)
    session.add(row)
    details = {"role": row.role, "restricted": restricted}
    audit(session, tenant_id=tenant_id, actor=actor, event="key.made", target_id=row.id, details=details)
    return key


def revoke(session: Session, key: ApiKey, *, actor: str) -> None:
    """From now on it opens nothing, for ever. Nothing happens where it was revoked before."""
    if key.revoked_at is not None:
        return
    key.revoked_at = clock(session)
    session.add(key)
    audit(session, tenant_id=key.tenant_id, actor=actor, event="key.revoked", target_id=key.id)


def any_key(session: Session) -> bool:
    """Whether a key was ever made."""
    return session.exec(select(ApiKey.id).limit(1)).first() is not None


def find_caller(session: Session, key: str) -> Caller | None:
    """Whose key this is, or None where it is nobody's, or revoked."""
    row = session.execute(_CALLER, {"digest": _digest(key)}).first()
    return Caller(row.tenant_id, row.id, Role(row.role), row.restricted, row.used_at) if row else None


def find(session: Session, tenant_id: str, key_id: str) -> ApiKey | None:
    """One of the tenant's keys, revoked or not."""
    return session.exec(select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id)).first()


def listed(session: Session, tenant_id: str) -> Sequence[ApiKey]:
    """The tenant's keys: those that open something first, each the newest first."""
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id)
    return session.exec(query.order_by(col(ApiKey.revoked_at).is_not(None), col(ApiKey.id).desc())).all()


def names(session: Session, tenant_id: str) -> dict[str, str]:
    """What keys are called, by id."""
    return dict(session.exec(select(ApiKey.id, ApiKey.name).where(ApiKey.tenant_id == tenant_id)).all())


def is_stale(caller: Caller) -> bool:
    """Whether it is time to write down that the caller's key was used."""
    return caller.used_at is None or utc_now() - caller.used_at > USED_EVERY


def used(session: Session, key_id: str) -> None:
    """The key was used just now."""
    session.exec(update(ApiKey).where(col(ApiKey.id) == key_id).values(used_at=clock(session)))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()
