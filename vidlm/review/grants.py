"""Which videos only people with the grant may see: what they show is for those who agreed to see it.

By what was flagged in them, or by what they were recognised as. Knows rows; not who asks, and not what becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from vidlm.moderation import routing
from vidlm.store.likeness import BankEntry, MatchRow
from vidlm.store.tables import FlagRow, Job


def restricted(session: Session, video_ids: Sequence[str]) -> frozenset[str]:
    """Those among `video_ids` that need the grant. Two queries, however many they are."""
    flagged = select(Job.video_id, FlagRow.policy_id).join(FlagRow, col(FlagRow.job_id) == col(Job.id))
    rows = session.exec(flagged.where(col(Job.video_id).in_(video_ids)).distinct()).all()
    known = select(MatchRow.video_id).join(BankEntry, col(BankEntry.id) == col(MatchRow.entry_id))
    matched = session.exec(known.where(col(MatchRow.video_id).in_(video_ids), col(BankEntry.restricted))).all()
    return frozenset(video_id for video_id, policy in rows if routing.is_restricted(policy)) | frozenset(matched)


def is_restricted(session: Session, video_id: str) -> bool:
    """Whether this one needs the grant."""
    return video_id in restricted(session, [video_id])
