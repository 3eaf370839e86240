"""How a tenant's videos score under a policy: counts of the highest score of each. Reads rows, changes nothing.

Only scores that answer the policy's question as it is asked now: of analyses under a set that asks it in these words,
or else of a backfill that asked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from vidlm.domain import JobState, Policy
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.revisions import ASKED
from vidlm.policy.backfills import question_version
from vidlm.store.backfill import BackfilledScore
from vidlm.store.moderation import PolicySetRow
from vidlm.store.tables import Job, SegmentRow

BINS: Final = 20
MOST: Final = 10_000
"""Videos of one histogram, the newest."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]`: videos whose highest score is in `[i, i + 1) / len(counts)`; 1 belongs to the last.

    `unscored`: of the videos that were looked at, those that were never asked the question.  `capped`: there are older
    videos that were not looked at.
    """

    counts: tuple[int, ...]
    unscored: int
    capped: bool

    @property
    def scored(self) -> int:
        return sum(self.counts)


def histogram(
    session: Session, tenant_id: str, policy: Policy, own: PolicySet, *, bins: int = BINS, most: int = MOST
) -> Histogram:
    """Of the tenant's `most` newest ready videos. `own`: the service's own policies."""
    ready = (col(Job.tenant_id) == tenant_id, col(Job.state) == JobState.READY.value)
    line = sa.select(col(Job.id), col(Job.policy_set_id)).where(*ready).order_by(col(Job.id).desc())
    jobs = session.execute(line.limit(most + 1)).all()
    newest = line.with_only_columns(col(Job.id)).limit(most)
    asked = _sets_that_ask(session, tenant_id, policy, own)
    told = {job_id for job_id, set_id in jobs if set_id in asked}
    peaks = {job_id: peak for job_id, peak in _of_analyses(session, newest, policy.id) if job_id in told}
    later = {job_id: peak for job_id, peak in _of_backfills(session, newest, policy) if job_id not in told}
    counts = counted((peaks | later).values(), bins)
    return Histogram(counts, min(len(jobs), most) - sum(counts), len(jobs) > most)


def counted(scores: Iterable[float | None], bins: int) -> tuple[int, ...]:
    """Scores in [0, 1] by bins of one width, left edges in, and 1 in the last; whatever is no such score is left out.

    >>> counted([0.0, 0.5, 0.99, 1.0, None], 2)
    (1, 3)
    """
    known = np.array([score for score in scores if score is not None and 0 <= score <= 1], np.float64)
    places = np.minimum((known * bins).astype(np.int64), bins - 1)
    return tuple(np.bincount(places, minlength=bins).tolist())


def _sets_that_ask(session: Session, tenant_id: str, policy: Policy, own: PolicySet) -> set[str | None]:
    """The sets that ask the policy's question in its words; None stands for the service's own policies."""
    query = sa.select(col(PolicySetRow.id), col(PolicySetRow.policies)).where(
        col(PolicySetRow.tenant_id) == tenant_id, col(PolicySetRow.activated_at).is_not(None)
    )
    words = {name: getattr(policy, name) for name in ASKED}
    found: set[str | None] = {set_id for set_id, rows in session.execute(query) if _asks(rows, policy.id, words)}
    mine = own.get(policy.id)
    return found | ({None} if mine is not None and {name: getattr(mine, name) for name in ASKED} == words else set())


def _asks(rows: Sequence[dict[str, Any]], policy_id: str, words: dict[str, str]) -> bool:
    row = next((row for row in rows if row["id"] == policy_id), None)
    return row is not None and row["enabled"] and {name: row[name] or "" for name in ASKED} == words


def _of_analyses(session: Session, jobs: sa.Select[Any], policy_id: str) -> Sequence[Any]:
    """(job, highest score)."""
    peak = sa.func.max(col(SegmentRow.scores)[policy_id].as_float())
    query = sa.select(col(SegmentRow.job_id), peak).where(col(SegmentRow.job_id).in_(jobs))
    return session.execute(query.group_by(col(SegmentRow.job_id))).all()


def _of_backfills(session: Session, jobs: sa.Select[Any], policy: Policy) -> Sequence[Any]:
    """(job, highest score) of those whose segments all have one."""
    scored = (
        sa.select(
            col(BackfilledScore.job_id).label("job_id"),
            sa.func.max(col(BackfilledScore.score)).label("peak"),
            sa.func.count().label("segments"),
        )
        .where(
            col(BackfilledScore.job_id).in_(jobs),
            col(BackfilledScore.policy_id) == policy.id,
            col(BackfilledScore.question_version) == question_version(policy),
        )
        .group_by(col(BackfilledScore.job_id))
        .subquery()
    )
    there = sa.select(sa.func.count()).where(col(SegmentRow.job_id) == scored.c.job_id).scalar_subquery()
    return session.execute(sa.select(scored.c.job_id, scored.c.peak).where(scored.c.segments == there)).all()
