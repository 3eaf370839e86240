"""An operator's way to the service's parts, while the service itself may be down: its database, its broker, its disk.

Knows where they are and whether they are there. How things stand is read in `vidlm.overview`, of one job in
`vidlm.dossier`; `vidlm.doctor` looks for what is wrong.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session, col, select

from vidlm.config import Settings
from vidlm.errors import StorageError
from vidlm.jobs import presence
from vidlm.queue import CONSUME_ORDER, tasks_of
from vidlm.store.engine import Database, clock
from vidlm.store.ledger import Outbox

BROKER_SOCKET: Final = Path("run") / "broker.sock"
"""Where the embedded broker listens, below the data folder."""
AWAY: Final = (OperationalError, InterfaceError, PoolTimeoutError)
"""What SQLAlchemy raises while a database is away."""
BEHIND_S: Final = 60.0
"""A relay sends what is owed within a second; so long after that there is none, or it cannot send."""
_MEASURE_S: Final = 2.0
LEAST_FREE_BYTES: Final = 1024**3
"""With less room than that, uploads are refused soon."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The data folder and its disk. Where not `whole`, more is used: not all could be counted in time."""

    folder: str
    used_bytes: int
    whole: bool
    free_bytes: int
    total_bytes: int


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The migrated database of the settings. Raises `StorageError`, also for what goes wrong inside the block.

    Makes no database where there is none.
    """
    if not is_there(settings.sql_url):
        raise StorageError("there is no database yet: `vidlm serve` or `vidlm migrate` makes it", code="no_database")
    database = Database(settings.sql_url)
    try:
        if not database.is_migrated():
            raise StorageError("the database has another version's schema: run `vidlm migrate`", code="not_migrated")
        yield database
    except AWAY as exc:
        raise StorageError("the database does not answer", code="database_unavailable") from exc
    finally:
        database.close()


def is_there(url: str) -> bool:
    """Whether opening the database would find one. SQLite would make it; a server is taken to be there."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return True  # opening it says what is wrong
    return parsed.get_backend_name() != "sqlite" or (parsed.database is not None and Path(parsed.database).is_file())


def broker_url(settings: Settings) -> str | None:
    """The broker that is named, or the one that `vidlm serve` runs on the data folder now; None where it is neither."""
    path = settings.data.resolve() / BROKER_SOCKET
    return settings.redis_url or (f"unix://{path}" if path.is_socket() else None)


def heard_here(session: Session) -> bool:
    """Whether a worker process of this machine was heard of lately."""
    here = socket.gethostname()
    return any(worker.host == here for worker in presence.fresh(session))


def behind(session: Session) -> int:
    """How many wake-ups have been owed to the broker for `BEHIND_S` and more: more than none, and no relay works."""
    before = clock(session) - timedelta(seconds=BEHIND_S)
    owed = (col(Outbox.task).in_(tasks_of(*CONSUME_ORDER)), col(Outbox.sent_at).is_(None), col(Outbox.due_at) < before)
    return session.exec(select(func.count()).select_from(Outbox).where(*owed)).one()


def measure(folder: Path, within_s: float = _MEASURE_S) -> Disk | None:
    """How full the disk is and how much of it is ours, as far as that can be counted within so many seconds; None where
    the folder is not on this machine."""
    folder = folder.resolve()
    try:
        room = shutil.disk_usage(folder)
    except OSError:
        return None
    used_bytes, until_s = 0, time.monotonic() + within_s
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                used_bytes += (Path(place) / name).lstat().st_blocks * 512
            except OSError:  # it went meanwhile
                continue
        if time.monotonic() > until_s:
            return Disk(str(folder), used_bytes, False, room.free, room.total)
    return Disk(str(folder), used_bytes, True, room.free, room.total)
