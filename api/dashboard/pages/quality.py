"""Quality: what decisions say about reviewers and policies over a period, and how many of them that rests on.

Reviewers are in the page; policies, which take longer to read, come after it. Nothing here changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.deps import ServiceDep
from vidlm.moderation.drift import FALSE_ALARMS
from vidlm.people import accounts
from vidlm.review import workload
from vidlm.review.by_policy import PolicyLine, policy_lines
from vidlm.review.reviewers import LEAST_SHARED, Reviewer, ReviewQuality, review_quality
from vidlm.review.settings import budget_of, settings_of
from vidlm.review.standing import Window
from vidlm.review.workload import Load
from vidlm.store.engine import clock

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/quality")

ENOUGH: Final = LEAST_SHARED
"""Decisions from which on a figure is told; with fewer its interval says hardly more than that anything is possible."""


class Days(IntEnum):
    """The periods there are."""

    WEEK = 7
    MONTH = 30
    QUARTER = 90


DaysQuery = Annotated[Days, Query()]


@dataclass(frozen=True, slots=True)
class PersonLine:
    """Somebody who decided or looked at something. `name` None: a program with an API key, `actor`."""

    actor: str
    name: str | None
    reviewer: Reviewer | None
    load: Load | None


@dataclass(frozen=True, slots=True)
class QualityPage:
    """`enough`: decisions from which on a figure is told. `budget_minutes`: weighted, of a day, before a break."""

    days: Days
    periods: tuple[Days, ...]
    enough: int
    since: datetime
    until: datetime
    people: tuple[PersonLine, ...]
    found: ReviewQuality
    names: dict[str, str]
    decisions: int
    breaks: int
    budget_minutes: float

    @property
    def exposed(self) -> tuple[PersonLine, ...]:
        """Who looked at anything."""
        return tuple(one for one in self.people if one.load and (one.load.minutes or one.load.today.minutes))


@dataclass(frozen=True, slots=True)
class PoliciesPart:
    """The policies in force: those of which anything is `told`, and the others. `sampled`: cleared videos were looked
    at in this time; `false_alarms`: of quiet days."""

    days: Days
    enough: int
    told: tuple[PolicyLine, ...]
    untold: tuple[PolicyLine, ...]
    alarms: int
    sampled: bool
    false_alarms: float


@router.get("")
def get_quality(person: PersonDep, service: ServiceDep, days: DaysQuery = Days.MONTH) -> Response:
    """The page: reviewers."""
    with service.database.read() as session:
        page = _page(session, person.caller.tenant_id, days)
    return rendering.html("quality.html", rendering.frame("quality", person), page)


@router.get("/policies")
def get_policies(person: PersonDep, service: ServiceDep, days: DaysQuery = Days.MONTH) -> Response:
    """The part about policies, for a page that is open."""
    with service.database.read() as session:
        found = policy_lines(session, person.caller.tenant_id, service.policies, until=clock(session), days=days)
    part = PoliciesPart(
        days=days,
        enough=ENOUGH,
        told=tuple(line for line in found.lines if line.is_told),
        untold=tuple(line for line in found.lines if not line.is_told),
        alarms=sum(line.drift.alarm for line in found.lines),
        sampled=found.sampled,
        false_alarms=FALSE_ALARMS,
    )
    return rendering.html("parts/quality_policies.html", rendering.frame("quality", person), part)


def _page(session: Session, tenant_id: str, days: Days) -> QualityPage:
    until = clock(session)
    window = Window(until - timedelta(days=days), until)
    found = review_quality(session, tenant_id, window)
    loads = workload.loads(session, tenant_id, window)
    names = accounts.names(session, tenant_id)
    reviewers = {one.actor: one for one in found.reviewers}
    actors = [*reviewers, *(actor for actor in loads if actor not in reviewers)]
    return QualityPage(
        days=days,
        periods=tuple(Days),
        enough=ENOUGH,
        since=until - timedelta(days=days),
        until=until,
        people=tuple(PersonLine(actor, names.get(actor), reviewers.get(actor), loads.get(actor)) for actor in actors),
        found=found,
        names=names,
        decisions=sum(one.decisions for one in found.reviewers),
        breaks=sum(load.today.break_because is not None for load in loads.values()),
        budget_minutes=budget_of(settings_of(session, tenant_id)).weighted_minutes,
    )
