"""API keys: made here, shown once, known afterwards by their SHA-256 alone.

A key is 256 random bits, so a plain fast hash is enough: there is nothing to guess a dictionary against.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from vidlm.domain import Role
from vidlm.store.chain import audit
from vidlm.store.tables import DEFAULT_TENANT, ApiKey

PREFIX = "vk_"
OPERATOR: Final = "cli"
"""Who works on the machine itself, in the audit."""

_CALLER: Final = select(ApiKey.tenant_id, ApiKey.id, ApiKey.role, ApiKey.restricted).where(
    col(ApiKey.key_sha256) == bindparam("digest")
)
"""Asked by every request: made once."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from, and what they may do. `restricted`: see videos that only some may see in review."""

    tenant_id: str
    key_id: str
    role: Role = Role.ADMIN
    restricted: bool = False


def create_key(
    session: Session,
    name: str,
    tenant_id: str = DEFAULT_TENANT,
    *,
    role: Role = Role.ADMIN,
    restricted: bool = False,
    actor: str = OPERATOR,
) -> str:
    """Make a key for `tenant_id` and return it: nobody can read it again. That it was made stands in the audit."""
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(tenant_id=tenant_id, name=name, key_sha256=_digest(key), role=role.value, restricted=restricted)
    session.add(row)
    details = {"role": row.role, "restricted": restricted}
    audit(session, tenant_id=tenant_id, actor=actor, event="key.made", target_id=row.id, details=details)
    return key


def any_key(session: Session) -> bool:
    """Whether a key was ever made."""
    return session.exec(select(ApiKey.id).limit(1)).first() is not None


def find_caller(session: Session, key: str) -> Caller | None:
    """Whose key this is, or None."""
    row = session.execute(_CALLER, {"digest": _digest(key)}).first()
    return Caller(row.tenant_id, row.id, Role(row.role), row.restricted) if row else None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()
