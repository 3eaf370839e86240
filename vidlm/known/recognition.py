"""Is this video known? Its frames, as they are decoded, against the banks of its tenant.

    frames --- Watch.add ---> fingerprint --- Recognizer.compare ---> Comparison (`matches`)
                                                 ^
    bank_entry --- whatever changed since ---> an index a tenant and bank, in memory

The same bytes are known first, without looking at frames. An index is brought up to date when the banks' version is
another one, so an entry counts for every video that is compared after its commit. Whatever goes wrong here ends no job,
and lets nothing pass: the comparison then says that it failed, and the verdict is `review` at least.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlmodel import Session, col, select

from vidlm.domain import Bank, FrameBatch, Known
from vidlm.known import banks
from vidlm.known.matches import Comparison, facts_of
from vidlm.likeness.fingerprint import Fingerprint, Fingerprinter
from vidlm.likeness.index import Found, LikenessIndex
from vidlm.likeness.packing import pack, unpack
from vidlm.likeness.sameness import shares_alike
from vidlm.store.engine import Database
from vidlm.store.likeness import BankEntry

log = structlog.get_logger(__name__)

MOST_MATCHES: Final = 20
"""Of one bank that a video is told to match, the best ones."""

_TENANTS: Final = 4  # whose banks one process keeps in memory, those it asked last
_STRANGERS: Final = 128.0  # bits of 256 in which two pictures differ that have nothing to do with each other
_AT_ONCE: Final = 500  # entries read in one statement


@dataclass(slots=True)
class _Shelf:
    """A tenant's banks in memory, as they were at `version`. Entries without frames are in `entries` alone."""

    version: int = -1
    indexes: dict[Bank, LikenessIndex] = field(default_factory=lambda: {bank: LikenessIndex() for bank in Bank})
    entries: dict[str, _Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What every match with an entry tells of it (`matches.facts_of`), and its frames where it has any."""

    bank: Bank
    facts: dict[str, Any]
    video: Fingerprint | None


class Recognizer:
    """Compares videos with banks. One a process; safe to share between threads, one of which compares at a time."""

    def __init__(self, database: Database, *, mirror: bool) -> None:
        self._database = database
        self._mirror = mirror
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        self._comparing = threading.Lock()

    def compare(self, tenant_id: str, sha256: str, duration_s: float, video: Fingerprint | None) -> Comparison:
        """What the tenant's banks know of a video. Without frames only what is known by its bytes."""
        frames, known = None, []
        try:
            version = self._version(tenant_id)  # first: what comes in meanwhile may be seen or not
            known = self._same_bytes(tenant_id, sha256, duration_s)
            if video is None:
                return Comparison(None, None, tuple(known))
            frames = pack(video)
            with self._comparing:
                shelf = self._shelf(tenant_id)
                exact = {one.entry_id for one in known}
                known += [one for one in self._alike(shelf, video) if one.entry_id not in exact]
        except Exception:  # people look at the video: better than that it is lost, or passes
            log.exception("recognition.failed", tenant_id=tenant_id)
            return Comparison(frames, None, tuple(known))
        return Comparison(frames, version, tuple(known))

    def up_to_date(self, tenant_id: str, sha256: str, duration_s: float, before: Comparison) -> Comparison:
        """The same, and what has come into the banks since: a video may wait for hours between these two.

        Its frames are compared as they were kept, not in a mirror and without guesses at what was done to them.
        """
        if before.frames is None or before.bank_version in (None, self._version(tenant_id)):
            return before
        now = self.compare(tenant_id, sha256, duration_s, unpack(before.frames))
        told = {one.entry_id for one in before.known}
        new = [one for one in now.known if one.entry_id not in told]
        return Comparison(before.frames, now.bank_version, (*before.known, *new))

    def _version(self, tenant_id: str) -> int:
        with self._database.read() as session:
            return banks.version(session, tenant_id)

    def _same_bytes(self, tenant_id: str, sha256: str, duration_s: float) -> list[Known]:
        query = select(BankEntry).where(
            BankEntry.tenant_id == tenant_id, BankEntry.sha256 == sha256, col(BankEntry.removed_at).is_(None)
        )
        with self._database.read() as session:
            rows = session.exec(query.order_by(col(BankEntry.bank), col(BankEntry.id)).limit(2 * MOST_MATCHES)).all()
        return [_exact(row, duration_s) for row in rows]

    def _shelf(self, tenant_id: str) -> _Shelf:
        shelf = self._shelves.setdefault(tenant_id, _Shelf())
        self._shelves.move_to_end(tenant_id)
        while len(self._shelves) > _TENANTS:
            self._shelves.popitem(last=False)
        with self._database.read() as session:
            version = banks.version(session, tenant_id)
            if version != shelf.version:
                _bring_up_to_date(session, tenant_id, shelf)
                shelf.version = version  # read before the entries: what came in between is read again next time
        return shelf

    def _alike(self, shelf: _Shelf, video: Fingerprint) -> Iterator[Known]:
        for index in filter(len, shelf.indexes.values()):
            for found in index.search(video, mirror=self._mirror, limit=MOST_MATCHES):
                yield _near(found, shelf.entries[found.video_id], video)


class Watch:
    """One video on its way through the decoder. What goes wrong while it is watched is noted, and nothing more."""

    def __init__(self) -> None:
        self._maker: Fingerprinter | None = Fingerprinter()

    def add(self, frames: FrameBatch) -> None:
        """The next frames of the video."""
        if self._maker is None:
            return
        try:
            self._maker.add(frames)
        except Exception:  # noqa: BLE001  it must not end the decoding
            self._give_up()

    def finish(self) -> Fingerprint | None:
        """What was seen, or None where it could not be made out."""
        try:
            return self._maker.finish() if self._maker is not None else None
        except Exception:  # noqa: BLE001  nor what follows
            self._give_up()
            return None

    def _give_up(self) -> None:
        log.exception("recognition.unwatched")
        self._maker = None


def _exact(row: BankEntry, duration_s: float) -> Known:
    """The same bytes: all of the one is all of the other."""
    return Known(
        **facts_of(row),
        exact=True,
        similarity=1.0,
        mirrored=False,
        start_s=0.0,
        end_s=duration_s,
        known_start_s=0.0,
        known_end_s=duration_s,
        share=1.0,
        known_share=1.0,
    )


def _near(found: Found, entry: _Entry, video: Fingerprint) -> Known:
    match = found.match
    assert entry.video is not None
    plain = not match.mirrored and match.speed == 1
    share, known_share = shares_alike(video, entry.video, match.offset_s) if plain else (0.0, 0.0)
    return Known(
        **entry.facts,
        exact=False,
        similarity=max(0.0, 1 - match.mean_distance / _STRANGERS),
        mirrored=match.mirrored,
        start_s=match.query.start_s,
        end_s=match.query.end_s,
        known_start_s=match.known.start_s,
        known_end_s=match.known.end_s,
        share=share,
        known_share=known_share,
    )


def _bring_up_to_date(session: Session, tenant_id: str, shelf: _Shelf) -> None:
    """Forget what left the tenant's banks, read what came into them. An entry is never changed."""
    mine = (col(BankEntry.tenant_id) == tenant_id, col(BankEntry.removed_at).is_(None))
    now = session.exec(select(BankEntry.id).where(*mine)).all()
    for entry_id in shelf.entries.keys() - set(now):
        gone = shelf.entries.pop(entry_id)
        shelf.indexes[gone.bank].remove(entry_id)
    new = [entry_id for entry_id in now if entry_id not in shelf.entries]
    for first in range(0, len(new), _AT_ONCE):
        query = select(BankEntry).where(col(BankEntry.id).in_(new[first : first + _AT_ONCE]))
        for row in session.exec(query).all():
            video = None if row.frames is None else unpack(row.frames)
            entry = _Entry(Bank(row.bank), facts_of(row), video)
            if video is not None:
                shelf.indexes[entry.bank].add(row.id, video)
            shelf.entries[row.id] = entry
        session.expunge_all()
