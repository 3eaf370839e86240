"""The transparency report of a period, to be read here and taken away as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.deps import ServiceDep
from vidlm.policy import policy_sets
from vidlm.review import transparency
from vidlm.review.transparency import Report

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/quality/report")

_LAST: Final = date.max - timedelta(days=1)
"""The last day that has one after it."""


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days, in UTC: `[first, last]`, both counted."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def until(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), UTC)


@dataclass(frozen=True, slots=True)
class ReportPage:
    """`report` None: the period ends before it begins. `download`: where the same is as JSON, `filename` what to call
    it. `month`: the last whole one. `titles`: of the policies in force."""

    period: Period
    month: Period
    report: Report | None
    download: str
    filename: str
    titles: dict[str, str]


@router.get("")
def get_report(
    person: PersonDep,
    service: ServiceDep,
    first: Annotated[date | None, Query()] = None,
    last: Annotated[date | None, Query()] = None,
) -> Response:
    """The report of these days; of the last 30, unless told."""
    today = datetime.now(UTC).date()
    end = min(last or max(today, first or today), _LAST)
    period = Period(min(first or _before(end, transparency.USUAL_DAYS - 1), _LAST), end)
    caller = person.caller
    with service.database.read() as session:
        made = None
        if period.first <= period.last:
            made = transparency.report(session, caller.tenant_id, period.since, period.until)
        force = policy_sets.in_force(session, caller.tenant_id, service.policies).policies
    asked = urlencode({"since": rendering.iso(period.since), "until": rendering.iso(period.until)})
    page = ReportPage(
        period=period,
        month=last_month(today),
        report=made,
        download=f"/v1/reports/transparency?{asked}",
        filename=f"transparency-{period.first}-{period.last}.json",
        titles={policy.id: policy.title for policy in force.policies},
    )
    return rendering.html("report.html", rendering.frame("quality", person), page, status=422 if made is None else 200)


def last_month(today: date) -> Period:
    """The last month that is over."""
    end = today.replace(day=1) - timedelta(days=1)
    return Period(end.replace(day=1), end)


def _before(day: date, days: int) -> date:
    """So many days before; the first day there is, where there are not so many."""
    return day - timedelta(days=min(days, (day - date.min).days))
