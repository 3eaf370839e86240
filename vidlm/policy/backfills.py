"""Asking for a library to be scored under one more policy, and calling it off. Each inside ONE transaction, audited.

    ask -> (units of work: `vidlm.jobs.backfills`) -> done
      \\-> cancel

By default a backfill only finds scores. With `apply` it also adds flags and makes verdicts stronger, never weaker; only
a policy in force may do so. What it scores is what was kept of the videos: nothing is decoded for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session, col, func, select

from vidlm import prompts
from vidlm.domain import Policy
from vidlm.errors import ConflictError
from vidlm.jobs import backfills
from vidlm.jobs.claims import call_off
from vidlm.moderation.additions import BackfillState
from vidlm.moderation.policies import PolicySet, to_rows
from vidlm.moderation.revisions import SetState
from vidlm.policy import policy_sets
from vidlm.store.backfill import Backfill, BackfilledScore, BackfillWork
from vidlm.store.chain import audit
from vidlm.store.engine import clock, lock_key
from vidlm.store.listing import measure
from vidlm.store.tables import SegmentRow

MOST_RUNNING: Final = 16
"""Backfills of one tenant at a time."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A policy to score under. `set_id` is None for one of the service's own; `in_force`: videos are judged by it."""

    policy: Policy
    set_id: str | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class LaterScore:
    """P(Yes) of one of a video's segments to a question that was asked after its analysis."""

    policy_id: str
    question_version: str
    backfill_id: str
    model_revision: str
    index: int
    start_s: float
    end_s: float
    score: float


def question_version(policy: Policy) -> str:
    """A digest of what the model is asked under a policy: of equal ones, scores can be compared."""
    asked = f"{prompts.PROMPT_VERSION}\n{prompts.branch(prompts.policy_question(policy))}"
    return hashlib.sha256(asked.encode()).hexdigest()[:12]


def choose(session: Session, tenant_id: str, policy_id: str, own: PolicySet, set_id: str | None) -> Chosen | None:
    """The policy of that name: in the tenant's set `set_id`; without one in what is in force, or else in the service's
    own policies. None where there is none, or the set is retired. A disabled policy may be tried."""
    force = policy_sets.in_force(session, tenant_id, own)
    if set_id is not None:
        row = policy_sets.find(session, tenant_id, set_id)
        if row is None or row.state == SetState.RETIRED:
            return None
        policy = next((one for one in policy_sets.policies_of(row) if one.id == policy_id), None)
        return None if policy is None else Chosen(policy, row.id, policy.enabled and force.id == row.id)
    for policies, of_set, in_force in ((force.policies, force.id, True), (own, None, force.id is None)):
        policy = policies.get(policy_id)
        if policy is not None:
            return Chosen(policy, of_set, in_force)
    return None


def running(session: Session, tenant_id: str, policy: Policy) -> Backfill | None:
    """The tenant's backfill that asks the same and has not ended. Until the transaction does, no other one begins."""
    lock_key(session, f"backfills {tenant_id}")
    same = (
        Backfill.tenant_id == tenant_id,
        Backfill.policy_id == policy.id,
        Backfill.question_version == question_version(policy),
        Backfill.state == BackfillState.RUNNING.value,
    )
    return session.exec(select(Backfill).where(*same)).first()


