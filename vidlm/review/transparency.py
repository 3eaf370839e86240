"""What was moderated in a period, in numbers that may be shown to everybody: a transparency report.

Counts and medians only, nothing of a single video or person. `child_safety` is in the counts: that it is looked at is
no secret. Golden items and what was undone are in none. Of videos that were deleted since, sums by day are left
(`vidlm.jobs.tallies`): a period that begins or ends within a day takes those of the whole day.

    videos      taken in, analysed, not analysable; minutes; what the machine's verdict was
    flags       by policy, and what people made of them
    decisions   by outcome and by occasion; how long videos waited for them
    overturns   flags rejected, machine's blocks that people let pass, appeals that were right
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func

from vidlm.domain import Action, JobState, Severity
from vidlm.jobs import tallies
from vidlm.jobs.tallies import Told
from vidlm.moderation.decisions import FlagVerdict, Occasion, Outcome, ReviewState
from vidlm.review.case import MISSED
from vidlm.store.review import Appeal, FlagDecision, ReviewDecision, ReviewItem
from vidlm.store.tables import FlagRow, Job, Video

USUAL_DAYS: Final = 30
"""A report's, where nobody says since when."""


@dataclass(frozen=True, slots=True)
class PolicyCounts:
    """One policy's flags in the period, and decisions made in it. `missed`: found by people where no flag was."""

    flags: int = 0
    blocked: int = 0
    confirmed: int = 0
    rejected: int = 0
    other_policy: int = 0
    missed: int = 0

    @property
    def overturned(self) -> float | None:
        """The share of decided flags that were wrong; None of none."""
        decided = self.confirmed + self.rejected + self.other_policy
        return (self.rejected + self.other_policy) / decided if decided else None


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from an item's birth to its decision; None of none."""

    count: int
    median_s: float | None
    p90_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """A tenant's period `[since, until)`."""

    since: datetime
    until: datetime
    videos_received: int
    videos_deleted: int
    videos_by_end: dict[JobState, int]
    minutes_analysed: float
    verdicts: dict[Action, int]
    policies: dict[str, PolicyCounts]
    decisions: dict[Outcome, int]
    decisions_by_occasion: dict[Occasion, int]
    decisions_undone: int
    blocks_overturned: int
    appeals: int
    appeals_granted: int
    waits: Waits
    waits_by_severity: dict[Severity, Waits]


def report(session: Session, tenant_id: str, since: datetime, until: datetime) -> Report:
    """The report of what happened in `[since, until)`, both aware."""
    in_period = _Period(tenant_id, since, until)
    ended = in_period.of(Job, col(Job.finished_at))
    there = [*ended, col(Job.state) != JobState.DELETED.value]
    decided = [
        *in_period.of(ReviewDecision, col(ReviewDecision.created_at)),
        col(ReviewDecision.occasion) != Occasion.GOLDEN.value,
    ]
    counted = [*decided, col(ReviewDecision.undone_at).is_(None)]
    waits = _waits(session, counted)
    gone = tallies.between(session, tenant_id, since, until)
    length_s = sa.select(func.coalesce(func.sum(col(Job.duration_s)), 0.0))
    return Report(
        since=since,
        until=until,
        videos_received=_count(session, Video, in_period.of(Video, col(Video.created_at))),
        videos_deleted=_count(session, Video, in_period.of(Video, col(Video.deleted_at))),
        videos_by_end={JobState(state): n for state, n in _with(gone, Told.END, _by(session, col(Job.state), there))},
        minutes_analysed=(session.execute(length_s.where(*ended, _READY)).scalar_one() + gone.get(_SECONDS, 0.0)) / 60,
        verdicts={
            Action(one): n
            for one, n in _with(gone, Told.VERDICT, _by(session, col(Job.verdict_action), [*ended, _READY]))
        },
        policies=_policies(session, ended, counted, gone),
        decisions={Outcome(one): n for one, n in _by(session, col(ReviewDecision.outcome), counted)},
        decisions_by_occasion={Occasion(one): n for one, n in _by(session, col(ReviewDecision.occasion), counted)},
        decisions_undone=_count(session, ReviewDecision, [*decided, col(ReviewDecision.undone_at).is_not(None)]),
        blocks_overturned=_blocks_overturned(session, counted),
        appeals=_count(session, Appeal, in_period.of(Appeal, col(Appeal.created_at))),
        appeals_granted=_appeals_granted(session, counted),
        waits=_summed(wait_s for _, wait_s in waits),
        waits_by_severity={
            severity: _summed(wait_s for one, wait_s in waits if one == severity)
            for severity in Severity
            if any(one == severity for one, _ in waits)
        },
    )


def to_json(made: Report) -> str:
    """The report as a JSON document; times as in RFC 3339."""
    return json.dumps(dataclasses.asdict(made), default=lambda at: at.isoformat(), indent=2)


def flat(made: Report) -> list[tuple[str, str, float | int | str | None]]:
    """The report as rows (section, name, value), for a table."""
    rows: list[tuple[str, str, float | int | str | None]] = [
        ("period", "since", made.since.isoformat()),
        ("period", "until", made.until.isoformat()),
        ("videos", "received", made.videos_received),
        ("videos", "deleted", made.videos_deleted),
        *(("videos", state.value, n) for state, n in made.videos_by_end.items()),
        ("videos", "minutes analysed", round(made.minutes_analysed, 1)),
        *(("verdicts", verdict.value, n) for verdict, n in made.verdicts.items()),
        *(("decisions", outcome.value, n) for outcome, n in made.decisions.items()),
        *(("decisions on what was", occasion.value, n) for occasion, n in made.decisions_by_occasion.items()),
        ("decisions", "undone", made.decisions_undone),
        ("overturns", "blocks that people let pass", made.blocks_overturned),
        ("appeals", "made", made.appeals),
        ("appeals", "granted", made.appeals_granted),
        ("seconds to a decision", "median", _rounded(made.waits.median_s)),
        ("seconds to a decision", "90%", _rounded(made.waits.p90_s)),
    ]
    for severity, waits in made.waits_by_severity.items():
        rows.append((f"seconds to a decision, {severity}", "median", _rounded(waits.median_s)))
    for policy_id, counts in sorted(made.policies.items()):
        for name in ("flags", "blocked", "confirmed", "rejected", "other_policy", "missed"):
            rows.append((policy_id, name.replace("_", " "), getattr(counts, name)))
        rows.append((policy_id, "overturned", _rounded(counts.overturned)))
    return rows


