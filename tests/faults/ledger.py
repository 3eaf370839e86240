"""What an experiment says of itself, and what the rows say of it: what was lost, what is there twice."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import col, select

from vidlm.domain import JobState
from vidlm.jobs.states import OPEN
from vidlm.store.engine import Database
from vidlm.store.hooks import Delivery
from vidlm.store.ledger import Audit, Event
from vidlm.store.review import ReviewItem
from vidlm.store.tables import AnalysisRow, FlagRow, Job, SegmentRow

_SLICE = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """One experiment's result. `worst_s`: the longest that what the bar limits took; None where it limits no time."""

    name: str
    tried: int
    lost: int
    doubled: int
    worst_s: float | None
    bar: str
    held: bool
    note: str = ""


def ended(database: Database, video_ids: Collection[str]) -> dict[str, JobState]:
    """The states of those videos whose job has ended."""
    found: dict[str, JobState] = {}
    for part in _slices(video_ids):
        with database.read() as session:
            rows = session.exec(select(Job.video_id, Job.state).where(col(Job.video_id).in_(part))).all()
        found |= {video_id: JobState(state) for video_id, state in rows if JobState(state) not in OPEN}
    return found


def wait_ended(database: Database, video_ids: Collection[str], timeout_s: float) -> dict[str, JobState]:
    """The same once all have ended, or the time is over."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = ended(database, video_ids)
        if len(found) == len(video_ids) or time.monotonic() > deadline_s:
            return found
        time.sleep(0.25)


def count_doubled(database: Database) -> int:
    """How much is there more than once that may be there once: results, parts, flags, items, events, audit rows."""
    pairs = (
        (AnalysisRow.job_id,),
        (SegmentRow.job_id, SegmentRow.index),
        (FlagRow.job_id, FlagRow.policy_id, FlagRow.start_s),
        (ReviewItem.job_id,),
        (Delivery.event_id, Delivery.url, Delivery.replay),
    )
    with database.read() as session:
        doubled = sum(len(session.exec(select(*key).group_by(*key).having(func.count() > 1)).all()) for key in pairs)
        accepted = select(Audit.target_id).where(Audit.event == "video.accepted")
        doubled += len(session.exec(accepted.group_by(Audit.target_id).having(func.count() > 1)).all())
        once = col(Event.kind).in_(("video.ready", "video.rejected", "flag.created"))
        key = (Event.video_id, Event.kind)
        doubled += len(session.exec(select(*key).where(once).group_by(*key).having(func.count() > 1)).all())
    return doubled


def seconds_open(database: Database, video_ids: Collection[str]) -> float:
    """The longest time from acceptance to the end of any of these videos' jobs."""
    worst = 0.0
    for part in _slices(video_ids):
        with database.read() as session:
            rows = session.exec(select(Job.created_at, Job.finished_at).where(col(Job.video_id).in_(part))).all()
        worst = max([worst, *((end - begin).total_seconds() for begin, end in rows if end is not None)])
    return worst


def _slices(items: Iterable[str]) -> list[list[str]]:
    every = list(items)
    return [every[start : start + _SLICE] for start in range(0, len(every), _SLICE)]
