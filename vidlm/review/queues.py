"""A tenant's queues for review: three that are always there, and those its leads make. Inside ONE transaction.

0            child_safety   restricted
1, 2, ...    what leads make, in their order
then         everything     what no other queue takes
             escalated      for leads; nothing comes here by a rule
             appeals        likewise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, col, func, select, update

from vidlm.domain import Role, Severity
from vidlm.errors import ConflictError, InputError
from vidlm.moderation.decisions import ItemState, Occasion
from vidlm.moderation.routing import ANYTHING_FLAGGED, RESTRICTED, Rule, rule_of, to_document
from vidlm.store.chain import audit
from vidlm.store.engine import clock, lock_key
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewItem, ReviewQueue

LAST: Final = 1_000_000
"""The position of `everything`: behind all that leads make."""
MOST: Final = 100
"""Queues of one tenant."""
ESCALATED: Final = "escalated"
APPEALS: Final = "appeals"
EVERYTHING: Final = "everything"


def all_of(session: Session, tenant_id: str) -> Sequence[ReviewQueue]:
    """The tenant's queues in their order. To be called where something may be written: the first call makes them."""
    found = _read(session, tenant_id)
    if found:
        return found
    lock_key(session, _lock_of(tenant_id))
    if not (found := _read(session, tenant_id)):
        session.add_all(_built_in(tenant_id))
        session.flush()
        found = _read(session, tenant_id)
    return found


def listed(session: Session, tenant_id: str) -> Sequence[ReviewQueue]:
    """The same for a reader: those that will be there, where nobody has needed them yet."""
    return _read(session, tenant_id) or _built_in(tenant_id)


def by_name(session: Session, tenant_id: str, name: str) -> ReviewQueue | None:
    """One of the tenant's queues, locked against changes."""
    query = select(ReviewQueue).where(ReviewQueue.tenant_id == tenant_id, ReviewQueue.name == name)
    return session.exec(query.with_for_update()).first()


def named(queues: Sequence[ReviewQueue], name: str) -> ReviewQueue:
    """One of these that is always there."""
    return next(queue for queue in queues if queue.name == name)


def rule_in(queue: ReviewQueue) -> Rule | None:
    """The queue's rule as a value."""
    return None if queue.rule is None else rule_of(queue.rule)


def may_work(queue: ReviewQueue, caller: Caller) -> bool:
    """Whether the caller may take what waits there."""
    return caller.role.covers(Role(queue.needs_role)) and (caller.restricted or not queue.restricted)


def create(
    session: Session,
    caller: Caller,
    *,
    name: str,
    title: str,
    rule: Mapping[str, Any],
    needs_role: Role = Role.REVIEWER,
    opinions: int = 1,
    position: int | None = None,
) -> ReviewQueue:
    """A queue; behind those that leads made before, or at `position` among them, from 1.

    Raises `InputError` (`invalid_rule`), `ConflictError` (`queue_exists`, `too_many_queues`).
    """
    lock_key(session, _lock_of(caller.tenant_id))
    queues = list(all_of(session, caller.tenant_id))
    if any(queue.name == name for queue in queues):
        raise ConflictError(f"there is a queue {name!r} already", code="queue_exists")
    if len(queues) >= MOST:
        raise ConflictError(f"there are {MOST} queues already", code="too_many_queues")
    queue = ReviewQueue(
        tenant_id=caller.tenant_id,
        name=name,
        title=title,
        position=0,
        rule=to_document(rule_of(rule)),
        needs_role=needs_role.value,
        opinions=opinions,
        created_at=clock(session),
    )
    session.add(queue)
    _place(queue, [one for one in queues if not one.built_in], position)
    _audit(session, caller, queue, "review_queue.created")
    return queue


def change(
    session: Session,
    caller: Caller,
    queue: ReviewQueue,
    *,
    title: str | None = None,
    rule: Mapping[str, Any] | None = None,
    needs_role: Role | None = None,
    opinions: int | None = None,
    position: int | None = None,
) -> None:
    """Other words or another rule; what waits in the queue stays in it. The caller holds the queue's lock.

    Raises `InputError`, and `ConflictError` (`built_in`) for rules and places of queues that are always there.
    """
    lock_key(session, _lock_of(caller.tenant_id))
    if queue.built_in and (rule is not None or position is not None):
        raise ConflictError(
            "this queue keeps its rule and its place: without it something would go nowhere", code="built_in"
        )
    queue.title = queue.title if title is None else title
    queue.rule = queue.rule if rule is None else to_document(rule_of(rule))
    queue.needs_role = queue.needs_role if needs_role is None else needs_role.value
    queue.opinions = queue.opinions if opinions is None else opinions
    if position is not None:
        others = [one for one in _read(session, caller.tenant_id) if not one.built_in and one.id != queue.id]
        _place(queue, others, position)
    _audit(session, caller, queue, "review_queue.changed")


