"""Is this video known? Its frames, as they are decoded, against the banks of its tenant.

    frames --- Watch.add ---> fingerprint --- Recognizer.compare ---> Comparison --- keep ---> rows, events
                                                 ^
    bank_entry --- whatever changed since ---> an index a tenant and bank, in memory

The same bytes are known first, without looking at frames. An index is brought up to date when the banks' version is
another one, so an entry counts for every video that is compared after its commit. Whatever goes wrong here ends no job,
and lets nothing pass: the comparison then says that it failed, and the verdict is `review` at least.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import delete
from sqlmodel import Session, col, select

from vidlm.domain import Bank, FrameBatch, Known
from vidlm.jobs import events
from vidlm.likeness.fingerprint import Fingerprint, Fingerprinter
from vidlm.likeness.index import Found, LikenessIndex
from vidlm.likeness.packing import pack, unpack
from vidlm.likeness.sameness import shares_alike
from vidlm.review import banks
from vidlm.store.engine import Database
from vidlm.store.likeness import BankEntry, FingerprintRow, MatchRow
from vidlm.store.tables import Job

log = structlog.get_logger(__name__)

MOST_MATCHES: Final = 20
"""Of one bank that a video is told to match, the best ones."""

_TENANTS: Final = 4  # whose banks one process keeps in memory, those it asked last
_STRANGERS: Final = 128.0  # bits of 256 in which two pictures differ that have nothing to do with each other
_AT_ONCE: Final = 500  # entries read in one statement


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a video with the banks of its tenant.

    frames: its fingerprint as `packing` writes it, None where it could not be made.  bank_version: of the banks it was
    compared with, None where it could not be, or not wholly.  known: what is known of it all the same.
    """

    frames: bytes | None
    bank_version: int | None
    known: tuple[Known, ...]


@dataclass(slots=True)
class _Shelf:
    """A tenant's banks in memory, as they were at `version`. Entries without frames are in `entries` alone."""

    version: int = -1
    indexes: dict[Bank, LikenessIndex] = field(default_factory=lambda: {bank: LikenessIndex() for bank in Bank})
    entries: dict[str, _Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a match tells of an entry, and its frames where it has any."""

    bank: Bank
    decided: bool
    restricted: bool
    decision_id: str | None
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
        return Comparison(frames, shelf.version, tuple(known))

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


def keep(session: Session, job: Job, done: Comparison) -> None:
    """Write down how a job's video was compared, in place of an earlier time, and tell of what it matched."""
    session.exec(delete(MatchRow).where(col(MatchRow.video_id) == job.video_id))
    session.exec(delete(FingerprintRow).where(col(FingerprintRow.video_id) == job.video_id))
    session.add(
        FingerprintRow(
            video_id=job.video_id, tenant_id=job.tenant_id, frames=done.frames, bank_version=done.bank_version
        )
    )
    for one in done.known:
        values = {name: getattr(one, name) for name in _KEPT}
        row = MatchRow(tenant_id=job.tenant_id, video_id=job.video_id, **values)
        session.add(row)
        events.known_told(session, job, row, bank=one.bank, decision_id=one.decision_id)


def known_of(session: Session, video_id: str) -> tuple[tuple[Known, ...], bool]:
    """What a video matched when it was prepared, and whether it was compared with all that was known then."""
    made = session.get(FingerprintRow, video_id)
    known = tuple(_known(row, entry) for row, entry in matches_of(session, video_id))
    return known, made is not None and made.bank_version is not None


def matches_of(session: Session, video_id: str) -> Sequence[tuple[MatchRow, BankEntry]]:
    """What a video matched, and the entries, the strongest evidence first."""
    query = select(MatchRow, BankEntry).join(BankEntry, col(BankEntry.id) == col(MatchRow.entry_id))
    order = (col(BankEntry.bank), col(MatchRow.exact).desc(), col(MatchRow.similarity).desc(), col(MatchRow.id))
    return session.exec(query.where(MatchRow.video_id == video_id).order_by(*order)).all()


_KEPT: Final = (
    "entry_id",
    "exact",
    "similarity",
    "mirrored",
    "start_s",
    "end_s",
    "known_start_s",
    "known_end_s",
    "share",
    "known_share",
)
"""The fields of a `Known` that its row holds; its entry says the rest."""


def _known(row: MatchRow, entry: BankEntry) -> Known:
    told = _told(entry, None)
    return Known(
        bank=told.bank,
        decided=told.decided,
        restricted=told.restricted,
        decision_id=told.decision_id,
        **{name: getattr(row, name) for name in _KEPT},
    )


def _told(row: BankEntry, video: Fingerprint | None) -> _Entry:
    return _Entry(Bank(row.bank), row.video_id is not None, row.restricted, row.decision_id, video)


def _exact(row: BankEntry, duration_s: float) -> Known:
    """The same bytes: all of the one is all of the other."""
    entry = _told(row, None)
    return Known(
        entry_id=row.id,
        bank=entry.bank,
        exact=True,
        similarity=1.0,
        mirrored=False,
        start_s=0.0,
        end_s=duration_s,
        known_start_s=0.0,
        known_end_s=duration_s,
        share=1.0,
        known_share=1.0,
        decided=entry.decided,
        restricted=entry.restricted,
        decision_id=entry.decision_id,
    )


def _near(found: Found, entry: _Entry, video: Fingerprint) -> Known:
    match = found.match
    assert entry.video is not None
    plain = not match.mirrored and match.speed == 1
    share, known_share = shares_alike(video, entry.video, match.offset_s) if plain else (0.0, 0.0)
    return Known(
        entry_id=found.video_id,
        bank=entry.bank,
        exact=False,
        similarity=max(0.0, 1 - match.mean_distance / _STRANGERS),
        mirrored=match.mirrored,
        start_s=match.query.start_s,
        end_s=match.query.end_s,
        known_start_s=match.known.start_s,
        known_end_s=match.known.end_s,
        share=share,
        known_share=known_share,
        decided=entry.decided,
        restricted=entry.restricted,
        decision_id=entry.decision_id,
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
            entry = _told(row, video)
            if video is not None:
                shelf.indexes[entry.bank].add(row.id, video)
            shelf.entries[row.id] = entry
        session.expunge_all()
