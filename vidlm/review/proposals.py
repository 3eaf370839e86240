"""Thresholds that decisions suggest: proposed, then accepted or declined by a lead. Inside ONE transaction, audited.

Nothing changes by itself. Accepting makes a set of policies out of what is in force, with the one threshold changed,
and puts that in force; the promise and all it rests on stay with the proposal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
from sqlmodel import Session, col, select

from vidlm.domain import Policy
from vidlm.errors import ConflictError
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.proposals import Goal, ProposalState, Wish, suggest
from vidlm.moderation.thresholds import Traffic, queue_at
from vidlm.policy import policy_sets
from vidlm.review.drifting import analysed, every_nth
from vidlm.review.judged import Judged, judged, question_of
from vidlm.review.scores import peak_table
from vidlm.review.standing import ALWAYS, Window
from vidlm.store.chain import audit
from vidlm.store.engine import clock, lock_key
from vidlm.store.keys import Caller
from vidlm.store.moderation import ThresholdProposal

TRAFFIC_DAYS: Final = 28
"""What comes in is told by what came in lately."""
MOST_TRAFFIC: Final = 5000
"""Videos whose scores stand for all of it."""


def draft(
    session: Session, caller: Caller, policy: Policy, wish: Wish, *, own: PolicySet, window: Window = ALWAYS
) -> ThresholdProposal:
    """A proposal for a policy in force that grants the wish, not kept yet: this reads much and writes nothing.

    Raises `ConflictError`: `too_few_decisions`, `no_threshold`, `no_random_sample` where a recall is wanted and nobody
    looked at videos that were not flagged, `above_block` for a threshold that would flag nothing but what is blocked.
    """
    found = judged(session, caller.tenant_id, policy, own.get(policy.id), window)
    if wish.goal is Goal.RECALL and not found.drawn.any():
        raise ConflictError(
            "nobody looked at videos that were not flagged, so what was missed is unknown: make a queue with the rule "
            '{"verdicts": ["allow"], "share": 0.02} or so',
            code="no_random_sample",
        )
    traffic = traffic_of(session, caller.tenant_id, policy.id)
    suggested = suggest(wish, found.evenly(), traffic)
    threshold = suggested.threshold
    assert threshold is not None
    if threshold > policy.block_threshold:
        raise ConflictError(
            f"the threshold would be {threshold:.4g}, and {policy.block_threshold:g} is where videos are blocked "
            "without a look: raise that one first",
            code="above_block",
        )
    return ThresholdProposal(
        tenant_id=caller.tenant_id,
        policy_id=policy.id,
        goal=wish.goal.value,
        value=wish.value,
        confidence=wish.confidence,
        threshold=threshold,
        threshold_before=policy.review_threshold,
        question=question_of(policy),
        promise=suggested.promise,
        basis=_basis(wish, found, threshold, traffic, window),
        created_by=caller.id,
    )


def propose(session: Session, caller: Caller, drafted: ThresholdProposal) -> ThresholdProposal:
    """Keep a draft for a lead to settle; an open proposal for the same policy is superseded."""
    lock_key(session, f"threshold_proposals {caller.tenant_id}")
    for open_one in _open(session, caller.tenant_id, drafted.policy_id):
        _settle(session, caller, open_one, ProposalState.SUPERSEDED)
    session.flush()  # one is open at a time
    drafted.created_at = clock(session)
    session.add(drafted)
    session.flush()
    told = {"goal": drafted.goal, "value": drafted.value, "confidence": drafted.confidence}
    _audit(session, caller, drafted, "threshold.proposed", **told, digest=drafted.basis["digest"])
    return drafted


def accept(
    session: Session, caller: Caller, proposal: ThresholdProposal, *, reason: str, own: PolicySet
) -> ThresholdProposal:
    """Put the threshold in force. The proposal is locked (`find`); `own`: the service's policies.

    Raises `ConflictError`: `already_settled`; `outdated` where the policy is gone, asks another question by now or
    blocks from a lower score on; `too_many_drafts`.
    """
    _check_open(proposal)
    policy_sets.lock(session, caller.tenant_id)
    base = policy_sets.active(session, caller.tenant_id)
    before = own.policies if base is None else policy_sets.policies_of(base)
    old = next((one for one in before if one.id == proposal.policy_id and one.enabled), None)
    if old is None or question_of(old) != proposal.question:
        raise ConflictError(
            f"{proposal.policy_id} is not in force with the question that these decisions are about", code="outdated"
        )
    if proposal.threshold > old.block_threshold:
        raise ConflictError(f"{old.id} blocks from {old.block_threshold:g} on by now", code="outdated")
    new = [_with_threshold(one, proposal.threshold) if one is old else one for one in before]
    row = policy_sets.create(
        session,
        tenant_id=caller.tenant_id,
        actor=caller.id,
        name=f"{proposal.policy_id}: review from {proposal.threshold:.4g}",
        policies=new,
        based_on=base,
    )
    session.flush()
    enabled = [one for one in before if one.enabled]
    policy_sets.activate(session, row, actor=caller.id, reason=reason, before=enabled)
    session.flush()
    proposal.policy_set_id = row.id
    _settle(session, caller, proposal, ProposalState.ACCEPTED, reason)
    return proposal


def decline(session: Session, caller: Caller, proposal: ThresholdProposal, *, reason: str) -> ThresholdProposal:
    """It is not wanted. The proposal is locked (`find`). Raises `ConflictError` (`already_settled`)."""
    _check_open(proposal)
    _settle(session, caller, proposal, ProposalState.DECLINED, reason)
    return proposal


def find(session: Session, caller: Caller, policy_id: str, proposal_id: str) -> ThresholdProposal | None:
    """One of the tenant's proposals, locked: whoever settles it first has settled it."""
    query = select(ThresholdProposal).where(
        ThresholdProposal.id == proposal_id,
        ThresholdProposal.policy_id == policy_id,
        ThresholdProposal.tenant_id == caller.tenant_id,
    )
    return session.exec(query.with_for_update()).first()


