"""What a video came to, kept as numbers when it is deleted: a report of last month says the same next month.

By day and tenant, in sums that name no video. Inside ONE transaction, before the rows go.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import func, text
from sqlmodel import Session, col, select

from vidlm.domain import Action
from vidlm.jobs.states import OPEN
from vidlm.store.moderation import DayTally
from vidlm.store.tables import FlagRow, Job


class Told(StrEnum):
    """What is counted."""

    END = "end"  # jobs, by the state they ended in
    VERDICT = "verdict"  # videos, by the machine's verdict
    SECONDS = "seconds"  # of video that was analysed
    FLAG = "flag"  # flags, by policy
    BLOCK = "block"  # those that block


_ADD: Final = text(
    "INSERT INTO day_tally (tenant_id, day, what, name, amount) VALUES (:tenant_id, :day, :what, :name, :amount)"
    " ON CONFLICT (tenant_id, day, what, name) DO UPDATE SET amount = day_tally.amount + excluded.amount"
)


def keep(session: Session, job: Job) -> None:
    """Add what a job that has ended came to. Its rows are still there; the caller holds its lock."""
    if job.state in OPEN or job.finished_at is None:
        return
    counted: list[tuple[Told, str, float]] = [(Told.END, job.state, 1.0)]
    if job.verdict_action is not None:
        counted += [(Told.VERDICT, job.verdict_action, 1.0), (Told.SECONDS, "", job.duration_s or 0.0)]
    flags = select(FlagRow.policy_id, FlagRow.action, func.count()).where(FlagRow.job_id == job.id)
    for policy_id, action, count in session.exec(flags.group_by(col(FlagRow.policy_id), col(FlagRow.action))).all():
        counted.append((Told.FLAG, policy_id, count))
        if action == Action.BLOCK:
            counted.append((Told.BLOCK, policy_id, count))
    about = {"tenant_id": job.tenant_id, "day": day_of(job.finished_at)}
    for what, name, amount in sorted(counted):  # everybody locks in this order
        session.connection().execute(_ADD, about | {"what": what.value, "name": name, "amount": amount})


def between(session: Session, tenant_id: str, since: datetime, until: datetime) -> dict[tuple[Told, str], float]:
    """The sums of the days of `[since, until)`; the first and the last count whole."""
    days = col(DayTally.day).between(day_of(since), _last_day(until))
    query = select(DayTally.what, DayTally.name, func.sum(DayTally.amount)).where(DayTally.tenant_id == tenant_id, days)
    rows = session.exec(query.group_by(col(DayTally.what), col(DayTally.name))).all()
    return {(Told(what), name): float(amount) for what, name, amount in rows}


def day_of(at: datetime) -> str:
    """2026-11-20, in UTC."""
    return at.astimezone(UTC).date().isoformat()


def _last_day(until: datetime) -> str:
    return day_of(until - timedelta(microseconds=1))
