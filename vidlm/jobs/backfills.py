"""The videos of a backfill as units of work: planned a page at a time, scored in parts, counted once each.

    plan ---> unit: part, part, ..., last part ---> ended ---> plan the next page, or the backfill is done
                                                  (also: failed, video deleted, cancelled)

A part is some minutes of video; between two parts the unit waits again, behind everything that is more urgent: every
upload is. Locks are taken in this order, everywhere: job, backfill, unit, wake-up. Knows rows; what a score does to
flags and verdicts stands in `vidlm.jobs.rescored`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete
from sqlmodel import Session, col, select

from vidlm.domain import Action, JobState, Priority, WorkState
from vidlm.errors import LeaseLost
from vidlm.jobs import outbox, rescored, turns
from vidlm.jobs.claims import Claim, claim, hold
from vidlm.moderation.additions import BackfillState
from vidlm.queue import Task
from vidlm.store.backfill import Backfill, BackfilledScore, BackfillWork
from vidlm.store.chain import audit
from vidlm.store.engine import clock
from vidlm.store.listing import Filters, Page, list_videos
from vidlm.store.tables import Job

PAGE: Final = 200
"""Videos planned at a time: asking for a backfill costs the same whatever the library's size."""
PRIORITY: Final = len(Priority)
"""Behind the least urgent upload."""
TOGETHER: Final = 16
"""Backfills whose questions are put to a video at once, at most: opening its prompt is most of the work."""
WORKER: Final = "worker"
"""The actor of what follows by itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """What was found in a run of a video's windows. `scores`: P(Yes) by window, of those whose tokens were kept.

    scored_s, needs_decode_s: seconds of video with tokens, and without.  next_window: where the next part begins, None
    where this was the last.
    """

    scores: Mapping[int, float]
    scored_s: float
    needs_decode_s: float
    next_window: int | None
    model_revision: str


def filters_of(backfill: Backfill) -> Filters:
    """Which videos a backfill is about: ready ones that were uploaded before it was asked for."""
    kept = backfill.filters
    until = _moment(kept.get("created_until"))
    return Filters(
        states=frozenset({JobState.READY}),
        verdicts=frozenset(Action(value) for value in kept.get("verdict") or ()),
        client_id=kept.get("client_id"),
        priority=Priority(kept["priority"]) if kept.get("priority") else None,
        policy=kept.get("policy"),
        created_from=_moment(kept.get("created_from")),
        created_until=min(until, backfill.created_at) if until else backfill.created_at,
    )


def plan(session: Session, backfill: Backfill) -> None:
    """See to it that enough units wait; the backfill is done once all have ended. The caller holds its lock."""
    if not backfill.planned_all and _open(backfill) <= PAGE // 2:
        page = list_videos(session, backfill.tenant_id, filters_of(backfill), Page(PAGE, after=backfill.planned_after))
        turn = turns.next_turn(session, BackfillWork, (WorkState.WAITING.value,), backfill.tenant_id, PRIORITY)
        for place, video in enumerate(page):
            unit = BackfillWork(
                tenant_id=backfill.tenant_id,
                backfill_id=backfill.id,
                video_id=video.id,
                priority=PRIORITY,
                turn=turn + place,
            )
            session.add(unit)
            outbox.owe(session, Task.BACKFILL, unit.id, unit.tenant_id)
            backfill.planned_after = video.id
        backfill.videos_planned += len(page)
        backfill.planned_all = len(page) < PAGE
    if backfill.planned_all:
        backfill.videos_total = backfill.videos_planned
        if not _open(backfill):
            _finish(session, backfill)


def join(session: Session, held: Claim, *, lease_s: float, max_attempts: int) -> list[Claim]:
    """Claim, beside a unit that is held, those of other backfills that wait at the same window of the same video.

    None after a failed attempt: the question of one must not take the others down with it time and again.
    """
    if held.attempt > 1:
        return []
    unit = session.get_one(BackfillWork, held.target_id)
    beside = (
        BackfillWork.video_id == unit.video_id,
        BackfillWork.state == WorkState.WAITING.value,
        BackfillWork.next_window == unit.next_window,
        BackfillWork.attempts == 0,
    )
    query = select(BackfillWork.id).where(*beside).order_by(col(BackfillWork.id)).limit(TOGETHER - 1)
    found = session.exec(query.with_for_update(skip_locked=True)).all()
    claims = [claim(session, held.task, other, lease_s=lease_s, max_attempts=max_attempts) for other in found]
    return [other for other in claims if other is not None]


def scored(session: Session, held: Claim, part: Part) -> None:
    """Keep a part's scores. After the last part the video counts, once, and where the backfill applies, is judged."""
    job = _lock_job(session, held.target_id)
    backfill = lock_of(session, held.target_id)
    unit = hold(session, held, BackfillWork)
    if job is None or job.state != JobState.READY or backfill is None:
        raise LeaseLost("the video was deleted meanwhile")
    rescored.keep(session, job, backfill, part.scores, part.model_revision)
    backfill.scored_s += part.scored_s
    backfill.needs_decode_s += part.needs_decode_s
    unit.needs_decode_s += part.needs_decode_s
    if part.next_window is not None:
        _go_on(session, unit, part.next_window)
        return
    rescored.judge(session, job, backfill, actor=WORKER)
    _end(session, unit, WorkState.DONE)


