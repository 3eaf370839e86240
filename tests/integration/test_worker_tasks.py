"""The tasks, called as functions, on a real clip, a real database and a real model whose weights are random."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from clips import H264, numbered
from jobs_helpers import analysis, must_take
from sqlmodel import Session, select, update
from worker_helpers import accept, fresh_runtime, owed, run_all

import vidlm
from vidlm import preparation, prompts
from vidlm.answer import HISTORY_MOST
from vidlm.domain import Answer, to_document
from vidlm.jobs import control, disposal, life
from vidlm.jobs.claims import Claim
from vidlm.moderation.policies import load_policies
from vidlm.queue import Task
from vidlm.store.queries import find_document
from vidlm.store.tables import DEFAULT_TENANT, Job, Question, SegmentRow, SpanWork, Video
from vidlm.video import sandbox
from workers import tasks
from workers.runtime import Runtime
from workers.tasks import work


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 seconds at 10 frames a second: two spans."""
    return numbered(tmp_path_factory.mktemp("clips") / "eight.mp4", *H264, frames=80, fps=10).path


@pytest.fixture
def runtime(tmp_path: Path, database_url: str, tiny_random_checkpoint: Path, few_policies: Path) -> Iterator[Runtime]:
    data = tmp_path / "data"
    with fresh_runtime(data, tiny_random_checkpoint, few_policies, span_s=4.0, database_url=database_url) as runtime:
        yield runtime


def job_now(runtime: Runtime, job: Job) -> Job:
    with runtime.database.read() as session:
        return session.get_one(Job, job.id)


def documents_differ(first: object, second: object) -> list[str]:
    """Paths at which two documents differ, floats compared to four digits."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted({*first, *second})
        return [f"{key}.{path}" for key in keys for path in documents_differ(first.get(key), second.get(key))]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [f"{index}.{path}" for index, pair in pairs for path in documents_differ(*pair)]
    if isinstance(first, float) and isinstance(second, float):
        return [] if first == pytest.approx(second, abs=1e-4) else [f"{first} != {second}"]
    return [] if first == second else [f"{first!r} != {second!r}"]


def test_the_service_and_the_library_say_the_same(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes(), clip.name)
    said = run_all(runtime)
    assert set(said) == {"done"}
    assert len(said) >= 4  # prepare, at least two spans, finish
    row = job_now(runtime, job)
    assert (row.state, row.spans_done, row.toy_model) == ("ready", row.spans_total, False)
    with runtime.database.read() as session:
        document = find_document(session, DEFAULT_TENANT, job.video_id)
    expected = vidlm.analyze(
        clip, model=runtime.engine(), policies=load_policies(runtime.settings.policies), settings=runtime.settings
    )
    assert documents_differ(document, json.loads(json.dumps(to_document(expected)))) == []

    with runtime.database.write() as session:
        asked = life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="What is there?")
    assert run_all(runtime) == ["done"]
    with runtime.database.read() as session:
        answer = session.get_one(Question, asked.id).answer
    assert answer is not None
    assert answer["question"] == "What is there?"
    assert all(0 <= part["start_s"] <= part["end_s"] <= 8 for part in answer["evidence"])


def test_a_question_is_put_behind_what_was_said_before(
    runtime: Runtime, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request that reaches the engine, to score a part or to write the words, begins with the last turns."""
    job = accept(runtime, clip.read_bytes())
    assert set(run_all(runtime)) == {"done"}
    turns = [(f"question {number}?", f"answer {number}") for number in range(HISTORY_MOST + 1)]
    conversation_id = None
    for question, said in turns:
        with runtime.database.write() as session:
            asked = life.ask(
                session,
                tenant_id=DEFAULT_TENANT,
                video_id=job.video_id,
                text=question,
                conversation_id=conversation_id,
            )
        conversation_id = asked.conversation_id
        held = must_take(runtime.database, Task.ANSWER, asked.id)
        with runtime.database.write() as session:
            life.answered(session, held, Answer(question, said, 0.5, False, (), analysis().provenance))
    engine = runtime.engine()
    caption, scored, written = engine.caption, [], []

    def score_all(shown: Sequence[Any], questions: Sequence[str], **_: Any) -> list[Future[list[float]]]:
        scored.extend(questions)
        futures: list[Future[list[float]]] = [Future() for _ in shown]
        for future in futures:
            future.set_result([0.9])
        return futures

    def write(prompt: Any, request: str, **named: Any) -> Any:
        written.append(request)
        return caption(prompt, request, **named)

    monkeypatch.setattr(engine, "score_all", score_all)
    monkeypatch.setattr(engine, "caption", write)
    with runtime.database.write() as session:
        asked = life.ask(
            session,
            tenant_id=DEFAULT_TENANT,
            video_id=job.video_id,
            text="Where is it?",
            conversation_id=conversation_id,
        )
    assert run_all(runtime) == ["done"]
    assert set(scored) == {prompts.branch(prompts.relevance_question("Where is it?"), turns[1:])}
    assert set(written) == {prompts.branch(prompts.answer_request("Where is it?"), turns[1:])}
    with runtime.database.read() as session:
        document = session.get_one(Question, asked.id).answer
    assert document is not None
    assert document["conversation_id"] == conversation_id


