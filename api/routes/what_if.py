"""What another set of policies would have made of the videos that are here: a trial over stored scores."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Annotated, Final

from fastapi import APIRouter, Body
from sqlmodel import Session

from api import examples, policy_examples
from api.deps import CallerDep, Service, ServiceDep
from api.problems import ProblemError, documented
from api.routes.policy_sets import set_of
from api.what_if_schemas import WhatIfIn, WhatIfOut, what_if_out
from vidlm.domain import Policy
from vidlm.moderation.policies import PolicySet, parse_all, policy_set, read_policies
from vidlm.moderation.revisions import Change, changes, with_thresholds
from vidlm.moderation.routing import is_restricted
from vidlm.policy import decided_flags, policy_sets, trials
from vidlm.policy.trials import Trial
from vidlm.store.keys import Caller

router = APIRouter(prefix="/v1/policy-sets", tags=["policies"])

AGAIN_S: Final = 3
"""When to come back while another trial runs."""
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial, what is in force, what was tried, and how they differ."""

    trial: Trial
    before: PolicySet
    after: PolicySet
    changes: tuple[Change, ...]


@router.post(
    "/what-if",
    response_model=WhatIfOut,
    responses=documented({200: examples.shown("Both sides", policy_examples.WHAT_IF)}, 404, 409, 413, 422),
)
def what_if(
    asked: Annotated[WhatIfIn, Body(examples=[policy_examples.WHAT_IF_IN])], service: ServiceDep, caller: CallerDep
) -> WhatIfOut:
    """Try other policies or thresholds on the stored scores of the tenant's ready videos. Changes nothing.

    422 `invalid_policy` says what is wrong; 409 `library_too_large`: narrow it by `created_from` and `created_until`;
    503 `busy`: another trial is running. Flags of restricted policies are counted for those with the grant.
    """
    found = tried(service, caller, asked)
    return what_if_out(found.trial, found.before, found.after, found.changes)


def tried(service: Service, caller: Caller, asked: WhatIfIn) -> Tried:
    """One trial, one at a time. Raises `ProblemError` 503, `PolicyError`, `ConflictError` (`library_too_large`)."""
    if not _one_at_a_time.acquire(blocking=False):
        raise ProblemError(
            503, "busy", "another trial is running; try again soon", headers={"Retry-After": str(AGAIN_S)}
        )
    try:
        with service.database.read() as session:
            before = policy_sets.in_force(session, caller.tenant_id, service.policies).policies
            policies = _proposed(session, caller, asked, before)
            after = policy_set(policies)
            trial = trials.run(
                session,
                caller.tenant_id,
                before,
                after,
                service.policies,
                created_from=asked.created_from,
                created_until=asked.created_until,
                decisions_of=decided_flags.of_tenant(session, caller.tenant_id),
            )
    finally:
        _one_at_a_time.release()
    if not caller.restricted:
        trial = replace(trial, flags=tuple(row for row in trial.flags if not is_restricted(row[0])))
    return Tried(trial, before, after, changes(before.policies, policies))


def _proposed(session: Session, caller: Caller, asked: WhatIfIn, before: PolicySet) -> tuple[Policy, ...]:
    """The policies that are tried: a set, or the request's own, or what is in force, with its thresholds over them."""
    given = [asked.policy_set_id, asked.policies, asked.yaml]
    if sum(one is not None for one in given) > 1:
        raise ProblemError(422, "invalid_request", "send one of `policy_set_id`, `policies` and `yaml`")
    if asked.policy_set_id is not None:
        policies = policy_sets.policies_of(set_of(session, caller, asked.policy_set_id))
    elif asked.yaml is not None:
        policies = parse_all(asked.yaml)
    else:
        policies = before.policies if asked.policies is None else read_policies(asked.policies)
    return with_thresholds(
        policies, {name: one.model_dump(exclude_none=True) for name, one in asked.thresholds.items()}
    )
