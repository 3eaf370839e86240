"""A tenant's banks of known videos: what a person decided about, or what a list of hashes names, to be known again.

    decided about a video ----- enter ----.                       .---- withdraw, withdraw_video
    somebody's list of hashes - take_in --+--> known_bad, known_ok
                                                                  `---- given to others: `api.routes.banks`

Each step inside ONE transaction, audited, and counted in the banks' version. A video is in one bank at a time: the last
decision about it counts. What is compared with the banks, and when, stands in `recognition`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import func, insert, text
from sqlmodel import Session, col, select

from vidlm.domain import Bank
from vidlm.errors import ConflictError
from vidlm.likeness.fingerprint import Fingerprint
from vidlm.likeness.hashlists import HashEntry, entries_of
from vidlm.likeness.packing import pack, unpack
from vidlm.moderation.routing import is_restricted
from vidlm.store.chain import audit
from vidlm.store.columns import new_id
from vidlm.store.engine import clock
from vidlm.store.likeness import BankEntry, BankVersion, FingerprintRow
from vidlm.store.queries import find_video
from vidlm.store.tables import FlagRow, Job

MOST_ENTRIES: Final = 50_000
"""Of one tenant, in both banks."""
MOST_FRAMES: Final = 2_000_000
"""Of one tenant's entries: about 200 MB in each process that compares."""

OWN_SOURCE: Final = "vidlm"
"""Who a list says that our own entries come from."""

_CHANGED: Final = text(
    "INSERT INTO bank_version (tenant_id, version) VALUES (:tenant_id, 1)"
    " ON CONFLICT (tenant_id) DO UPDATE SET version = bank_version.version + 1"
)
_AT_ONCE: Final = 500  # rows asked for or written in one statement

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of a list: videos that are new in the bank, that were there, and that took an older one's place."""

    added: int
    unchanged: int
    replaced: int


def enter(
    session: Session,
    *,
    tenant_id: str,
    video_id: str,
    bank: Bank,
    actor: str,
    reason: str,
    decision_id: str | None = None,
    restricted: bool = False,
) -> BankEntry:
    """A video that somebody decided about, known from now on. It leaves the other bank; one that is there stays.

    It is `restricted` where it is said to be, and where a policy of child safety was flagged in it. A video that was
    never prepared is known by its bytes alone. Raises `ConflictError`: `no_such_video` for one that is another
    tenant's, was deleted or has not arrived; `bank_full`.
    """
    _changing(session, tenant_id)
    video = find_video(session, tenant_id, video_id, lock=True)
    if video is None or video.deleted_at is not None or not video.sha256:
        raise ConflictError("there is no such video to be known again", code="no_such_video")
    for entry in _entries_of(session, tenant_id, video_id):
        if entry.bank == bank and (entry.restricted or not restricted):
            return entry
        withdraw(session, entry, actor=actor, reason=reason)
    made = session.get(FingerprintRow, video_id)
    frames = made.frames if made is not None else None
    entry = BankEntry(
        tenant_id=tenant_id,
        bank=bank.value,
        video_id=video_id,
        sha256=video.sha256,
        frames=frames,
        frame_count=0 if frames is None else len(unpack(frames)),
        restricted=restricted or _restricted(session, video_id),
        decision_id=decision_id,
        reason=reason,
        created_at=clock(session),
        created_by=actor,
    )
    _check_room(session, tenant_id, 1, entry.frame_count)
    session.add(entry)
    details = {"bank": bank.value, "video_id": video_id, "decision_id": decision_id, "restricted": entry.restricted}
    _audit(session, entry, actor, "bank.entered", **details)
    session.flush()
    return entry


def withdraw(session: Session, entry: BankEntry, *, actor: str, reason: str) -> None:
    """The entry is known no more; nothing happens to one that was withdrawn. What matched it stays written down."""
    if entry.removed_at is not None:
        return
    _changing(session, entry.tenant_id)
    entry.removed_at, entry.removed_by, entry.removed_reason = clock(session), actor, reason
    _audit(session, entry, actor, "bank.withdrawn", bank=entry.bank, video_id=entry.video_id)
    session.flush()


def withdraw_video(session: Session, *, tenant_id: str, video_id: str, actor: str, reason: str) -> Sequence[BankEntry]:
    """Take a video out of whichever bank holds it, as when a decision about it is overturned; what was taken out."""
    _changing(session, tenant_id)
    entries = _entries_of(session, tenant_id, video_id)
    for entry in entries:
        withdraw(session, entry, actor=actor, reason=reason)
    return entries


