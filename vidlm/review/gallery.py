"""What a grid of videos needs to know of each besides its status: is there a picture.

A query for a page of videos, not one for each. Knows rows; not files, and not what a card looks like.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from vidlm.store.tables import Job, Video


def pictured(session: Session, video_ids: Sequence[str]) -> frozenset[str]:
    """Those of which a poster is kept."""
    kept = (col(Job.work_folder).is_not(None), col(Job.prepared).is_not(None), col(Video.blob).is_not(None))
    query = select(Video.id).join(Job).where(col(Video.id).in_(video_ids), *kept)
    return frozenset(session.exec(query).all())
