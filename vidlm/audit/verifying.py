"""Whether chains are as they were written; the first row of each that is not, and what is wrong with it.

What stands in a row is held against its hash, its hash against the row after it, the last hash against the head, and
hashes of old against anchors that were kept elsewhere. Every check is a pure function of a row and the one before.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vidlm.audit import reading
from vidlm.audit.anchors import Anchor
from vidlm.audit.reading import Entry, Head
from vidlm.errors import InputError
from vidlm.store.chain import HASHED, START, digest
from vidlm.store.engine import Database

Places = Callable[[Entry], Iterable[tuple[int, int]]]
"""Numbers and ids under which an entry may have been written."""
Told = Callable[[int], None]
"""Hears how many rows of a chain were looked at."""
STEP: Final = 250
"""Rows from one word about the progress to the next: some 3 ms."""

_NUMBER: Final = HASHED.index("number")
_ID: Final = HASHED.index("id")


class Flaw(StrEnum):
    """What is wrong with a row."""

    ALTERED = "altered"
    MISSING = "missing"
    EXTRA = "extra"
    OUT_OF_ORDER = "out_of_order"
    UNLINKED = "unlinked"  # it does not follow the row before
    HEADLESS = "headless"  # nothing says whether it is the last
    NOT_ANCHORED = "not_anchored"  # it is not the row that an anchor vouches for


@dataclass(frozen=True, slots=True)
class Fault:
    """The first row of a chain that is not as it was written. `detail` goes on after "number 7 of ten_x ..."."""

    tenant_id: str
    number: int
    id: int | None
    flaw: Flaw
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` were looked at, of `tenants` chains; one fault at most for each of these."""

    rows: int
    tenants: int
    seconds: float
    faults: tuple[Fault, ...]


def verify(
    database: Database, tenant_id: str | None = None, anchors: Iterable[Anchor] = (), told: Told | None = None
) -> Report:
    """Look at every chain, or one tenant's, as they all are at this moment. Raises `InputError` (`unknown_tenant`).

    `told`, every `STEP` rows of a chain; what it raises ends the looking.
    """
    began_s = time.monotonic()
    vouched: dict[str, dict[int, Anchor]] = defaultdict(dict)
    for anchor in anchors:
        # of two that contradict each other the first counts: the second may have been taken after the deed
        vouched[anchor.tenant_id].setdefault(anchor.number, anchor)
    rows, faults = 0, []
    with reading.snapshot(database) as session:
        heads = reading.heads(session)
        chains = reading.tenants(session) | heads.keys() | vouched.keys()
        if tenant_id is not None:
            if tenant_id not in chains and not reading.is_tenant(session, tenant_id):
                raise InputError(f"there is no tenant {tenant_id!r}", code="unknown_tenant")
            chains &= {tenant_id}
        for name in sorted(chains):
            found = _telling(reading.entries(session, name), told)
            counted, fault = examine(
                name, found, heads.get(name), vouched[name], lambda entry: reading.places(session, entry)
            )
            rows += counted
            faults += [fault] if fault is not None else []
    return Report(rows, len(chains), time.monotonic() - began_s, tuple(faults))


def _telling(entries: Iterator[Entry], told: Told | None) -> Iterator[Entry]:
    for count, entry in enumerate(entries, 1):
        if told is not None and count % STEP == 0:
            told(count)
        yield entry


def examine(
    tenant_id: str, entries: Iterable[Entry], head: Head | None, anchors: Mapping[int, Anchor], places: Places
) -> tuple[int, Fault | None]:
    """How many of a chain's entries were looked at, and its first fault; `entries` in order of number, then id."""
    before: Entry | None = None
    vouched = 0
    for count, entry in enumerate(entries, 1):
        fault = _pushed_in(before, entry) or _misplaced(before, entry, head) or _changed(entry, places)
        if fault is None and entry.previous != (before.hash if before is not None else START):
            fault = _unlinked(before, entry, is_vouched=before is not None and before.number == vouched)
        if fault is None and (anchor := anchors.get(entry.number)) is not None:
            if anchor.hash != entry.hash:
                return count, _not_anchored(entry, anchor, vouched)
            vouched = entry.number
        if fault is not None:
            return count, fault
        before = entry
    last = before.number if before is not None else 0
    return last, _cut_off(tenant_id, last, head, anchors) or _rehashed_end(before, head)


