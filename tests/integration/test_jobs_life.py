"""A job from acceptance to its ends: ready once, rejected, failed after retries, deleted without a trace."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jobs_helpers import ATTEMPTS, accepted, analysis, expire, must_take, prepared, segment, take
from sqlmodel import SQLModel, col, select, update

from vidlm.answer import NOT_FOUND
from vidlm.domain import Answer, to_document
from vidlm.errors import LeaseLost, MediaError, ModelError, QuestionError
from vidlm.jobs import control, disposal, life
from vidlm.queue import Task
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit, Outbox
from vidlm.store.queries import find_conversation, find_document, segments_of, turns_before
from vidlm.store.tables import DEFAULT_TENANT, AnalysisRow, FlagRow, Job, Question, SegmentRow, SpanWork, Video


def job_now(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return session.get_one(Job, job_id)


def span_ids(database: Database, job_id: str) -> list[str]:
    with database.read() as session:
        query = select(SpanWork.id).where(SpanWork.job_id == job_id).order_by(col(SpanWork.index))
        return list(session.exec(query).all())


def owed(database: Database) -> list[str]:
    with database.read() as session:
        return sorted(row.task for row in session.exec(select(Outbox)).all())


def ready(database: Database) -> Job:
    """A job that has gone all the way."""
    job = accepted(database)
    prepared(database, job)
    for index, span in enumerate(span_ids(database, job.id)):
        held = must_take(database, Task.ANALYZE_SPAN, span)
        with database.write() as session:
            life.span_analyzed(session, held, [segment(index)])
    held = must_take(database, Task.FINISH, job.id)
    with database.write() as session:
        life.finished(session, held, analysis())
    return job_now(database, job.id)


def test_the_whole_way(database: Database) -> None:
    job = ready(database)
    assert (job.state, job.verdict_action, job.toy_model, job.spans_done) == ("ready", "review", True, 2)
    assert job.finished_at is not None
    assert owed(database) == []
    with database.read() as session:
        assert find_document(session, DEFAULT_TENANT, job.video_id) == to_document(analysis())
        assert find_document(session, "ten_other", job.video_id) is None
        assert segments_of(session, job.id) == [segment(0), segment(1)]
        assert [flag.policy_id for flag in session.exec(select(FlagRow)).all()] == ["a.b"]
        assert [row.event for row in session.exec(select(Audit)).all()] == ["video.accepted"]


def test_a_job_is_finished_once(database: Database) -> None:
    job = ready(database)
    assert take(database, Task.FINISH, job.id) is None
    with database.read() as session:
        assert len(session.exec(select(AnalysisRow)).all()) == 1


def test_a_rerun_starts_where_the_last_one_stopped(database: Database) -> None:
    job = accepted(database)
    prepared(database, job, spans=3)
    first, second, third = span_ids(database, job.id)
    held = must_take(database, Task.ANALYZE_SPAN, first)
    with database.write() as session:
        life.span_analyzed(session, held, [segment(0)])
    must_take(database, Task.ANALYZE_SPAN, second)  # its worker dies
    expire(database, Task.ANALYZE_SPAN, second)
    assert take(database, Task.ANALYZE_SPAN, first) is None  # done is done
    for index, span in ((1, second), (2, third)):
        held = must_take(database, Task.ANALYZE_SPAN, span)
        with database.write() as session:
            life.span_analyzed(session, held, [segment(index)])
    assert job_now(database, job.id).state == "finishing"
    with database.read() as session:
        assert [row.index for row in segments_of(session, job.id)] == [0, 1, 2]


def test_bad_input_is_rejected_at_once(database: Database) -> None:
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        error = MediaError("not_a_video", "this is no video")
        assert life.gave_up(session, held, error, max_attempts=ATTEMPTS) == "rejected"
    job = job_now(database, job.id)
    assert (job.state, job.error_code, job.error_detail) == ("rejected", "not_a_video", "this is no video")
    assert owed(database) == []
    assert take(database, Task.PREPARE, job.id) is None


@pytest.mark.parametrize(
    ("error", "code"), [(ModelError("out of memory"), "model_failed"), (RuntimeError("/etc/secret"), "internal")]
)
def test_our_own_trouble_is_tried_again_and_then_failed(database: Database, error: Exception, code: str) -> None:
    job = accepted(database)
    waits_s = []
    for attempt in range(1, ATTEMPTS + 1):
        held = must_take(database, Task.PREPARE, job.id)
        with database.write() as session:
            became = life.gave_up(session, held, error, max_attempts=ATTEMPTS)
        assert became == ("waiting" if attempt < ATTEMPTS else "failed")
        row = job_now(database, job.id)
        if row.not_before is not None:
            waits_s.append((row.not_before - datetime.now(UTC)).total_seconds())
            assert take(database, Task.PREPARE, job.id) is None
            with database.write() as session:
                session.exec(update(Job).where(col(Job.id) == job.id).values(not_before=None))
    assert 4 < waits_s[0] < 7
    assert 29 < waits_s[1] < 37
    assert (row.state, row.error_code) == ("failed", code)
    assert "secret" not in (row.error_detail or "")
    assert owed(database) == []


def test_a_span_that_fails_takes_its_job_with_it(database: Database) -> None:
    job = accepted(database)
    prepared(database, job, spans=3)
    first, second, _ = span_ids(database, job.id)
    other = must_take(database, Task.ANALYZE_SPAN, second)
    held = must_take(database, Task.ANALYZE_SPAN, first)
    with database.write() as session:
        assert life.gave_up(session, held, ModelError("no"), max_attempts=1) == "failed"
    assert (job_now(database, job.id).state, job_now(database, job.id).error_code) == ("failed", "model_failed")
    assert owed(database) == []
    with pytest.raises(LeaseLost), database.write() as session:
        life.span_analyzed(session, other, [segment(1)])
    with database.read() as session:
        assert session.exec(select(SegmentRow)).all() == []


@pytest.mark.parametrize("task", [Task.PREPARE, Task.ANALYZE_SPAN])
def test_work_that_kills_every_worker_ends(database: Database, task: Task) -> None:
    job = accepted(database)
    target = job.id
    if task is Task.ANALYZE_SPAN:
        prepared(database, job)
        target = span_ids(database, job.id)[0]
    for _ in range(ATTEMPTS):
        with database.write() as session:
            assert life.end_exhausted(session, task, max_attempts=ATTEMPTS) == []
        must_take(database, task, target)
        expire(database, task, target)
    with database.write() as session:
        assert life.end_exhausted(session, task, max_attempts=ATTEMPTS) == [target]
    assert (job_now(database, job.id).state, job_now(database, job.id).error_code) == ("failed", "worker_lost")
    assert owed(database) == []


def test_a_question_and_its_answer(database: Database) -> None:
    job = ready(database)
    with database.write() as session:
        asked = life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="what?")
    held = must_take(database, Task.ANSWER, asked.id)
    said = Answer("what?", "that", 0.5, False, (), analysis().provenance)
    with database.write() as session:
        life.answered(session, held, said)
    with database.read() as session:
        row = session.get_one(Question, asked.id)
        assert (row.state, row.answer) == ("done", to_document(said))
    assert take(database, Task.ANSWER, asked.id) is None
    assert owed(database) == []


def test_a_conversation_remembers_what_was_answered_and_nothing_else(database: Database) -> None:
    job, other = ready(database), ready(database)

    def ask(text: str, conversation_id: str | None = None, video_id: str = job.video_id) -> Question:
        with database.write() as session:
            return life.ask(
                session, tenant_id=DEFAULT_TENANT, video_id=video_id, text=text, conversation_id=conversation_id
            )

    def end(asked: Question, said: str | None) -> None:
        held = must_take(database, Task.ANSWER, asked.id)
        with database.write() as session:
            if said is None:
                life.gave_up(session, held, QuestionError("no"), max_attempts=ATTEMPTS)
            else:
                abstained = said == NOT_FOUND
                life.answered(session, held, Answer(asked.text, said, 0.5, abstained, (), analysis().provenance))

    def before(asked: Question, most: int) -> list[tuple[str, str]]:
        with database.read() as session:
            return turns_before(session, asked, most)

    first = ask("first?")
    assert before(first, 3) == []
    end(first, "one")
    end(ask("elsewhere?"), "another conversation")
    end(ask("missing?", first.conversation_id), NOT_FOUND)
    end(ask("refused?", first.conversation_id), None)
    end(ask("second?", first.conversation_id), "two")
    end(ask("astray?", first.conversation_id, other.video_id), "another video")
    end(ask("third?", first.conversation_id), "three")
    last = ask("last?", first.conversation_id)
    said = [("first?", "one"), ("second?", "two"), ("third?", "three")]
    assert [before(last, most) for most in (9, 3, 2)] == [said, said, said[1:]]
    with database.read() as session:
        turns = find_conversation(session, DEFAULT_TENANT, job.video_id, str(first.conversation_id))
    assert [state.value for _, state in turns] == ["done", "done", "rejected", "done", "done", "waiting"]
    assert (turns[0][0], turns[-1][0]) == (first.id, last.id)


def test_a_question_older_than_conversations_has_no_history(database: Database) -> None:
    job = ready(database)
    with database.write() as session:
        old = [life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="what?") for _ in range(2)]
    held = must_take(database, Task.ANSWER, old[0].id)
    with database.write() as session:
        life.answered(session, held, Answer("what?", "that", 0.5, False, (), analysis().provenance))
        session.exec(update(Question).values(conversation_id=None))
    with database.read() as session:
        assert turns_before(session, session.get_one(Question, old[1].id), 3) == []


def test_a_question_that_cannot_be_answered_leaves_the_video_alone(database: Database) -> None:
    job = ready(database)
    with database.write() as session:
        asked = life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="what?")
    held = must_take(database, Task.ANSWER, asked.id)
    with database.write() as session:
        assert life.gave_up(session, held, QuestionError("no"), max_attempts=ATTEMPTS) == "rejected"
    assert job_now(database, job.id).state == "ready"


def test_deletion_leaves_a_tombstone_and_nothing_else(database: Database) -> None:
    job = ready(database)
    with database.write() as session:
        life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="a secret question")
    with database.write() as session:
        video = session.get_one(Video, job.video_id)
        control.deleted(session, video, actor="key_test")
    with database.read() as session:
        for table in (AnalysisRow, FlagRow, SegmentRow, SpanWork, Question, Outbox):
            assert session.exec(select(table)).all() == []
        left = [
            str(row.model_dump())
            for table in (Video, Job)
            for row in session.exec(select(table)).all()
            if isinstance(row, SQLModel)
        ]
        assert not [text for text in left if "a.mp4" in text or "a.b" in text]
        events = [row.event for row in session.exec(select(Audit)).all()]
    assert events == ["video.accepted", "video.deleted"]


def test_deletion_fences_off_whoever_is_at_work(database: Database) -> None:
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    with pytest.raises(LeaseLost), database.write() as session:
        life.prepared(session, held, document={}, recipe="r", work_folder="w", duration_s=1.0, spans=[(0, 1)])
    assert take(database, Task.PREPARE, job.id) is None


def test_files_written_late_are_purged_as_well(database: Database, tmp_path: Path) -> None:
    job = accepted(database)
    with database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    store = BlobStore(tmp_path)
    assert disposal.dispose(database, store, job.video_id)
    late = store.path(store.new_work_folder(job.id, 1)) / "proxy.mp4"
    late.write_bytes(b"too late")
    with database.read() as session:
        assert disposal.unpurged(session, quiet_s=60) == []  # its writer may still be at it
        assert disposal.unpurged(session, quiet_s=-1) == [job.video_id]
    assert disposal.dispose(database, store, job.video_id, final=True)
    assert not late.exists()
    with database.read() as session:
        assert disposal.unpurged(session, quiet_s=-1) == []


def test_nothing_is_due_before_its_time(database: Database) -> None:
    job = accepted(database)
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        life.gave_up(session, held, ModelError("no"), max_attempts=ATTEMPTS)
    with database.read() as session:
        row = session.exec(select(Outbox)).one()
        assert row.sent_at is None
        assert row.due_at > datetime.now(UTC) + timedelta(seconds=4)
