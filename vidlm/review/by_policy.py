"""Every policy at a glance: what came of its flags, how common it is, whether today is like the past. Changes nothing.

A policy's own figures, with precision and recall at each threshold, stand in `vidlm.review.quality`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlmodel import Session, col

from vidlm.moderation.estimates import prevalence
from vidlm.moderation.intervals import UNKNOWN, Estimate, wilson
from vidlm.moderation.policies import PolicySet
from vidlm.policy import policy_sets
from vidlm.review.drifting import PolicyDrift, drift_of, is_open, overturned
from vidlm.review.judged import judged, library
from vidlm.review.standing import Window
from vidlm.store.review import FlagDecision, ReviewDecision

TODAY_HOURS: Final = 24.0
"""What is compared with the days before it."""


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One policy in force. `overturned`: of the videos with its flags that were decided, the share of which all were
    wrong (Wilson's interval); `prevalence`: of all videos, the share that violates it, None where nobody decided
    anything about it; `drift`: today against the days before."""

    policy_id: str
    title: str
    overturned: Estimate
    prevalence: Estimate | None
    drift: PolicyDrift

    @property
    def is_told(self) -> bool:
        """Whether there is anything to say of it at all."""
        tests = (self.drift.distance, self.drift.stability, self.drift.overturned)
        return self.overturned.n > 0 or self.prevalence is not None or any(one.p_corrected is not None for one in tests)


@dataclass(frozen=True, slots=True)
class PolicyLines:
    """All of them, those with alarms first. `sampled`: cleared videos were looked at, without which no prevalence is
    known."""

    lines: tuple[PolicyLine, ...]
    sampled: bool


def policy_lines(session: Session, tenant_id: str, own: PolicySet, *, until: datetime, days: int) -> PolicyLines:
    """The policies in force, but for restricted ones, over the last `days`; `own`: the service's policies."""
    window = Window(until - timedelta(days=days), until)
    force = [one for one in policy_sets.in_force(session, tenant_id, own).policies.policies if is_open(one.id)]
    flags = overturned(session, tenant_id, window)
    read = library(session, tenant_id, window)
    told = _told(session, tenant_id, window) if read.sampled else frozenset()
    drifts = drift_of(
        session, tenant_id, [one.id for one in force], until=until, hours=TODAY_HOURS, past_days=float(days)
    )
    lines = [
        PolicyLine(
            policy_id=policy.id,
            title=policy.title,
            overturned=share(*flags.get(policy.id, (0, 0))),
            prevalence=prevalence(judged(session, tenant_id, policy, own.get(policy.id), window, of=read).at_random())
            if policy.id in told
            else None,
            drift=drift,
        )
        for policy, drift in zip(force, drifts, strict=True)
    ]
    urgent = sorted(lines, key=lambda one: (not one.drift.alarm, -one.overturned.n, one.policy_id))
    return PolicyLines(tuple(urgent), read.sampled)


def share(part: int, count: int) -> Estimate:
    """`part` of `count`, with Wilson's interval; unknown of none."""
    return Estimate(part / count, *wilson(part, count), count) if count else UNKNOWN


def _told(session: Session, tenant_id: str, window: Window) -> frozenset[str]:
    """The policies that somebody said anything about."""
    query = (
        select(col(FlagDecision.policy_id), col(FlagDecision.right_policy_id))
        .join(ReviewDecision, col(ReviewDecision.id) == col(FlagDecision.decision_id))
        .where(
            col(FlagDecision.tenant_id) == tenant_id,
            col(ReviewDecision.undone_at).is_(None),
            col(ReviewDecision.restricted).is_(False),
            *window.holds(col(ReviewDecision.created_at)),
        )
        .distinct()
    )
    return frozenset(name for row in session.execute(query).all() for name in row if name)
