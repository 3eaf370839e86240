"""How much reviewers do, how fast, and how much of it is hard to look at. Changes nothing.

A decision takes from when its item was claimed to when it was made. Restricted videos are left out of what is counted;
minutes looked at hold them, too: they are what breaks are for, and say nothing of any video.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session, col

from vidlm.domain import Severity
from vidlm.moderation.exposure import DAY, WEIGHTS, Budget, Exposure, Look, exposure
from vidlm.review.settings import budget_of, settings_of
from vidlm.review.standing import ALWAYS, Window
from vidlm.store.engine import clock
from vidlm.store.review import ReviewDecision, ReviewItem, ReviewLook


@dataclass(frozen=True, slots=True)
class Load:
    """One person's work in a window, and how they stand today.

    decisions: not undone; `median_s` of those that were claimed first, None of none.  minutes: looked at;
    `weighted_minutes`: by the severity of what was there.  today: in the last 24 hours, with a break that is due.
    """

    actor: str
    decisions: int
    median_s: float | None
    minutes: float
    weighted_minutes: float
    today: Exposure


def loads(session: Session, tenant_id: str, window: Window = ALWAYS) -> dict[str, Load]:
    """By person, of everybody who decided or looked at anything in the window."""
    took_s = _took_s(session, tenant_id, window)
    minutes = _minutes(session, tenant_id, window)
    budget = budget_of(settings_of(session, tenant_id))
    today = _today(session, tenant_id, budget)
    nothing = exposure([], clock(session), budget)
    return {
        actor: Load(
            actor=actor,
            decisions=len(took_s.get(actor, ())),
            median_s=_median([one for one in took_s.get(actor, ()) if one is not None]),
            minutes=sum(minutes.get(actor, {}).values()),
            weighted_minutes=sum(WEIGHTS[severity] * one for severity, one in minutes.get(actor, {}).items()),
            today=today.get(actor, nothing),
        )
        for actor in sorted({*took_s, *minutes})
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _took_s(session: Session, tenant_id: str, window: Window) -> dict[str, list[float | None]]:
    """By person, seconds from claim to decision; None where somebody else has claimed the item since."""
    query = (
        select(
            col(ReviewDecision.actor),
            col(ReviewItem.claimed_by),
            col(ReviewItem.claimed_at),
            col(ReviewDecision.created_at),
        )
        .join(ReviewItem, col(ReviewItem.id) == col(ReviewDecision.item_id))
        .where(
            col(ReviewDecision.tenant_id) == tenant_id,
            col(ReviewDecision.undone_at).is_(None),
            col(ReviewDecision.restricted).is_(False),
            *window.holds(col(ReviewDecision.created_at)),
        )
    )
    rows: Sequence[Any] = session.execute(query).all()
    found: dict[str, list[float | None]] = {}
    for actor, by, since, at in rows:
        known = by == actor and since is not None and since <= at
        found.setdefault(actor, []).append((at - since).total_seconds() if known else None)
    return found


def _minutes(session: Session, tenant_id: str, window: Window) -> dict[str, dict[Severity, float]]:
    query = (
        select(col(ReviewLook.actor), col(ReviewLook.severity), func.sum(col(ReviewLook.seconds)))
        .where(col(ReviewLook.tenant_id) == tenant_id, *window.holds(col(ReviewLook.at)))
        .group_by(col(ReviewLook.actor), col(ReviewLook.severity))
    )
    found: dict[str, dict[Severity, float]] = {}
    for actor, severity, seconds in session.execute(query).all():
        found.setdefault(actor, {})[Severity(severity)] = seconds / 60
    return found


def _today(session: Session, tenant_id: str, budget: Budget) -> dict[str, Exposure]:
    """By person, what `vidlm.review.serving.exposure_of` says of each, in one query."""
    now = clock(session)
    query = (
        select(col(ReviewLook.actor), col(ReviewLook.at), col(ReviewLook.seconds), col(ReviewLook.severity))
        .where(col(ReviewLook.tenant_id) == tenant_id, col(ReviewLook.at) > now - DAY)
        .order_by(col(ReviewLook.at))
    )
    looks: dict[str, list[Look]] = {}
    for actor, at, seconds, severity in session.execute(query).all():
        looks.setdefault(actor, []).append(Look(at, seconds, Severity(severity)))
    return {actor: exposure(mine, now, budget) for actor, mine in looks.items()}
