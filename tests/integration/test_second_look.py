"""Doubtful scores looked at again, in the library and in the service, with a real model whose weights are random.

Such a model is sure of nothing: all its scores lie inside the bands of these policies, and all are flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from clips import H264, numbered
from sqlmodel import col, select
from worker_helpers import accept, fresh_runtime, owed, run_all

import vidlm
from vidlm import second_look
from vidlm.config import Settings
from vidlm.domain import Analysis, LookOutcome, Segment, to_document
from vidlm.errors import LeaseLost
from vidlm.jobs import control
from vidlm.model.engine import Engine
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.moderation.second_looks import BUDGET_SPENT
from vidlm.pipeline import analyze_windows
from vidlm.policy import decided_flags, trials
from vidlm.preparation import Prepared, prepare
from vidlm.queue import Task
from vidlm.second_look import NO_FRAMES, SOURCE_GONE, LookedAgain, longest_s, look_again, sampling_of
from vidlm.seeing import Eyes
from vidlm.store.queries import find_document, flags_of, segments_of
from vidlm.store.tables import DEFAULT_TENANT, Job, SecondLookRow, Video
from workers.runtime import Runtime
from workers.tasks import work

SETTINGS = Settings(segment_max_s=4.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 seconds at 10 frames a second."""
    return numbered(tmp_path_factory.mktemp("clips") / "eight.mp4", *H264, frames=80, fps=10).path


@pytest.fixture(scope="module")
def model(tiny_random_checkpoint: Path) -> Iterator[Engine]:
    with Engine.load(str(tiny_random_checkpoint), device="cpu") as engine:
        yield engine


@pytest.fixture(scope="module")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    row = "- {id: things.thing_%d, title: Thing, blocked: thing %d, severity: medium, review: 0.05, block: never}"
    path = tmp_path_factory.mktemp("policies") / "three.yaml"
    path.write_text("policies:\n" + "\n".join(row % (number, number) for number in range(3)))
    return path


@pytest.fixture(scope="module")
def policies(policy_file: Path) -> PolicySet:
    return load_policies(policy_file)


@pytest.fixture(scope="module")
def analysis(clip: Path, model: Engine, policies: PolicySet) -> Analysis:
    return vidlm.analyze(clip, model=model, policies=policies, settings=SETTINGS)


