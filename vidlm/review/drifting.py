"""Is today like the past? Scores of all policies and how often reviewers overturn their flags. Changes nothing.

    past_days                               hours
    |.......................................|........|
                                                   until

Scores are those of a few thousand videos of each side, every n-th in order of time. Flags are counted by video, as
those of one video fall together. One p-value in a hundred is small on any day: all are corrected for their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import case, func, select
from sqlmodel import Session, col

from vidlm.domain import JobState
from vidlm.moderation.decisions import FlagVerdict, Occasion
from vidlm.moderation.drift import FALSE_ALARMS, Drift, corrected, kolmogorov_smirnov, overturn_alarm
from vidlm.moderation.drift import population_stability as stability
from vidlm.moderation.routing import is_restricted
from vidlm.review.scores import peak_table
from vidlm.review.standing import Window
from vidlm.store.review import FlagDecision, ReviewDecision
from vidlm.store.tables import Job

MOST_SCORED: Final = 2000
"""Videos of each side whose scores are read: a distance of 0.08 between so many is an alarm among 100 tests, too."""
_RIGHT: Final = tuple(one.value for one in FlagVerdict if one.is_violation)


@dataclass(frozen=True, slots=True)
class Asked:
    """One test of one policy. `p_corrected`: for all that were asked together, None where there was too little;
    `alarm`: it is at most `FALSE_ALARMS`, None likewise."""

    drift: Drift
    p_corrected: float | None
    alarm: bool | None


@dataclass(frozen=True, slots=True)
class PolicyDrift:
    """A policy's three tests: the distance between the distributions of scores (Kolmogorov and Smirnov), the population
    stability index, and the share of overturned flags."""

    policy_id: str
    distance: Asked
    stability: Asked
    overturned: Asked

    @property
    def alarm(self) -> bool:
        """Whether any of them says that something has changed."""
        return any(test.alarm is True for test in (self.distance, self.stability, self.overturned))


def drift_of(
    session: Session, tenant_id: str, policies: Sequence[str], *, until: datetime, hours: float, past_days: float
) -> list[PolicyDrift]:
    """Of these policies, which are not restricted, in their order."""
    begin = until - timedelta(hours=hours)
    past, today = Window(begin - timedelta(days=past_days), begin), Window(begin, until)
    before, now = (_scores(session, tenant_id, policies, window) for window in (past, today))
    overturns = [overturned(session, tenant_id, window) for window in (past, today)]
    tests: list[Drift] = []
    for column, policy_id in enumerate(policies):
        pair = [table[~np.isnan(table[:, column]), column] for table in (before, now)]
        flags = [side.get(policy_id, (0, 0)) for side in overturns]
        tests += [kolmogorov_smirnov(*pair), stability(*pair), overturn_alarm(flags[0], flags[1])]
    asked = _together(tests)
    return [PolicyDrift(policy_id, *asked[3 * place : 3 * place + 3]) for place, policy_id in enumerate(policies)]


def is_open(policy_id: str) -> bool:
    """Whether its videos may be counted: those of restricted policies are not."""
    return not is_restricted(policy_id)


def overturned(session: Session, tenant_id: str, window: Window) -> dict[str, tuple[int, int]]:
    """By policy, (videos of which all its flags were overturned, videos with its flags), by who looked first."""
    right = func.max(case((col(FlagDecision.verdict).in_(_RIGHT), 1), else_=0)).label("right")
    videos = (
        select(col(FlagDecision.policy_id).label("policy_id"), right)
        .join(ReviewDecision, col(ReviewDecision.id) == col(FlagDecision.decision_id))
        .where(
            col(FlagDecision.tenant_id) == tenant_id,
            col(FlagDecision.flag_id).is_not(None),
            col(ReviewDecision.occasion) == Occasion.FLAGGED.value,
            col(ReviewDecision.undone_at).is_(None),
            col(ReviewDecision.restricted).is_(False),
            *window.holds(col(ReviewDecision.created_at)),
        )
        .group_by(col(FlagDecision.policy_id), col(FlagDecision.decision_id))
        .subquery()
    )
    query = select(videos.c.policy_id, func.sum(1 - videos.c.right), func.count()).group_by(videos.c.policy_id)
    return {policy_id: (int(wrong), int(count)) for policy_id, wrong, count in session.execute(query).all()}


def analysed(session: Session, tenant_id: str, window: Window) -> list[tuple[str, datetime]]:
    """(job_id, finished_at) of what was analysed in the window, oldest first."""
    query = select(col(Job.id), col(Job.finished_at)).where(
        col(Job.tenant_id) == tenant_id,
        col(Job.state) == JobState.READY.value,
        *window.holds(col(Job.finished_at)),
    )
    rows: Sequence[Any] = session.execute(query.order_by(col(Job.finished_at), col(Job.id))).all()
    return [(job_id, finished_at) for job_id, finished_at in rows]


def every_nth(values: Sequence[str], most: int) -> list[str]:
    """At most `most` >= 1 of them, evenly spread."""
    if len(values) <= most:
        return list(values)
    return [values[place] for place in np.linspace(0, len(values) - 1, most).astype(int)]


def _scores(session: Session, tenant_id: str, policies: Sequence[str], window: Window) -> Any:
    jobs = [job_id for job_id, _ in analysed(session, tenant_id, window)]
    return peak_table(session, every_nth(jobs, MOST_SCORED), policies)


def _together(tests: Sequence[Drift]) -> list[Asked]:
    told = corrected([one.p_value for one in tests if one.p_value is not None])
    values = iter(told)
    asked = []
    for one in tests:
        value = None if one.p_value is None else next(values)
        asked.append(Asked(one, value, None if value is None else value <= FALSE_ALARMS))
    return asked
