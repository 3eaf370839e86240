"""Cancel, retry, hold, delete, expire, and what goes because of its age: on rows and real files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jobs_helpers import ATTEMPTS, accepted, expire, must_take, prepared, segment, take
from sqlmodel import Session, col, select, update
from test_jobs_life import job_now, owed, ready, span_ids

from vidlm.domain import JobState
from vidlm.errors import ConflictError, LeaseLost, ModelError
from vidlm.jobs import control, disposal, intake, life
from vidlm.jobs.intake import Wishes
from vidlm.queue import Task
from vidlm.store.blobs import BlobStore, StoredBlob, tokens_root
from vidlm.store.columns import new_id
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit, Event
from vidlm.store.queries import job_of
from vidlm.store.tables import DEFAULT_TENANT, Job, SpanWork, Tenant, Video


def locked(session: Session, job: Job) -> Job:
    return job_of(session, job.video_id, lock=True)


def cancel(database: Database, job: Job) -> None:
    with database.write() as session:
        control.cancel(session, locked(session, job), actor="key_test")


def retry(database: Database, job: Job) -> None:
    with database.write() as session:
        control.retry(session, locked(session, job), actor="key_test")


def stored(database: Database, blobs: BlobStore, data: bytes, tenant_id: str = DEFAULT_TENANT) -> Job:
    """A video with real bytes."""
    video_id = new_id("vid")
    with blobs.incoming() as incoming, database.write() as session:
        incoming.write(data)
        sealed = incoming.seal(tenant_id)
        incoming.place(sealed)
        return intake.accept(session, video_id=video_id, tenant_id=tenant_id, actor="key_test", blob=sealed)


def ended_long_ago(database: Database, job: Job) -> None:
    with database.write() as session:
        long_ago = datetime.now(UTC) - timedelta(days=10)
        session.exec(update(Job).where(col(Job.id) == job.id).values(state="failed", error_code="x",
                                                                     finished_at=long_ago))  # fmt: skip


def test_a_cancelled_job_is_nobodys_work_and_nothing_late_is_written(database: Database) -> None:
    job = accepted(database)
    prepared(database, job)
    first, _ = span_ids(database, job.id)
    held = must_take(database, Task.ANALYZE_SPAN, first)
    cancel(database, job)
    cancel(database, job)  # again, and nothing happens
    assert job_now(database, job.id).state == "cancelled"
    assert job_now(database, job.id).finished_at is not None
    assert owed(database) == []
    with pytest.raises(LeaseLost), database.write() as session:
        life.span_analyzed(session, held, [segment(0)])
    assert take(database, Task.ANALYZE_SPAN, first) is None
    with database.read() as session:
        assert [row.event for row in session.exec(select(Audit)).all()] == ["video.accepted", "video.cancelled"]


def test_what_has_ended_cannot_be_cancelled(database: Database) -> None:
    with pytest.raises(ConflictError) as caught:
        cancel(database, ready(database))
    assert caught.value.code == "already_ended"


def test_a_retry_goes_on_where_the_job_stopped(database: Database) -> None:
    job = accepted(database)
    prepared(database, job, spans=3)
    first, second, _ = span_ids(database, job.id)
    held = must_take(database, Task.ANALYZE_SPAN, first)
    with database.write() as session:
        life.span_analyzed(session, held, [segment(0)])
    held = must_take(database, Task.ANALYZE_SPAN, second)
    with database.write() as session:
        life.gave_up(session, held, ModelError("no"), max_attempts=1)
    assert job_now(database, job.id).state == "failed"
    retry(database, job)
    row = job_now(database, job.id)
    assert (row.state, row.error_code, row.finished_at, row.spans_done) == ("analyzing", None, None, 1)
    assert owed(database) == [Task.ANALYZE_SPAN.value] * 2
    with database.read() as session:
        states = session.exec(select(SpanWork.state).order_by(col(SpanWork.index))).all()
    assert states == ["done", "waiting", "waiting"]


def test_a_retry_after_the_last_span_only_finishes(database: Database) -> None:
    job = accepted(database)
    prepared(database, job, spans=1)
    held = must_take(database, Task.ANALYZE_SPAN, span_ids(database, job.id)[0])
    with database.write() as session:
        life.span_analyzed(session, held, [segment(0)])
    cancel(database, job)
    retry(database, job)
    assert job_now(database, job.id).state == "finishing"
    assert owed(database) == [Task.FINISH.value]


def test_a_retry_from_the_bytes_gets_fresh_attempts(database: Database) -> None:
    job = accepted(database)
    for _ in range(ATTEMPTS):
        must_take(database, Task.PREPARE, job.id)
        expire(database, Task.PREPARE, job.id)
    with database.write() as session:
        assert life.end_exhausted(session, Task.PREPARE, max_attempts=ATTEMPTS) == [job.id]
    retry(database, job)
    assert must_take(database, Task.PREPARE, job.id).attempt == 1


@pytest.mark.parametrize("state", ["ready", "rejected", "queued"])
def test_only_what_failed_or_was_called_off_is_retried(database: Database, state: str) -> None:
    job = accepted(database)
    with database.write() as session:
        session.exec(update(Job).values(state=state, error_code="x"))
    with pytest.raises(ConflictError) as caught:
        retry(database, job)
    assert caught.value.code == "not_retriable"


def test_without_its_bytes_a_job_cannot_be_retried(database: Database) -> None:
    job = accepted(database)
    cancel(database, job)
    with database.write() as session:
        session.exec(update(Video).values(blob=None))
    with pytest.raises(ConflictError) as caught:
        retry(database, job)
    assert caught.value.code == "original_removed"
    assert job_now(database, job.id).state == "cancelled"


def test_a_deadline_ends_what_is_not_done(database: Database) -> None:
    late = accepted(database, wishes=Wishes(deadline_s=0.001))
    held = must_take(database, Task.PREPARE, late.id)
    in_time = accepted(database, wishes=Wishes(deadline_s=1000))
    with database.write() as session:
        assert control.expire_due(session) == [late.video_id]
    row = job_now(database, late.id)
    assert (row.state, row.error_code) == ("expired", "deadline_exceeded")
    assert job_now(database, in_time.id).state == "queued"
    with pytest.raises(LeaseLost), database.write() as session:
        life.preparing(session, held, 0.5)
    with database.write() as session:
        control.retry(session, locked(session, late), actor="key_test", deadline_s=1000)
        assert control.expire_due(session) == []


def test_a_legal_hold_wins_over_deletion_and_age(database: Database, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    job = stored(database, blobs, b"evidence")
    ended_long_ago(database, job)
    with database.write() as session:
        video = session.get_one(Video, job.video_id)
        key = video.blob
        control.hold(session, video, True, actor="key_test")
    assert key is not None
    tokens = blobs.path(tokens_root(video.sha256)) / "t.bin"
    tokens.parent.mkdir(parents=True)
    tokens.write_bytes(b"t")
    with pytest.raises(ConflictError) as caught, database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    assert caught.value.code == "legal_hold"
    ages = disposal.Ages(originals_s=1, proxies_s=1, tokens_s=-1, results_s=1)
    assert not any(disposal.enforce_ages(database, blobs, ages).values())
    assert blobs.path(key).read_bytes() == b"evidence"
    assert tokens.exists()
    with database.write() as session:
        control.hold(session, session.get_one(Video, job.video_id), False, actor="key_test")
    assert disposal.enforce_ages(database, blobs, ages)["results"] == 1
    assert not blobs.path(key).exists()
    with database.read() as session:
        events = [row.event for row in session.exec(select(Audit)).all()]
    assert events == ["video.accepted", "video.held", "video.released", "video.deleted"]


def test_each_thing_goes_at_its_own_age(database: Database, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    job = stored(database, blobs, b"abc")
    folder = blobs.new_work_folder(job.id, 1)
    (blobs.path(folder) / "proxy.mp4").write_bytes(b"p")
    with database.write() as session:
        session.exec(update(Job).values(work_folder=folder))
    ended_long_ago(database, job)
    day_s = 24 * 3600.0
    young = disposal.Ages(originals_s=11 * day_s, proxies_s=11 * day_s, results_s=11 * day_s)
    assert not any(disposal.enforce_ages(database, blobs, young).values())
    assert disposal.enforce_ages(database, blobs, disposal.Ages(proxies_s=9 * day_s))["proxies"] == 1
    assert not blobs.path(folder).exists()
    assert disposal.enforce_ages(database, blobs, disposal.Ages(originals_s=9 * day_s))["originals"] == 1
    assert list(blobs.keys(older_than_s=-1)) == []
    assert not any(disposal.enforce_ages(database, blobs, disposal.Ages(originals_s=1, proxies_s=1)).values())
    row = job_now(database, job.id)
    assert (row.state, row.work_folder) == ("failed", None)


def test_bytes_that_two_videos_share_go_with_the_last_of_them(database: Database, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    with database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    one, two, other = (
        stored(database, blobs, b"same"),
        stored(database, blobs, b"same"),
        stored(database, blobs, b"same", "ten_other"),
    )
    assert len(list(blobs.keys(older_than_s=-1))) == 2  # one a tenant
    for job, left in ((one, 2), (two, 1), (other, 0)):
        with database.write() as session:
            control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
        assert disposal.dispose(database, blobs, job.video_id, final=True)
        assert len(list(blobs.keys(older_than_s=-1))) == left
    with database.read() as session:
        assert all(row.purged_at is not None and row.blob is None for row in session.exec(select(Video)).all())


def test_what_happened_is_told_in_order_and_forgotten_with_the_video(database: Database) -> None:
    job = ready(database)
    with database.read() as session:
        kinds = [row.kind for row in session.exec(select(Event).order_by(col(Event.id))).all()]
    way = ["queued", "preparing", "analyzing", "finishing"]
    assert kinds == [*(f"video.{state}" for state in way), "flag.created", "video.ready"]
    with database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    with database.read() as session:
        events = session.exec(select(Event).order_by(col(Event.id))).all()
    assert events[-1].kind == f"video.{JobState.DELETED}"
    assert all(event.document == {"video_id": job.video_id} for event in events)


def test_an_upload_that_never_becomes_whole_expires(database: Database) -> None:
    with database.write() as session:
        job = intake.begin_upload(
            session, video_id=new_id("vid"), tenant_id=DEFAULT_TENANT, actor="key_test", size_bytes=5, patience_s=0.001
        )
    assert owed(database) == []
    with database.write() as session:
        assert control.expire_due(session) == [job.video_id]
    with pytest.raises(ConflictError) as caught:
        retry(database, job)
    assert caught.value.code == "original_removed"


def test_an_upload_that_is_whole_is_queued(database: Database) -> None:
    with database.write() as session:
        job = intake.begin_upload(
            session, video_id=new_id("vid"), tenant_id=DEFAULT_TENANT, actor="key_test", size_bytes=5, patience_s=60
        )
    with database.write() as session:
        intake.uploaded(
            session, locked(session, job), actor="key_test", blob=StoredBlob("blobs/x", "1" * 64, 5), deadline_s=None
        )
    assert (job_now(database, job.id).state, job_now(database, job.id).deadline_at) == ("queued", None)
    assert owed(database) == [Task.PREPARE.value]
    assert must_take(database, Task.PREPARE, job.id).attempt == 1
