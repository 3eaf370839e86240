"""The policies: the tree of those in force, and the sets they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Final

from fastapi import APIRouter, Form, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.dashboard.kept import Kept
from api.deps import Service, ServiceDep
from api.policy_schemas import MAX_NAME, PolicySetSummary, summary_out
from api.problems import ProblemError
from api.quality_schemas import EstimateOut
from api.routes.policy_sets import set_of
from vidlm.domain import Policy
from vidlm.errors import InputError
from vidlm.moderation.routing import is_restricted
from vidlm.people import accounts
from vidlm.policy import policy_sets
from vidlm.policy.flag_counts import flag_counts
from vidlm.review.quality import precisions
from vidlm.review.standing import Window
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.moderation import PolicySetRow

router = APIRouter(include_in_schema=False, route_class=PageRoute)

FLAG_DAYS: Final = 30
QUALITY_DAYS: Final = 90
SETS: Final = 50
PRECISIONS_S: Final = 600.0
"""How long precisions are kept: they rest on all decisions, and are looked at often."""
OWN: Final = "own"
"""Stands for the service's own policies where a set is named."""
_precisions: Kept[dict[str, EstimateOut]] = Kept(PRECISIONS_S)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A policy in the tree. `flags`: of the last days; None where whoever looks may not know."""

    policy: Policy
    flags: int | None


@dataclass(frozen=True, slots=True)
class Branch:
    """A parent and its policies."""

    parent: str
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class PoliciesPage:
    """`active`: the set in force, None for the service's own. `names`: of people, by id."""

    branches: tuple[Branch, ...]
    active: PolicySetSummary | None
    drafts: tuple[PolicySetSummary, ...]
    earlier: tuple[PolicySetSummary, ...]
    names: dict[str, str]
    flag_days: int
    quality_days: int
    count: int
    enabled: int


@router.get("/policies")
def get_policies(person: PersonDep, service: ServiceDep) -> Response:
    """The page."""
    with service.database.read() as session:
        page = _page(session, service, person.caller)
    return rendering.html("policies.html", rendering.frame("policies", person), page)


@router.get("/policies/precisions")
def get_precisions(person: PersonDep, service: ServiceDep) -> Response:
    """By policy, the precision with its interval where it is known. Apart from the page: it rests on many rows."""
    tenant_id = person.caller.tenant_id

    def ask() -> dict[str, EstimateOut]:
        with service.database.read() as session:
            force = policy_sets.in_force(session, tenant_id, service.policies).policies
            window = Window(clock(session) - timedelta(days=QUALITY_DAYS), None)
            found = precisions(session, tenant_id, force.policies, service.policies, window)
        return {name: EstimateOut.model_validate(one, from_attributes=True) for name, one in found.items()}

    with service.database.read() as session:
        version = policy_sets.in_force(session, tenant_id, service.policies).policies.version
    found = _precisions.get((service.settings.sql_url, tenant_id, version), ask)
    return JSONResponse({name: one.model_dump() for name, one in found.items()})


@router.post("/policies/drafts")
def make_draft(
    person: PersonDep,
    service: ServiceDep,
    *,
    name: Annotated[str, Form(max_length=MAX_NAME)] = "",
    of: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """A draft that is a copy: of what is in force, of the set named by `of`, or with `own` of the service's own."""
    if not name.strip():
        raise InputError("a draft needs a name", code="invalid_request")
    with service.database.write() as session:
        row = draft_of(session, service, person.caller, name.strip(), of)
        session.flush()
        where = f"/policy-sets/{row.id}"
    return RedirectResponse(where, 303)


def draft_of(session: Session, service: Service, caller: Caller, name: str, of: str) -> PolicySetRow:
    """A new draft. Raises `ProblemError` 404, `ConflictError` (`too_many_drafts`)."""
    if "\0" in name:
        raise ProblemError(422, "invalid_request", "name: printable characters only")
    base = set_of(session, caller, of) if of not in ("", OWN) else None
    if not of:
        base = policy_sets.active(session, caller.tenant_id)
    policies = service.policies.policies if base is None else policy_sets.policies_of(base)
    return policy_sets.create(
        session, tenant_id=caller.tenant_id, actor=caller.id, name=name, policies=policies, based_on=base
    )


def tree(policies: Sequence[Policy], flags: dict[str, int], *, restricted: bool) -> tuple[Branch, ...]:
    """Policies by their parents, in the order in which these first come."""
    order = {policy.parent: place for place, policy in reversed(list(enumerate(policies)))}
    in_order = sorted(policies, key=lambda policy: order[policy.parent])
    return tuple(
        Branch(parent, tuple(Leaf(one, _known(one, flags, restricted=restricted)) for one in group))
        for parent, group in groupby(in_order, key=lambda policy: policy.parent)
    )


def _known(policy: Policy, flags: dict[str, int], *, restricted: bool) -> int | None:
    return flags.get(policy.id, 0) if restricted or not is_restricted(policy.id) else None


def _page(session: Session, service: Service, caller: Caller) -> PoliciesPage:
    active = policy_sets.active(session, caller.tenant_id)
    policies = service.policies.policies if active is None else policy_sets.policies_of(active)
    flags = flag_counts(session, caller.tenant_id, clock(session) - timedelta(days=FLAG_DAYS))
    rows = [summary_out(row) for row in policy_sets.list_all(session, caller.tenant_id, most=SETS)]
    return PoliciesPage(
        branches=tree(policies, flags, restricted=caller.restricted),
        active=None if active is None else summary_out(active),
        drafts=tuple(row for row in rows if row.state == "draft"),
        earlier=tuple(row for row in rows if row.state == "retired"),
        names=accounts.names(session, caller.tenant_id),
        flag_days=FLAG_DAYS,
        quality_days=QUALITY_DAYS,
        count=len(policies),
        enabled=sum(policy.enabled for policy in policies),
    )
