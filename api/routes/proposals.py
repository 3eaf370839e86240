"""Thresholds that decisions suggest: ask for one, accept it, decline it. For leads; nothing changes by itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples, quality_examples
from api.deps import CallerDep, Service, ServiceDep
from api.once import OnceDep, respond
from api.problems import documented, not_found
from api.quality_schemas import ProposalIn, ProposalOut, ProposalsOut, ReasonIn
from api.quality_views import proposal_out
from api.routes.quality import PolicyId, policy_of, window_of
from vidlm.errors import ConflictError
from vidlm.jobs.idempotency import Reply
from vidlm.review import proposals
from vidlm.store.keys import Caller
from vidlm.store.moderation import ThresholdProposal

router = APIRouter(prefix="/v1/policies/{policy_id}/threshold-proposals", tags=["quality"])

ProposalId = Annotated[str, Path(max_length=64, examples=[quality_examples.PROPOSAL["id"]])]


@router.post(
    "",
    status_code=201,
    response_model=ProposalOut,
    responses=documented({201: examples.shown("The proposal", quality_examples.PROPOSAL)}, 404, 409, 413, 422),
)
def propose_threshold(
    policy_id: PolicyId,
    asked: Annotated[ProposalIn, Body(examples=[quality_examples.PROPOSAL_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """A review threshold with a wanted precision, recall or length of the queue, from all decisions so far.

    409 `too_few_decisions` says how many are needed, `no_random_sample` that nobody looked for what was missed,
    `no_threshold` that none will do, `above_block` that it would be above the block threshold.
    """
    drafted = _drafted(service, caller, policy_id, asked)  # before the transaction: others write meanwhile
    with service.database.write() as session:

        def do() -> Reply:
            if isinstance(drafted, ConflictError):
                raise drafted
            row = proposals.propose(session, caller, drafted)
            return Reply(201, proposal_out(row).model_dump(mode="json"))

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get(
    "",
    response_model=ProposalsOut,
    responses=documented({200: examples.shown("The proposals", quality_examples.PROPOSALS)}, 404, 422),
)
def get_threshold_proposals(
    policy_id: PolicyId,
    service: ServiceDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ProposalsOut:
    """The policy's newest proposals, settled ones too."""
    with service.database.read() as session:
        rows = [] if "\0" in policy_id else proposals.all_of(session, caller.tenant_id, policy_id, most=limit)
        if not rows:
            policy_of(session, service, caller, policy_id)
        return ProposalsOut(proposals=[proposal_out(row) for row in rows])


@router.post(
    "/{proposal_id}/accept",
    response_model=ProposalOut,
    responses=documented({200: examples.shown("In force", quality_examples.ACCEPTED)}, 404, 409, 413, 422),
)
def accept_proposal(
    *,
    policy_id: PolicyId,
    proposal_id: ProposalId,
    asked: Annotated[ReasonIn, Body(examples=[quality_examples.REASON])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Put a set of policies in force that is the present one with this threshold.

    409 `already_settled`, or `outdated` where the policy has changed so that the decisions say nothing of it.
    """
    with service.database.write() as session:

        def do() -> Reply:
            row = _proposal_of(session, caller, policy_id, proposal_id)
            proposals.accept(session, caller, row, reason=asked.reason, own=service.policies)
            return Reply(200, proposal_out(row).model_dump(mode="json"))

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.post(
    "/{proposal_id}/decline",
    response_model=ProposalOut,
    responses=documented({200: examples.shown("Declined", quality_examples.DECLINED)}, 404, 409, 413, 422),
)
def decline_proposal(
    policy_id: PolicyId,
    proposal_id: ProposalId,
    asked: Annotated[ReasonIn, Body(examples=[quality_examples.REASON])],
    service: ServiceDep,
    caller: CallerDep,
) -> ProposalOut:
    """Leave the threshold as it is. 409 `already_settled`."""
    with service.database.write() as session:
        row = _proposal_of(session, caller, policy_id, proposal_id)
        return proposal_out(proposals.decline(session, caller, row, reason=asked.reason))


def _drafted(service: Service, caller: Caller, policy_id: str, asked: ProposalIn) -> ThresholdProposal | ConflictError:
    """The draft, or why there is none: a request that is sent again is answered as it was, whatever holds by now."""
    wish, window = asked.wish(), window_of(asked.since, asked.until)
    with service.database.read() as session:
        policy = policy_of(session, service, caller, policy_id)
        try:
            return proposals.draft(session, caller, policy, wish, own=service.policies, window=window)
        except ConflictError as exc:
            return exc


def _proposal_of(session: Session, caller: Caller, policy_id: str, proposal_id: str) -> ThresholdProposal:
    unfit = "\0" in policy_id or "\0" in proposal_id
    row = None if unfit else proposals.find(session, caller, policy_id, proposal_id)
    if row is None:
        raise not_found("proposal")
    return row
