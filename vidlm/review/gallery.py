"""What a grid of videos needs to know of each besides its status: is there a picture, and who may see it.

A query for a page of videos, not one for each. Knows rows; not files, and not what a card looks like.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from vidlm.moderation import routing
from vidlm.store.likeness import BankEntry, MatchRow
from vidlm.store.tables import FlagRow, Job, Video


def pictured(session: Session, video_ids: Sequence[str]) -> frozenset[str]:
    """Those of which a poster is kept."""
    kept = (col(Job.work_folder).is_not(None), col(Job.prepared).is_not(None), col(Video.blob).is_not(None))
    query = select(Video.id).join(Job).where(col(Video.id).in_(video_ids), *kept)
    return frozenset(session.exec(query).all())


def restricted(session: Session, video_ids: Sequence[str]) -> frozenset[str]:
    """Those that only people with the grant may see: by what was flagged in them, or by what they were known as."""
    flagged = select(Job.video_id, FlagRow.policy_id).join(FlagRow, col(FlagRow.job_id) == col(Job.id))
    rows = session.exec(flagged.where(col(Job.video_id).in_(video_ids)).distinct()).all()
    known = select(MatchRow.video_id).join(BankEntry, col(BankEntry.id) == col(MatchRow.entry_id))
    matched = session.exec(known.where(col(MatchRow.video_id).in_(video_ids), col(BankEntry.restricted))).all()
    return frozenset(video_id for video_id, policy in rows if routing.is_restricted(policy)) | frozenset(matched)
