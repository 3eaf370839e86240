"""What a video was recognised as, written down when it is prepared and read when it is judged, or asked for.

Knows rows and events; how videos are compared stands in `recognition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete
from sqlmodel import Session, col, select

from vidlm.domain import Bank, Known
from vidlm.jobs import events
from vidlm.store.likeness import BankEntry, FingerprintRow, MatchRow
from vidlm.store.tables import Job

_KEPT: Final = (
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a video with the banks of its tenant.

    frames: its fingerprint as `packing` writes it, None where it could not be made.  bank_version: of the banks it was
    compared with, None where it could not be, or not wholly.  known: what is known of it all the same.
    """

    frames: bytes | None
    bank_version: int | None
    known: tuple[Known, ...]


def keep(session: Session, job: Job, done: Comparison) -> None:
    """Write down how a job's video was compared, in place of an earlier time, and tell of what is new."""
    told = set(session.exec(select(MatchRow.entry_id).where(MatchRow.video_id == job.video_id)).all())
    session.exec(delete(MatchRow).where(col(MatchRow.video_id) == job.video_id))
    session.exec(delete(FingerprintRow).where(col(FingerprintRow.video_id) == job.video_id))
    session.add(
        FingerprintRow(
            video_id=job.video_id, tenant_id=job.tenant_id, frames=done.frames, bank_version=done.bank_version
        )
    )
    for one in done.known:
        values = {name: getattr(one, name) for name in _KEPT}
        row = MatchRow(tenant_id=job.tenant_id, video_id=job.video_id, entry_id=one.entry_id, **values)
        session.add(row)
        if one.entry_id not in told:
            events.known_told(session, job, row, bank=one.bank, decision_id=one.decision_id)


def comparison_of(session: Session, video_id: str) -> Comparison:
    """How a video was compared. One that was prepared by a vidlm that knew no banks was not."""
    made = session.get(FingerprintRow, video_id)
    known = tuple(_known(row, entry) for row, entry in matches_of(session, video_id))
    return Comparison(None, None, known) if made is None else Comparison(made.frames, made.bank_version, known)


def matches_of(session: Session, video_id: str) -> Sequence[tuple[MatchRow, BankEntry]]:
    """What a video matched, and the entries, the strongest evidence first."""
    query = select(MatchRow, BankEntry).join(BankEntry, col(BankEntry.id) == col(MatchRow.entry_id))
    order = (col(BankEntry.bank), col(MatchRow.exact).desc(), col(MatchRow.similarity).desc(), col(MatchRow.id))
    return session.exec(query.where(MatchRow.video_id == video_id).order_by(*order)).all()


def facts_of(entry: BankEntry) -> dict[str, Any]:
    """The fields of a `Known` that its entry says."""
    return {
        "entry_id": entry.id,
        "bank": Bank(entry.bank),
        "decided": entry.video_id is not None,
        "restricted": entry.restricted,
        "decision_id": entry.decision_id,
    }


def _known(row: MatchRow, entry: BankEntry) -> Known:
    return Known(**facts_of(entry), **{name: getattr(row, name) for name in _KEPT})
