"""People: who may sign in, with which role; their passwords are made here and shown once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Response
from fastapi.responses import RedirectResponse
from sqlmodel import Session

from api.dashboard.access import PageRoute, PersonDep
from api.dashboard.forms import Shown, Typed, answer
from api.deps import Service, ServiceDep
from api.problems import not_found
from vidlm.audit import reading
from vidlm.domain import Role
from vidlm.errors import ConflictError, InputError
from vidlm.people import accounts, passwords
from vidlm.people.signing_in import SignedIn
from vidlm.people.standing import Standing, standings
from vidlm.store.people import Person

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/admin")

PersonId = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """`problem`: a code, of why nobody was added."""

    people: tuple[tuple[Person, Standing], ...]
    roles: tuple[Role, ...]
    me: str
    typed: Typed = field(default_factory=Typed)
    problem: str | None = None
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class PersonPage:
    """`problem`: a code, of why they are still what they were. `said`: what was just done, by its route's name."""

    person: Person
    standing: Standing
    roles: tuple[Role, ...]
    me: str
    problem: str | None = None
    shown: Shown | None = None
    said: str = ""


@router.get("")
def get_people(person: PersonDep, service: ServiceDep) -> Response:
    return _people(service, person)


@router.post("/people")
def add(
    person: PersonDep,
    service: ServiceDep,
    *,
    name: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[Role, Form()] = Role.REVIEWER,
    restricted: Annotated[bool, Form()] = False,
) -> Response:
    """Let somebody in. Their password is on the page that answers, and nowhere else."""
    name, password = name.strip(), passwords.make()
    try:
        with service.database.write() as session:
            accounts.create(
                session,
                name,
                password,
                role=role,
                restricted=restricted,
                tenant_id=person.caller.tenant_id,
                actor=person.caller.id,
            )
    except (InputError, ConflictError) as exc:
        return _people(service, person, typed=Typed(name, role.value, restricted), problem=exc.code)
    return _people(service, person, shown=Shown(name, password))


@router.get("/people/{person_id}")
def get_person(
    person_id: PersonId, person: PersonDep, service: ServiceDep, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    return _person(service, person, person_id, said=said)


@router.post("/people/{person_id}/change")
def change(
    person_id: PersonId,
    person: PersonDep,
    service: ServiceDep,
    role: Annotated[Role, Form()],
    *,
    restricted: Annotated[bool, Form()] = False,
) -> Response:
    """Another role, another grant."""

    def do(session: Session, found: Person) -> None:
        accounts.change(session, found, actor=person.caller.id, role=role, restricted=restricted)

    return _done(service, person, person_id, "changed", do)


@router.post("/people/{person_id}/disable")
def disable(person_id: PersonId, person: PersonDep, service: ServiceDep) -> Response:
    """They are signed out at once, and cannot sign in."""

    def do(session: Session, found: Person) -> None:
        accounts.change(session, found, actor=person.caller.id, disabled=True)

    return _done(service, person, person_id, "disabled", do)


@router.post("/people/{person_id}/enable")
def enable(person_id: PersonId, person: PersonDep, service: ServiceDep) -> Response:
    """They may sign in again, with the password they had."""

    def do(session: Session, found: Person) -> None:
        accounts.change(session, found, actor=person.caller.id, disabled=False)

    return _done(service, person, person_id, "enabled", do)


@router.post("/people/{person_id}/sign-out")
def sign_out(person_id: PersonId, person: PersonDep, service: ServiceDep) -> Response:
    """Every browser of theirs has to sign in again."""

    def do(session: Session, found: Person) -> None:
        accounts.sign_out(session, found, actor=person.caller.id)

    return _done(service, person, person_id, "signed_out", do)


@router.post("/people/{person_id}/password")
def reset_password(person_id: PersonId, person: PersonDep, service: ServiceDep) -> Response:
    """Another password, on the page that answers, and nowhere else. Their other browsers are signed out."""
    password = passwords.make()
    with service.database.write() as session:
        found = _find(session, person, person_id)
        keep = person.secret_sha256 if found.id == person.caller.id else None
        accounts.set_password(session, found, password, actor=person.caller.id, keep=keep)
        name = found.name
    return _person(service, person, person_id, shown=Shown(name, password))


def _done(
    service: Service, person: SignedIn, person_id: str, said: str, do: Callable[[Session, Person], None]
) -> Response:
    try:
        with service.database.write() as session:
            do(session, _find(session, person, person_id))
    except ConflictError as exc:
        return _person(service, person, person_id, problem=exc.code, said=said)
    return RedirectResponse(f"/admin/people/{person_id}?said={said}", 303)


def _find(session: Session, person: SignedIn, person_id: str) -> Person:
    """Raises `ProblemError` 404."""
    found = accounts.find(session, person.caller.tenant_id, person_id) if person_id.isprintable() else None
    if found is None:
        raise not_found("person")
    return found


def _people(
    service: Service,
    person: SignedIn,
    *,
    typed: Typed | None = None,
    problem: str | None = None,
    shown: Shown | None = None,
) -> Response:
    with reading.snapshot(service.database) as session:
        people = accounts.everybody(session, person.caller.tenant_id)
        stand = standings(session, people)
    listed = tuple((one, stand[one.id]) for one in sorted(people, key=lambda one: one.disabled_at is not None))
    page = PeoplePage(listed, tuple(Role), person.caller.id, typed or Typed(), problem, shown)
    return answer("people.html", person, page, refused=problem is not None, secret=shown is not None)


def _person(
    service: Service,
    person: SignedIn,
    person_id: str,
    *,
    problem: str | None = None,
    shown: Shown | None = None,
    said: str = "",
) -> Response:
    with reading.snapshot(service.database) as session:
        found = _find(session, person, person_id)
        stand = standings(session, [found])[found.id]
    page = PersonPage(found, stand, tuple(Role), person.caller.id, problem, shown, said)
    return answer("person.html", person, page, refused=problem is not None, secret=shown is not None)
