"""What came out of the service lately, and how long it took: stages, hours, and what waits by urgency.

    created ---> started ---> prepared ---> analyzed ---> finished
        waiting     preparing     analyzing     finishing

Knows rows. Waiting for a turn between two stages counts to the later one: that is what whoever uploads waits for. What
was given the results of an earlier analysis is left out, as it was never looked at.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, func, select
from sqlmodel import Session, col

from vidlm.domain import JobState, Priority
from vidlm.jobs.claims import STAGES
from vidlm.queue import Queue
from vidlm.store.ledger import Outbox
from vidlm.store.tables import Job

DAY_HOURS: Final = 24
MOST_TIMED: Final = 1000
"""Jobs whose stage times are read, the newest first."""
_STAGES: Final = {"waiting": (0, 1), "preparing": (1, 2), "analyzing": (2, 3), "finishing": (3, 4), "whole": (0, 4)}
"""Between which of a job's five moments, as drawn above."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long `count` jobs took for a stage: half of them at most `median_s`, nine of ten at most `p90_s`."""

    stage: str
    count: int
    median_s: float | None
    p90_s: float | None


@dataclass(frozen=True, slots=True)
class Hour:
    """What became ready in `[begin, begin + 1 h)`: how many videos, and how many minutes they are long."""

    begin: datetime
    videos: int
    minutes: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What waits in a queue at one urgency and could be worked on, and for how long the first of it could have been.
    `priority` None: after all others, as backfills are."""

    queue: Queue
    priority: Priority | None
    waiting: int
    oldest_s: float


def stage_times(session: Session, tenant_id: str, since: datetime) -> tuple[StageTime, ...]:
    """Of the tenant's jobs that became ready since then, the newest `MOST_TIMED`."""
    query = (
        select(
            col(Job.created_at),
            col(Job.started_at),
            col(Job.prepared_at),
            col(Job.analyzed_at),
            col(Job.finished_at),
        )
        .where(
            col(Job.tenant_id) == tenant_id,
            col(Job.state) == JobState.READY.value,
            col(Job.finished_at) >= since,
            col(Job.started_at).is_not(None),
            col(Job.analyzed_at) > col(Job.prepared_at),
        )
        .order_by(col(Job.finished_at).desc())
        .limit(MOST_TIMED)
    )
    rows = session.execute(query).all()
    return tuple(
        timed(stage, [max(0.0, (row[end] - row[begin]).total_seconds()) for row in rows])
        for stage, (begin, end) in _STAGES.items()
    )


def timed(stage: str, seconds: Sequence[float]) -> StageTime:
    """The median and the 90th percentile (nearest rank: the least that nine of ten do not exceed)."""
    if not seconds:
        return StageTime(stage, 0, None, None)
    ordered = sorted(seconds)
    return StageTime(stage, len(ordered), statistics.median(ordered), ordered[math.ceil(0.9 * len(ordered)) - 1])


def hours(session: Session, tenant_id: str, now: datetime) -> tuple[Hour, ...]:
    """The last `DAY_HOURS` hours of the clock, oldest first; the last one is not over yet."""
    this = now.replace(minute=0, second=0, microsecond=0)
    begins = [this - timedelta(hours=back) for back in range(DAY_HOURS)]
    at = col(Job.finished_at)
    place = case(*((at >= begin, index) for index, begin in enumerate(begins)), else_=DAY_HOURS).label("place")
    query = (
        select(place, func.count(), func.coalesce(func.sum(col(Job.duration_s)), 0.0))
        .where(col(Job.tenant_id) == tenant_id, col(Job.state) == JobState.READY.value, at >= begins[-1])
        .group_by(place)
    )
    found = {index: (count, seconds) for index, count, seconds in session.execute(query).all()}
    return tuple(
        Hour(begin, found.get(index, (0, 0.0))[0], found.get(index, (0, 0.0))[1] / 60)
        for index, begin in reversed(list(enumerate(begins)))
    )


def turns(session: Session, now: datetime) -> tuple[Turn, ...]:
    """What waits by queue and urgency, of all tenants, the most urgent first. Where nothing waits there is no row."""
    found: dict[tuple[Queue, int], tuple[int, datetime]] = {}
    for task, stage in STAGES.items():
        unit = stage.table
        query = (
            select(col(unit.priority), func.count(), func.min(col(Outbox.due_at)))
            .join(Outbox, col(Outbox.target_id) == col(unit.id))
            .where(col(Outbox.task) == task.value, col(Outbox.due_at) <= now)
            .group_by(col(unit.priority))
        )
        for priority, count, oldest in session.execute(query).all():
            had, since = found.get((task.queue, priority), (0, oldest))
            found[task.queue, priority] = (had + count, min(since, oldest))
    order, names = list(Queue), dict(enumerate(Priority))
    return tuple(
        Turn(queue, names.get(priority), count, max(0.0, (now - oldest).total_seconds()))
        for (queue, priority), (count, oldest) in sorted(
            found.items(), key=lambda one: (order.index(one[0][0]), one[0][1])
        )
    )