def test_everything_delivered_twice_changes_nothing(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes())
    said = []
    while todo := owed(runtime):
        said += [work(runtime, task, target) for task, target in todo for _ in range(2)]
    assert said == ["done", "skipped"] * (len(said) // 2)
    with runtime.database.read() as session:
        indices = list(session.exec(select(SegmentRow.index).where(SegmentRow.job_id == job.id)).all())
    assert sorted(indices) == list(range(len(indices)))
    assert job_now(runtime, job).state == "ready"


def test_only_the_winning_attempts_files_are_kept(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes())
    left = runtime.settings.data / f"work/{job.id}/0"
    left.mkdir(parents=True)
    (left / "proxy.mp4").write_bytes(b"what a killed worker left")
    assert work(runtime, Task.PREPARE, job.id) == "done"
    assert [folder.name for folder in left.parent.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "not_a_video"), (bytes(10_000), "not_a_video"), (b"#EXTM3U\nfile:///etc/passwd\n", "container_not_allowed")],
    ids=["empty", "zeros", "playlist"],
)
def test_bad_files_are_rejected_with_a_code_and_leave_no_files(runtime: Runtime, data: bytes, code: str) -> None:
    job = accept(runtime, data)
    assert run_all(runtime) == ["rejected"]
    row = job_now(runtime, job)
    assert (row.state, row.error_code) == ("rejected", code)
    assert str(runtime.settings.data) not in (row.error_detail or "")
    assert [path for path in (runtime.settings.data / "work").rglob("*") if path.is_file()] == []


def test_a_checkpoint_that_is_not_there_fails_the_job_after_retries(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes())
    assert work(runtime, Task.PREPARE, job.id) == "done"
    broken = Runtime(runtime.settings.model_copy(update={"model": "/nowhere/at/all"}))
    said = []
    while todo := owed(broken):
        said.append(work(broken, *todo[0]))
        with broken.database.write() as session:
            session.exec(update(SpanWork).values(not_before=None))
    assert said == ["waiting", "waiting", "failed"]
    row = job_now(runtime, job)
    assert (row.state, row.error_code) == ("failed", "checkpoint_invalid")
    assert "/nowhere" not in (row.error_detail or "")


def test_the_decoder_of_a_video_that_is_deleted_is_ended(
    runtime: Runtime, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving how far decoding is finds that the claim is gone; nothing more is decoded."""
    monkeypatch.setattr(tasks, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(sandbox, "WATCH_S", 0.01)
    job = accept(runtime, clip.read_bytes())
    preparing, shares = life.preparing, []

    def delete(session: Session, held: Claim, share: float) -> None:
        shares.append(share)
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
        preparing(session, held, share)

    monkeypatch.setattr(life, "preparing", delete)
    assert work(runtime, Task.PREPARE, job.id) == "lost"
    assert len(shares) == 1
    assert [path for path in runtime.settings.data.rglob("work/**/*") if path.is_file()] == []


def test_a_video_deleted_under_the_workers_hands_leaves_nothing(
    runtime: Runtime, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = accept(runtime, clip.read_bytes())
    prepare = preparation.prepare

    def prepare_and_delete(source: Path, *arguments: Any, **named: Any) -> preparation.Prepared:
        prepared = prepare(source, *arguments, **named)
        with runtime.database.write() as session:
            control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
        disposal.dispose(runtime.database, runtime.blobs, job.video_id)
        return prepared

    monkeypatch.setattr(preparation, "prepare", prepare_and_delete)
    assert work(runtime, Task.PREPARE, job.id) == "lost"
    assert [path for path in runtime.settings.data.rglob("work/**/*") if path.is_file()] == []
    assert owed(runtime) == []
