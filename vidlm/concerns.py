"""What somebody had better do something about, out of how the service stands. Pure: numbers in, a list out.

What each means, and what to do, is said by who shows it: `Kind` is the code, `values` are the numbers in the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vidlm.operate import LEAST_FREE_BYTES
from vidlm.overview import Overview
from vidlm.queue import CONSUME_ORDER, Queue
from vidlm.room import Room

PATIENCE_S: Final = {Queue.INTERACTIVE: 60.0, Queue.GPU: 3600.0, Queue.CPU: 3600.0, Queue.WEBHOOK: 900.0}
"""Longer than that nobody should wait for a turn."""
SILENT_S: Final = 3600.0
"""A worker that fell silent longer ago than that was stopped, or was replaced."""


class Kind(StrEnum):
    """One thing that is not well."""

    NO_WORKERS = "no_workers"
    NO_BROKER = "no_broker"
    UNATTENDED = "unattended"
    BEHIND = "behind"
    DISK_FULL = "disk_full"
    DISK_LOW = "disk_low"
    LATE = "late"
    SILENT = "silent"
    FAILED = "failed"
    GIVEN_UP = "given_up"


BAD: Final = frozenset({Kind.NO_WORKERS, Kind.NO_BROKER, Kind.UNATTENDED, Kind.BEHIND, Kind.DISK_FULL})
"""Nothing gets done, or soon nothing will; the others are worth a look."""


@dataclass(frozen=True, slots=True)
class Concern:
    """`values`: `queue`, `count`, `code`, `seconds`, `bytes`, as the kind has them."""

    kind: Kind
    values: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        return self.kind in BAD


def concerns(seen: Overview, room: Room | None, *, behind: int, largest_upload: int) -> tuple[Concern, ...]:
    """The worst first; empty: all is well.

    `behind`: wake-ups that are overdue (`vidlm.operate.behind`); `largest_upload`: bytes that one upload may have.
    """
    found = [*_of_workers(seen), *_of_broker(seen, behind), *_of_disk(room, largest_upload), *_of_lines(seen)]
    failed = [row for row in seen.failures if row.state == "failed"]
    if failed:
        found.append(Concern(Kind.FAILED, {"count": sum(row.jobs for row in failed), "code": failed[0].code}))
    if seen.webhooks.failed:
        found.append(Concern(Kind.GIVEN_UP, {"count": seen.webhooks.failed}))
    order = list(Kind)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def _of_workers(seen: Overview) -> list[Concern]:
    if not any(worker.fresh for worker in seen.workers):
        return [Concern(Kind.NO_WORKERS)]
    found = [
        Concern(Kind.UNATTENDED, {"queue": line.queue.value, "count": line.waiting})
        for line in seen.queues
        if line.queue in CONSUME_ORDER and line.workers == 0
    ]
    silent = sum(not worker.fresh and worker.heard_s < SILENT_S for worker in seen.workers)
    return [*found, Concern(Kind.SILENT, {"count": silent})] if silent else found


def _of_broker(seen: Overview, behind: int) -> list[Concern]:
    if seen.broker is False:
        return [Concern(Kind.NO_BROKER)]
    return [Concern(Kind.BEHIND, {"count": behind})] if behind else []


def _of_disk(room: Room | None, largest_upload: int) -> list[Concern]:
    if room is None or room.free_bytes >= max(LEAST_FREE_BYTES, 2 * largest_upload):
        return []
    kind = Kind.DISK_FULL if room.free_bytes < LEAST_FREE_BYTES else Kind.DISK_LOW
    return [Concern(kind, {"bytes": room.free_bytes})]


def _of_lines(seen: Overview) -> list[Concern]:
    """What waits too long although somebody is there to take it."""
    return [
        Concern(Kind.LATE, {"queue": line.queue.value, "count": line.waiting, "seconds": line.oldest_s})
        for line in seen.queues
        if line.oldest_s is not None
        and line.oldest_s > PATIENCE_S[line.queue]
        and (line.workers > 0 or line.queue not in CONSUME_ORDER)
    ]
