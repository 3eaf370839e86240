"""How much of what is hard to look at a reviewer has looked at, and when a break is due. Pure; the clock is handed in.

    minutes looked at x weight of the severity      low 0.5, medium 1, high 2, severe 4

There is no established dose; the weights say that a severe minute counts as eight low ones and are settings of a
tenant's leads, as the budgets are. Prompts are advice: what is claimed may always be finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vidlm.domain import Severity

WEIGHTS: Final[Mapping[Severity, float]] = {
    Severity.NONE: 0.0,
    Severity.LOW: 0.5,
    Severity.MEDIUM: 1.0,
    Severity.HIGH: 2.0,
    Severity.SEVERE: 4.0,
}
DAY: Final = timedelta(hours=24)
PAUSE: Final = timedelta(minutes=10)
"""Without a look for so long, a stretch of work has ended."""


@dataclass(frozen=True, slots=True)
class Look:
    """Seconds that somebody looked at a video, until `at`, and how bad the worst of it was taken to be."""

    at: datetime
    seconds: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is enough. `weighted_minutes` in 24 hours; `stretch_minutes` of work without a pause; `severe_in_a_row`
    videos with something high or severe in them, one after the other."""

    weighted_minutes: float = 120.0
    stretch_minutes: float = 50.0
    severe_in_a_row: int = 5


@dataclass(frozen=True, slots=True)
class Exposure:
    """What somebody has looked at. `weighted_minutes` and `minutes` in the last 24 hours; `stretch_minutes` since the
    last pause; `break_because`: "budget", "stretch" or "severe", or None while no break is due."""

    minutes: float
    weighted_minutes: float
    stretch_minutes: float
    severe_in_a_row: int
    break_because: str | None


def exposure(looks: Sequence[Look], now: datetime, budget: Budget) -> Exposure:
    """Of looks in order of time, none after `now`."""
    lately = [look for look in looks if now - look.at < DAY]
    minutes = sum(look.seconds for look in lately) / 60
    weighted = sum(look.seconds * WEIGHTS[look.severity] for look in lately) / 60
    stretch = _since_pause(lately, now)
    stretch_minutes = (now - _begin(stretch[0])).total_seconds() / 60 if stretch else 0.0
    row = 0
    for look in reversed(stretch):
        if look.severity not in (Severity.HIGH, Severity.SEVERE):
            break
        row += 1
    return Exposure(minutes, weighted, stretch_minutes, row, _why(weighted, stretch_minutes, row, budget))


def _since_pause(looks: Sequence[Look], now: datetime) -> list[Look]:
    stretch: list[Look] = []
    until = now
    for look in reversed(looks):
        if until - look.at >= PAUSE:
            break
        stretch.insert(0, look)
        until = _begin(look)
    return stretch


def _begin(look: Look) -> datetime:
    return look.at - timedelta(seconds=look.seconds)


def _why(weighted: float, stretch_minutes: float, row: int, budget: Budget) -> str | None:
    if weighted >= budget.weighted_minutes:
        return "budget"
    if row >= budget.severe_in_a_row:
        return "severe"
    return "stretch" if stretch_minutes >= budget.stretch_minutes else None
