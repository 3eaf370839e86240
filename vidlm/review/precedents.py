"""What people decided lately about flags like these: the same policy, a score close to it, in other videos.

    this flag          weapons.shown .71
    lately decided     .93 confirm    .74 confirm    .69 reject    .40 reject
    told                              .74 confirm    .69 reject                  the nearest

Of a video that was decided more than once, the last word. Undone decisions and golden items are none, and what is
restricted is told to those with the grant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session, col

from vidlm.moderation.decisions import Occasion
from vidlm.store.keys import Caller
from vidlm.store.review import FlagDecision, ReviewDecision
from vidlm.store.tables import FlagRow, Video

LATELY: Final = 100
"""Decisions about flags of a policy that are looked at, the newest."""
EACH: Final = 3
"""Precedents told of one policy, at most."""


@dataclass(frozen=True, slots=True)
class Precedent:
    """A flag of `score` that somebody decided about, at `start_s` of another video."""

    policy_id: str
    score: float
    verdict: str
    reason: str | None
    video_id: str
    start_s: float
    decided_at: datetime


def precedents(session: Session, caller: Caller, video_id: str, flags: Iterable[FlagRow]) -> list[Precedent]:
    """Of each policy that flagged the video, the nearest to its highest score; policies by that score."""
    highest: dict[str, float] = {}
    for flag in flags:
        highest[flag.policy_id] = max(flag.score, highest.get(flag.policy_id, 0.0))
    found = []
    for policy_id, score in sorted(highest.items(), key=lambda item: -item[1]):
        lately = _lately(session, caller, video_id, policy_id)
        found += sorted(lately, key=lambda one: abs(one.score - score))[:EACH]
    return found


def _lately(session: Session, caller: Caller, video_id: str, policy_id: str) -> list[Precedent]:
    """The last word on each of the videos whose flags of this policy were decided lately, the newest first."""
    query = (
        sa.select(  # what is told and no more: decisions carry what they were pinned to and rest on
            col(ReviewDecision.id),
            col(FlagDecision.score),
            col(FlagDecision.verdict),
            col(FlagDecision.reason),
            col(ReviewDecision.video_id),
            col(FlagDecision.start_s),
            col(ReviewDecision.created_at),
        )
        .join(ReviewDecision, col(ReviewDecision.id) == col(FlagDecision.decision_id))
        .join(Video, col(Video.id) == col(ReviewDecision.video_id))
        .where(
            col(FlagDecision.tenant_id) == caller.tenant_id,
            col(FlagDecision.policy_id) == policy_id,
            col(FlagDecision.flag_id).is_not(None),
            col(FlagDecision.score).is_not(None),
            col(ReviewDecision.video_id) != video_id,
            col(ReviewDecision.occasion) != Occasion.GOLDEN.value,
            col(ReviewDecision.undone_at).is_(None),
            col(Video.deleted_at).is_(None),
        )
    )
    if not caller.restricted:
        query = query.where(col(ReviewDecision.restricted).is_(False))
    last: dict[str, str] = {}  # video -> its last decision
    found = []
    for decision, *told in session.execute(query.order_by(col(FlagDecision.id).desc()).limit(LATELY)):
        precedent = Precedent(policy_id, *told)
        if last.setdefault(precedent.video_id, decision) == decision:
            found.append(precedent)
    return found
