"""How full the data folder is, and of what. Free room is looked at each time; the folders, which takes long, rarely.

Knows files; what is too full is said by `vidlm.concerns`.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vidlm.config import Settings
from vidlm.operate import measure

KEPT_S: Final = 60.0
PARTS: Final = ("blobs", "work", "tokens", "incoming", "logs")
"""Folders in the data folder (`docs/operations.md`)."""
_WITHIN_S: Final = 0.5
"""Of each folder; a larger one is said to be larger than what was counted."""


@dataclass(frozen=True, slots=True)
class Part:
    """One folder and its bytes; where not `whole`, more."""

    name: str
    used_bytes: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Room:
    """The data folder's disk, and what takes its room. `database_bytes`: None where it is no file there."""

    free_bytes: int
    total_bytes: int
    parts: tuple[Part, ...]
    database_bytes: int | None


class Meter:
    """Looks at one data folder for whoever asks, in a process. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data
        self._database = settings.data / "vidlm.db" if settings.database_url is None else None
        self._lock = threading.Lock()
        self._parts: tuple[Part, ...] = ()
        self._until_s = 0.0

    def look(self) -> Room | None:
        """How it stands; None where the folder is not on this machine."""
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError:
            return None
        with self._lock:
            if time.monotonic() >= self._until_s:
                self._parts = parts_of(self._folder)
                self._until_s = time.monotonic() + KEPT_S
            parts = self._parts
        database = None if self._database is None else _database_bytes(self._database)
        return Room(disk.free, disk.total, parts, database)


def parts_of(folder: Path) -> tuple[Part, ...]:
    """What each of the folders takes; those that are not there are left out."""
    found = []
    for name in PARTS:
        disk = measure(folder / name, _WITHIN_S)
        if disk is not None:
            found.append(Part(name, disk.used_bytes, disk.whole))
    return tuple(found)


def _database_bytes(file: Path) -> int:
    """SQLite's file and what it writes ahead."""
    return sum(one.stat().st_size for one in (file, file.with_name(f"{file.name}-wal")) if one.is_file())
