"""What a reviewer gets next, and whether they had better take a break first. Inside ONE transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from vidlm.domain import Severity
from vidlm.moderation.exposure import DAY, Exposure, Look, exposure
from vidlm.review import golden, items, queues
from vidlm.review.settings import budget_of, settings_of
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewItem, ReviewLook, ReviewQueue


def next_item(
    session: Session, caller: Caller, lines: Sequence[ReviewQueue] | None = None, *, without: Sequence[str] = ()
) -> ReviewItem | None:
    """The next item for the caller out of these queues (None: of all), locked for them; None where nothing waits.

    `without`: ids of items that they do not want now. Raises `ConflictError` (`too_many_claims`).
    """
    chosen = queues.all_of(session, caller.tenant_id) if lines is None else lines
    items.check_room(session, caller, clock(session))
    return golden.maybe(session, caller, chosen) or items.take(session, caller, chosen, without=without)


def exposure_of(session: Session, tenant_id: str, actor: str) -> Exposure:
    """What somebody has looked at lately."""
    now = clock(session)
    query = (
        select(ReviewLook.at, ReviewLook.seconds, ReviewLook.severity)
        .where(ReviewLook.tenant_id == tenant_id, ReviewLook.actor == actor, col(ReviewLook.at) > now - DAY)
        .order_by(col(ReviewLook.at))
    )
    looks = [Look(at, seconds, Severity(severity)) for at, seconds, severity in session.exec(query).all()]
    return exposure(looks, now, budget_of(settings_of(session, tenant_id)))
