"""Jobs under whatever may happen to them in whatever order: a state machine that hypothesis drives over real rows."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from jobs_helpers import accepted, analysis, segment
from sqlmodel import col, select, update

from vidlm.domain import JobState, WorkState
from vidlm.errors import ConflictError, LeaseLost, MediaError, ModelError
from vidlm.jobs import control, life
from vidlm.jobs.claims import STAGES, Claim, claim_next
from vidlm.jobs.states import OPEN
from vidlm.queue import CONSUME_ORDER, Task, tasks_of
from vidlm.store.engine import Database, migrate
from vidlm.store.ledger import Event, Outbox
from vidlm.store.tables import AnalysisRow, Job, SegmentRow, SpanWork, Video

ATTEMPTS = 2


class Jobs(RuleBasedStateMachine):
    """Workers that claim, finish, fail, die and come back late; owners that cancel, retry and delete."""

    claims = Bundle("claims")

    @initialize()
    def open_database(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name) / 'vidlm.db'}"
        migrate(url)
        self.database = Database(url)
        self.newest: dict[str, Claim] = {}

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @rule()
    def accept(self) -> None:
        accepted(self.database)

    @rule(target=claims)
    def take(self) -> Claim | MultipleResults[Claim]:
        held = self.claimed()
        return held if held is not None else multiple()

    @rule()
    def work_in_time(self) -> None:
        held = self.claimed()
        if held is not None:
            self.save(held)

    @rule(held=consumes(claims))
    def work_slowly(self, held: Claim) -> None:
        self.save(held)

    def claimed(self) -> Claim | None:
        with self.database.write() as session:
            held = claim_next(session, tasks_of(*CONSUME_ORDER), lease_s=30, max_attempts=ATTEMPTS)
        if held is not None:
            self.newest[held.target_id] = held
        return held

    def save(self, held: Claim) -> None:
        """The worker saves what it found; it may be late, and then nothing is changed."""
        before = self.picture()
        try:
            with self.database.write() as session:
                if held.task is Task.PREPARE:
                    life.prepared(
                        session,
                        held,
                        document={},
                        recipe="r",
                        work_folder=f"work/{held.target_id}/{held.token}",
                        duration_s=10.0,
                        spans=[(0, 1), (1, 2)],
                    )
                elif held.task is Task.ANALYZE_SPAN:
                    index = session.get(SpanWork, held.target_id)
                    life.span_analyzed(session, held, [segment(index.index if index else 0)])
                else:
                    life.finished(session, held, analysis())
        except LeaseLost:
            assert self.picture() == before
        else:
            assert self.newest[held.target_id] == held  # nobody else had it since

    @rule(held=consumes(claims), ours=st.booleans())
    def fail(self, held: Claim, ours: bool) -> None:
        error = ModelError("no") if ours else MediaError("truncated", "cut")
        before = self.picture()
        try:
            with self.database.write() as session:
                life.gave_up(session, held, error, max_attempts=ATTEMPTS)
        except LeaseLost:
            assert self.picture() == before

    @rule(held=consumes(claims))
    def stop_in_order(self, held: Claim) -> None:
        try:
            with self.database.write() as session:
                life.given_back(session, held)
        except LeaseLost:
            return

    @rule()
    def time_passes(self) -> None:
        """Every lease runs out and every pause is over."""
        ago = datetime.now(UTC) - timedelta(seconds=1)
        with self.database.write() as session:
            for table in (Job, SpanWork):
                session.exec(update(table).where(col(table.lease_until).is_not(None)).values(lease_until=ago))
                session.exec(update(table).values(not_before=None))

    @rule()
    def sweep(self) -> None:
        for task in Task:
            with self.database.write() as session:
                life.end_exhausted(session, task, max_attempts=ATTEMPTS)
        with self.database.write() as session:
            control.expire_due(session)

    @rule(number=st.integers(0, 2), what=st.sampled_from(["cancel", "retry", "delete", "deadline"]))
    def meddle(self, number: int, what: str) -> None:
        with self.database.write() as session:
            jobs = session.exec(select(Job).order_by(col(Job.id))).all()
            if number >= len(jobs):
                return
            job = jobs[number]
            video = session.get_one(Video, job.video_id)
            before = job.state
            try:
                if what == "cancel":
                    control.cancel(session, job, actor="key_test")
                elif what == "retry":
                    control.retry(session, job, actor="key_test")
                elif what == "deadline":
                    job.deadline_at = datetime.now(UTC) - timedelta(seconds=1)
                elif video.deleted_at is None:
                    control.deleted(session, video, actor="key_test")
            except ConflictError:
                assert job.state == before

    @invariant()
    def what_is_open_is_owed_and_what_has_ended_is_not(self) -> None:
        with self.database.read() as session:
            owed = {(row.task, row.target_id) for row in session.exec(select(Outbox)).all()}
            expected: set[tuple[str, str]] = set()
            for job in session.exec(select(Job)).all():
                if job.state in (JobState.QUEUED, JobState.PREPARING):
                    expected.add((Task.PREPARE.value, job.id))
                elif job.state == JobState.FINISHING:
                    expected.add((Task.FINISH.value, job.id))
                elif job.state == JobState.ANALYZING:
                    spans = session.exec(select(SpanWork).where(SpanWork.job_id == job.id)).all()
                    open_states = (WorkState.WAITING.value, WorkState.RUNNING.value)
                    expected |= {(Task.ANALYZE_SPAN.value, span.id) for span in spans if span.state in open_states}
        assert owed == expected

    @invariant()
    def nothing_is_there_twice(self) -> None:
        with self.database.read() as session:
            ready = set(session.exec(select(Job.id).where(Job.state == JobState.READY.value)).all())
            assert set(session.exec(select(AnalysisRow.job_id)).all()) == ready
            segments = session.exec(select(SegmentRow.job_id, SegmentRow.index)).all()
            assert len(set(segments)) == len(segments)
            for job in session.exec(select(Job)).all():
                done = [
                    span.id
                    for span in session.exec(select(SpanWork).where(SpanWork.job_id == job.id)).all()
                    if span.state == WorkState.DONE
                ]
                assert job.spans_done == len(done)

    @invariant()
    def every_end_was_told_and_the_last_word_is_the_state(self) -> None:
        with self.database.read() as session:
            for job in session.exec(select(Job)).all():
                events = session.exec(
                    select(Event.kind).where(Event.video_id == job.video_id).order_by(col(Event.id))
                ).all()
                states = [kind.removeprefix("video.") for kind in events if kind.startswith("video.")]
                assert states[-1] == job.state
                assert (job.finished_at is None) == (job.state in OPEN) or job.state == JobState.DELETED

    def picture(self) -> list[object]:
        """All that a late worker must not change."""
        with self.database.read() as session:
            found: list[object] = []
            for table in (*{stage.table for stage in STAGES.values()}, SegmentRow, AnalysisRow, Outbox, Event):
                found += sorted(str(row.model_dump()) for row in session.exec(select(table)).all())
            return found


TestJobs = Jobs.TestCase
TestJobs.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
