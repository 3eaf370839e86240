"""Which word of a search is to lead to the videos, and whether a video has the others.

    "red car at nig"    at: everywhere   red: 9,000 videos   car: 800   nig...: 30,000 entries
                        -> the videos of `car`, newest first, and of each: red? at? nig...?

Entries are counted before, up to a bound: what is there so often is not rare. Words that begin alike stand together
but not in the order of their videos, so they lead only where they are few enough to be sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Mapped, aliased
from sqlmodel import Session, col

from vidlm.store.words import Term, VideoWord

FEW: Final = 2_000
"""Entries of an open word up to which they are read and sorted."""
MANY: Final = 20_000
"""Entries of a word up to which they are counted."""


def rarest(session: Session, tenant_id: str, terms: Sequence[Term]) -> Term | None:
    """The term with the fewest entries; None where there is none that could lead."""
    counted = [(_count(session, tenant_id, term, FEW if term.open else MANY), term) for term in terms]
    fit = [(count, term) for count, term in counted if not term.open or count < FEW]
    return min(fit, key=lambda pair: pair[0])[1] if fit else None


def has_word(video_id: Mapped[str], term: Term) -> ColumnElement[bool]:
    """The video has such a word. Said so that no database takes it for a reason to begin there."""
    other = aliased(VideoWord)
    mine = (col(other.video_id) == video_id, term.fits(col(other.word)))
    return select(func.count()).select_from(other).where(*mine).scalar_subquery() != 0


def _count(session: Session, tenant_id: str, term: Term, most: int) -> int:
    mine = (col(VideoWord.tenant_id) == tenant_id, term.fits(col(VideoWord.word)))
    some = select(col(VideoWord.video_id)).where(*mine).limit(most).subquery()
    return int(session.execute(select(func.count()).select_from(some)).scalar_one())
