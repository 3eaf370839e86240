"""The scores that a tenant's ready videos have in SQL, as the arrays that `vidlm.moderation.whatif` works on.

    question    weapons.shown, "a gun"    violence.fight, "a fight"    ...        one column each
    segment     .1                        .7
    segment     NaN                       .2                                      NaN: it was never asked there

A column is a question and not only a policy's id: what was scored under other words says nothing of these. Read in one
pass in the order of an index, a few thousand rows at a time: memory holds numbers, never all documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, String, cast, func, select
from sqlmodel import Session, col

from vidlm.domain import JobState, Policy
from vidlm.errors import ConflictError
from vidlm.moderation.flags import TOLERANCE_S
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.revisions import ASKED
from vidlm.moderation.whatif import Bools, Floats, Ints
from vidlm.policy import policy_sets
from vidlm.store.tables import Job, SegmentRow, Video

MAX_SEGMENTS: Final = 250_000
"""Of one request: with 40 columns, 80 MB."""
_ROWS: Final = 2000
"""That are in memory as Python values at a time."""

Question = tuple[str, ...]
"""A policy's id and all that its question is made of."""


@dataclass(frozen=True, slots=True)
class Stored:
    """`V` ready videos with `S` segments, scored for `Q` questions.

    `duration_s` float64 `[V]`.  `asked` bool `[V, Q]`: which questions the video's policies asked.  `whole` bool `[V]`:
    all of the video was seen, so that no flag means no finding.  `videos` int64 `[S]` in 0..V-1, never falling;
    `start_s`, `end_s` float64 `[S]`; `scores` float64 `[S, Q]`, NaN where there is none.
    """

    job_ids: tuple[str, ...]
    duration_s: Floats
    asked: Bools
    whole: Bools
    videos: Ints
    start_s: Floats
    end_s: Floats
    scores: Floats


def question_of(policy: Policy) -> Question:
    """What identifies the scores of a policy."""
    return (policy.id, *(str(getattr(policy, name)) for name in ASKED))


def read(
    session: Session,
    tenant_id: str,
    questions: Sequence[Question],
    own: PolicySet,
    *,
    created_from: datetime | None = None,
    created_until: datetime | None = None,
) -> Stored:
    """Of the tenant's videos created in `[created_from, created_until)`, both aware, None without a bound.

    `own`: the service's own policies, which score videos of tenants that have none of their own. Raises `ConflictError`
    (`library_too_large`) for more than `MAX_SEGMENTS` segments, before any is read.
    """
    which = [col(Job.tenant_id) == tenant_id, col(Job.state) == JobState.READY.value]
    which += [col(Video.created_at) >= created_from] if created_from is not None else []
    which += [col(Video.created_at) < created_until] if created_until is not None else []
    count = _segments(session, which)
    columns = (col(Job.id), col(Job.policy_set_id), col(Job.duration_s), col(Job.prepared)["coverage"])
    query = select(*columns).join(Video, col(Video.id) == col(Job.video_id)).where(*which)
    jobs = session.execute(query.order_by(col(Job.id))).all()
    places = {job[0]: place for place, job in enumerate(jobs)}
    asked = {set_id: _asked(session, set_id, questions, own) for set_id in {job[1] for job in jobs}}
    of_jobs: Bools = np.array([asked[job[1]] for job in jobs], np.bool_).reshape(len(jobs), len(questions))
    stored = _Arrays(count, len(questions))
    for rows in _batches(session, which):
        stored.add(rows, places, [question[0] for question in questions])
    videos, start_s, end_s, framed, scores = stored.filled()
    scores[~of_jobs[videos]] = np.nan  # of the same policy in other words
    coverages = [job[3] for job in jobs]
    return Stored(
        job_ids=tuple(job[0] for job in jobs),
        duration_s=np.array([job[2] or 0.0 for job in jobs], np.float64),
        asked=of_jobs,
        whole=_whole(coverages, videos, start_s, end_s, framed=framed),
        videos=videos,
        start_s=start_s,
        end_s=end_s,
        scores=scores,
    )


