"""How much a tenant's policies flagged lately. Reads rows, changes nothing."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col

from vidlm.store.tables import FlagRow, Job


def flag_counts(session: Session, tenant_id: str, since: datetime) -> dict[str, int]:
    """By policy, the flags of videos that were finished at or after `since`; a policy without any is not there."""
    query = (
        sa.select(col(FlagRow.policy_id), sa.func.count())
        .join(Job, col(Job.id) == col(FlagRow.job_id))
        .where(col(FlagRow.tenant_id) == tenant_id, col(Job.finished_at) >= since)
    )
    return {row[0]: row[1] for row in session.execute(query.group_by(col(FlagRow.policy_id)))}