def take_in(
    session: Session,
    videos: Mapping[tuple[str, str], Fingerprint],
    *,
    tenant_id: str,
    bank: Bank,
    actor: str,
    reason: str,
    restricted: bool = False,
) -> TakenIn:
    """The videos of a list by (label, source). One that the bank knows by the same name takes the older one's place.

    Raises `ConflictError` (`bank_full`).
    """
    _changing(session, tenant_id)
    older = _listed(session, tenant_id, bank, {source for _, source in videos})
    packed = {name: pack(video) for name, video in videos.items()}
    new = {
        name: frames
        for name, frames in packed.items()
        if name not in older or (older[name].frames, older[name].restricted) != (frames, restricted)
    }
    replaced = [older[name] for name in new if name in older]
    now = clock(session)
    for entry in replaced:
        entry.removed_at, entry.removed_by, entry.removed_reason = now, actor, reason
    session.flush()  # their names are free now
    _check_room(session, tenant_id, len(new), sum(len(videos[name]) for name in new))
    rows = [
        {
            "id": new_id("bke"),
            "tenant_id": tenant_id,
            "bank": bank.value,
            "label": label,
            "source": source,
            "frames": frames,
            "frame_count": len(videos[label, source]),
            "restricted": restricted,
            "reason": reason,
            "created_at": now,
            "created_by": actor,
        }
        for (label, source), frames in new.items()
    ]
    for part in _parts(rows):
        session.execute(insert(BankEntry), part)
    done = TakenIn(len(new) - len(replaced), len(videos) - len(new), len(replaced))
    counts = {"added": done.added, "unchanged": done.unchanged, "replaced": done.replaced, "restricted": restricted}
    audit(session, tenant_id=tenant_id, actor=actor, event="bank.imported", target_id=bank.value, details=counts)
    return done


def find(session: Session, tenant_id: str, entry_id: str, bank: Bank, *, lock: bool = False) -> BankEntry | None:
    """One of the entries of a tenant's bank, withdrawn ones included."""
    query = select(BankEntry).where(
        BankEntry.id == entry_id, BankEntry.tenant_id == tenant_id, BankEntry.bank == bank.value
    )
    return session.exec(query.with_for_update() if lock else query).first()


def list_entries(
    session: Session, tenant_id: str, bank: Bank, *, most: int, before: str | None = None, withdrawn: bool = False
) -> Sequence[BankEntry]:
    """Up to `most` entries of a bank, the newest first, older than the entry `before`; or those that left it."""
    gone = col(BankEntry.removed_at).is_not(None)
    query = select(BankEntry).where(
        BankEntry.tenant_id == tenant_id, BankEntry.bank == bank.value, gone if withdrawn else ~gone
    )
    if before is not None:
        query = query.where(col(BankEntry.id) < before)
    return session.exec(query.order_by(col(BankEntry.id).desc()).limit(most)).all()


def as_list(
    session: Session, tenant_id: str, bank: Bank, *, after: str, most: int
) -> tuple[list[HashEntry], str | None]:
    """The frames of up to `most` entries of a bank that follow the entry `after`, oldest first, and the last one's id.

    The id is None at the end. A video of our own goes by its entry's id: nothing that a client called it leaves.
    """
    query = select(BankEntry).where(
        BankEntry.tenant_id == tenant_id,
        BankEntry.bank == bank.value,
        col(BankEntry.removed_at).is_(None),
        col(BankEntry.id) > after,
    )
    rows = session.exec(query.order_by(col(BankEntry.id)).limit(most)).all()
    entries = [
        entry
        for row in rows
        if row.frames is not None
        for entry in entries_of(unpack(row.frames), row.label or row.id, row.source or OWN_SOURCE)
    ]
    return entries, rows[-1].id if rows else None


def version(session: Session, tenant_id: str) -> int:
    """How often the tenant's banks were changed."""
    row = session.get(BankVersion, tenant_id, populate_existing=True)
    return 0 if row is None else row.version


def _changing(session: Session, tenant_id: str) -> None:
    """The banks are others from this commit on. Whoever changes the same tenant's waits until then."""
    session.connection().execute(_CHANGED, {"tenant_id": tenant_id})


def _entries_of(session: Session, tenant_id: str, video_id: str) -> Sequence[BankEntry]:
    query = select(BankEntry).where(
        BankEntry.tenant_id == tenant_id, BankEntry.video_id == video_id, col(BankEntry.removed_at).is_(None)
    )
    return session.exec(query).all()


def _listed(session: Session, tenant_id: str, bank: Bank, sources: set[str]) -> dict[tuple[str, str], BankEntry]:
    """What a bank holds out of these makers' lists, by (label, source)."""
    found: dict[tuple[str, str], BankEntry] = {}
    for part in _parts(sorted(sources)):
        query = select(BankEntry).where(
            BankEntry.tenant_id == tenant_id,
            BankEntry.bank == bank.value,
            col(BankEntry.removed_at).is_(None),
            col(BankEntry.source).in_(part),
        )
        found |= {(entry.label or "", entry.source or ""): entry for entry in session.exec(query).all()}
    return found


def _restricted(session: Session, video_id: str) -> bool:
    query = select(FlagRow.policy_id).join(Job, col(Job.id) == col(FlagRow.job_id)).where(Job.video_id == video_id)
    return any(map(is_restricted, session.exec(query.distinct()).all()))


def _check_room(session: Session, tenant_id: str, entries: int, frames: int) -> None:
    count = select(func.count(), func.coalesce(func.sum(BankEntry.frame_count), 0))
    kept, kept_frames = session.exec(
        count.where(col(BankEntry.tenant_id) == tenant_id, col(BankEntry.removed_at).is_(None))
    ).one()
    if kept + entries > MOST_ENTRIES or kept_frames + frames > MOST_FRAMES:
        limits = f"{MOST_ENTRIES} entries and {MOST_FRAMES} frames"
        raise ConflictError(f"both banks together hold {limits} at most", code="bank_full")


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE))


def _audit(session: Session, entry: BankEntry, actor: str, event: str, **details: Any) -> None:
    audit(session, tenant_id=entry.tenant_id, actor=actor, event=event, target_id=entry.id, details=details)
