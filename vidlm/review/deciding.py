"""What a reviewer decides, written down with all it rested on, and undone for a while. Inside ONE transaction.

item (claimed) --decide--> decision, flag decisions, look, audit, `review.decided`
                               |-- the video's `review_state`
                               '-- another look, where one follows (`moderation.decisions.follows`)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlmodel import Session, col, select

from vidlm.domain import Role
from vidlm.errors import ConflictError
from vidlm.jobs import events
from vidlm.moderation import decisions as rules
from vidlm.moderation.decisions import FINAL, Follow, ItemState, KnownFlag, Occasion, Outcome, ReviewState, Submission
from vidlm.moderation.policies import PolicySet
from vidlm.policy.policy_sets import pinned
from vidlm.review import filing, items
from vidlm.review.case import Case
from vidlm.review.remembering import remember
from vidlm.review.settings import settings_of
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import FlagDecision, ReviewDecision, ReviewItem, ReviewQueue
from vidlm.store.tables import AnalysisRow, Job


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, what the video is now, and who is asked next, if anybody."""

    decision: ReviewDecision
    state: ReviewState
    next: Occasion | None


def decide(
    session: Session, caller: Caller, item: ReviewItem, *, token: int, said: Submission, own: PolicySet
) -> Decided:
    """Settle an item that the caller holds; item and job are locked (`items.find`). `own`: the service's policies.

    A lock that ran out does not matter as long as nobody else took the item. Raises `InputError` (`invalid_decision`),
    `ConflictError` (`claim_lost`, `already_decided`).
    """
    items.check_held(item, caller, token)
    case = _case(session, item, own)
    job = case.job
    known = [KnownFlag(flag.id, flag.policy_id, flag.start_s, flag.end_s) for flag in case.flags]
    rules.check(said, known, case.policies, job.duration_s or 0.0)
    follow = _follow(session, item, said.outcome)
    now = clock(session)
    decision = case.decision(said, caller.id, now)
    session.add(decision)
    session.flush()
    session.add_all([*case.flag_decisions(said, decision), case.look(said, decision)])
    told = {one.flag_id: one.verdict.value for one in said.flags}
    _audit(session, caller, decision, "review.decided", flags=told)
    item.state, item.decided_at = ItemState.DECIDED.value, now
    session.flush()  # one open item a video: this one is open no more
    if follow.state is not None:
        job.review_state = follow.state.value
        remember(session, caller, decision, follow.state)
        _tell(session, job, decision, undone=False)
    if follow.next is not None:
        filing.after(session, item, follow.next)
    return Decided(decision, ReviewState(job.review_state), follow.next)


def undo(session: Session, caller: Caller, decision: ReviewDecision) -> ReviewItem:
    """Take a decision back: the item is the caller's again, the video what it was.

    Its maker may do so for a while, as long as nobody went on from it; leads as well. Raises `ConflictError`
    (`already_undone`, `not_yours`, `too_late`, `went_on`).
    """
    job = session.get_one(Job, decision.job_id, with_for_update=True, populate_existing=True)
    item = session.get_one(ReviewItem, decision.item_id, with_for_update=True, populate_existing=True)
    session.refresh(decision, with_for_update=True)
    now = clock(session)
    if decision.undone_at is not None:
        raise ConflictError("this decision was undone already", code="already_undone")
    if decision.actor != caller.id and not caller.role.covers(Role.LEAD):
        raise ConflictError("this is somebody else's decision: a lead may undo it", code="not_yours")
    if now - decision.created_at > timedelta(seconds=settings_of(session, caller.tenant_id).undo_s):
        raise ConflictError("it is too late to undo this: appeal against it instead", code="too_late")
    for follower in _followers(session, item):
        if follower.state not in (ItemState.WAITING, ItemState.WITHDRAWN):
            raise ConflictError("somebody is looking at it again because of this decision", code="went_on")
        follower.state = ItemState.WITHDRAWN.value
    session.flush()
    decision.undone_at, decision.undone_by = now, caller.id
    items.lock(session, item, caller, now)
    item.decided_at = None
    _audit(session, caller, decision, "review.undone")
    if item.occasion != Occasion.GOLDEN:
        job.review_state = decision.state_before
        remember(session, caller, decision, ReviewState(decision.state_before))
        _tell(session, job, decision, undone=True)
    return item


