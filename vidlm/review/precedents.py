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

from sqlmodel import Session, col, select

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
        select(FlagDecision, ReviewDecision)
        .join(ReviewDecision, col(ReviewDecision.id) == col(FlagDecision.decision_id))
        .join(Video, col(Video.id) == col(ReviewDecision.video_id))
        .where(
            FlagDecision.tenant_id == caller.tenant_id,
            FlagDecision.policy_id == policy_id,
            col(FlagDecision.flag_id).is_not(None),
            col(FlagDecision.score).is_not(None),
            ReviewDecision.video_id != video_id,
            ReviewDecision.occasion != Occasion.GOLDEN.value,
            col(ReviewDecision.undone_at).is_(None),
            col(Video.deleted_at).is_(None),
        )
    )
    if not caller.restricted:
        query = query.where(col(ReviewDecision.restricted).is_(False))
    last: dict[str, str] = {}  # video -> its last decision
    found = []
    for flag, decision in session.exec(query.order_by(col(FlagDecision.id).desc()).limit(LATELY)).all():
        if last.setdefault(decision.video_id, decision.id) == decision.id and flag.score is not None:
            found.append(
                Precedent(
                    policy_id,
                    flag.score,
                    flag.verdict,
                    flag.reason,
                    decision.video_id,
                    flag.start_s,
                    decision.created_at,
                )
            )
    return found
