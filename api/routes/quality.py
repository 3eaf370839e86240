"""How well policies and reviewers do, by what was decided, and whether today is like the past. For leads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlmodel import Session

from api import examples, quality_examples
from api.deps import CallerDep, Service, ServiceDep
from api.problems import ProblemError, documented, not_found
from api.quality_schemas import DriftOut, PolicyQualityOut, ReviewQualityOut
from api.quality_views import drift_out, quality_out, review_quality_out
from vidlm.domain import Policy
from vidlm.policy import policy_sets
from vidlm.review.drifting import drift_of, is_open
from vidlm.review.quality import find_policy, policy_quality
from vidlm.review.reviewers import review_quality
from vidlm.review.standing import Window
from vidlm.store.engine import clock
from vidlm.store.keys import Caller

router = APIRouter(prefix="/v1", tags=["quality"])

PolicyId = Annotated[str, Path(max_length=200, examples=[quality_examples.QUALITY["policy_id"]])]
Since = Annotated[datetime | None, Query(description="From this time on, RFC 3339 with a zone.")]
Until = Annotated[datetime | None, Query(description="Before this time.")]


@router.get(
    "/policies/{policy_id}/quality",
    response_model=PolicyQualityOut,
    responses=documented({200: examples.shown("The policy's figures", quality_examples.QUALITY)}, 404, 422),
)
def get_policy_quality(
    policy_id: PolicyId, service: ServiceDep, caller: CallerDep, since: Since = None, until: Until = None
) -> PolicyQualityOut:
    """Precision, recall, prevalence and calibration of a policy in force, of videos filed for review in that time.

    422 `restricted_policy` for `child_safety`: decisions about it are counted nowhere.
    """
    with service.database.read() as session:
        policy = policy_of(session, service, caller, policy_id)
        return quality_out(policy_quality(session, caller.tenant_id, policy, service.policies, window_of(since, until)))


@router.get(
    "/review/quality",
    response_model=ReviewQualityOut,
    responses=documented({200: examples.shown("Reviewers", quality_examples.REVIEW_QUALITY)}, 422),
)
def get_review_quality(
    service: ServiceDep, caller: CallerDep, since: Since = None, until: Until = None
) -> ReviewQualityOut:
    """Every reviewer's decisions, golden items and overturned decisions, and how far reviewers agree."""
    with service.database.read() as session:
        return review_quality_out(review_quality(session, caller.tenant_id, window_of(since, until)))


@router.get(
    "/review/drift",
    response_model=DriftOut,
    responses=documented({200: examples.shown("A quiet day", quality_examples.DRIFT)}, 422),
)
def get_drift(
    service: ServiceDep,
    caller: CallerDep,
    until: Annotated[datetime | None, Query(description="The end of today; now, unless told.")] = None,
    hours: Annotated[float, Query(ge=1, le=168, description="How long today is.")] = 24,
    past_days: Annotated[float, Query(ge=1, le=365, description="How long the past before it is.")] = 28,
) -> DriftOut:
    """Whether today's scores and overturned flags are those of the past, for every policy in force."""
    with service.database.read() as session:
        window = window_of(None, until)
        end = window.until or clock(session)
        force = policy_sets.in_force(session, caller.tenant_id, service.policies).policies
        policies = [policy.id for policy in force.policies if is_open(policy.id)]
        found = drift_of(session, caller.tenant_id, policies, until=end, hours=hours, past_days=past_days)
    return drift_out(found, end, hours, past_days)


def policy_of(session: Session, service: Service, caller: Caller, policy_id: str) -> Policy:
    """The policy in force of this id. Raises `ProblemError` 404, `InputError` (`restricted_policy`)."""
    found = find_policy(session, caller.tenant_id, policy_id, service.policies)
    if found is None:
        raise not_found("policy")
    return found


def window_of(since: datetime | None, until: datetime | None) -> Window:
    """A window of aware times. Raises `ProblemError` 422."""
    for name, at in (("since", since), ("until", until)):
        if at is not None and at.tzinfo is None:
            raise ProblemError(422, "invalid_request", f"{name}: a time zone is missing, such as Z")
    return Window(since, until)
