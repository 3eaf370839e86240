"""Short ways into the middle of a job's life, for tests that begin there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select, update

from vidlm.domain import (
    PIPELINE_VERSION,
    Action,
    Analysis,
    Coverage,
    Evidence,
    Flag,
    Provenance,
    Sampling,
    Segment,
    Severity,
    Summary,
    Verdict,
    VideoInfo,
)
from vidlm.jobs import intake, life
from vidlm.jobs.claims import STAGES, Claim, claim
from vidlm.jobs.intake import NO_WISHES, Wishes
from vidlm.queue import Task
from vidlm.store.blobs import StoredBlob, blob_key
from vidlm.store.columns import new_id
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit
from vidlm.store.tables import DEFAULT_TENANT, Job

LEASE_S = 30.0
ATTEMPTS = 3


def accepted(database: Database, tenant_id: str = DEFAULT_TENANT, wishes: Wishes = NO_WISHES) -> Job:
    """A fresh upload's job."""
    video_id = new_id("vid")
    with database.write() as session:
        return intake.accept(
            session,
            video_id=video_id,
            tenant_id=tenant_id,
            actor="key_test",
            blob=StoredBlob(blob_key(tenant_id, "0" * 64), "0" * 64, 5),
            wishes=replace(wishes, filename=wishes.filename or "a.mp4"),
        )


def take(database: Database, task: Task, target_id: str, lease_s: float = LEASE_S) -> Claim | None:
    """A claim, or None."""
    with database.write() as session:
        return claim(session, task, target_id, lease_s=lease_s, max_attempts=ATTEMPTS)


def must_take(database: Database, task: Task, target_id: str, lease_s: float = LEASE_S) -> Claim:
    held = take(database, task, target_id, lease_s)
    assert held is not None
    return held


def prepared(database: Database, job: Job, spans: int = 2, document: dict[str, Any] | None = None) -> None:
    """The job has been prepared and has so many spans of one window."""
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        life.prepared(
            session,
            held,
            document=document or {},
            recipe="r",
            work_folder=f"work/{job.id}/1",
            duration_s=5.0 * spans,
            spans=[(index, index + 1) for index in range(spans)],
        )


def expire(database: Database, task: Task, target_id: str) -> None:
    """The lease ended a second ago: its worker is dead or too slow."""
    table = STAGES[task].table
    ago = datetime.now(UTC) - timedelta(seconds=1)
    with database.write() as session:
        session.exec(update(table).where(col(table.id) == target_id).values(lease_until=ago))


def segment(index: int) -> Segment:
    return Segment(index, 5.0 * index, 5.0 * (index + 1), (5.0 * index,), f"part {index}", {"a.b": 0.25})


def analysis(segments: int = 2) -> Analysis:
    """A small whole analysis with one flag."""
    return Analysis(
        video=VideoInfo("0" * 64, "a.mp4", 5, 5.0 * segments, 64, 48, 25.0, False, "h264", "mp4", 0, False),
        provenance=Provenance("m", "r", True, PIPELINE_VERSION, "1", "p", Sampling(2.0, 56, 56)),
        coverage=Coverage(5.0 * segments, 5.0 * segments),
        segments=tuple(segment(index) for index in range(segments)),
        summary=Summary("all of it", (), (0,)),
        flags=(Flag("a.b", 0.0, 5.0, 0.75, 0.5, Severity.LOW, Action.REVIEW, (Evidence(0.0),)),),
        verdict=Verdict(Action.REVIEW, "a.b"),
    )


def audited(session: Session) -> list[str]:
    """What stands in the audit, in order, but that keys were made."""
    query = select(Audit.event).where(Audit.event != "key.made")
    return list(session.exec(query.order_by(col(Audit.id))).all())
