"""Whose turn it is: urgent work first; within one urgency tenants take turns, however much each of them has waiting.

    A hands in 1000 jobs      turns   1 2 3 4 5 6 ... 1000
    B hands in 2 a bit later  turns       3 4                 (A's jobs 1 and 2 were taken meanwhile)
    taken in this order               A3 B3 A4 B4 A5 A6 ...

Start-time fair queueing (Goyal, Vin, Cheng 1996) with units of equal cost: a unit's turn is one after its tenant's last
one that still waits, and never before the head of the line. Turns start anew when nobody waits.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from sqlalchemy import Select, bindparam, func
from sqlmodel import Session, col, select

from vidlm.store.tables import Claimable


def next_turn(session: Session, table: type[Claimable], waiting: Collection[str], tenant_id: str, priority: int) -> int:
    """The turn of one more unit of `tenant_id`; `waiting` are the states in which units of `table` wait."""
    known = {"waiting": list(waiting), "priority": priority, "tenant_id": tenant_id}
    head, own_last = session.execute(_line(table), known).one()
    return max(head if head is not None else 1, own_last + 1 if own_last is not None else 1)


@cache
def _line(table: type[Claimable]) -> Select[int | None, int | None]:
    """Finds the first turn of all in a line and the last of one tenant, each by an index of its own."""
    in_line = (
        col(table.state).in_(bindparam("waiting", expanding=True)),
        col(table.priority) == bindparam("priority"),
    )
    head = select(func.min(table.turn)).where(*in_line)
    own_last = select(func.max(table.turn)).where(*in_line, col(table.tenant_id) == bindparam("tenant_id"))
    return select(head.scalar_subquery(), own_last.scalar_subquery())
