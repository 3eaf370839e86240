"""The tables of people: who may sign in, who is signed in, and who tried to in vain.

person -< sign_in              one row a browser; the browser holds a secret whose SHA-256 this is
       -< saved_view           filters of a page, by a name of their own
sign_in_failure                by the name that was typed, which need not exist
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from vidlm.domain import Role
from vidlm.store.columns import CleanText, UtcDateTime, new_id, utc_now
from vidlm.store.tables import one_of


class Person(SQLModel, table=True):
    """Somebody who works in the dashboard. People are switched off, not removed: what they decided names them."""

    __tablename__: ClassVar[Any] = "person"
    __table_args__ = (one_of("role", Role), Index(None, "tenant_id", "name"))

    id: str = Field(default_factory=lambda: new_id("usr"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    name: str = Field(unique=True)  # what they sign in with
    password_hash: str  # Argon2id, with its salt and costs
    role: str
    restricted: bool = False  # may see videos with flags of `child_safety` in review
    preferences: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)  # `vidlm.people.preferences`
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SignIn(SQLModel, table=True):
    """A browser that somebody signed in with, until it is idle for too long or signs out."""

    __tablename__: ClassVar[Any] = "sign_in"

    secret_sha256: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


class SignInFailure(SQLModel, table=True):
    """A wrong password. Too many of one name, or from one address, and nobody is let in for a while."""

    __tablename__: ClassVar[Any] = "sign_in_failure"
    __table_args__ = (Index(None, "name_sha256", "at"), Index(None, "address", "at"))

    id: str = Field(default_factory=lambda: new_id("sif"), primary_key=True)
    name_sha256: str  # people type passwords into the wrong field
    address: str
    at: datetime = Field(sa_type=UtcDateTime, index=True)


class SavedView(SQLModel, table=True):
    """Filters that somebody comes back to: a page's query string, under a name."""

    __tablename__: ClassVar[Any] = "saved_view"
    __table_args__ = (UniqueConstraint("person_id", "page", "name"),)

    id: str = Field(default_factory=lambda: new_id("viw"), primary_key=True)
    person_id: str = Field(foreign_key="person.id")
    page: str
    name: str = Field(sa_type=CleanText)
    query: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
