"""Signing in and out, and who a browser's secret belongs to. Inside ONE transaction.

A secret is 256 random bits in a cookie; only its SHA-256 is kept, so whoever reads the database cannot sign in.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, bindparam, delete, update
from sqlmodel import Session, col, func, select

from vidlm.domain import Role
from vidlm.errors import VidlmError
from vidlm.people import accounts, passwords
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.people import Person, SignIn, SignInFailure

IDLE: Final = timedelta(hours=12)
"""A browser that is not heard of for so long is signed out."""
LONGEST: Final = timedelta(days=7)
"""And one that is, after so long."""
SEEN_EVERY: Final = timedelta(minutes=5)
"""How exactly it is known when a browser was heard of last: to know is to write."""
WINDOW: Final = timedelta(minutes=15)
NAME_MOST: Final = 8
ADDRESS_MOST: Final = 60
"""Wrong passwords of one name, and from one address, in that time, before nobody is let in."""


class ThrottledError(VidlmError):
    """Too many wrong passwords; `retry_after_s` says when to try again."""

    code = "throttled"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many wrong passwords: try again later")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose browser it is. `secret_sha256` tells it from their others."""

    caller: Caller
    name: str
    preferences: dict[str, object]
    secret_sha256: str
    seen_at: datetime


_FOUND: Final = (
    select(Person, SignIn)
    .join(SignIn, col(SignIn.person_id) == col(Person.id))
    .where(col(SignIn.secret_sha256) == bindparam("digest"), col(Person.disabled_at).is_(None))
)
"""Asked by every request of a browser: made once."""


def sign_in(session: Session, name: str, password: str, address: str) -> str | None:
    """A new secret for whoever knows the password, or None. What failed is remembered, so commit also then.

    Raises `ThrottledError`, before the password is looked at.
    """
    now = clock(session)
    _check_room(session, name, address, now)
    person = accounts.by_name(session, name)
    known = person.password_hash if person is not None and person.disabled_at is None else None
    right, renewed = passwords.is_right(password, known)
    if not right or person is None:
        session.add(SignInFailure(name_sha256=_digest(name), address=address, at=now))
        if person is not None:
            audit(session, tenant_id=person.tenant_id, actor=person.id, event="person.refused", target_id=person.id)
        return None
    if renewed is not None:
        person.password_hash = renewed
        session.add(person)
    secret = secrets.token_urlsafe(32)
    session.add(SignIn(secret_sha256=_digest(secret), person_id=person.id, created_at=now, seen_at=now))
    session.exec(delete(SignInFailure).where(col(SignInFailure.name_sha256) == _digest(name)))
    session.exec(delete(SignIn).where(col(SignIn.seen_at) < now - IDLE))
    audit(session, tenant_id=person.tenant_id, actor=person.id, event="person.signed_in", target_id=person.id)
    return secret


def find(session: Session, secret: str) -> SignedIn | None:
    """Whose secret it is, or None where it is nobody's, or too old."""
    row = session.execute(_FOUND, {"digest": _digest(secret)}).first()
    if row is None:
        return None
    person, sign = row
    now = clock(session)
    if now - sign.seen_at > IDLE or now - sign.created_at > LONGEST:
        return None
    caller = Caller(person.tenant_id, person.id, Role(person.role), person.restricted)
    return SignedIn(caller, person.name, dict(person.preferences), sign.secret_sha256, sign.seen_at)


def is_stale(session: Session, signed_in: SignedIn) -> bool:
    """Whether it is time to write down that the browser was heard of."""
    return clock(session) - signed_in.seen_at > SEEN_EVERY


def heard(session: Session, signed_in: SignedIn) -> None:
    """The browser was heard of just now."""
    session.exec(
        update(SignIn).where(col(SignIn.secret_sha256) == signed_in.secret_sha256).values(seen_at=clock(session))
    )


def sign_out(session: Session, signed_in: SignedIn) -> None:
    """The secret is nobody's any more."""
    session.exec(delete(SignIn).where(col(SignIn.secret_sha256) == signed_in.secret_sha256))
    who = signed_in.caller
    audit(session, tenant_id=who.tenant_id, actor=who.id, event="person.signed_out", target_id=who.id)


def _check_room(session: Session, name: str, address: str, now: datetime) -> None:
    session.exec(delete(SignInFailure).where(col(SignInFailure.at) < now - WINDOW))

    def oldest_of_last(where: ColumnElement[bool], most: int) -> datetime | None:
        query = select(SignInFailure.at).where(where).order_by(col(SignInFailure.at).desc())
        return session.exec(query.offset(most - 1).limit(1)).first()

    for where, most in (
        (col(SignInFailure.name_sha256) == _digest(name), NAME_MOST),
        (col(SignInFailure.address) == address, ADDRESS_MOST),
    ):
        at = oldest_of_last(where, most)
        if at is not None:
            raise ThrottledError(max(1, int((at + WINDOW - now).total_seconds())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()


def open_browsers(session: Session, person_id: str) -> int:
    """How many browsers somebody is signed in with."""
    since = clock(session) - IDLE
    query = select(func.count()).where(SignIn.person_id == person_id, col(SignIn.seen_at) > since)
    return session.exec(query).one()