def gone(session: Session, held: Claim) -> None:
    """There is nothing to score: the video is not `ready` any more."""
    lock_of(session, held.target_id)
    _end(session, hold(session, held, BackfillWork), WorkState.CANCELLED)


def video_gone(session: Session, video_id: str, job_id: str) -> None:
    """A video is being deleted, and its scores with it; whoever scores it is fenced off. The caller locked its job."""
    open_states = (WorkState.WAITING.value, WorkState.RUNNING.value)
    of_video = select(BackfillWork.id).where(BackfillWork.video_id == video_id)
    still = of_video.where(col(BackfillWork.state).in_(open_states)).order_by(col(BackfillWork.backfill_id))
    for unit_id in session.exec(still).all():
        lock_of(session, unit_id)
        unit = session.get_one(BackfillWork, unit_id, with_for_update=True, populate_existing=True)
        if unit.state in open_states:  # it may have ended before we had the lock
            unit.token += 1
            _end(session, unit, WorkState.CANCELLED)
    session.exec(delete(BackfilledScore).where(col(BackfilledScore.job_id) == job_id))


def lock_of(session: Session, unit_id: str) -> Backfill | None:
    """The backfill of a unit, locked: it counts what becomes of the unit."""
    found = session.exec(select(BackfillWork.backfill_id).where(BackfillWork.id == unit_id)).first()
    return session.get(Backfill, found, with_for_update=True, populate_existing=True) if found else None


def ended(session: Session, unit: BackfillWork) -> None:
    """Count a unit that has just ended, and plan what follows. The caller holds the lock of its backfill."""
    backfill = session.get_one(Backfill, unit.backfill_id)
    if unit.state == WorkState.CANCELLED:
        backfill.videos_gone += 1
    elif unit.state != WorkState.DONE:
        backfill.videos_failed += 1
    elif unit.needs_decode_s > 0:
        backfill.videos_need_decode += 1
    else:
        backfill.videos_done += 1
    plan(session, backfill)


def videos_ended(backfill: Backfill) -> int:
    """Videos that are through, however that went."""
    return backfill.videos_done + backfill.videos_need_decode + backfill.videos_failed + backfill.videos_gone


def _open(backfill: Backfill) -> int:
    return backfill.videos_planned - videos_ended(backfill)


def _go_on(session: Session, unit: BackfillWork, next_window: int) -> None:
    """Wait again for the next part, with fresh attempts: this one went well."""
    unit.next_window = next_window
    unit.state, unit.lease_until, unit.not_before = WorkState.WAITING.value, None, None
    unit.token, unit.attempts = unit.token + 1, 0
    outbox.postpone(session, Task.BACKFILL, unit.id, clock(session))


def _end(session: Session, unit: BackfillWork, state: WorkState) -> None:
    unit.state, unit.lease_until, unit.not_before = state.value, None, None
    outbox.settle(session, Task.BACKFILL, unit.id)
    ended(session, unit)


def _finish(session: Session, backfill: Backfill) -> None:
    backfill.state, backfill.ended_at = BackfillState.DONE.value, clock(session)
    audit(
        session,
        tenant_id=backfill.tenant_id,
        actor=WORKER,
        event="backfill.finished",
        target_id=backfill.id,
        details={
            "videos": backfill.videos_total,
            "done": backfill.videos_done,
            "needs_decode": backfill.videos_need_decode,
            "failed": backfill.videos_failed,
            "gone": backfill.videos_gone,
            "flags_added": backfill.flags_added,
            "verdicts_raised": backfill.verdicts_raised,
        },
    )


def _lock_job(session: Session, unit_id: str) -> Job | None:
    query = select(Job).join(BackfillWork, col(BackfillWork.video_id) == col(Job.video_id))
    locked = query.where(BackfillWork.id == unit_id).with_for_update(of=Job)
    return session.exec(locked, execution_options={"populate_existing": True}).first()


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