def _pushed_in(before: Entry | None, entry: Entry) -> Fault | None:
    """Whether the row before was put there, and this one and those that follow made room for it."""
    if before is None or entry.previous != before.previous or entry.number == before.number:
        return None
    if _written_as(entry, [(before.number, entry.id)]) is None:
        return None
    return _fault(before, Flaw.EXTRA, "was pushed in: the row after it was written with this number")


def _misplaced(before: Entry | None, entry: Entry, head: Head | None) -> Fault | None:
    """Whether this is the number whose turn it is."""
    expected = before.number + 1 if before is not None else 1
    number = entry.number
    if not isinstance(number, int):
        return Fault(entry.tenant_id, expected, entry.id, Flaw.ALTERED, "was altered: its number is none")
    if head is not None and expected > head.number:
        detail = f"is extra: the head says that the chain ends with {head.number}"
        return Fault(entry.tenant_id, number, entry.id, Flaw.EXTRA, detail)
    if number > expected:
        return Fault(entry.tenant_id, expected, None, Flaw.MISSING, f"is missing: the next row is number {number}")
    if number < 1:
        return Fault(entry.tenant_id, number, entry.id, Flaw.EXTRA, "is extra: numbers begin with 1")
    if before is not None and number < expected:
        detail = f"is there more than once: as id {before.id} and as id {entry.id}"
        return Fault(entry.tenant_id, number, entry.id, Flaw.EXTRA, detail)
    return None


def _changed(entry: Entry, places: Places) -> Fault | None:
    """Whether the hash is this row's. Of one that is not, whether it is the row's of another place."""
    if None not in entry and digest(entry[:-1]) == entry.hash:
        return None
    place = _written_as(entry, places(entry))
    if place is None:
        return _fault(entry, Flaw.ALTERED, "was altered: its hash does not fit what it says")
    return _fault(entry, Flaw.OUT_OF_ORDER, f"is out of order: what it says was written as number {place}")


def _written_as(entry: Entry, places: Iterable[tuple[int, int]]) -> int | None:
    for number, id_ in places:
        values = list(entry[:-1])
        values[_NUMBER], values[_ID] = number, id_
        if digest(values) == entry.hash:
            return number
    return None


def _unlinked(before: Entry | None, entry: Entry, *, is_vouched: bool) -> Fault:
    """Two rows that are whole and do not belong together: which is the wrong one?

    The later is held by all that follow it, up to the head; so it is the earlier, unless an anchor vouches for that.
    """
    if before is None:
        return _fault(entry, Flaw.UNLINKED, "does not begin a chain: it says that it follows another row")
    if is_vouched:
        return _fault(entry, Flaw.UNLINKED, "does not follow the row before, which an anchor vouches for")
    return _fault(before, Flaw.ALTERED, "was altered and hashed anew: the row after it does not follow it")


def _not_anchored(entry: Entry, anchor: Anchor, vouched: int) -> Fault:
    since = f"it or a row after number {vouched}" if vouched < entry.number - 1 else "it"
    detail = f"does not match the anchor of {anchor.at}: {since} was rewritten with all that follow"
    return _fault(entry, Flaw.NOT_ANCHORED, detail)


def _cut_off(tenant_id: str, last: int, head: Head | None, anchors: Mapping[int, Anchor]) -> Fault | None:
    """Whether the chain goes on as far as somebody vouches for."""
    farthest = max(anchors, default=0)
    if farthest > last:
        detail = f"is missing: the anchor of {anchors[farthest].at} vouches for {farthest} rows"
        return Fault(tenant_id, last + 1, None, Flaw.MISSING, detail)
    if head is None:
        detail = "may be missing: the chain's head is gone, which says where it ends"
        return Fault(tenant_id, last + 1, None, Flaw.HEADLESS, detail) if last else None
    if head.number > last:
        detail = f"is missing: the head says that the chain ends with {head.number}"
        return Fault(tenant_id, last + 1, None, Flaw.MISSING, detail)
    return None


def _rehashed_end(last: Entry | None, head: Head | None) -> Fault | None:
    if last is None or head is None or head.hash == last.hash:
        return None
    return _fault(last, Flaw.ALTERED, "was altered and hashed anew: the chain's head has another hash")


def _fault(entry: Entry, flaw: Flaw, detail: str) -> Fault:
    return Fault(entry.tenant_id, entry.number, entry.id, flaw, detail)
