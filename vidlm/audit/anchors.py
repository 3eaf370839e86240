"""Anchors: where chains ended at a moment, kept outside the database, so that whoever owns it cannot rewrite the past.

A file of JSON lines that only grows, `{"at": ..., "tenant_id": ..., "number": ..., "hash": ...}`. Its own time says
when it was last held against the database. Several processes may write to one file. Or an address that is sent where
all chains end, the same lines: a message that is lost is made up for by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from vidlm import outward
from vidlm.audit import reading
from vidlm.errors import InputError, StorageError
from vidlm.store.chain import time_text
from vidlm.store.columns import utc_now
from vidlm.store.engine import Database

EVERY_S: Final = 3600.0
"""How often the sweeper anchors."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """At `at` the last row of a tenant's chain was `number`, with this hash."""

    at: str
    tenant_id: str
    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Anchored:
    """`written` of `chains` had moved on. Those in `went_back` are not where they were: rows are gone or rewritten."""

    chains: int
    written: int
    went_back: tuple[str, ...]


def read(path: Path) -> list[Anchor]:
    """Raises `InputError` (`invalid_anchor`) for a file that is not there or holds something else."""
    try:
        return _parsed(path.read_bytes())
    except OSError as exc:
        raise InputError(f"the anchor file cannot be read: {exc.strerror}", code="invalid_anchor") from exc


def write(database: Database, path: Path) -> Anchored:
    """Add the heads that have moved on to the file; they are on the disk when it returns.

    Raises `InputError` (`invalid_anchor`) for a file of something else, `StorageError` (`anchor_unwritable`).
    """
    try:
        with _locked(path) as file:
            known = {anchor.tenant_id: anchor for anchor in _parsed(_whole_lines(file))}
            with database.read() as session:  # not before the lock: an older head must not follow a newer one
                heads = reading.heads(session)
            at = time_text(utc_now())
            now = {tenant_id: Anchor(at, tenant_id, *head) for tenant_id, head in sorted(heads.items())}
            news = [anchor for anchor in now.values() if _number(known, anchor.tenant_id) < anchor.number]
            file.write("".join(json.dumps(asdict(anchor)) + "\n" for anchor in news).encode())
            file.flush()
            os.utime(path)
            os.fsync(file.fileno())
            _sync_folder(path.parent)
    except OSError as exc:
        raise StorageError(f"the anchor file cannot be written: {exc.strerror}", code="anchor_unwritable") from exc
    return Anchored(
        len(now), len(news), tuple(name for name in sorted(known) if _is_behind(now.get(name), known[name]))
    )


def send(database: Database, url: str, *, private: bool = False) -> int:
    """POST where all chains end, as JSON lines; how many chains there are.

    `private` allows addresses of this network. Raises `OutwardError`, and `StorageError` (`anchor_refused`) where the
    answer is no 2xx.
    """
    with database.read() as session:
        heads = reading.heads(session)
    at = time_text(utc_now())
    lines = [json.dumps(asdict(Anchor(at, tenant_id, *head))) + "\n" for tenant_id, head in sorted(heads.items())]
    status = outward.post(url, "".join(lines).encode(), {"Content-Type": "application/x-ndjson"}, private=private)
    if not 200 <= status < 300:
        raise StorageError(f"the address of the anchors answered {status}", code="anchor_refused")
    return len(lines)


def is_due(path: Path) -> bool:
    """Whether the file was last held against the database `EVERY_S` ago, or never."""
    try:
        return time.time() - path.stat().st_mtime >= EVERY_S
    except OSError:  # that it cannot be written will be said
        return True


def _number(known: dict[str, Anchor], tenant_id: str) -> int:
    return known[tenant_id].number if tenant_id in known else 0


def _is_behind(now: Anchor | None, then: Anchor) -> bool:
    return now is None or now.number < then.number or (now.number == then.number and now.hash != then.hash)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # falls when the file is closed
        yield file


def _whole_lines(file: BinaryIO) -> bytes:
    """What the file holds. A last line that a crash cut off was promised to nobody, and goes."""
    file.seek(0)
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        file.truncate(len(whole))
    return whole


def _parsed(data: bytes) -> list[Anchor]:
    """Anchors of whole lines."""
    return [_anchor(line, place) for place, line in enumerate(data.split(b"\n")[:-1], 1)]


def _anchor(line: bytes, place: int) -> Anchor:
    try:
        anchor = Anchor(**json.loads(line))
    except (ValueError, TypeError) as exc:
        raise InputError(f"line {place} of the anchor file is not an anchor", code="invalid_anchor") from exc
    if not isinstance(anchor.number, int):
        raise InputError(f"line {place} of the anchor file is not an anchor", code="invalid_anchor")
    return anchor


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