def any_made(session: Session, tenant_id: str) -> bool:
    """Whether anybody of the tenant ever decided anything."""
    return (
        session.exec(select(ReviewDecision.id).where(ReviewDecision.tenant_id == tenant_id).limit(1)).first()
        is not None
    )


def of_video(session: Session, caller: Caller, video_id: str) -> list[tuple[ReviewDecision, list[FlagDecision]]]:
    """All that was decided about a video, undone decisions too, oldest first; nothing of golden items."""
    query = select(ReviewDecision).where(
        ReviewDecision.tenant_id == caller.tenant_id,
        ReviewDecision.video_id == video_id,
        ReviewDecision.occasion != Occasion.GOLDEN.value,
    )
    if not caller.restricted:
        query = query.where(col(ReviewDecision.restricted).is_(False))
    return with_flags(session, session.exec(query.order_by(col(ReviewDecision.id))).all())


def with_flags(session: Session, found: Sequence[ReviewDecision]) -> list[tuple[ReviewDecision, list[FlagDecision]]]:
    """Decisions with what they say about flags."""
    query = select(FlagDecision).where(col(FlagDecision.decision_id).in_([decision.id for decision in found]))
    about: dict[str, list[FlagDecision]] = {}
    for row in session.exec(query.order_by(col(FlagDecision.start_s), col(FlagDecision.id))).all():
        about.setdefault(row.decision_id, []).append(row)
    return [(decision, about.get(decision.id, [])) for decision in found]


def find(session: Session, caller: Caller, decision_id: str) -> ReviewDecision | None:
    """One of the tenant's decisions that the caller may see."""
    query = select(ReviewDecision).where(ReviewDecision.id == decision_id, ReviewDecision.tenant_id == caller.tenant_id)
    found = session.exec(query).first()
    return None if found is None or (found.restricted and not caller.restricted) else found


def _case(session: Session, item: ReviewItem, own: PolicySet) -> Case:
    job = session.get_one(Job, item.job_id)
    policies = {policy.id: policy for policy in pinned(session, job.policy_set_id, own).policies}
    document = session.get_one(AnalysisRow, job.id).document
    return Case(item, job, tuple(flags_of(session, job.id)), policies, document)


def _follow(session: Session, item: ReviewItem, outcome: Outcome) -> Follow:
    occasion = Occasion(item.occasion)
    opinions = session.get_one(ReviewQueue, item.queue_id).opinions
    before = _decided_on(session, item.parent_id) if occasion is Occasion.SECOND else None
    doubled = random.random() < settings_of(session, item.tenant_id).doubled_share
    return rules.follows(occasion, outcome, opinions=opinions, before=before, doubled=doubled)


def _decided_on(session: Session, item_id: str | None) -> Outcome | None:
    query = select(ReviewDecision.outcome).where(
        ReviewDecision.item_id == item_id, col(ReviewDecision.undone_at).is_(None)
    )
    found = session.exec(query).first()
    return None if found is None else Outcome(found)


def _followers(session: Session, item: ReviewItem) -> Sequence[ReviewItem]:
    query = select(ReviewItem).where(ReviewItem.parent_id == item.id).with_for_update()
    return session.exec(query).all()


def _tell(session: Session, job: Job, decision: ReviewDecision, *, undone: bool) -> None:
    document: dict[str, Any] = {
        "video_id": job.video_id,
        "decision_id": decision.id,
        "outcome": decision.outcome,
        "review": job.review_state,
        "final": not undone and Outcome(decision.outcome) in FINAL and job.review_state in _SETTLED,
        "undone": undone,
    }
    events.happened(session, job, events.Told.REVIEW, document)


_SETTLED: Final = frozenset(state.value for state in FINAL.values())


def _audit(session: Session, caller: Caller, decision: ReviewDecision, event: str, **more: Any) -> None:
    provenance = decision.pinned["provenance"]
    details = {
        "video": decision.video_id,
        "item": decision.item_id,
        "occasion": decision.occasion,
        "outcome": decision.outcome,
        "model": provenance["model_revision"],
        "prompts": provenance["prompt_version"],
        "policies": provenance["policy_set_version"],
    }
    audit(
        session,
        tenant_id=decision.tenant_id,
        actor=caller.id,
        event=event,
        target_id=decision.id,
        details=details | more,
    )
