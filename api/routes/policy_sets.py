"""Sets of policies: drafted, changed, put in force. What is in force is shown by `policies`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples, policy_examples
from api.deps import CallerDep, Service, ServiceDep
from api.once import OnceDep, respond
from api.policy_schemas import (
    ActivationIn,
    PolicySetChange,
    PolicySetIn,
    PolicySetOut,
    PolicySetPage,
    policy_set_out,
    summary_out,
)
from api.problems import ProblemError, documented, not_found
from vidlm.domain import Policy
from vidlm.jobs.idempotency import Reply
from vidlm.moderation.policies import parse_all, read_policies
from vidlm.moderation.revisions import changes, unscored
from vidlm.policy import policy_sets
from vidlm.store.keys import Caller
from vidlm.store.moderation import PolicySetRow

router = APIRouter(prefix="/v1/policy-sets", tags=["policies"])

SetId = Annotated[str, Path(max_length=64, examples=[policy_examples.POLICY_SET["id"]])]


@router.post(
    "",
    status_code=201,
    response_model=PolicySetOut,
    responses=documented({201: examples.shown("The draft", policy_examples.POLICY_SET)}, 404, 409, 413, 422),
)
def create_policy_set(
    asked: Annotated[PolicySetIn, Body(examples=[policy_examples.POLICY_SET_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Draft a set of policies. Nothing is scored by it before it is activated.

    422 `invalid_policy` says which policy, which field and what is wrong; 409 `too_many_drafts`.
    """
    given = _given(asked)
    with service.database.write() as session:

        def do() -> Reply:
            base = set_of(session, caller, asked.based_on) if asked.based_on else _active(session, caller)
            policies = given if given is not None else _base_policies(service, base)
            row = policy_sets.create(
                session,
                tenant_id=caller.tenant_id,
                actor=caller.id,
                name=asked.name,
                policies=policies,
                based_on=base,
            )
            session.flush()
            body = _shown(session, service, row).model_dump(mode="json")
            return Reply(201, body, {"Location": f"/v1/policy-sets/{row.id}"})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get(
    "",
    response_model=PolicySetPage,
    responses=documented({200: examples.shown("A page of sets", policy_examples.POLICY_SET_PAGE)}, 422),
)
def get_policy_sets(
    service: ServiceDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only sets with lower numbers.")] = None,
) -> PolicySetPage:
    """The tenant's sets, the newest first, without their policies."""
    with service.database.read() as session:
        rows = policy_sets.list_all(session, caller.tenant_id, most=limit + 1, before=before)
    items = [summary_out(row) for row in rows[:limit]]
    return PolicySetPage(items=items, next_before=items[-1].number if len(rows) > limit else None)


@router.get(
    "/{policy_set_id}",
    response_model=PolicySetOut,
    responses=documented({200: examples.shown("The set", policy_examples.POLICY_SET)}, 404, 422),
)
def get_policy_set(policy_set_id: SetId, service: ServiceDep, caller: CallerDep) -> PolicySetOut:
    """A set, and how it differs from the one it goes on from."""
    with service.database.read() as session:
        return _shown(session, service, set_of(session, caller, policy_set_id))


@router.patch(
    "/{policy_set_id}",
    response_model=PolicySetOut,
    responses=documented({200: examples.shown("As it is now", policy_examples.POLICY_SET)}, 404, 409, 413, 422),
)
def change_policy_set(
    policy_set_id: SetId,
    asked: Annotated[PolicySetChange, Body(examples=[policy_examples.CHANGE])],
    service: ServiceDep,
    caller: CallerDep,
) -> PolicySetOut:
    """Another name or other policies for a draft. 409 `not_a_draft`: what was in force is never changed.

    409 `changed_meanwhile` where somebody else changed it after `seen_at`.
    """
    given = _given(asked)
    with service.database.write() as session:
        row = set_of(session, caller, policy_set_id, lock=True)
        policy_sets.must_be_as_seen(row, asked.seen_at)
        policy_sets.change(session, row, actor=caller.id, name=asked.name, policies=given)
        session.flush()
        return _shown(session, service, row)


@router.post(
    "/{policy_set_id}/activate",
    response_model=PolicySetOut,
    responses=documented({200: examples.shown("In force", policy_examples.ACTIVATED)}, 404, 409, 413, 422),
)
def activate_policy_set(
    policy_set_id: SetId,
    asked: Annotated[ActivationIn, Body(examples=[policy_examples.ACTIVATION])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Put a draft in force, in place of what is: every video that is prepared from now on is scored by it.

    What was analysed before keeps its scores and its verdict. 409 `not_a_draft`, `changed_meanwhile`.
    """
    with service.database.write() as session:

        def do() -> Reply:
            policy_sets.lock(session, caller.tenant_id)
            row = set_of(session, caller, policy_set_id, lock=True)
            policy_sets.must_be_as_seen(row, asked.seen_at)
            before = policy_sets.in_force(session, caller.tenant_id, service.policies).policies.policies
            policy_sets.activate(session, row, actor=caller.id, reason=asked.reason, before=before)
            session.flush()
            return Reply(200, _shown(session, service, row).model_dump(mode="json"))

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.delete(
    "/{policy_set_id}",
    response_model=PolicySetOut,
    responses=documented({200: examples.shown("Discarded", policy_examples.DISCARDED)}, 404, 409, 422),
)
def discard_policy_set(policy_set_id: SetId, service: ServiceDep, caller: CallerDep) -> PolicySetOut:
    """Discard a draft. It stays in the list as `retired`. 409 `not_a_draft`."""
    with service.database.write() as session:
        row = set_of(session, caller, policy_set_id, lock=True)
        policy_sets.discard(session, row, actor=caller.id)
        session.flush()
        return _shown(session, service, row)


def set_of(session: Session, caller: Caller, set_id: str, *, lock: bool = False) -> PolicySetRow:
    """One of the caller's sets. Raises `ProblemError` 404."""
    row = None if "\0" in set_id else policy_sets.find(session, caller.tenant_id, set_id, lock=lock)
    if row is None:
        raise not_found("policy set")
    return row


def _active(session: Session, caller: Caller) -> PolicySetRow | None:
    return policy_sets.active(session, caller.tenant_id)


def _base_policies(service: Service, base: PolicySetRow | None) -> tuple[Policy, ...]:
    """What a draft goes on from: a set with all its policies, or the service's own."""
    return service.policies.policies if base is None else policy_sets.policies_of(base)


def _given(asked: PolicySetIn | PolicySetChange) -> tuple[Policy, ...] | None:
    """The policies that the request names. Raises `PolicyError`, and `ProblemError` where it names them twice."""
    if asked.policies is not None and asked.yaml is not None:
        raise ProblemError(422, "invalid_request", "send `policies` or `yaml`, not both")
    if asked.yaml is not None:
        return parse_all(asked.yaml)
    return None if asked.policies is None else read_policies(asked.policies)


def _shown(session: Session, service: Service, row: PolicySetRow) -> PolicySetOut:
    base = None if row.based_on is None else policy_sets.find(session, row.tenant_id, row.based_on)
    before, after = _base_policies(service, base), policy_sets.policies_of(row)
    return policy_set_out(row, changes(before, after), unscored(before, after))
