"""Videos that are analysed and wait for people, as rows alone: a running service finds nothing to work on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jobs_helpers import analysis

from vidlm.domain import PIPELINE_VERSION, Flag, JobState, to_document
from vidlm.moderation.decisions import ReviewState
from vidlm.review import filing
from vidlm.store.columns import new_id
from vidlm.store.engine import Database
from vidlm.store.tables import DEFAULT_TENANT, AnalysisRow, FlagRow, Job, Video


def ready(database: Database, *flags: Flag, text: str = "a video", document: dict[str, Any] | None = None) -> str:
    """A video that was filed for review; `text` is its name and the reason of its verdict. Returns its item's id."""
    now = datetime.now(UTC)
    video = Video(
        tenant_id=DEFAULT_TENANT, filename=text, client_id=text, sha256="0" * 64, size_bytes=1, created_at=now
    )
    job = Job(
        id=new_id("job"),
        tenant_id=DEFAULT_TENANT,
        video_id=video.id,
        pipeline_version=PIPELINE_VERSION,
        state=JobState.READY.value,
        review_state=ReviewState.NONE.value,
        verdict_action="review",
        verdict_reason=text,
        duration_s=10.0,
        created_at=now,
        finished_at=now,
    )
    with database.write() as session:
        session.add(video)
        session.flush()
        session.add(job)
        session.flush()
        stored = to_document(analysis()) | (document or {})
        session.add(AnalysisRow(job_id=job.id, tenant_id=DEFAULT_TENANT, document=stored))
        session.add_all(FlagRow.of(job, flag) for flag in flags)
        session.flush()
        item = filing.file(session, job)
        assert item is not None
        session.flush()
        return item.id
