"""Operations: how the service stands at a glance, and what to do where it does not stand well. Kept current while open.

What waits, who works and how much room is left is everybody's; jobs, failures and webhooks are the tenant's own.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep, is_part
from api.dashboard.live import Watch
from api.deps import Service, ServiceDep
from vidlm import operate, overview, throughput
from vidlm.concerns import Concern, concerns
from vidlm.overview import Failures, Overview
from vidlm.room import Meter, Room
from vidlm.store.engine import clock
from vidlm.throughput import Hour, StageTime, Turn

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_WEEK_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class FailureLine:
    """Jobs that ended alike: how many in the last day and in the last week, and how long ago the last of them was."""

    state: str
    code: str
    day: int
    week: int
    last_s: float


@dataclass(frozen=True, slots=True)
class OperationsPage:
    """`busiest`: the most videos of an hour. `behind`: wake-ups that are overdue. `token_budget`: bytes."""

    seen: Overview
    concerns: tuple[Concern, ...]
    turns: tuple[Turn, ...]
    stages: tuple[StageTime, ...]
    hours: tuple[Hour, ...]
    failures: tuple[FailureLine, ...]
    behind: int
    room: Room | None
    token_budget: int

    @property
    def busiest(self) -> int:
        return max(hour.videos for hour in self.hours)

    def waiting(self, queue: str) -> tuple[Turn, ...]:
        return tuple(turn for turn in self.turns if turn.queue.value == queue)


@router.get("/operations")
async def get_operations(request: Request, person: PersonDep, service: ServiceDep) -> Response:
    """The page, or for a page that is open already, all that changes in it. Looked at once for all who watch."""
    watch: Watch = request.app.state.watch
    meter: Meter = request.app.state.meter
    tenant_id = person.caller.tenant_id

    def ask() -> Hashable:
        return _page(service, meter, tenant_id)

    page = await watch.look(("operations", tenant_id), ask)
    template = "parts/operations.html" if is_part(request) else "operations.html"
    return await run_in_threadpool(rendering.html, template, rendering.frame("operations", person), page)


def _page(service: Service, meter: Meter, tenant_id: str) -> OperationsPage:
    seen = overview.survey(service.database, service.broker, None, tenant_id=tenant_id)
    room = meter.look()
    with service.database.read() as session:
        now = clock(session)
        behind = operate.behind(session)
        week = overview.failures(session, now, lately_s=_WEEK_S, tenant_id=tenant_id)
        return OperationsPage(
            seen=seen,
            concerns=concerns(seen, room, behind=behind, largest_upload=service.settings.max_upload_bytes),
            turns=throughput.turns(session, now),
            stages=throughput.stage_times(session, tenant_id, now - timedelta(days=1)),
            hours=throughput.hours(session, tenant_id, now),
            failures=tuple(failure_line(row, seen.failures) for row in week),
            behind=behind,
            room=room,
            token_budget=service.settings.token_bytes,
        )


def failure_line(week: Failures, day: tuple[Failures, ...]) -> FailureLine:
    """What ended so in a week, beside what did in the day."""
    lately = sum(row.jobs for row in day if (row.state, row.code) == (week.state, week.code))
    return FailureLine(week.state, week.code, lately, week.jobs, week.last_s)


def ago(at: datetime, seconds: float) -> datetime:
    """The moment so many seconds before `at`."""
    return at - timedelta(seconds=seconds)