Gone = Mapping[tuple[Told, str], float]
"""What deleted videos came to."""
_SECONDS = (Told.SECONDS, "")
_READY = col(Job.state) == JobState.READY.value


@dataclass(frozen=True, slots=True)
class _Period:
    tenant_id: str
    since: datetime
    until: datetime

    def of(self, table: Any, at: Any) -> list[ColumnElement[bool]]:
        return [col(table.tenant_id) == self.tenant_id, at >= self.since, at < self.until]


def _count(session: Session, table: Any, where: Iterable[ColumnElement[bool]]) -> int:
    return int(session.execute(sa.select(func.count()).select_from(table).where(*where)).scalar_one())


def _by(session: Session, column: Any, where: Iterable[ColumnElement[bool]]) -> list[tuple[Any, int]]:
    query = sa.select(column, func.count()).where(*where).group_by(column).order_by(column)
    return [(value, int(n)) for value, n in session.execute(query).all()]


def _with(gone: Gone, what: Told, there: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """Counts of what is there, and of what was deleted since."""
    found = dict(there)
    for (told, name), amount in gone.items():
        if told is what:
            found[name] = found.get(name, 0) + round(amount)
    return sorted(found.items())


def _policies(
    session: Session, ended: list[ColumnElement[bool]], counted: list[ColumnElement[bool]], gone: Gone
) -> dict[str, PolicyCounts]:
    found: dict[str, dict[str, int]] = {}
    for name, n in _with(gone, Told.FLAG, []):
        found[name] = {"flags": n}
    for name, n in _with(gone, Told.BLOCK, []):
        found[name]["blocked"] = n
    flags = (
        sa.select(col(FlagRow.policy_id), col(FlagRow.action), func.count())
        .join(Job, col(Job.id) == col(FlagRow.job_id))
        .where(*ended)
        .group_by(col(FlagRow.policy_id), col(FlagRow.action))
    )
    for policy_id, action, n in session.execute(flags).all():
        counts = found.setdefault(policy_id, {})
        counts["flags"] = counts.get("flags", 0) + n
        if action == Action.BLOCK:
            counts["blocked"] = counts.get("blocked", 0) + n
    decided = (
        sa.select(col(FlagDecision.policy_id), col(FlagDecision.verdict), func.count())
        .join(ReviewDecision, col(ReviewDecision.id) == col(FlagDecision.decision_id))
        .where(*counted)
        .group_by(col(FlagDecision.policy_id), col(FlagDecision.verdict))
    )
    for policy_id, verdict, n in session.execute(decided).all():
        counts = found.setdefault(policy_id, {})
        counts[_SAYS[verdict]] = counts.get(_SAYS[verdict], 0) + n
    return {policy_id: PolicyCounts(**counts) for policy_id, counts in found.items()}


_SAYS = {
    FlagVerdict.CONFIRM.value: "confirmed",
    FlagVerdict.WRONG_TIME.value: "confirmed",
    FlagVerdict.REJECT.value: "rejected",
    FlagVerdict.WRONG_POLICY.value: "other_policy",
    MISSED: "missed",
}


def _blocks_overturned(session: Session, counted: list[ColumnElement[bool]]) -> int:
    query = (
        sa.select(func.count(sa.distinct(col(ReviewDecision.video_id))))
        .join(Job, col(Job.id) == col(ReviewDecision.job_id))
        .where(
            *counted,
            col(ReviewDecision.outcome) == Outcome.APPROVE.value,
            col(ReviewDecision.pinned)[("verdict", "action")].as_string() == Action.BLOCK.value,
            col(Job.review_state) == ReviewState.APPROVED.value,
        )
    )
    return int(session.execute(query).scalar_one())


def _appeals_granted(session: Session, counted: list[ColumnElement[bool]]) -> int:
    """Appeals whose decision is another one than what they were made against."""
    before = aliased(ReviewDecision)
    query = (
        sa.select(func.count())
        .select_from(Appeal)
        .join(ReviewDecision, col(ReviewDecision.item_id) == col(Appeal.item_id))
        .join(before, col(before.id) == col(Appeal.decision_id))
        .where(*counted, col(before.outcome) != col(ReviewDecision.outcome))
    )
    return int(session.execute(query).scalar_one())


def _waits(session: Session, counted: list[ColumnElement[bool]]) -> list[tuple[str, float]]:
    query = (
        sa.select(col(ReviewItem.severity), col(ReviewItem.created_at), col(ReviewDecision.created_at))
        .join(ReviewDecision, col(ReviewDecision.item_id) == col(ReviewItem.id))
        .where(*counted)
    )
    return [(severity, (at - since).total_seconds()) for severity, since, at in session.execute(query).all()]


def _summed(waits_s: Iterable[float]) -> Waits:
    ordered = sorted(waits_s)
    if not ordered:
        return Waits(0, None, None)
    return Waits(len(ordered), statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
