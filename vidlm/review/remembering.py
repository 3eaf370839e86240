"""What people decide about a video goes into the banks, so that its copies are known. Inside ONE transaction."""

from __future__ import annotations

from typing import Final

import structlog
from sqlmodel import Session

from vidlm.domain import Bank
from vidlm.errors import ConflictError
from vidlm.known import banks
from vidlm.moderation.decisions import Occasion, ReviewState
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewDecision

log = structlog.get_logger(__name__)

_BANKS: Final = {ReviewState.REMOVED: Bank.BAD, ReviewState.APPROVED: Bank.OK}


def remember(session: Session, caller: Caller, decision: ReviewDecision, state: ReviewState) -> None:
    """The video is `state` now, because of this decision: in the bank of the like, or in none.

    What was drawn at random to be looked at and is fine is not kept: nothing was in doubt about it. A bank that is full
    keeps nobody from deciding; that is logged.
    """
    bank = _BANKS.get(state)
    if bank is Bank.OK and decision.occasion == Occasion.SAMPLED:
        bank = None
    tenant_id, video_id, actor = decision.tenant_id, decision.video_id, caller.id
    reason = f"decision {decision.id}"
    if bank is None:
        banks.withdraw_video(session, tenant_id=tenant_id, video_id=video_id, actor=actor, reason=reason)
        return
    try:
        banks.enter(
            session,
            tenant_id=tenant_id,
            video_id=video_id,
            bank=bank,
            actor=actor,
            reason=reason,
            decision_id=decision.id,
            restricted=decision.restricted,
        )
    except ConflictError as exc:
        log.error("review.not_remembered", video=video_id, code=exc.code)
