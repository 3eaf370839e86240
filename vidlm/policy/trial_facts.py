"""What a trial's reader asks next: in how many days its videos came in, and which videos its overturned decisions are
about. Reads rows, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col

from vidlm.domain import JobState
from vidlm.store.review import ReviewItem
from vidlm.store.tables import Job, Video

DAY_S: Final = 86400.0


class Named(NamedTuple):
    """A video as people know it."""

    video_id: str
    filename: str | None


def days_of(session: Session, tenant_id: str, since: datetime | None, until: datetime) -> float:
    """From the first of the tenant's ready videos that came in `[since, until)` to `until`, in days, at least one."""
    query = sa.select(sa.func.min(col(Video.created_at))).join(Job, col(Job.video_id) == col(Video.id))
    where = [col(Job.tenant_id) == tenant_id, col(Job.state) == JobState.READY.value]
    where += [] if since is None else [col(Video.created_at) >= since]
    first: datetime | None = session.scalar(query.where(*where))
    return 1.0 if first is None else max(1.0, (until - first).total_seconds() / DAY_S)


def videos_of(session: Session, job_ids: Sequence[str], *, restricted: bool) -> dict[str, Named]:
    """By job. Without `restricted`, those that only some may see are left out."""
    query = sa.select(col(Job.id), col(Video.id), col(Video.filename)).join(Video, col(Video.id) == col(Job.video_id))
    query = query.where(col(Job.id).in_(job_ids))
    if not restricted:
        hidden = sa.exists().where(col(ReviewItem.job_id) == col(Job.id), col(ReviewItem.restricted).is_(True))
        query = query.where(~hidden)
    return {job_id: Named(video_id, filename) for job_id, video_id, filename in session.execute(query)}
