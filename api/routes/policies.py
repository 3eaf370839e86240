"""The policies that videos are scored with, and what was flagged by them in the words of other taxonomies."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api import examples, policy_examples
from api.deps import CallerDep, ServiceDep
from api.policy_schemas import LabelOut, LabelsOut, PoliciesOut, policies_out
from api.problems import documented
from api.routes.videos import VideoId, existing, not_ready
from vidlm.domain import JobState
from vidlm.moderation.labels import Scheme, ancestors, export
from vidlm.policy import policy_sets
from vidlm.store.queries import flags_of, job_of

router = APIRouter(prefix="/v1", tags=["policies"])


@router.get(
    "/policies",
    response_model=PoliciesOut,
    responses=documented({200: examples.shown("The policies in force", policy_examples.POLICIES)}),
)
def get_policies(service: ServiceDep, caller: CallerDep) -> PoliciesOut:
    """The policies that every video of the tenant is scored with from now on."""
    with service.database.read() as session:
        force = policy_sets.in_force(session, caller.tenant_id, service.policies)
    return policies_out(force.policies, force.id)


@router.get(
    "/videos/{video_id}/labels",
    response_model=LabelsOut,
    responses=documented(
        {200: examples.shown("The flags under its labels", policy_examples.LABELS)}, 404, 409, 410, 422
    ),
)
def get_labels(
    video_id: VideoId,
    service: ServiceDep,
    caller: CallerDep,
    scheme: Annotated[Scheme, Query(description="The taxonomy whose labels are wanted.")],
) -> LabelsOut:
    """A ready video's flags under the labels of another taxonomy, where that has one."""
    with service.database.read() as session:
        status = existing(session, caller, video_id)
        if status.state is not JobState.READY:
            raise not_ready(status)
        job = job_of(session, video_id)
        flags = flags_of(session, job.id)
        policies = policy_sets.pinned(session, job.policy_set_id, service.policies)
    spans = export(flags, policies.policies, scheme)
    labels = [
        LabelOut(
            id=span.label.id,
            title=span.label.title,
            parents=[parent.id for parent in ancestors(scheme, span.label)],
            policy_id=span.policy_id,
            start_s=round(span.start_s, 3),
            end_s=round(span.end_s, 3),
            confidence=round(span.confidence, 6),
        )
        for span in spans
    ]
    return LabelsOut(scheme=scheme, labels=labels)
