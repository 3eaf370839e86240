"""What backfills found, put beside what analyses found: a trial counts a question as asked, whoever asked it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from vidlm.moderation.whatif import Bools, Floats
from vidlm.policy.stored_scores import Stored
from vidlm.store.backfill import BackfilledScore
from vidlm.store.tables import SegmentRow

Asked = tuple[str, str]
"""A policy's id, and the version of its question (`vidlm.policy.backfills.question_version`)."""


def with_later(session: Session, tenant_id: str, stored: Stored, columns: Mapping[Asked, int]) -> Stored:
    """The same library with the scores of backfills where analyses did not ask. `columns`: where each question stands.

    A question counts as asked of a video once all of its segments have a score.
    """
    versions = [version for _, version in columns]
    query = (
        sa.select(
            col(BackfilledScore.job_id),
            col(SegmentRow.start_s),
            col(BackfilledScore.policy_id),
            col(BackfilledScore.question_version),
            col(BackfilledScore.score),
        )
        .join(SegmentRow, col(SegmentRow.id) == col(BackfilledScore.segment_id))
        .where(col(BackfilledScore.tenant_id) == tenant_id, col(BackfilledScore.question_version).in_(versions))
    )
    found = session.execute(query).all()
    if not found:
        return stored
    places = {
        (stored.job_ids[video], start_s): place
        for place, (video, start_s) in enumerate(zip(stored.videos.tolist(), stored.start_s.tolist(), strict=True))
    }
    scores: Floats = stored.scores.copy()
    for job_id, start_s, policy_id, version, score in found:
        place, column = places.get((job_id, start_s)), columns.get((policy_id, version))
        if place is not None and column is not None and not stored.asked[stored.videos[place], column]:
            scores[place, column] = score
    return replace(stored, scores=scores, asked=stored.asked | _all_scored(stored, scores))


def _all_scored(stored: Stored, scores: Floats) -> Bools:
    """Bool `[V, Q]`: all segments of the video have a score for the question."""
    counts = np.zeros(stored.asked.shape, np.int64)
    np.add.at(counts, stored.videos, ~np.isnan(scores))
    lengths = np.bincount(stored.videos, minlength=len(stored.job_ids))
    whole: Bools = (counts == lengths[:, None]) & (lengths > 0)[:, None]
    return whole