def ask(
    session: Session, *, tenant_id: str, actor: str, chosen: Chosen, filters: dict[str, Any], apply: bool = False
) -> Backfill:
    """Score the tenant's library under a policy. The caller made sure with `running` that nobody else does so.

    `filters`: as `vidlm.jobs.backfills.filters_of` reads them. Raises `ConflictError`: `not_in_force` where it is to be
    applied and videos are not judged by the policy; `too_many_backfills`.
    """
    if apply and not chosen.in_force:
        raise ConflictError("only a policy in force can be applied: activate its set first", code="not_in_force")
    open_ones = (Backfill.tenant_id == tenant_id, Backfill.state == BackfillState.RUNNING.value)
    if session.exec(select(func.count()).select_from(Backfill).where(*open_ones)).one() >= MOST_RUNNING:
        raise ConflictError(f"{MOST_RUNNING} backfills are running already", code="too_many_backfills")
    (row,) = to_rows([chosen.policy])
    backfill = Backfill(
        tenant_id=tenant_id,
        policy_id=chosen.policy.id,
        question_version=question_version(chosen.policy),
        policy=row,
        policy_set_id=chosen.set_id,
        filters=filters,
        apply=apply,
        created_at=clock(session),
        created_by=actor,
    )
    backfill.videos_total, backfill.seconds_total = measure(session, tenant_id, backfills.filters_of(backfill))
    session.add(backfill)
    session.flush()  # its units name it
    asked = {"policy": backfill.policy_id, "question": backfill.question_version, "policy_set": backfill.policy_set_id}
    _audit(session, backfill, actor, "backfill.asked", **asked, apply=apply, videos=backfill.videos_total)
    backfills.plan(session, backfill)
    return backfill


def cancel(session: Session, backfill: Backfill, *, actor: str) -> None:
    """Call a backfill off; what was scored stays. The caller holds its lock.

    A cancelled one may be cancelled again. Raises `ConflictError` (`already_ended`) for one that is done.
    """
    if backfill.state == BackfillState.CANCELLED:
        return
    if backfill.state != BackfillState.RUNNING:
        raise ConflictError("the backfill has ended already", code="already_ended")
    call_off(session, BackfillWork, col(BackfillWork.backfill_id) == backfill.id)
    backfill.state, backfill.ended_at = BackfillState.CANCELLED.value, clock(session)
    backfill.cancelled_by = actor
    _audit(session, backfill, actor, "backfill.cancelled", videos_ended=backfills.videos_ended(backfill))


def find(session: Session, tenant_id: str, backfill_id: str, *, lock: bool = False) -> Backfill | None:
    """One of the tenant's backfills; with `lock`, nobody else changes it meanwhile."""
    query = select(Backfill).where(Backfill.id == backfill_id, Backfill.tenant_id == tenant_id)
    return session.exec(query.with_for_update() if lock else query).first()


def list_all(session: Session, tenant_id: str, *, most: int, before: str | None = None) -> Sequence[Backfill]:
    """Up to `most` of the tenant's backfills, the newest first, older than the one with the id `before`."""
    query = select(Backfill).where(Backfill.tenant_id == tenant_id)
    if before is not None:
        query = query.where(col(Backfill.id) < before)
    return session.exec(query.order_by(col(Backfill.id).desc()).limit(most)).all()


def later_scores(session: Session, job_ids: Sequence[str], policy: Policy | None = None) -> list[LaterScore]:
    """What backfills found in these jobs' videos, by policy and question and in order of time.

    With `policy`, only answers to the very question that it asks: those that other thresholds can be tried on.
    """
    query = (
        select(BackfilledScore, SegmentRow.index, SegmentRow.start_s, SegmentRow.end_s)
        .join(SegmentRow, col(SegmentRow.id) == col(BackfilledScore.segment_id))
        .where(col(BackfilledScore.job_id).in_(job_ids))
    )
    if policy is not None:
        query = query.where(
            BackfilledScore.policy_id == policy.id, BackfilledScore.question_version == question_version(policy)
        )
    in_order = (BackfilledScore.job_id, BackfilledScore.policy_id, BackfilledScore.question_version, SegmentRow.index)
    return [
        LaterScore(
            policy_id=row.policy_id,
            question_version=row.question_version,
            backfill_id=row.backfill_id,
            model_revision=row.model_revision,
            index=index,
            start_s=start_s,
            end_s=end_s,
            score=row.score,
        )
        for row, index, start_s, end_s in session.exec(query.order_by(*map(col, in_order))).all()
    ]


def _audit(session: Session, backfill: Backfill, actor: str, event: str, **details: Any) -> None:
    audit(session, tenant_id=backfill.tenant_id, actor=actor, event=event, target_id=backfill.id, details=details)
