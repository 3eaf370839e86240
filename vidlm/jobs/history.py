"""What a job went through, for people: the states it came into, when, and how long it stayed in each.

    event    queued ---- preparing ---- analyzing ------ ready
    lasted   |-- 2 s ---||---- 5 s ----||--- 40 s -----|          the last one lasts still: None

Knows a video's events (`vidlm.jobs.events`) and nothing of what they led to.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from vidlm.domain import JobState
from vidlm.jobs.pace import seconds
from vidlm.store.ledger import Event

MOST: Final = 200
"""States that are told, the newest ones: a job that was retried for ever tells no more."""
_KIND: Final = "video."


@dataclass(frozen=True, slots=True)
class Step:
    """The job came into `state` at `at` and left it `lasted_s` seconds later; None: it is in it still.

    error_code: why it ended so, where it ended without a result.
    """

    state: JobState
    at: datetime
    lasted_s: float | None
    error_code: str | None


def steps_of(session: Session, video_id: str) -> tuple[Step, ...]:
    """What a video's job went through, oldest first; what came before the last `MOST` states is left out."""
    of_states = (Event.video_id == video_id, col(Event.kind).startswith(_KIND, autoescape=True))
    newest = select(Event).where(*of_states).order_by(col(Event.id).desc()).limit(MOST)
    return steps(session.exec(newest).all()[::-1])


def steps(events: Sequence[Event]) -> tuple[Step, ...]:
    """The same of events in the order of what happened; those that are about no state are passed over."""
    told = [event for event in events if event.kind.startswith(_KIND)]
    lasted = [seconds(one.at, after.at) for one, after in itertools.pairwise(told)]
    return tuple(
        Step(
            state=JobState(event.kind.removeprefix(_KIND)),
            at=event.at,
            lasted_s=lasted_s,
            error_code=event.document.get("error_code"),
        )
        for event, lasted_s in zip(told, [*lasted, None], strict=False)
    )


def newest_event(session: Session, video_id: str) -> int:
    """The number of the last thing that happened to a video, for whoever follows what happens next; 0 before any."""
    found = session.exec(select(Event.id).where(Event.video_id == video_id).order_by(col(Event.id).desc()).limit(1))
    return found.first() or 0
