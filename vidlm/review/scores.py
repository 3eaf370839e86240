"""The score of a video under a policy: the highest of its segments'. Read for many videos at once, never row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Select, func, select
from sqlmodel import Session, col

from vidlm.moderation.intervals import Floats
from vidlm.store.tables import SegmentRow

_LOT: Final = 1000
"""Ids that one statement names."""


def peaks(session: Session, jobs: Select[str], policy_id: str) -> dict[str, float]:
    """By job, for those that `jobs` selects the ids of; a job without a score in [0, 1] is not there.

    Segments of deleted videos are gone, and so are their scores.
    """
    query = select(col(SegmentRow.job_id), _peak(policy_id)).where(col(SegmentRow.job_id).in_(jobs))
    rows = session.execute(query.group_by(col(SegmentRow.job_id))).all()
    return {job_id: score for job_id, score in rows if score is not None and 0 <= score <= 1}


def peak_table(session: Session, job_ids: Sequence[str], policies: Sequence[str]) -> Floats:
    """[jobs, policies] in the order given; NaN where a job has no score in [0, 1]."""
    found: dict[str, Sequence[Any]] = {}
    for start in range(0, len(job_ids) if policies else 0, _LOT):
        lot = job_ids[start : start + _LOT]
        query = select(col(SegmentRow.job_id), *(_peak(policy_id) for policy_id in policies))
        query = query.where(col(SegmentRow.job_id).in_(lot)).group_by(col(SegmentRow.job_id))
        found |= {row[0]: row[1:] for row in session.execute(query).all()}
    none = (None,) * len(policies)
    table = np.asarray([found.get(job_id, none) for job_id in job_ids], dtype=np.float64)
    table = table.reshape(len(job_ids), len(policies))
    return np.where((table >= 0) & (table <= 1), table, np.nan)


def _peak(policy_id: str) -> ColumnElement[Any]:
    return func.max(col(SegmentRow.scores)[policy_id].as_float())
