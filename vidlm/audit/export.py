"""The audit handed out, as CSV for people or as JSON lines to be verified elsewhere; streamed, however long it is.

Both hold what is hashed, as it is hashed: `details` is the JSON text itself, because another writer of the same
document would give other bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import Final, TextIO

from sqlalchemy.exc import IntegrityError

from vidlm.audit import reading
from vidlm.audit.reading import Entry
from vidlm.errors import InputError, StorageError
from vidlm.store.chain import audit, time_text
from vidlm.store.engine import Database

FORMULA_STARTS: Final = frozenset("=+-@＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), also after tabs and line ends."""
MARK: Final = "'"


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is exported: what was done in `[since, until)`, by whomever, of one tenant or of all."""

    tenant_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def export(database: Database, out: TextIO, form: Format, wanted: Wanted, *, actor: str) -> int:
    """Write rows by tenant and number; how many there were.

    Every tenant whose rows may be read finds that in its own audit; written before, so it is in the export, too.
    Raises `InputError` (`unknown_tenant`), `StorageError` (`audit_broken`) where that cannot be written.
    """
    tenants = note(database, form, wanted, actor=actor)
    count = -1 if form is Format.CSV else 0  # a CSV's head is no row
    for line in lines(database, form, wanted, tenants):
        out.write(line)
        count += 1
    return count


def note(database: Database, form: Format, wanted: Wanted, *, actor: str) -> list[str]:
    """Write into the audit who takes what away; whose rows they may read. Raises as `export` does."""
    try:
        return _note(database, form, wanted, actor)
    except IntegrityError as exc:
        raise StorageError("a chain takes no more rows: `vidlm audit verify` says why", code="audit_broken") from exc


def lines(database: Database, form: Format, wanted: Wanted, tenants: Iterable[str]) -> Iterator[str]:
    """The export of these tenants' rows, a line at a time; a CSV's head comes first."""
    with reading.snapshot(database) as session:
        found = (
            entry
            for tenant_id in tenants
            for entry in reading.entries(session, tenant_id, since=wanted.since, until=wanted.until)
        )
        yield from _csv(found) if form is Format.CSV else _json(found)


def guarded(cell: str) -> str:
    """The cell as no spreadsheet takes it for a formula. Who reads it takes away one leading `'`, if there is one."""
    risky = cell.startswith((MARK, "\t", "\r", "\n")) or cell.lstrip()[:1] in FORMULA_STARTS
    return MARK + cell if risky else cell


def _note(database: Database, form: Format, wanted: Wanted, actor: str) -> list[str]:
    details = {
        "format": form.value,
        "from": time_text(wanted.since) if wanted.since is not None else None,
        "until": time_text(wanted.until) if wanted.until is not None else None,
    }
    with database.write() as session:
        if wanted.tenant_id is None:
            tenants = sorted(reading.heads(session).keys() | reading.tenants(session))
        elif reading.is_tenant(session, wanted.tenant_id):
            tenants = [wanted.tenant_id]
        else:
            raise InputError(f"there is no tenant {wanted.tenant_id!r}", code="unknown_tenant")
        for tenant_id in tenants:
            audit(
                session, tenant_id=tenant_id, actor=actor, event="audit.exported", target_id=tenant_id, details=details
            )
    return tenants


def _csv(entries: Iterable[Entry]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    for cells in chain([Entry._fields], ([guarded(str(value)) for value in entry] for entry in entries)):
        writer.writerow(cells)
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def _json(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield json.dumps(entry._asdict(), default=str) + "\n"
