"""API keys: which there are, a new one, which is shown once, and taking one back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Response
from fastapi.responses import RedirectResponse

from api.dashboard.access import PageRoute, PersonDep
from api.dashboard.forms import Shown, Typed, answer
from api.deps import Service, ServiceDep
from api.problems import not_found
from vidlm.domain import Role
from vidlm.errors import InputError
from vidlm.people.signing_in import SignedIn
from vidlm.store import keys
from vidlm.store.tables import ApiKey

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/admin/keys")


@dataclass(frozen=True, slots=True)
class KeysPage:
    """`problem`: a code, of why none was made. `said`: what was just done."""

    keys: Sequence[ApiKey]
    roles: tuple[Role, ...]
    typed: Typed = field(default_factory=Typed)
    problem: str | None = None
    shown: Shown | None = None
    said: str = ""


@router.get("")
def get_keys(person: PersonDep, service: ServiceDep, said: Annotated[str, Query(max_length=20)] = "") -> Response:
    return _page(service, person, said=said)


@router.post("/make")
def make(
    person: PersonDep,
    service: ServiceDep,
    *,
    name: Annotated[str, Form(max_length=500)] = "",
    role: Annotated[Role, Form()] = Role.REVIEWER,
    restricted: Annotated[bool, Form()] = False,
) -> Response:
    """A new key. It is on the page that answers, and nowhere else."""
    who = person.caller
    try:
        with service.database.write() as session:
            made = keys.create_key(session, name, who.tenant_id, role=role, restricted=restricted, actor=who.id)
    except InputError as exc:
        return _page(service, person, typed=Typed(name, role.value, restricted), problem=exc.code)
    return _page(service, person, shown=Shown(name.strip(), made))


@router.post("/{key_id}/revoke")
def revoke(key_id: Annotated[str, Path(max_length=64)], person: PersonDep, service: ServiceDep) -> Response:
    """From now on it opens nothing."""
    with service.database.write() as session:
        row = keys.find(session, person.caller.tenant_id, key_id) if key_id.isprintable() else None
        if row is None:
            raise not_found("key")
        keys.revoke(session, row, actor=person.caller.id)
    return RedirectResponse("/admin/keys?said=revoked", 303)


def _page(
    service: Service,
    person: SignedIn,
    *,
    typed: Typed | None = None,
    problem: str | None = None,
    shown: Shown | None = None,
    said: str = "",
) -> Response:
    with service.database.read() as session:
        listed = keys.listed(session, person.caller.tenant_id)
    page = KeysPage(listed, tuple(Role), typed or Typed(), problem, shown, said)
    return answer("keys.html", person, page, refused=problem is not None, secret=shown is not None)
