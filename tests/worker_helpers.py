"""A worker's runtime over a fresh database, and its work done by hand instead of by a queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import col, select

from vidlm.config import Settings
from vidlm.jobs import intake
from vidlm.jobs.intake import Wishes
from vidlm.queue import Task
from vidlm.store.blobs import BlobStore
from vidlm.store.columns import new_id
from vidlm.store.engine import migrate
from vidlm.store.ledger import Outbox
from vidlm.store.tables import DEFAULT_TENANT, Job
from workers.runtime import Runtime
from workers.tasks import work


@contextmanager
def fresh_runtime(
    data: Path, checkpoint: Path, policies: Path, *, span_s: float, database_url: str | None = None
) -> Iterator[Runtime]:
    """A runtime in the folder `data`, which need not exist; closed at the end. Its database is SQLite by default."""
    settings = Settings(
        data=data,
        database_url=database_url,
        model=str(checkpoint),
        policies=policies,
        device="cpu",
        span_s=span_s,
        segment_max_s=4.0,
    )
    migrate(settings.sql_url)
    runtime = Runtime(settings)
    yield runtime
    runtime.close()
    runtime.database.close()


def accept(runtime: Runtime, data: bytes, filename: str = "a.mp4") -> Job:
    """What the API does with an upload."""
    video_id = new_id("vid")
    with BlobStore(runtime.settings.data).incoming() as incoming:
        incoming.write(data)
        blob = incoming.seal(DEFAULT_TENANT)
        incoming.place(blob)
    with runtime.database.write() as session:
        return intake.accept(
            session,
            video_id=video_id,
            tenant_id=DEFAULT_TENANT,
            actor="key_test",
            blob=blob,
            wishes=Wishes(filename=filename),
        )


def owed(runtime: Runtime) -> list[tuple[Task, str]]:
    with runtime.database.read() as session:
        rows = session.exec(select(Outbox).order_by(col(Outbox.id))).all()
        return [(Task(row.task), row.target_id) for row in rows]


def run_all(runtime: Runtime) -> list[str]:
    """Do what is owed until nothing is; what each piece of work said."""
    said = []
    while todo := owed(runtime):
        said += [work(runtime, task, target) for task, target in todo]
    return said
