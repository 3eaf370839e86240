"""The numbers that `vidlm.jobs.progress` reckons with, read from SQL.

    load    how the line and the workers stand, and what jobs lately taught: kept for a few seconds, for everybody
    own     what each of some open jobs did itself: one query, for every look at them
    signs   whether there is anything new to look at

Knows rows; estimates nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, bindparam, case, func, select
from sqlmodel import Session, SQLModel

from vidlm.domain import JobState, WorkState
from vidlm.jobs import presence
from vidlm.jobs.pace import Pace, Past, pace_of, seconds
from vidlm.jobs.progress import (
    FINISHING_TURN,
    Line,
    Load,
    Own,
    Progress,
    eta_s,
    preparing_left_s,
    progress_of,
)
from vidlm.jobs.states import ACTIVE
from vidlm.queue import Queue
from vidlm.store import ledger  # noqa: F401  makes the table of events
from vidlm.store.engine import clock
from vidlm.store.queries import VideoStatus

JOB, SPAN, VIDEO, EVENT = (SQLModel.metadata.tables[name] for name in ("job", "span", "video", "event"))

LEARNT_FROM: Final = 50
"""Jobs."""
KEPT_S: Final = 3.0
RENEWED_S: Final = 1.0
"""A load older than this is read anew for a job that it cannot know of yet."""
_COST_AT_MOST: Final = 0.05
"""Of one thread's time may go into reading loads: where the line is very long, a load is kept longer."""
_PLACES: Final = 1000
"""A longer line is read in about so many pieces."""
_OPEN: Final = (WorkState.WAITING.value, WorkState.RUNNING.value)
_SINCE: Final = select(EVENT.c.at).where(EVENT.c.video_id == JOB.c.video_id).order_by(EVENT.c.id.desc()).limit(1)
_DONE: Final = case((SPAN.c.state == WorkState.DONE.value, SPAN.c.changed_at))
_OWN: Final = (  # asked at every look at an open job, and made but once: half of its cost is its making
    select(
        JOB.c.video_id,
        _SINCE.scalar_subquery().label("since"),
        func.count(_DONE).label("spans_done"),
        func.min(_DONE).label("first_done_at"),
        func.max(_DONE).label("last_done_at"),
        func.max(case((SPAN.c.state.in_(_OPEN), SPAN.c.turn))).label("last_turn"),
    )
    .join(SPAN, SPAN.c.job_id == JOB.c.id, isouter=True)
    .where(JOB.c.video_id.in_(bindparam("video_ids", expanding=True)))
    .group_by(JOB.c.video_id)
)


@dataclass(frozen=True, slots=True)
class _Kept:
    load: Load
    at_s: float  # of the monotonic clock
    good_s: float


class Forecast:
    """Estimates for whoever asks, in a process: the load is shared. Safe to use from several threads."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._kept: _Kept | None = None

    def progress(self, session: Session, jobs: Sequence[VideoStatus]) -> list[Progress]:
        """How far each of these jobs is. Costs nothing for those that have ended."""
        active = [job for job in jobs if job.state in ACTIVE]
        if not active:
            return [progress_of(job) for job in jobs]
        self.renew(session, max(job.created_at for job in active))
        owns = own(session, active)
        return [self.estimate(job, owns.get(job.id)) for job in jobs]

    def estimate(self, job: VideoStatus, own_work: Own | None) -> Progress:
        """The same for one job of which everything was read before: no query."""
        kept = self._kept
        if kept is None or kept.load.at < job.created_at:  # it does not know what stands before this job
            return progress_of(job)
        now = kept.load.at + timedelta(seconds=time.monotonic() - kept.at_s)
        return progress_of(job, eta_s(job, own_work, kept.load, now))

    def renew(self, session: Session, for_newer_than: datetime | None = None) -> None:
        """Read the load anew if it is too old. Whoever comes while somebody else reads goes on with the old one."""
        if not self._too_old(for_newer_than) or not self._reading.acquire(blocking=self._kept is None):
            return
        try:
            if self._too_old(for_newer_than):
                began_s = time.monotonic()
                found = load(session)
                at_s = time.monotonic()
                self._kept = _Kept(found, at_s, max(KEPT_S, (at_s - began_s) / _COST_AT_MOST))
        finally:
            self._reading.release()

    def _too_old(self, for_newer_than: datetime | None) -> bool:
        kept = self._kept
        if kept is None:
            return True
        unknown = for_newer_than is not None and kept.load.at < for_newer_than
        good_s = kept.good_s * RENEWED_S / KEPT_S if unknown else kept.good_s
        return time.monotonic() - kept.at_s > good_s


def load(session: Session) -> Load:
    """How everything stands now."""
    now = clock(session)
    workers = presence.fresh(session)
    cpu, gpu = (sum(queue.value in worker.queues for worker in workers) for queue in (Queue.CPU, Queue.GPU))
    ready = _ready(session)
    learnt = pace_of(ready, gpu)
    if learnt is None:
        return Load(now, None, cpu, gpu, Line(), 0, 0.0, 0.0, Line(), None)
    preparing = _preparing(session, learnt, now)
    return Load(
        at=now,
        pace=learnt,
        cpu_workers=cpu,
        gpu_workers=gpu,
        queued=_queued(session, learnt),
        preparing=len(preparing),
        preparing_s=sum(left_s for left_s, _ in preparing),
        preparing_video_s=sum(video_s for _, video_s in preparing),
        spans=Line([*_spans(session, learnt), *_finishing(session, learnt)]),
        looked_at=_looked_at(session, ready[0].finished_at),
    )


def own(session: Session, jobs: Sequence[VideoStatus]) -> dict[str, Own]:
    """What each of these open jobs did itself, by the id of its video."""
    created = {job.id: job.created_at for job in jobs}
    return {
        row.video_id: Own(
            since=row.since or created[row.video_id],
            spans_done=row.spans_done,
            first_done_at=row.first_done_at,
            last_done_at=row.last_done_at,
            last_turn=row.last_turn,
        )
        for row in session.execute(_OWN, {"video_ids": list(created)})
    }


def signs(session: Session, video_ids: Collection[str]) -> dict[str, Hashable]:
    """Of each of these videos something that is another once an event or progress of it is new. One cheap query."""
    newest = select(func.max(EVENT.c.id)).where(EVENT.c.video_id == JOB.c.video_id).scalar_subquery()
    query = select(JOB.c.video_id, newest, JOB.c.state, JOB.c.prepared_share, JOB.c.spans_done)
    return {row[0]: tuple(row[1:]) for row in session.execute(query.where(JOB.c.video_id.in_(video_ids)))}


def _ready(session: Session) -> list[Past]:
    """The jobs that became ready last, newest first; those that took over another's results teach nothing."""
    query = (
        select(
            JOB.c.started_at,
            JOB.c.prepared_at,
            JOB.c.analyzed_at,
            JOB.c.finished_at,
            JOB.c.duration_s,
            VIDEO.c.size_bytes,
            JOB.c.spans_total.label("spans"),
        )
        .join(VIDEO, VIDEO.c.id == JOB.c.video_id)
        .where(
            JOB.c.state == JobState.READY.value,
            JOB.c.finished_at.is_not(None),
            JOB.c.started_at.is_not(None),
            JOB.c.analyzed_at > JOB.c.prepared_at,
            JOB.c.duration_s.is_not(None),
        )
        .order_by(JOB.c.finished_at.desc())
        .limit(LEARNT_FROM)
    )
    return [Past(**row._asdict()) for row in session.execute(query)]