def remove(session: Session, caller: Caller, queue: ReviewQueue) -> None:
    """A queue that is not wanted any more; what waits in it goes to `everything`. The caller holds the queue's lock.

    Raises `ConflictError` (`built_in`).
    """
    if queue.built_in:
        raise ConflictError("this queue is always there", code="built_in")
    everything = named(all_of(session, caller.tenant_id), EVERYTHING)
    session.exec(update(ReviewItem).where(col(ReviewItem.queue_id) == queue.id).values(queue_id=everything.id))
    _audit(session, caller, queue, "review_queue.removed")
    session.delete(queue)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a queue or is being looked at: how many by severity, and since when the oldest waits."""

    waiting: dict[Severity, int]
    claimed: int
    oldest: datetime | None


def waiting(session: Session, tenant_id: str, *, restricted: bool) -> dict[str, Waiting]:
    """By the queue's id. `restricted`: those who ask may know of restricted videos too."""
    query = (
        sa.select(
            col(ReviewItem.queue_id),
            col(ReviewItem.state),
            col(ReviewItem.severity),
            func.count(),
            func.min(col(ReviewItem.created_at)),
        )
        .where(
            col(ReviewItem.tenant_id) == tenant_id,
            col(ReviewItem.state).in_((ItemState.WAITING.value, ItemState.CLAIMED.value)),
            col(ReviewItem.occasion) != Occasion.GOLDEN.value,
        )
        .group_by(col(ReviewItem.queue_id), col(ReviewItem.state), col(ReviewItem.severity))
    )
    if not restricted:
        query = query.where(col(ReviewItem.restricted).is_(False))
    found: dict[str, Waiting] = {}
    for queue_id, state, severity, count, oldest in session.execute(query).all():
        had = found.get(queue_id, Waiting({}, 0, None))
        if state == ItemState.CLAIMED:
            found[queue_id] = Waiting(had.waiting, had.claimed + count, had.oldest)
        else:
            by_severity = had.waiting | {Severity(severity): count}
            found[queue_id] = Waiting(by_severity, had.claimed, min(filter(None, (had.oldest, oldest)), default=None))
    return found


def _read(session: Session, tenant_id: str) -> Sequence[ReviewQueue]:
    query = select(ReviewQueue).where(ReviewQueue.tenant_id == tenant_id)
    return session.exec(query.order_by(col(ReviewQueue.position), col(ReviewQueue.id))).all()


def _built_in(tenant_id: str) -> list[ReviewQueue]:
    def one(name: str, title: str, position: int, rule: Rule | None = None, **more: Any) -> ReviewQueue:
        document = None if rule is None else to_document(rule)
        return ReviewQueue(
            tenant_id=tenant_id, name=name, title=title, position=position, rule=document, built_in=True, **more
        )

    return [
        one(RESTRICTED, "Child safety", 0, Rule(policies=(RESTRICTED,)), restricted=True),
        one(EVERYTHING, "Everything else", LAST, ANYTHING_FLAGGED),
        one(ESCALATED, "Escalated", LAST + 1, needs_role=Role.LEAD.value),
        one(APPEALS, "Appeals", LAST + 2, needs_role=Role.LEAD.value),
    ]


def _place(queue: ReviewQueue, others: Sequence[ReviewQueue], position: int | None) -> None:
    """Put the queue among the others and number them all anew, from 1."""
    order = sorted(others, key=lambda one: one.position)
    place = len(order) if position is None else position - 1
    if not 0 <= place <= len(order):
        raise InputError(f"position: between 1 and {len(order) + 1}", code="invalid_rule")
    for number, one in enumerate([*order[:place], queue, *order[place:]], start=1):
        one.position = number


def _audit(session: Session, caller: Caller, queue: ReviewQueue, event: str) -> None:
    details = {"queue": queue.name, "position": queue.position, "needs_role": queue.needs_role}
    audit(
        session,
        tenant_id=caller.tenant_id,
        actor=caller.id,
        event=event,
        target_id=queue.id,
        details=details | {"opinions": queue.opinions, "rule": queue.rule},
    )


def _lock_of(tenant_id: str) -> str:
    return f"review_queues/{tenant_id}"
