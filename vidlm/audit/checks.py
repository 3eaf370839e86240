"""Verifications that run beside other work: one at a time of each tenant's chain, each in a thread, with its progress.

    begin -> Check(rows 0 of 90,000) -> ... -> Check(report) or Check(problem)

What was found last is kept until the process ends; that it was looked for stands in the audit (`audit.verified`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from vidlm.audit import anchors, reading
from vidlm.audit.anchors import Anchor
from vidlm.audit.verifying import Report, verify
from vidlm.errors import VidlmError
from vidlm.store.chain import audit
from vidlm.store.columns import utc_now
from vidlm.store.engine import Database

log = structlog.get_logger(__name__)

YIELD_S: Final = 0.001
"""Hashing holds the interpreter's lock: every `verifying.STEP` rows the thread lets others have it for so long."""


@dataclass(frozen=True, slots=True)
class Check:
    """A verification: `rows` of `total` were looked at. `report`, or `problem` (a code), once it has ended."""

    began_at: datetime
    actor: str
    total: int
    rows: int = 0
    report: Report | None = None
    problem: str | None = None

    @property
    def is_running(self) -> bool:
        return self.report is None and self.problem is None


class _StoppedError(Exception):
    """The process ends."""


class Checks:
    """The verifications of one process, by tenant. Safe to share between threads."""

    def __init__(self, database: Database, anchor_file: Path | None = None) -> None:
        self._database, self._anchor_file = database, anchor_file
        self._checks: dict[str, Check] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def of(self, tenant_id: str) -> Check | None:
        """The one that runs, or the last one."""
        return self._checks.get(tenant_id)

    def begin(self, tenant_id: str, actor: str) -> Check:
        """Begin one, unless one runs: then that one."""
        with self._database.read() as session:
            head = reading.heads(session).get(tenant_id)
        with self._lock:
            found = self._checks.get(tenant_id)
            if found is not None and found.is_running:
                return found
            begun = self._checks[tenant_id] = Check(utc_now(), actor, head.number if head is not None else 0)
            thread = threading.Thread(target=self._run, args=(tenant_id, actor), name="verify", daemon=True)
            self._threads[tenant_id] = thread
            thread.start()
        return begun

    def wait(self, tenant_id: str, timeout_s: float) -> Check | None:
        """The check, once it has ended or this took too long."""
        thread = self._threads.get(tenant_id)
        if thread is not None:
            thread.join(timeout_s)
        return self.of(tenant_id)

    def close(self) -> None:
        """End what runs."""
        self._stopping.set()
        for thread in list(self._threads.values()):
            thread.join()

    def _run(self, tenant_id: str, actor: str) -> None:
        try:
            report = verify(self._database, tenant_id, self._anchors(), told=lambda rows: self._told(tenant_id, rows))
            self._change(tenant_id, rows=report.rows, report=report)
            self._note(tenant_id, actor, report)
        except _StoppedError:
            self._change(tenant_id, problem="stopped")
        except VidlmError as exc:
            self._change(tenant_id, problem=exc.code)
        except SQLAlchemyError as exc:
            log.warning("audit.check_ended", error=type(exc).__name__)
            self._change(tenant_id, problem="database_unavailable")
        except Exception:  # nobody waits for this thread: without an end the page would show a bar for ever
            log.exception("audit.check_broken")
            self._change(tenant_id, problem="internal")

    def _anchors(self) -> Iterable[Anchor]:
        """What the sweeper has kept, where it does and the file is on this machine."""
        path = self._anchor_file
        return anchors.read(path) if path is not None and path.is_file() else ()

    def _told(self, tenant_id: str, rows: int) -> None:
        if self._stopping.is_set():
            raise _StoppedError
        self._change(tenant_id, rows=rows)
        time.sleep(YIELD_S)

    def _change(self, tenant_id: str, **changes: Any) -> None:
        self._checks[tenant_id] = replace(self._checks[tenant_id], **changes)

    def _note(self, tenant_id: str, actor: str, report: Report) -> None:
        """Write down that it was done. A chain whose head is gone takes no more rows: the report says so by itself."""
        fault = next(iter(report.faults), None)
        details = {
            "rows": report.rows,
            "flaw": None if fault is None else fault.flaw.value,
            "number": None if fault is None else fault.number,
        }
        try:
            with self._database.write() as session:
                audit(
                    session,
                    tenant_id=tenant_id,
                    actor=actor,
                    event="audit.verified",
                    target_id=tenant_id,
                    details=details,
                )
        except SQLAlchemyError as exc:
            log.warning("audit.check_not_noted", error=type(exc).__name__)