def all_of(session: Session, tenant_id: str, policy_id: str, *, most: int) -> Sequence[ThresholdProposal]:
    """Up to `most` of a policy's proposals, the newest first."""
    query = select(ThresholdProposal).where(
        ThresholdProposal.tenant_id == tenant_id, ThresholdProposal.policy_id == policy_id
    )
    newest = (col(ThresholdProposal.created_at).desc(), col(ThresholdProposal.id).desc())
    return session.exec(query.order_by(*newest).limit(most)).all()


def traffic_of(session: Session, tenant_id: str, policy_id: str) -> Traffic | None:
    """What comes in: scores of videos analysed in the last `TRAFFIC_DAYS`, and how many a day; None of none.

    The days count from the first of these videos, at least one.
    """
    now = clock(session)
    came = analysed(session, tenant_id, Window(now - timedelta(days=TRAFFIC_DAYS)))
    if not came:
        return None
    scores = peak_table(session, every_nth([job_id for job_id, _ in came], MOST_TRAFFIC), [policy_id])[:, 0]
    scores = scores[~np.isnan(scores)]
    days = max(1.0, (now - came[0][1]) / timedelta(days=1))
    return Traffic.of(scores, len(came) / days) if len(scores) else None


def _with_threshold(policy: Policy, threshold: float) -> Policy:
    """A flag that has begun goes on as far below the new threshold, in proportion, as below the old one."""
    keep = min(threshold, threshold * policy.keep_threshold / policy.review_threshold)
    return dataclasses.replace(policy, review_threshold=threshold, keep_threshold=keep)


def _basis(wish: Wish, found: Judged, threshold: float, traffic: Traffic | None, window: Window) -> dict[str, Any]:
    """What the proposal rests on, as JSON types."""
    used = found.evenly()
    expected = found.performance(threshold)
    queue = None if traffic is None else queue_at(traffic, threshold)
    return {
        "method": wish.method,
        "decisions": len(used),
        "violations": int(used.violations.sum()),
        "at_random": bool(found.drawn.any()),
        "first_decision": min(found.ids, default=None),
        "last_decision": max(found.ids, default=None),
        "digest": found.digest(),
        "since": None if window.since is None else window.since.isoformat(),
        "until": None if window.until is None else window.until.isoformat(),
        "source": None if found.source is None else dataclasses.asdict(found.source),
        "traffic": None if traffic is None else len(traffic.scores),
        "expected": {
            "precision": dataclasses.asdict(expected.precision),
            "recall": dataclasses.asdict(expected.recall),
            "flagged": dataclasses.asdict(expected.flagged),
            "queue": None if queue is None else dataclasses.asdict(queue),
        },
    }


def _open(session: Session, tenant_id: str, policy_id: str) -> Sequence[ThresholdProposal]:
    query = select(ThresholdProposal).where(
        ThresholdProposal.tenant_id == tenant_id,
        ThresholdProposal.policy_id == policy_id,
        ThresholdProposal.state == ProposalState.PROPOSED.value,
    )
    return session.exec(query.with_for_update()).all()


def _check_open(proposal: ThresholdProposal) -> None:
    if proposal.state != ProposalState.PROPOSED:
        raise ConflictError(f"this proposal was {proposal.state} already", code="already_settled")


def _settle(
    session: Session, caller: Caller, proposal: ThresholdProposal, state: ProposalState, reason: str | None = None
) -> None:
    proposal.state, proposal.reason = state.value, reason
    proposal.settled_at, proposal.settled_by = clock(session), caller.id
    _audit(session, caller, proposal, f"threshold.{state}", set=proposal.policy_set_id)


def _audit(session: Session, caller: Caller, proposal: ThresholdProposal, event: str, **more: Any) -> None:
    details = {"policy": proposal.policy_id, "before": proposal.threshold_before, "threshold": proposal.threshold}
    audit(
        session,
        tenant_id=caller.tenant_id,
        actor=caller.id,
        event=event,
        target_id=proposal.id,
        details=details | more,
    )
