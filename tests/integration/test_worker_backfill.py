"""A library scored under one more policy by real workers: no decoder, no vision tower, the scores of a fresh look."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clips import H264, numbered
from jobs_helpers import expire, must_take
from sqlmodel import col, select
from worker_helpers import accept, fresh_runtime, owed, run_all

import vidlm
from vidlm import preparation
from vidlm.domain import Policy
from vidlm.errors import LeaseLost, ModelError
from vidlm.jobs import backfills as units
from vidlm.jobs import control, life
from vidlm.moderation.policies import custom_policy, policy_set, to_rows
from vidlm.policy import backfills, policy_sets
from vidlm.queue import Queue, Task
from vidlm.review import filing, items, queues
from vidlm.review.case import evidence_of
from vidlm.store.backfill import Backfill, BackfilledScore, BackfillWork
from vidlm.store.keys import Caller
from vidlm.store.queries import find_document, flags_of
from vidlm.store.review import ReviewItem
from vidlm.store.tables import DEFAULT_TENANT, AnalysisRow, FlagRow, Job, SegmentRow, Video
from workers import backfilling
from workers.runtime import Runtime, StoppingError
from workers.tasks import work, work_next

LASER = replace(custom_policy("a laser gun"), review_threshold=0.01, keep_threshold=0.01)
BALL = replace(custom_policy("a red ball"), review_threshold=0.01, keep_threshold=0.01)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [numbered(folder / f"{frames}.mp4", *H264, frames=frames, fps=10).path for frames in (80, 40)]


@pytest.fixture
def runtime(tmp_path: Path, tiny_random_checkpoint: Path, few_policies: Path) -> Iterator[Runtime]:
    with fresh_runtime(tmp_path / "data", tiny_random_checkpoint, few_policies, span_s=4.0) as runtime:
        yield runtime


@pytest.fixture
def either(tmp_path: Path, database_url: str, tiny_random_checkpoint: Path, few_policies: Path) -> Iterator[Runtime]:
    """The same once on each kind of database, where the order of locks and the SQL matter."""
    data = tmp_path / "data"
    with fresh_runtime(data, tiny_random_checkpoint, few_policies, span_s=4.0, database_url=database_url) as runtime:
        yield runtime


def library(runtime: Runtime, clips: list[Path]) -> list[Job]:
    """The clips, analysed; and then nothing but tokens and rows is left, and nobody can look at a picture."""
    jobs = [accept(runtime, clip.read_bytes(), clip.name) for clip in clips]
    assert set(run_all(runtime)) == {"done"}
    return jobs


def blind(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("work", "blobs"):
        shutil.rmtree(runtime.settings.data / folder)

    def look(*_: Any, **__: Any) -> Any:
        raise AssertionError("somebody wants to look")

    monkeypatch.setattr(runtime.engine(), "encode", look)
    monkeypatch.setattr(preparation, "read_frames", look)


def ask(runtime: Runtime, policy: Policy = LASER, *, apply: bool = False, **filters: Any) -> Backfill:
    with runtime.database.write() as session:
        chosen = backfills.Chosen(policy, None, in_force=True)
        return backfills.ask(
            session, tenant_id=DEFAULT_TENANT, actor="key_test", chosen=chosen, filters=filters, apply=apply
        )


def now(runtime: Runtime, row: Backfill) -> Backfill:
    with runtime.database.read() as session:
        return session.get_one(Backfill, row.id)


def scores(runtime: Runtime, job: Job, policy: Policy) -> dict[int, float]:
    with runtime.database.read() as session:
        return {one.index: one.score for one in backfills.later_scores(session, [job.id], policy)}


def test_a_backfill_finds_what_a_fresh_analysis_would_without_looking(
    runtime: Runtime, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = library(runtime, clips)
    policies = policy_set((*runtime.own_policies.policies, LASER, BALL))
    once = runtime.settings.model_copy(update={"second_look_s": 0.0})  # a backfill does not look twice
    expected = [vidlm.analyze(clip, model=runtime.engine(), policies=policies, settings=once) for clip in clips]
    blind(runtime, monkeypatch)
    before = runtime.engine().metrics().steps["encode"]
    with runtime.database.read() as session:
        documents = [find_document(session, DEFAULT_TENANT, job.video_id) for job in jobs]
    for policy in (LASER, BALL):
        row = ask(runtime, policy)
        assert run_all(runtime) == ["done", "done"]
        done = now(runtime, row)
        assert (done.state, done.videos_total, done.videos_done, done.scored_s) == ("done", 2, 2, 12.0)
        for job, fresh in zip(jobs, expected, strict=True):
            found = scores(runtime, job, policy)
            assert found == pytest.approx({part.index: part.scores[policy.id] for part in fresh.segments}, abs=2e-3)
    assert runtime.engine().metrics().steps["encode"] == before
    with runtime.database.read() as session:  # what was found then stays as it was
        assert [find_document(session, DEFAULT_TENANT, job.video_id) for job in jobs] == documents
        assert LASER.id not in str([part.scores for part in session.exec(select(SegmentRow)).all()])
        assert session.exec(select(FlagRow).where(FlagRow.policy_id == LASER.id)).all() == []


def test_backfills_that_wait_for_one_video_are_scored_in_one_look(either: Runtime, clips: list[Path]) -> None:
    library(either, clips[1:])
    rows = [ask(either, policy) for policy in (LASER, BALL)]
    opened = either.engine().metrics().steps["open"].items
    (_, first), (_, second) = owed(either)
    assert [work(either, Task.BACKFILL, unit) for unit in (first, second)] == ["done", "skipped"]
    assert [now(either, row).state for row in rows] == ["done", "done"]
    assert either.engine().metrics().steps["open"].items - opened == len(scores_of(either, rows[0]))
    assert len(scores_of(either, rows[0])) == len(scores_of(either, rows[1])) > 0


def scores_of(runtime: Runtime, row: Backfill) -> list[BackfilledScore]:
    with runtime.database.read() as session:
        return list(session.exec(select(BackfilledScore).where(BackfilledScore.backfill_id == row.id)).all())


def test_a_failure_gives_back_what_was_taken_along(
    runtime: Runtime, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    library(runtime, clips[1:])
    rows = [ask(runtime, policy) for policy in (LASER, BALL)]
    (_, first), (_, second) = owed(runtime)

    def fail(*_: Any, **__: Any) -> Any:
        raise ModelError("the device is gone")

    with monkeypatch.context() as patched:
        patched.setattr(runtime.engine(), "score_all", fail)
        assert work(runtime, Task.BACKFILL, first) == "waiting"
    with runtime.database.read() as session:
        states = [session.get_one(BackfillWork, unit) for unit in (first, second)]
    assert [(unit.state, unit.attempts) for unit in states] == [("waiting", 1), ("waiting", 0)]
    assert work(runtime, Task.BACKFILL, second) == "done"  # by itself: the first one waits for its time
    assert [now(runtime, row).state for row in rows] == ["running", "done"]


def test_what_is_not_kept_is_counted_and_left_alone(runtime: Runtime, clips: list[Path]) -> None:
    jobs = library(runtime, clips)
    with runtime.database.read() as session:
        sha256 = session.get_one(Video, jobs[0].video_id).sha256
    shutil.rmtree(runtime.settings.data / "tokens" / sha256[:2])
    encoded = runtime.engine().metrics().steps["encode"]
    row = ask(runtime)
    assert run_all(runtime) == ["done", "done"]
    done = now(runtime, row)
    assert (done.videos_done, done.videos_need_decode, done.scored_s, done.needs_decode_s) == (1, 1, 4.0, 8.0)
    assert scores(runtime, jobs[0], LASER) == {}
    assert runtime.engine().metrics().steps["encode"] == encoded


@pytest.mark.parametrize(("limit", "value"), [("PART_S", 3.0), ("TURN_S", 0.0)])
def test_a_long_video_is_scored_in_parts_behind_everything_else(
    runtime: Runtime, clips: list[Path], monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(backfilling, limit, value)
    (job,) = library(runtime, clips[:1])
    row = ask(runtime)
    assert work_next(runtime, Queue.GPU) == "done"
    assert (now(runtime, row).state, now(runtime, row).scored_s) == ("running", 4.0)
    other = accept(runtime, clips[1].read_bytes())
    assert work(runtime, Task.PREPARE, other.id) == "done"
    while work_next(runtime, Queue.GPU) == "done":
        with runtime.database.read() as session:
            state = session.get_one(Job, other.id).state
        assert state == "ready" or now(runtime, row).state == "running"  # the upload overtook it
    done = now(runtime, row)
    assert (done.state, done.videos_done, done.scored_s) == ("done", 1, 8.0)
    assert sorted(scores(runtime, job, LASER)) == list(range(len(scores(runtime, job, LASER))))


def test_a_worker_that_dies_loses_nothing_and_one_that_comes_back_doubles_nothing(
    runtime: Runtime, clips: list[Path]
) -> None:
    (job,) = library(runtime, clips[1:])
    row = ask(runtime)
    ((_, unit),) = owed(runtime)
    dead = must_take(runtime.database, Task.BACKFILL, unit)
    expire(runtime.database, Task.BACKFILL, unit)
    assert work(runtime, Task.BACKFILL, unit) == "done"
    late = units.Part({0: 0.5}, 4.0, 0.0, None, "r")
    with pytest.raises(LeaseLost), runtime.database.write() as session:
        units.scored(session, dead, late)
    done = now(runtime, row)
    assert (done.videos_done, done.scored_s, owed(runtime)) == (1, 4.0, [])
    assert scores(runtime, job, LASER)[0] != 0.5


def test_work_that_is_given_back_at_a_stop_is_taken_up_again(
    runtime: Runtime, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    library(runtime, clips[1:])
    row = ask(runtime)
    with monkeypatch.context() as patched:

        def stop(_lost: object) -> None:
            raise StoppingError("now")

        patched.setattr(runtime, "go_on", stop)
        assert work_next(runtime, Queue.GPU) == "waiting"
    assert work_next(runtime, Queue.GPU) == "done"
    assert now(runtime, row).state == "done"


def test_a_cancelled_backfill_keeps_what_it_found_and_finds_no_more(runtime: Runtime, clips: list[Path]) -> None:
    jobs = library(runtime, clips)
    row = ask(runtime)
    assert work_next(runtime, Queue.GPU) == "done"
    held = must_take(runtime.database, Task.BACKFILL, owed(runtime)[0][1])
    with runtime.database.write() as session:
        backfills.cancel(session, session.get_one(Backfill, row.id), actor="key_test")
    assert owed(runtime) == []
    with pytest.raises(LeaseLost), runtime.database.write() as session:
        units.scored(session, held, units.Part({0: 0.5}, 4.0, 0.0, None, "r"))
    assert (now(runtime, row).state, now(runtime, row).videos_done) == ("cancelled", 1)
    assert sum(bool(scores(runtime, job, LASER)) for job in jobs) == 1


def test_applied_flags_are_added_and_verdicts_only_get_stronger(either: Runtime, clips: list[Path]) -> None:
    jobs = library(either, clips)
    with either.database.write() as session:
        first, second = (session.get_one(Job, job.id) for job in jobs)
        first.verdict_action, second.verdict_action = "allow", "block"
        first.review_state, second.review_state = "approved", "removed"
        for item in session.exec(select(ReviewItem)).all():
            item.state = "withdrawn"
    row = ask(either, apply=True)
    run_all(either)
    done = now(either, row)
    assert (done.videos_flagged, done.flags_added, done.verdicts_raised) == (2, 2, 1)
    with either.database.read() as session:
        verdicts = [session.get_one(Job, job.id).verdict_action for job in jobs]
        states = [session.get_one(Job, job.id).review_state for job in jobs]
        flags = session.exec(select(FlagRow).where(col(FlagRow.backfill_id) == row.id)).all()
    assert verdicts == ["review", "block"]
    assert {(flag.policy_id, flag.action, flag.start_s) for flag in flags} == {(LASER.id, "review", 0.0)}
    assert states == ["none", "removed"]  # what people approved without it is looked at again
    with either.database.write() as session:
        assert filing.file_missing(session) == 1
        held = items.take(session, Caller(DEFAULT_TENANT, "key_ann"), queues.all_of(session, DEFAULT_TENANT))
        assert held is not None
        document = session.get_one(AnalysisRow, jobs[0].id).document
        later = next(flag for flag in flags_of(session, jobs[0].id) if flag.backfill_id == row.id)
    times_s = evidence_of(document, later)
    assert 0 < len(times_s) <= 4
    assert all(later.start_s <= time_s < later.end_s for time_s in times_s)
    again = ask(either, apply=True)  # what is flagged is not flagged twice
    run_all(either)
    assert (now(either, again).videos_flagged, now(either, again).flags_added) == (2, 0)


def test_a_deleted_video_takes_its_scores_along_and_is_counted(either: Runtime, clips: list[Path]) -> None:
    jobs = library(either, clips)
    first = ask(either)
    run_all(either)
    second = ask(either)
    with either.database.write() as session:
        control.deleted(session, session.get_one(Video, jobs[0].video_id), actor="key_test")
    assert scores(either, jobs[0], LASER) == {}
    assert run_all(either) == ["done"]
    done = now(either, second)
    assert (done.state, done.videos_done, done.videos_gone) == ("done", 1, 1)
    assert now(either, first).videos_gone == 0


def test_a_poison_video_fails_alone(either: Runtime, clips: list[Path]) -> None:
    jobs = library(either, clips)
    row = ask(either)
    with either.database.read() as session:
        query = select(BackfillWork.id).where(BackfillWork.video_id == jobs[0].video_id)
        unit = session.exec(query).one()
    for _ in range(either.settings.max_attempts):
        must_take(either.database, Task.BACKFILL, unit)
        expire(either.database, Task.BACKFILL, unit)
    with either.database.write() as session:
        assert life.end_exhausted(session, Task.BACKFILL, max_attempts=either.settings.max_attempts) == [unit]
    run_all(either)
    done = now(either, row)
    assert (done.state, done.videos_done, done.videos_failed) == ("done", 1, 1)


def test_a_draft_may_be_tried_and_what_is_asked_is_pinned(runtime: Runtime, clips: list[Path]) -> None:
    library(runtime, clips[1:])
    with runtime.database.write() as session:
        draft = policy_sets.create(
            session, tenant_id=DEFAULT_TENANT, actor="key_test", name="x", policies=[LASER, BALL]
        )
        session.flush()
        chosen = backfills.choose(session, DEFAULT_TENANT, LASER.id, runtime.own_policies, draft.id)
        assert chosen == backfills.Chosen(LASER, draft.id, in_force=False)
        row = backfills.ask(session, tenant_id=DEFAULT_TENANT, actor="key_test", chosen=chosen, filters={})
        policy_sets.change(session, draft, actor="key_test", policies=[BALL])
    run_all(runtime)
    assert now(runtime, row).policy == to_rows([LASER])[0]
    assert len(scores_of(runtime, row)) > 0