@pytest.fixture(scope="module")
def prepared(clip: Path, model: Engine, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    return prepare(clip, folder, filename="eight.mp4", geometry=model.info.geometry, settings=SETTINGS)


@pytest.fixture(scope="module")
def segments(prepared: Prepared, model: Engine, policies: PolicySet) -> list[Segment]:
    return analyze_windows(prepared, prepared.windows, Eyes(model), policies)


Again = Callable[[Prepared, list[Segment], Path | None], LookedAgain]


@pytest.fixture(scope="module")
def again_of(model: Engine, policies: PolicySet) -> Again:
    return lambda prepared, segments, source: look_again(
        prepared, segments, source, Eyes(model), policies, settings=SETTINGS
    )


@pytest.fixture
def runtime(tmp_path: Path, database_url: str, tiny_random_checkpoint: Path, policy_file: Path) -> Iterator[Runtime]:
    data = tmp_path / "data"
    with fresh_runtime(data, tiny_random_checkpoint, policy_file, span_s=4.0, database_url=database_url) as runtime:
        yield runtime


def test_every_doubtful_score_is_seen_in_more_frames(analysis: Analysis, policies: PolicySet) -> None:
    looks = analysis.second_looks
    assert [(look.segment, look.policy_id) for look in looks] == [
        (segment.index, policy.id) for segment in analysis.segments for policy in policies.policies
    ]
    for look in looks:
        segment = analysis.segments[look.segment]
        assert look.outcome in (LookOutcome.CONFIRMED, LookOutcome.REJECTED)
        assert look.second_score is not None
        assert look.peak_start_s is not None
        assert look.peak_end_s is not None
        assert look.start_s == segment.start_s <= look.peak_start_s < look.peak_end_s <= segment.end_s
        assert look.peak_end_s - look.peak_start_s <= 2.0
        expected = max(look.first_score, look.second_score)
        if look.outcome is LookOutcome.REJECTED:
            expected = look.second_score
        assert segment.scores[look.policy_id] == expected
    taken = analysis.provenance.second_look
    assert taken is not None
    assert (taken.fps, analysis.provenance.sampling.fps) == (4.0, 2.0)
    for flag in analysis.flags:
        assert flag.second_look is LookOutcome.CONFIRMED
        assert all(flag.start_s <= evidence.time_s < flag.end_s for evidence in flag.evidence)


def test_frames_are_never_fewer_nor_smaller_than_at_first(prepared: Prepared, model: Engine) -> None:
    few = SETTINGS.model_copy(update={"second_look_fps": 0.5, "second_look_pixels": 3136})
    assert sampling_of(prepared, Eyes(model), few) == prepared.sampling
    more = sampling_of(prepared, Eyes(model), SETTINGS)
    assert more.fps == 4.0
    assert more.width * more.height >= prepared.sampling.width * prepared.sampling.height
    assert longest_s(replace(more, width=4000, height=4000)) == pytest.approx(5 / 4.0)


def test_without_second_looks_the_first_scores_stand(
    clip: Path, model: Engine, policies: PolicySet, segments: list[Segment]
) -> None:
    off = SETTINGS.model_copy(update={"second_look_s": 0.0})
    analysis = vidlm.analyze(clip, model=model, policies=policies, settings=off)
    assert (analysis.second_looks, analysis.provenance.second_look) == ((), None)
    assert {flag.second_look for flag in analysis.flags} == {None}
    for one, other in zip(analysis.segments, segments, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_where_time_is_short_the_rest_is_told_as_unverified(
    clip: Path, prepared: Prepared, segments: list[Segment], model: Engine, policies: PolicySet
) -> None:
    short = SETTINGS.model_copy(update={"second_look_s": 4.0})
    again = look_again(prepared, segments, clip, Eyes(model), policies, settings=short)
    seen = {(look.start_s, look.end_s) for look in again.looks if look.second_score is not None}
    assert 0 < sum(end_s - start_s for start_s, end_s in seen) <= 4.01
    left = [look for look in again.looks if look.outcome is LookOutcome.UNVERIFIED]
    assert {look.reason for look in left} == {BUDGET_SPENT}
    for look in left:
        assert again.segments[look.segment].scores[look.policy_id] == look.first_score


@pytest.mark.parametrize("gone", ["no file is kept", "the file is missing", "the file is damaged", "too short"])
def test_what_cannot_be_looked_at_changes_nothing(
    gone: str, prepared: Prepared, segments: list[Segment], again_of: Again, tmp_path: Path
) -> None:
    source: Path | None = tmp_path / "source.mp4"
    assert source is not None
    if gone == "the file is damaged":
        source.write_bytes(b"\0" * 1000)
    elif gone == "too short":
        numbered(source, *H264, frames=10, fps=10)
        segments = [segment for segment in segments if segment.start_s > 1]
    elif gone == "no file is kept":
        source = None
    again = again_of(prepared, segments, source)
    assert list(again.segments) == segments
    assert {look.outcome for look in again.looks} == {LookOutcome.UNVERIFIED}
    reasons = {"the file is damaged": "not_a_video", "too short": NO_FRAMES}
    assert {look.reason for look in again.looks} == {reasons.get(gone, SOURCE_GONE)}


def test_a_segment_that_fits_no_prompt_is_not_looked_at(
    clip: Path, prepared: Prepared, segments: list[Segment], again_of: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "MOST_TOKENS", 5)
    again = again_of(prepared, segments, clip)
    assert {look.reason for look in again.looks} == {second_look.TOO_LONG}
    assert list(again.segments) == segments


def test_who_has_to_stop_stops(
    clip: Path, prepared: Prepared, segments: list[Segment], model: Engine, policies: PolicySet
) -> None:
    def stop() -> None:
        raise LeaseLost("somebody else is at it")

    with pytest.raises(LeaseLost):
        look_again(prepared, segments, clip, Eyes(model), policies, settings=SETTINGS, go_on=stop)


def until_finish(runtime: Runtime, job: Job) -> None:
    """Do everything that is owed but the last step."""
    while (todo := [unit for unit in owed(runtime) if unit[0] is not Task.FINISH]) or not owed(runtime):
        assert {work(runtime, task, target) for task, target in todo} == {"done"}
    assert owed(runtime) == [(Task.FINISH, job.id)]


def test_rows_and_document_say_the_same(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes())
    until_finish(runtime, job)
    with runtime.database.read() as session:
        first = segments_of(session, job.id)
    assert run_all(runtime) == ["done"]
    with runtime.database.read() as session:
        document = find_document(session, DEFAULT_TENANT, job.video_id)
        segments, flags = segments_of(session, job.id), flags_of(session, job.id)
        ordered = select(SecondLookRow).where(SecondLookRow.job_id == job.id)
        rows = session.exec(ordered.order_by(col(SecondLookRow.segment), col(SecondLookRow.policy_id))).all()
    assert document is not None
    assert [to_document(segment) for segment in segments] == document["segments"]
    assert [flag.second_look for flag in flags] == [flag["second_look"] for flag in document["flags"]]
    told = document["second_looks"]
    assert len(rows) == len(told) > 0
    for row, look in zip(rows, sorted(told, key=lambda look: (look["segment"], look["policy_id"])), strict=True):
        assert (row.tenant_id, row.segment, row.policy_id) == (DEFAULT_TENANT, look["segment"], look["policy_id"])
        assert (row.outcome, round(row.first_score, 6)) == (look["outcome"], look["first_score"])
        assert row.first_score == first[row.segment].scores[row.policy_id]
    with runtime.database.read() as session:
        own, decisions = runtime.own_policies, decided_flags.of_tenant(session, DEFAULT_TENANT)
        tried = trials.run(session, DEFAULT_TENANT, own, own, own, decisions_of=decisions)
    verdict = document["verdict"]["action"]
    assert [(before, after) for before, after, videos in tried.moved if videos] == [(verdict, verdict)]
    assert sum(count for _, count, _ in tried.flags if count) == len(flags)
    with runtime.database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    with runtime.database.read() as session:
        assert session.exec(select(SecondLookRow)).all() == []


def test_a_source_that_goes_meanwhile_fails_no_job(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes())
    until_finish(runtime, job)
    with runtime.database.write() as session:
        video = session.get_one(Video, job.video_id)
        assert video.blob is not None
        runtime.blobs.remove(video.blob)
        video.blob = None
    assert run_all(runtime) == ["done"]
    with runtime.database.read() as session:
        document = find_document(session, DEFAULT_TENANT, job.video_id)
        assert session.get_one(Job, job.id).state == "ready"
    assert document is not None
    assert {flag["second_look"] for flag in document["flags"]} == {"unverified"}
    assert {look["reason"] for look in document["second_looks"]} == {SOURCE_GONE}
    assert document["verdict"]["action"] == "review"