def _queued(session: Session, learnt: Pace) -> Line:
    waiting = JOB.c.state == JobState.QUEUED.value
    query = (
        select(JOB.c.priority, func.min(JOB.c.turn), func.count(), func.sum(VIDEO.c.size_bytes))
        .join(VIDEO, VIDEO.c.id == JOB.c.video_id)
        .where(waiting)
        .group_by(*_piece(session, JOB, waiting))
    )
    return Line(
        (priority, turn, jobs, learnt.seconds_per_byte * float(size))
        for priority, turn, jobs, size in session.execute(query)
    )


def _preparing(session: Session, learnt: Pace, now: datetime) -> list[tuple[float, float]]:
    """(seconds left, seconds of video) of each job that is being prepared."""
    query = (
        select(JOB.c.started_at, JOB.c.prepared_share, VIDEO.c.size_bytes)
        .join(VIDEO, VIDEO.c.id == JOB.c.video_id)
        .where(JOB.c.state == JobState.PREPARING.value)
    )
    found = []
    for started_at, share, size in session.execute(query):
        video_s = learnt.seconds_per_byte * size
        usual_s = learnt.preparing * video_s
        left_s = preparing_left_s(usual_s, seconds(started_at or now, now), share)
        found.append((min(2 * usual_s, left_s), video_s))  # a second attempt began later than the job did
    return found


def _spans(session: Session, learnt: Pace) -> Iterator[tuple[int, int, float, float]]:
    still = SPAN.c.state.in_(_OPEN)
    query = (
        select(
            SPAN.c.priority,
            func.min(SPAN.c.turn),
            func.count(),
            func.sum(func.coalesce(JOB.c.duration_s, 0.0) / func.nullif(JOB.c.spans_total, 0)),
            func.sum(1.0 / func.nullif(JOB.c.spans_total - JOB.c.spans_done, 0)),  # its part of a job's finishing
        )
        .join(JOB, JOB.c.id == SPAN.c.job_id)
        .where(still, JOB.c.state == JobState.ANALYZING.value)
        .group_by(*_piece(session, SPAN, still))
    )
    for priority, turn, spans, video_s, jobs in session.execute(query):
        yield priority, turn, spans, learnt.looking_s(float(jobs or 0), float(video_s or 0))


def _finishing(session: Session, learnt: Pace) -> Iterator[tuple[int, int, float, float]]:
    query = select(JOB.c.priority, func.count()).where(JOB.c.state == JobState.FINISHING.value)
    for priority, jobs in session.execute(query.group_by(JOB.c.priority)):
        yield priority, FINISHING_TURN, jobs, learnt.looking_s(jobs, 0.0)


def _piece(session: Session, table: FromClause, where: ColumnElement[bool]) -> tuple[ColumnElement[Any], ...]:
    """What to group a line by, so that it comes in a bounded number of pieces."""
    first, last = session.execute(select(func.min(table.c.turn), func.max(table.c.turn)).where(where)).one()
    width = 1 if first is None else 1 + (last - first) // _PLACES
    return table.c.priority, table.c.turn // width


def _looked_at(session: Session, finished_at: datetime) -> datetime:
    """When a worker with the model last ended something, as far as it shows."""
    spans = select(func.max(SPAN.c.changed_at)).join(JOB, JOB.c.id == SPAN.c.job_id)
    spans = spans.where(JOB.c.state == JobState.ANALYZING.value, SPAN.c.state == WorkState.DONE.value)
    jobs = select(func.max(JOB.c.analyzed_at)).where(JOB.c.state == JobState.FINISHING.value)
    known = (session.scalar(spans), session.scalar(jobs), finished_at)
    return max(moment for moment in known if moment is not None)
