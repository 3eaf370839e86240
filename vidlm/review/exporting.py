"""Decisions handed out: to learn from, to report from. Streamed, however many there are.

Never of `child_safety`, never what was undone, nothing of golden items. CSV has a row for each flag that was decided on
(one with empty cells where there was none), JSON a line for each decision.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TextIO

from sqlmodel import Session, col, select

from vidlm.audit.export import Format, guarded
from vidlm.moderation.decisions import Occasion
from vidlm.review.deciding import with_flags
from vidlm.store.chain import audit, time_text
from vidlm.store.engine import Database
from vidlm.store.review import FlagDecision, ReviewDecision
from vidlm.store.tables import Video

BATCH: Final = 500
_OF_DECISION: Final = ("id", "video_id", "created_at", "actor", "occasion", "outcome", "note", "watched_s", "inclusion")
_OF_MODEL: Final = ("model_id", "model_revision", "prompt_version", "policy_set_version", "pipeline_version")
_OF_FLAG: Final = (
    "policy_id",
    "start_s",
    "end_s",
    "score",
    "severity",
    "review_threshold",
    "verdict",
    "reason",
    "right_policy_id",
    "right_start_s",
    "right_end_s",
)
COLUMNS: Final = (*_OF_DECISION, "sha256", *_OF_MODEL, *_OF_FLAG)
"""Of the CSV."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Decisions of one tenant, made in `[since, until)`."""

    tenant_id: str
    since: datetime | None = None
    until: datetime | None = None


def export(database: Database, out: TextIO, form: Format, wanted: Wanted, *, actor: str) -> int:
    """Write what is wanted; how many decisions there were. That it was done stands in the audit."""
    note(database, form, wanted, actor=actor)
    count = 0
    for text, decisions in pieces(database, form, wanted):
        out.write(text)
        count += decisions
    return count


def note(database: Database, form: Format, wanted: Wanted, *, actor: str) -> None:
    """Write into the audit who takes what away."""
    details = {
        "format": form.value,
        "from": time_text(wanted.since) if wanted.since is not None else None,
        "until": time_text(wanted.until) if wanted.until is not None else None,
    }
    with database.write() as session:
        tenant_id = wanted.tenant_id
        audit(session, tenant_id=tenant_id, actor=actor, event="review.exported", target_id=tenant_id, details=details)


def pieces(database: Database, form: Format, wanted: Wanted) -> Iterator[tuple[str, int]]:
    """The export in pieces, each with how many decisions it holds; a CSV's head comes first."""
    lines = _Lines()
    writer = csv.writer(lines)
    if form is Format.CSV:
        writer.writerow(COLUMNS)
        yield lines.taken(), 0
    for batch in _batches(database, wanted):
        for decision, sha256, flags in batch:
            if form is Format.CSV:
                writer.writerows(_rows(decision, sha256, flags))
            else:
                lines.write(json.dumps(_document(decision, sha256, flags)) + "\n")
        yield lines.taken(), len(batch)


class _Lines:
    """Collects what a `csv.writer` writes."""

    def __init__(self) -> None:
        self._written: list[str] = []

    def write(self, text: str) -> int:
        self._written.append(text)
        return len(text)

    def taken(self) -> str:
        text, self._written = "".join(self._written), []
        return text


def _batches(database: Database, wanted: Wanted) -> Iterator[list[tuple[ReviewDecision, str, list[FlagDecision]]]]:
    """Decisions in order, a session for each batch: a reader that is slow holds nothing up."""
    after = ""
    while True:
        with database.read() as session:
            batch = _batch(session, wanted, after)
        if not batch:
            return
        yield batch
        after = batch[-1][0].id


def _batch(session: Session, wanted: Wanted, after: str) -> list[tuple[ReviewDecision, str, list[FlagDecision]]]:
    query = select(ReviewDecision, Video.sha256).join(Video, col(Video.id) == col(ReviewDecision.video_id))
    query = query.where(
        ReviewDecision.tenant_id == wanted.tenant_id,
        col(ReviewDecision.id) > after,
        col(ReviewDecision.restricted).is_(False),
        col(ReviewDecision.undone_at).is_(None),
        ReviewDecision.occasion != Occasion.GOLDEN.value,
    )
    if wanted.since is not None:
        query = query.where(col(ReviewDecision.created_at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(ReviewDecision.created_at) < wanted.until)
    found = session.exec(query.order_by(col(ReviewDecision.id)).limit(BATCH)).all()
    digests = {decision.id: sha256 for decision, sha256 in found}
    told = with_flags(session, [decision for decision, _ in found])
    return [(decision, digests[decision.id], flags) for decision, flags in told]


def _rows(decision: ReviewDecision, sha256: str, flags: list[FlagDecision]) -> Iterable[list[str]]:
    provenance = decision.pinned["provenance"]
    whole = [getattr(decision, name) for name in _OF_DECISION] + [sha256] + [provenance[name] for name in _OF_MODEL]
    abouts: list[list[Any]] = [[getattr(flag, name) for name in _OF_FLAG] for flag in flags]
    for about in abouts or [[None] * len(_OF_FLAG)]:
        yield [_cell(value) for value in (*whole, *about)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return time_text(value) if isinstance(value, datetime) else guarded(str(value))


def _document(decision: ReviewDecision, sha256: str, flags: list[FlagDecision]) -> dict[str, Any]:
    head = {name: getattr(decision, name) for name in _OF_DECISION} | {"created_at": time_text(decision.created_at)}
    told = [{name: getattr(flag, name) for name in (*_OF_FLAG, "evidence_s")} for flag in flags]
    return {**head, "sha256": sha256, "pinned": decision.pinned, "flags": told}
