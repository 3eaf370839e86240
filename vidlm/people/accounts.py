"""Who may sign in: made, changed, switched off. Every change stands in the audit. Inside ONE transaction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import delete
from sqlmodel import Session, col, func, select

from vidlm.domain import Role
from vidlm.errors import ConflictError, InputError
from vidlm.people import passwords
from vidlm.store.chain import audit
from vidlm.store.engine import clock, lock_key
from vidlm.store.keys import OPERATOR
from vidlm.store.people import Person, SignIn
from vidlm.store.tables import DEFAULT_TENANT

NAME: Final = re.compile(r"[\w][\w.@+-]{0,63}")
FIRST: Final = "admin"
"""Who is made at the first start."""


def create(
    session: Session,
    name: str,
    password: str,
    *,
    role: Role,
    restricted: bool = False,
    tenant_id: str = DEFAULT_TENANT,
    actor: str = OPERATOR,
) -> Person:
    """Somebody new. Raises `InputError` (`invalid_name`, `weak_password`), `ConflictError` (`name_taken`)."""
    if not NAME.fullmatch(name):
        raise InputError("a name has up to 64 letters, digits and . @ + - _", code="invalid_name")
    passwords.check(password)
    lock_key(session, "people")
    if by_name(session, name) is not None:
        raise ConflictError(f"there is somebody called {name!r} already", code="name_taken")
    person = Person(
        tenant_id=tenant_id,
        name=name,
        password_hash=passwords.hashed(password),
        role=role.value,
        restricted=restricted,
        created_at=clock(session),
    )
    session.add(person)
    session.flush()
    _audit(session, person, actor, "person.made", role=person.role, restricted=restricted)
    return person


def change(
    session: Session,
    person: Person,
    *,
    actor: str,
    role: Role | None = None,
    restricted: bool | None = None,
    disabled: bool | None = None,
) -> None:
    """Another role, another grant, on or off. Whoever is switched off is signed out at once.

    Raises `ConflictError` (`last_admin`) where nobody would be left to manage people.
    """
    lock_key(session, "people")
    leaves = disabled is True or (role is not None and role is not Role.ADMIN)
    if leaves and person.role == Role.ADMIN and person.disabled_at is None and _admins(session, person.tenant_id) < 2:
        raise ConflictError("somebody has to stay admin", code="last_admin")
    person.role = person.role if role is None else role.value
    person.restricted = person.restricted if restricted is None else restricted
    if disabled is not None:
        person.disabled_at = clock(session) if disabled else None
    if disabled:
        sign_out_everywhere(session, person.id)
    session.add(person)
    is_off = person.disabled_at is not None
    _audit(session, person, actor, "person.changed", role=person.role, restricted=person.restricted, disabled=is_off)


def set_password(session: Session, person: Person, password: str, *, actor: str, keep: str | None = None) -> None:
    """Another password; every browser but `keep` (a secret's SHA-256) is signed out. Raises `InputError`."""
    passwords.check(password)
    person.password_hash = passwords.hashed(password)
    session.add(person)
    sign_out_everywhere(session, person.id, keep=keep)
    _audit(session, person, actor, "person.password_set")


def sign_out(session: Session, person: Person, *, actor: str) -> None:
    """Somebody else's doing: every browser of theirs has to sign in again."""
    sign_out_everywhere(session, person.id)
    _audit(session, person, actor, "person.signed_out_everywhere")


def sign_out_everywhere(session: Session, person_id: str, *, keep: str | None = None) -> None:
    gone = delete(SignIn).where(col(SignIn.person_id) == person_id)
    session.exec(gone if keep is None else gone.where(col(SignIn.secret_sha256) != keep))


def by_name(session: Session, name: str) -> Person | None:
    return session.exec(select(Person).where(Person.name == name)).first()


def find(session: Session, tenant_id: str, person_id: str) -> Person | None:
    query = select(Person).where(Person.id == person_id, Person.tenant_id == tenant_id)
    return session.exec(query).first()


def everybody(session: Session, tenant_id: str) -> Sequence[Person]:
    return session.exec(select(Person).where(Person.tenant_id == tenant_id).order_by(col(Person.name))).all()


def names(session: Session, tenant_id: str) -> dict[str, str]:
    """What people are called, by id."""
    rows = session.exec(select(Person.id, Person.name).where(Person.tenant_id == tenant_id)).all()
    return dict(rows)


def any_person(session: Session) -> bool:
    return session.exec(select(Person.id).limit(1)).first() is not None


def _admins(session: Session, tenant_id: str) -> int:
    query = select(func.count()).where(
        Person.tenant_id == tenant_id, Person.role == Role.ADMIN.value, col(Person.disabled_at).is_(None)
    )
    return session.exec(query).one()


def _audit(session: Session, person: Person, actor: str, event: str, **details: Any) -> None:
    audit(session, tenant_id=person.tenant_id, actor=actor, event=event, target_id=person.id, details=details)
