"""What people decided about flags, as arrays for trials of other policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col

from vidlm.domain import Policy
from vidlm.moderation.decisions import FlagVerdict, Occasion
from vidlm.moderation.whatif import Decisions
from vidlm.policy.trials import DecisionsOf
from vidlm.store.review import FlagDecision, ReviewDecision


def of_tenant(session: Session, tenant_id: str) -> DecisionsOf:
    """A tenant's decisions on flags, the last one on each; none on golden items, none that was undone."""

    def decisions_of(job_ids: Sequence[str], policies: Sequence[Policy]) -> Decisions:
        videos = {job_id: place for place, job_id in enumerate(job_ids)}
        columns = {policy.id: place for place, policy in enumerate(policies)}
        query = (
            sa.select(
                col(FlagDecision.flag_id),
                col(ReviewDecision.job_id),
                col(FlagDecision.policy_id),
                col(FlagDecision.start_s),
                col(FlagDecision.end_s),
                col(FlagDecision.verdict),
            )
            .join(ReviewDecision, col(ReviewDecision.id) == col(FlagDecision.decision_id))
            .where(
                col(FlagDecision.tenant_id) == tenant_id,
                col(FlagDecision.flag_id).is_not(None),
                col(ReviewDecision.undone_at).is_(None),
                col(ReviewDecision.occasion) != Occasion.GOLDEN.value,
            )
            .order_by(col(ReviewDecision.id))
        )
        last = {flag_id: told for flag_id, *told in session.execute(query)}
        kept = [told for told in last.values() if told[0] in videos and told[1] in columns]
        return Decisions(
            videos=np.array([videos[told[0]] for told in kept], np.int64),
            policies=np.array([columns[told[1]] for told in kept], np.int64),
            start_s=np.array([told[2] for told in kept], np.float64),
            end_s=np.array([told[3] for told in kept], np.float64),
            confirmed=np.array([FlagVerdict(told[4]).is_violation for told in kept], np.bool_),
        )

    return decisions_of
