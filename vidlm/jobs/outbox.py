"""Wake-ups that are owed. A row is born with its unit of work and goes when that ends, each in the same transaction.

sent_at unset, due_at past     the relay sends it now
sent_at set                    a wake-up waits in the broker, or was lost there (`resend_lost` tells which)
sent_at unset, due_at ahead    a worker holds the unit, or it waits for its next attempt
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, bindparam, delete, func, update
from sqlmodel import Session, col, select

from vidlm.queue import CONSUME_ORDER, Queue, Task, tasks_of
from vidlm.store.columns import UtcDateTime
from vidlm.store.engine import clock
from vidlm.store.ledger import Outbox

BATCH: Final = 200
GRACE_S: Final = 10.0
"""A wake-up younger than this may be between the broker and its claim, and is not taken for lost."""


_ITS: Final = (col(Outbox.task) == bindparam("of_task")) & (col(Outbox.target_id) == bindparam("of_target"))
_QUIETLY: Final = {"synchronize_session": False}  # nobody holds a unit's row as an object while it is changed here
# said in every transaction of a worker, so made once: making them takes longer than running them
_IS_SENT: Final = select(Outbox.id).where(_ITS, col(Outbox.sent_at).is_not(None))
_SETTLE: Final = delete(Outbox).where(_ITS).execution_options(**_QUIETLY)
_POSTPONE: Final = (
    update(Outbox)
    .where(_ITS)
    .values(due_at=bindparam("until", type_=UtcDateTime), sent_at=None)
    .execution_options(**_QUIETLY)
)


@dataclass(frozen=True, slots=True)
class Due:
    """One wake-up to be sent."""

    id: str
    task: Task
    target_id: str


def owe(session: Session, task: Task, target_id: str, tenant_id: str) -> None:
    """A new unit of work wants a worker, now."""
    session.add(Outbox(tenant_id=tenant_id, task=task.value, target_id=target_id, due_at=clock(session)))


def postpone(session: Session, task: Task, target_id: str, until: datetime) -> None:
    """Wake somebody at `until`, unless it is postponed again or settled before."""
    session.execute(_POSTPONE, {"of_task": task.value, "of_target": target_id, "until": until})


def is_sent(session: Session, task: Task, target_id: str) -> bool:
    """Whether a wake-up for this unit is in the broker, as far as we know."""
    return session.execute(_IS_SENT, {"of_task": task.value, "of_target": target_id}).first() is not None


def owe_again(session: Session, tasks: Sequence[Task]) -> None:
    """A wake-up was used up for a unit that had none. Wake-ups are as good as each other, so any unit that waits for
    its own may now wait in vain: the oldest is to be sent anew."""
    waits = (col(Outbox.task).in_(tasks), col(Outbox.sent_at).is_not(None))
    row = session.exec(select(Outbox).where(*waits).order_by(col(Outbox.sent_at)).limit(1)).first()
    if row is not None:
        row.sent_at, row.due_at = None, clock(session)


def settle(session: Session, task: Task, target_id: str) -> None:
    """The unit has ended: nothing is owed any more."""
    session.execute(_SETTLE, {"of_task": task.value, "of_target": target_id})


def settle_all(session: Session, target_ids: Iterable[str]) -> None:
    """Nothing is owed to any of these units any more."""
    ids = list(target_ids)
    for start in range(0, len(ids), BATCH):  # a statement takes only so many parameters
        session.exec(delete(Outbox).where(col(Outbox.target_id).in_(ids[start : start + BATCH])))


def any_due(session: Session) -> bool:
    """Whether `take_due` would find something; costs no lock."""
    return session.exec(select(Outbox.id).where(*_unsent(clock(session))).limit(1)).first() is not None


def take_due(session: Session) -> list[Due]:
    """Mark up to `BATCH` due wake-ups as sent and return them, oldest first; several relays take different ones.

    They are sent after the commit. Should the relay die in between, `resend_lost` finds out.
    """
    now = clock(session)
    rows = session.exec(
        select(Outbox)
        .where(*_unsent(now))
        .order_by(col(Outbox.due_at), col(Outbox.id))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        row.sent_at = now
    return [Due(row.id, Task(row.task), row.target_id) for row in rows]


def take_back(session: Session, due: Sequence[Due]) -> None:
    """The broker did not take these: they are to be sent again."""
    session.exec(update(Outbox).where(col(Outbox.id).in_([item.id for item in due])).values(sent_at=None))


def resend_lost(session: Session, queue: Queue, waiting: int) -> int:
    """Find wake-ups that the broker lost, and have them sent again; how many there were.

    `waiting` is the length of the broker's queue. Where more wake-ups are owed than wait there, the surplus, the
    oldest of them, was lost (a flush, a crash). So a long queue is never flooded with copies of what it holds.
    """
    sent = (
        col(Outbox.task).in_(tasks_of(queue)),
        col(Outbox.sent_at).is_not(None),
    )
    missing = session.exec(select(func.count()).select_from(Outbox).where(*sent)).one() - waiting
    if missing <= 0:
        return 0
    old = col(Outbox.sent_at) < clock(session) - timedelta(seconds=GRACE_S)
    rows = session.exec(select(Outbox).where(*sent, old).order_by(col(Outbox.sent_at)).limit(missing)).all()
    for row in rows:
        row.sent_at = None
    return len(rows)


def waits_since(session: Session, queues: Sequence[Queue], seconds: float) -> bool:
    """Whether a wake-up sent to one of `queues` has not been answered for `seconds`."""
    before = clock(session) - timedelta(seconds=seconds)
    query = select(Outbox.id).where(col(Outbox.task).in_(tasks_of(*queues)), col(Outbox.sent_at) < before)
    return session.exec(query.limit(1)).first() is not None


def _unsent(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What is to be sent to the broker; webhooks never are."""
    ours = col(Outbox.task).in_(tasks_of(*CONSUME_ORDER))
    return col(Outbox.sent_at).is_(None), col(Outbox.due_at) <= now, ours