def _segments(session: Session, which: Sequence[ColumnElement[bool]]) -> int:
    query = select(func.count()).select_from(SegmentRow).join(Job, col(Job.id) == col(SegmentRow.job_id))
    count = session.scalar(query.join(Video, col(Video.id) == col(Job.video_id)).where(*which)) or 0
    if count > MAX_SEGMENTS:
        raise ConflictError(
            f"{count} segments are more than {MAX_SEGMENTS}: narrow it with created_from and created_until",
            code="library_too_large",
        )
    return count


def _asked(session: Session, set_id: str | None, questions: Sequence[Question], own: PolicySet) -> list[bool]:
    """For each of the questions, whether a set of policies asks it."""
    known = {question_of(policy) for policy in policy_sets.pinned(session, set_id, own).policies}
    return [question in known for question in questions]


def _batches(session: Session, which: Sequence[ColumnElement[bool]]) -> Any:
    """Lists of (job's id, start, end, whether it has no frame, scores), by job and in order of time."""
    frameless = cast(col(SegmentRow.frame_times_s), String) == "[]"
    named = (SegmentRow.job_id, SegmentRow.start_s, SegmentRow.end_s)
    columns = (*map(col, named), frameless, col(SegmentRow.scores))
    query = select(*columns).join(Job, col(Job.id) == col(SegmentRow.job_id))
    query = query.join(Video, col(Video.id) == col(Job.video_id)).where(*which)
    query = query.order_by(col(SegmentRow.job_id), col(SegmentRow.index))
    return session.execute(query.execution_options(yield_per=_ROWS)).partitions()


class _Arrays:
    """Room for all segments, filled a batch at a time."""

    def __init__(self, count: int, columns: int) -> None:
        self._videos = np.zeros(count, np.int64)
        self._times_s = np.zeros((count, 2), np.float64)
        self._framed = np.zeros(count, np.bool_)
        self._scores = np.full((count, columns), np.nan)
        self._at = 0

    def add(self, rows: Sequence[Any], places: dict[str, int], ids: Sequence[str]) -> None:
        """Rows of `_batches`, of jobs with a place."""
        rows = [row for row in rows if row[0] in places][: len(self._videos) - self._at]  # others became ready since
        if not rows:
            return
        part = slice(self._at, self._at + len(rows))
        self._videos[part] = [places[row[0]] for row in rows]
        self._times_s[part] = [row[1:3] for row in rows]
        self._framed[part] = [not row[3] for row in rows]
        self._scores[part] = [_in_order(row[4], ids) for row in rows]
        self._at = part.stop

    def filled(self) -> tuple[Ints, Floats, Floats, Bools, Floats]:
        """videos, start_s, end_s, whether they have frames, scores."""
        end = self._at
        return (
            self._videos[:end],
            self._times_s[:end, 0],
            self._times_s[:end, 1],
            self._framed[:end],
            self._scores[:end],
        )


def _in_order(scores: Mapping[str, float], ids: Sequence[str]) -> Sequence[float]:
    try:
        return [scores[name] for name in ids]
    except KeyError:  # rare, and looking for it first takes as long again
        return [scores.get(name, np.nan) for name in ids]


def _whole(coverages: Sequence[Any], videos: Ints, start_s: Floats, end_s: Floats, *, framed: Bools) -> Bools:
    """Which videos were seen whole, by the rules of `vidlm.moderation.flags.decide`."""
    known = [coverage or {"seconds_seen": 0.0, "seconds_total": 1.0, "gaps": []} for coverage in coverages]
    total_s = np.array([coverage["seconds_total"] for coverage in known], np.float64)
    seen_s = np.array([coverage["seconds_seen"] for coverage in known], np.float64)
    whole: Bools = np.array([not coverage["gaps"] for coverage in known], np.bool_) & (seen_s >= total_s - TOLERANCE_S)
    begins = np.concatenate([[True], np.diff(videos) != 0])[: len(videos)]
    ends = np.concatenate([begins[1:], [True]])[: len(videos)]
    before_s = np.where(begins, 0.0, np.roll(end_s, 1))
    broken = ~framed | (np.abs(start_s - before_s) > TOLERANCE_S)
    broken |= ends & (np.abs(end_s - total_s[videos]) > TOLERANCE_S)
    whole[videos[broken]] = False
    return whole
