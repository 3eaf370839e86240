"""Videos whose right decision is known, shown to reviewers as any other: what they say of them says how good they are.

Inside ONE transaction. Everybody gets each golden video once. What is decided about it changes nothing about the video.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists
from sqlmodel import Session, col, func, select

from vidlm.domain import JobState
from vidlm.errors import ConflictError, InputError
from vidlm.moderation.decisions import FINAL, Occasion, Outcome
from vidlm.review import filing, grants, items, queues
from vidlm.review.settings import settings_of
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import GoldenAnswer, ReviewItem, ReviewQueue
from vidlm.store.tables import Job, Video


def add(
    session: Session, caller: Caller, job: Job, *, outcome: Outcome, violated: Sequence[str], note: str = ""
) -> GoldenAnswer:
    """Say what is right about a video: the outcome, and which of its flags are right. The caller holds the job's lock.

    Raises `ConflictError` (`not_ready`, `already_golden`) and `InputError` (`invalid_golden`).
    """
    if job.state != JobState.READY:
        raise ConflictError(f"the analysis is not ready: the job is {job.state}", code="not_ready")
    flags = flags_of(session, job.id)
    if outcome not in FINAL:
        raise InputError("the right decision is to approve or to remove", code="invalid_golden")
    if unknown := set(violated) - {flag.id for flag in flags}:
        raise InputError(f"{min(unknown)!r} is no flag of this video", code="invalid_golden")
    same = (*_kept(caller.tenant_id), col(GoldenAnswer.video_id) == job.video_id)
    if session.exec(select(GoldenAnswer.id).where(*same)).first():
        raise ConflictError("this video is golden already: retire that answer first", code="already_golden")
    answer = GoldenAnswer(
        tenant_id=caller.tenant_id,
        video_id=job.video_id,
        job_id=job.id,
        outcome=outcome.value,
        violated=sorted(violated),
        note=note.strip(),
        restricted=grants.is_restricted(session, job.video_id),
        created_by=caller.id,
        created_at=clock(session),
    )
    session.add(answer)
    session.flush()
    _audit(session, caller, answer, "golden.added")
    return answer


def retire(session: Session, caller: Caller, answer: GoldenAnswer) -> None:
    """It is shown to nobody any more; what was decided about it still counts."""
    if answer.retired_at is None:
        answer.retired_at = clock(session)
        _audit(session, caller, answer, "golden.retired")


def find(session: Session, caller: Caller, golden_id: str) -> GoldenAnswer | None:
    """One of the tenant's answers that the caller may see, locked."""
    query = select(GoldenAnswer).where(GoldenAnswer.id == golden_id, GoldenAnswer.tenant_id == caller.tenant_id)
    if not caller.restricted:
        query = query.where(col(GoldenAnswer.restricted).is_(False))
    return session.exec(query.with_for_update()).first()


def may_see(session: Session, caller: Caller, video_id: str) -> bool:
    """Whether the caller may know of the video in review."""
    return caller.restricted or not grants.is_restricted(session, video_id)


def all_of(session: Session, caller: Caller) -> Sequence[GoldenAnswer]:
    """The tenant's answers that are still shown, the newest first."""
    query = select(GoldenAnswer).where(*_kept(caller.tenant_id))
    if not caller.restricted:
        query = query.where(col(GoldenAnswer.restricted).is_(False))
    return session.exec(query.order_by(col(GoldenAnswer.id).desc())).all()


def maybe(session: Session, caller: Caller, lines: Sequence[ReviewQueue]) -> ReviewItem | None:
    """Now and then, by the tenant's share, a golden video that the caller never had, locked for them.

    Looks like one of the queue that they would have got something from next.
    """
    if random.random() >= settings_of(session, caller.tenant_id).golden_share:
        return None
    line = next((queue for queue in lines if queues.may_work(queue, caller)), None)
    had = exists().where(col(ReviewItem.golden_id) == col(GoldenAnswer.id), col(ReviewItem.claimed_by) == caller.id)
    query = (
        select(GoldenAnswer)
        .join(Video, col(Video.id) == col(GoldenAnswer.video_id))
        .where(*_kept(caller.tenant_id), ~had, col(Video.deleted_at).is_(None))
    )
    if not caller.restricted:
        query = query.where(col(GoldenAnswer.restricted).is_(False))
    answer = session.exec(query.order_by(func.random()).limit(1)).first()
    if answer is None or line is None:
        return None
    return _shown(session, caller, answer, line)


def _shown(session: Session, caller: Caller, answer: GoldenAnswer, line: ReviewQueue) -> ReviewItem:
    job = session.get_one(Job, answer.job_id)
    item = filing.made(session, job, filing.facts_of(session, job), line, Occasion.GOLDEN)
    item.golden_id, item.restricted = answer.id, answer.restricted
    items.lock(session, item, caller, clock(session))
    session.add(item)
    session.flush()
    return item


def _kept(tenant_id: str) -> tuple[ColumnElement[bool], ...]:
    return (col(GoldenAnswer.tenant_id) == tenant_id, col(GoldenAnswer.retired_at).is_(None))


def _audit(session: Session, caller: Caller, answer: GoldenAnswer, event: str) -> None:
    audit(
        session,
        tenant_id=caller.tenant_id,
        actor=caller.id,
        event=event,
        target_id=answer.id,
        details={"video": answer.video_id, "outcome": answer.outcome, "violated": answer.violated},
    )
