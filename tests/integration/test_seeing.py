"""Windows of a real clip become tokens once; what was kept is used again, and whoever stops looking leaves nothing."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import H264, numbered
from hypothesis import given, settings
from hypothesis import strategies as st
from random_checkpoint import Recipe, write
from sqlmodel import select
from worker_helpers import accept, fresh_runtime, run_all

from vidlm import pipeline, preparation, seeing
from vidlm.answer import answer_question
from vidlm.config import Settings
from vidlm.domain import FrameBatch, Segment
from vidlm.errors import ModelError, ToolError
from vidlm.jobs import control, disposal, life
from vidlm.model import scheduler
from vidlm.model.embeddings import TokenStore
from vidlm.model.engine import Engine
from vidlm.model.prefix import Prefix, VisualTokens
from vidlm.model.video_model import VideoModel
from vidlm.moderation.policies import PolicySet, load_policies
from vidlm.pipeline import analyze_windows
from vidlm.preparation import Prepared, prepare, read_windows
from vidlm.queue import Task
from vidlm.seeing import AHEAD, READ_FRAMES, Eyes, _groups, frames_of
from vidlm.store.blobs import TOKENS
from vidlm.store.tables import DEFAULT_TENANT, Job, Question, SpanWork, Video
from vidlm.video import frames as video_frames
from vidlm.video.sampling import Window
from workers.runtime import Runtime
from workers.tasks import work

BUILT_IN = load_policies().policies
POLICIES, NEW_POLICIES = PolicySet("few", BUILT_IN[:2]), PolicySet("new", BUILT_IN[5:7])
SETTINGS = Settings(sample_fps=2.0, segment_min_s=1.0, segment_max_s=1.0)
MIB = 1024**2


@pytest.fixture(scope="module")
def model(tiny_random_checkpoint: Path) -> VideoModel:
    return VideoModel.load(str(tiny_random_checkpoint), device="cpu")


@pytest.fixture
def engine(model: VideoModel) -> Iterator[Engine]:
    with Engine(model) as engine:
        yield engine


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 seconds at 10 frames a second."""
    return numbered(tmp_path_factory.mktemp("clips") / "long.mp4", *H264, frames=240, fps=10).path


@pytest.fixture(scope="module")
def prepared(clip: Path, model: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """More windows than are loaded ahead, of two frames each."""
    prepared = prepared_with(clip, model, tmp_path_factory.mktemp("prepared"), SETTINGS)
    assert len(prepared.windows) == 24 > AHEAD + 2
    assert {last - first for first, last in map(frames_of, prepared.windows)} == {2}
    return prepared


def prepared_with(clip: Path, model: VideoModel | Engine, folder: Path, settings: Settings) -> Prepared:
    return prepare(clip, folder, filename="long.mp4", geometry=model.info.geometry, settings=settings)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / TOKENS, 64 * MIB)


@pytest.fixture
def eyes(engine: Engine, store: TokenStore) -> Eyes:
    """Eyes that keep what they see."""
    return Eyes(engine, store)


def seen(eyes: Eyes, prepared: Prepared) -> list[VisualTokens]:
    return list(eyes.see(prepared, prepared.windows))


def alike(ours: Sequence[VisualTokens], theirs: Sequence[VisualTokens], tolerance: float = 1e-5) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.tokens.float(), other.tokens.float(), rtol=tolerance, atol=tolerance)
        assert (one.grid_hw, one.pair_times_s, one.last_times_s) == (
            other.grid_hw,
            other.pair_times_s,
            other.last_times_s,
        )


HALVED = 2**-10
"""What float16 may change."""


def scores_of(segments: Sequence[Segment]) -> list[float]:
    return [score for segment in segments for score in segment.scores.values()]


def kept_file(store_root: Path, window: Window) -> Path:
    (path,) = store_root.rglob("{}-{}.safetensors".format(*frames_of(window)))
    return path


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vidlm-loader"]


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was not to be called")


class Reads:
    """Counts what is read from the proxy: the windows of every group."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[list[int]] = []
        monkeypatch.setattr(seeing, "read_windows", self._read)

    def _read(self, prepared: Prepared, windows: Sequence[Window]) -> list[FrameBatch]:
        batches = read_windows(prepared, windows)
        self.groups.append([window.index for window in windows])
        return batches


class Held:
    """A tower that sees one window a call, and only as many as were let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: VideoModel, calls: int) -> None:
        self._left, self.calls, self._real = threading.Semaphore(calls), 0, model.encode_pairs
        monkeypatch.setattr(model, "pairs_at_once", lambda *_: 1)
        monkeypatch.setattr(model, "encode_pairs", self._encode)

    def _encode(self, pairs: Any) -> torch.Tensor:
        self.calls += 1
        assert self._left.acquire(timeout=30)
        return self._real(pairs)

    def let(self, calls: int) -> None:
        self._left.release(calls)


# ---- what is seen


@pytest.mark.parametrize("read_frames", [1, 7, READ_FRAMES])
def test_tokens_come_in_order_and_are_what_the_engine_sees_in_each_window(
    engine: Engine, prepared: Prepared, store: TokenStore, monkeypatch: pytest.MonkeyPatch, read_frames: int
) -> None:
    expected = [engine.encode(*read_windows(prepared, [window])).result(30) for window in prepared.windows]
    monkeypatch.setattr(seeing, "READ_FRAMES", read_frames)
    alike(seen(Eyes(engine), prepared), expected)
    alike(seen(Eyes(engine, store), prepared), expected)
    assert [tokens.pair_times_s[0] for tokens in expected] == [
        prepared.frame_times_s[window.first_frame] for window in prepared.windows
    ]
    assert not loaders()


def test_nothing_to_see_is_nothing(engine: Engine, prepared: Prepared) -> None:
    assert list(Eyes(engine).see(prepared, ())) == []
    assert not loaders()


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 150), max_size=40), first=st.integers(0, 1000))
def test_windows_are_read_in_groups_that_hold_all_of_them_in_order(sizes: list[int], first: int) -> None:
    windows = []
    for index, size in enumerate(sizes):
        windows.append(Window(index, float(index), index + 1.0, first, first + size))
        first += size
    groups = list(_groups(windows))
    assert [window for group in groups for window in group] == windows
    assert all(groups)
    assert all(len(group) == 1 for group in groups[:1])
    for group in groups:
        assert len(group) == 1 or group[-1].last_frame - group[0].first_frame <= READ_FRAMES
    for group, following in pairwise(groups[1:]):
        assert following[0].last_frame - group[0].first_frame > READ_FRAMES


# ---- what is kept


@pytest.fixture
def forbid_looking(model: VideoModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, neither the proxy nor the tower may be touched."""

    def forbid() -> None:
        for place, name in (
            (seeing, "read_windows"),
            (preparation, "read_frames"),
            (video_frames, "stream_frames"),
            (video_frames, "_open"),
            (model, "encode_pairs"),
        ):
            monkeypatch.setattr(place, name, forbidden)

    return forbid


@pytest.mark.parametrize("proxy", ["there", "gone"])
def test_the_second_time_neither_the_proxy_nor_the_tower_is_touched(
    eyes: Eyes, prepared: Prepared, forbid_looking: Callable[[], None], tmp_path: Path, proxy: str
) -> None:
    engine = eyes.engine
    unkept = analyze_windows(prepared, prepared.windows, Eyes(engine), NEW_POLICIES)
    first = seen(eyes, prepared)
    before = answer_question(prepared, "What is there?", eyes, SETTINGS)
    steps = engine.metrics().steps["encode"].steps
    forbid_looking()
    again = replace(prepared, proxy=tmp_path / "no such folder" / "proxy.mp4") if proxy == "gone" else prepared
    with pytest.raises(AssertionError, match="not to be called"):
        seen(Eyes(engine), again)
    alike(seen(eyes, again), first, HALVED)
    segments = analyze_windows(again, again.windows, eyes, NEW_POLICIES)
    assert [list(segment.scores) for segment in segments] == [[policy.id for policy in NEW_POLICIES.policies]] * 24
    assert scores_of(segments) == pytest.approx(scores_of(unkept), abs=5e-3)
    answer = answer_question(again, "What is there?", eyes, SETTINGS)
    assert answer.question == "What is there?"
    assert answer.abstained == (not answer.evidence)
    assert answer.evidence == before.evidence
    assert engine.metrics().steps["encode"].steps == steps


def test_answers_rest_on_the_same_seconds_from_kept_tokens(eyes: Eyes, prepared: Prepared) -> None:
    turns = (Eyes(eyes.engine), eyes, eyes)
    answers = [answer_question(prepared, "What is there?", which, SETTINGS) for which in turns]
    for answer in answers[1:]:
        assert answer.confidence == pytest.approx(answers[0].confidence, abs=2e-2)
        assert [(part.start_s, part.end_s) for part in answer.evidence] == [
            (part.start_s, part.end_s) for part in answers[0].evidence
        ]


def test_what_is_missing_or_damaged_is_seen_again_and_put_back(
    eyes: Eyes, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, first = eyes.engine, seen(eyes, prepared)
    files = sorted((tmp_path / TOKENS).rglob("*.safetensors"))
    assert len(files) == len(prepared.windows)
    missing, cut, flipped = (kept_file(tmp_path / TOKENS, prepared.windows[index]) for index in (4, 9, 10))
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-5])
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)

    monkeypatch.setattr(seeing, "READ_FRAMES", 4)
    reads, items = Reads(monkeypatch), engine.metrics().steps["encode"].items
    alike(seen(eyes, prepared), first, HALVED)
    assert reads.groups == [[3, 4], [9, 10]]
    assert engine.metrics().steps["encode"].items - items == 3
    assert sorted((tmp_path / TOKENS).rglob("*.safetensors")) == files
    alike(seen(eyes, prepared), first, HALVED)
    assert len(reads.groups) == 2


def check_sees_for_itself(eyes: Eyes, prepared: Prepared, root: Path) -> None:
    """That these eyes use nothing that is kept so far, and keep their own beside it."""
    before = set(root.rglob("*.safetensors"))
    assert before
    items = eyes.engine.metrics().steps["encode"].items if "encode" in eyes.engine.metrics().steps else 0
    found = seen(eyes, prepared)
    assert eyes.engine.metrics().steps["encode"].items - items == sum(map(len, found))
    assert len(set(root.rglob("*.safetensors")) - before) == len(found)
    alike(found, seen(Eyes(eyes.engine), prepared))


@pytest.mark.parametrize(
    "changes",
    [{"sample_fps": 4.0, "segment_min_s": 0.5, "segment_max_s": 0.5}, {"max_frame_pixels": 100 * 80}],
    ids=["another rate", "another size"],
)
def test_tokens_of_frames_taken_otherwise_are_not_used(
    eyes: Eyes, prepared: Prepared, clip: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    seen(eyes, prepared)
    folder = tmp_path / "other"
    folder.mkdir()
    other = prepared_with(clip, eyes.engine, folder, SETTINGS.model_copy(update=changes))
    assert other.info.sha256 == prepared.info.sha256
    assert other.sampling != prepared.sampling
    assert set(map(frames_of, prepared.windows)) & set(map(frames_of, other.windows))
    check_sees_for_itself(eyes, other, tmp_path / TOKENS)


def test_tokens_of_another_model_or_of_another_precision_are_not_used(
    engine: Engine, tiny_random_checkpoint: Path, store: TokenStore, tmp_path: Path, prepared: Prepared
) -> None:
    seen(Eyes(engine, store), prepared)
    other_weights = write(tmp_path / "checkpoint", Recipe(), seed=1)
    with Engine.load(str(other_weights), device="cpu") as other:
        assert other.info.revision != engine.info.revision
        check_sees_for_itself(Eyes(other, store), prepared, tmp_path / TOKENS)
    with Engine.load(str(tiny_random_checkpoint), device="cpu", dtype="bfloat16") as coarse:
        assert coarse.info.revision == engine.info.revision
        check_sees_for_itself(Eyes(coarse, store), prepared, tmp_path / TOKENS)


# ---- loading ahead


def test_windows_are_read_while_the_model_is_at_the_first_but_not_without_end(
    engine: Engine, model: VideoModel, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeing, "READ_FRAMES", 1)
    reads, held, found = Reads(monkeypatch), Held(monkeypatch, model, calls=0), []
    consumer = threading.Thread(target=lambda: found.extend(seen(Eyes(engine), prepared)))
    consumer.start()
    most = AHEAD + 2  # one is waited for, one is read and finds no room
    wait_for(lambda: len(reads.groups) == most)
    time.sleep(0.1)
    assert reads.groups == [[index] for index in range(most)]
    assert held.calls == 1
    assert not found
    held.let(1000)
    consumer.join(30)
    assert len(found) == len(prepared.windows)
    assert not loaders()


def test_the_first_window_is_with_the_model_before_the_second_is_read(
    engine: Engine, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone_on = threading.Event()

    def read(prepared: Prepared, windows: Sequence[Window]) -> list[FrameBatch]:
        assert windows[0].index == 0 or gone_on.wait(30)
        return read_windows(prepared, windows)

    monkeypatch.setattr(seeing, "read_windows", read)
    with closing(Eyes(engine).see(prepared, prepared.windows)) as tokens:
        assert len(next(tokens)) == 1
        gone_on.set()


# ---- ends


@pytest.mark.parametrize("windows", [2, 6, 24])
def test_closing_early_ends_the_loader_and_leaves_nothing_in_the_engine(
    engine: Engine, model: VideoModel, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, windows: int
) -> None:
    held = Held(monkeypatch, model, calls=1)
    tokens = Eyes(engine).see(prepared, prepared.windows[:windows])
    next(tokens)
    loaded = min(windows, AHEAD + 2)
    wait_for(lambda: engine.metrics().waiting["batch"] == loaded - 1)
    wait_for(lambda: held.calls == 2)
    tokens.close()  # the model is still at work
    assert not loaders()
    held.let(1000)
    wait_for(lambda: engine.metrics().waiting["batch"] == 0)
    assert held.calls == 2
    assert engine.metrics().requests == {"done": 1, "cancelled": loaded - 1}


def test_closing_while_a_group_is_read_waits_for_it_and_asks_for_nothing_more(
    engine: Engine, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, gone_on = threading.Event(), threading.Event()

    def read(prepared: Prepared, windows: Sequence[Window]) -> list[FrameBatch]:
        if windows[0].index > 0:
            reading.set()
            assert gone_on.wait(30)
        return read_windows(prepared, windows)

    monkeypatch.setattr(seeing, "READ_FRAMES", 4)
    monkeypatch.setattr(seeing, "read_windows", read)
    tokens = Eyes(engine).see(prepared, prepared.windows)
    next(tokens)
    assert reading.wait(30)
    threading.Timer(0.1, gone_on.set).start()
    tokens.close()
    assert not loaders()
    assert engine.metrics().requests == {"done": 1}
    assert engine.metrics().waiting["batch"] == 0


def test_what_a_consumer_raises_ends_the_loading(engine: Engine, eyes: Eyes, prepared: Prepared) -> None:
    def look(eyes: Eyes) -> None:
        with closing(eyes.see(prepared, prepared.windows)) as tokens:
            for visual in tokens:
                assert len(visual) // 0

    for which in (Eyes(engine), eyes):
        with pytest.raises(ZeroDivisionError):
            look(which)
        assert not loaders()
        wait_for(lambda: engine.metrics().waiting["batch"] == 0)
    alike(seen(eyes, prepared), seen(Eyes(engine), prepared), HALVED)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_proxy_that_cannot_be_read_is_told_to_who_looks(
    engine: Engine, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(seeing, "READ_FRAMES", 4)
    data = prepared.proxy.read_bytes()
    cut = tmp_path / "proxy.mp4"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ToolError):
        seen(Eyes(engine), replace(prepared, proxy=cut))
    assert not loaders()
    wait_for(lambda: engine.metrics().waiting["batch"] == 0)


def test_an_error_in_the_middle_comes_after_what_was_read_before_it(
    engine: Engine, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(prepared: Prepared, windows: Sequence[Window]) -> list[FrameBatch]:
        if windows[0].index == 5:
            raise ToolError("the proxy cannot be read")
        return read_windows(prepared, windows)

    monkeypatch.setattr(seeing, "READ_FRAMES", 4)
    monkeypatch.setattr(seeing, "read_windows", read)
    times: list[float] = []

    def look() -> None:
        for tokens in Eyes(engine).see(prepared, prepared.windows):
            times.extend(tokens.pair_times_s)

    with pytest.raises(ToolError):
        look()
    assert times == [prepared.frame_times_s[window.first_frame] for window in prepared.windows[:5]]
    assert not loaders()


def test_an_engine_that_is_closed_meanwhile_ends_the_looking(
    model: VideoModel, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, engine = Held(monkeypatch, model, calls=1), Engine(model)
    tokens = Eyes(engine).see(prepared, prepared.windows)
    next(tokens)
    wait_for(lambda: held.calls == 2)
    closing_thread = threading.Thread(target=engine.close)
    closing_thread.start()
    held.let(1000)
    with pytest.raises(ModelError) as caught:
        list(tokens)
    assert caught.value.code == "engine_closed"
    closing_thread.join(30)
    assert not loaders()
    with pytest.raises(ModelError):
        seen(Eyes(engine), prepared)
    assert not loaders()


# ---- segments


@pytest.mark.parametrize("at_once", [1, 2, 32])
def test_segments_come_in_order_and_are_the_same_however_many_are_under_way(
    engine: Engine, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    windows = prepared.windows[3:13]
    whole = [segment for window in windows for segment in analyze_windows(prepared, [window], Eyes(engine), POLICIES)]
    monkeypatch.setattr(pipeline, "WINDOWS_AT_ONCE", at_once)
    told: list[Segment] = []
    segments = analyze_windows(prepared, windows, Eyes(engine), POLICIES, told.append)
    assert told == segments
    assert [segment.index for segment in segments] == list(range(3, 13))
    assert [segment.caption for segment in segments] == [segment.caption for segment in whole]
    assert scores_of(segments) == pytest.approx(scores_of(whole), abs=1e-5)


def test_what_on_segment_raises_ends_the_loading(
    engine: Engine, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "WINDOWS_AT_ONCE", 2)
    told = []

    def stop(segment: Segment) -> None:
        told.append(segment.index)
        if len(told) == 2:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough") as caught:
        analyze_windows(prepared, prepared.windows, Eyes(engine), POLICIES, stop)
    assert not loaders()
    assert caught.tb  # which holds on to the iterator: it was closed all the same
    assert told == [0, 1]
    wait_for(lambda: engine.metrics().waiting["batch"] == 0)
    assert set(engine.metrics().requests) <= {"done", "cancelled"}


def test_what_on_segment_raises_cancels_what_is_under_way(
    model: VideoModel, prepared: Prepared, store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows are worked on one by one here and the second prompt is held, so all but the first of them wait."""
    monkeypatch.setitem(scheduler.ROWS, "cpu", 1)
    monkeypatch.setattr(scheduler, "PROMPTS", 1)
    gone_on, opened, really_open = threading.Event(), [], model.open_many

    def hold(prompts: Sequence[Any]) -> list[Prefix]:
        opened.extend(prompts)
        assert len(opened) == 1 or gone_on.wait(30)
        return really_open(prompts)

    def stop(_segment: Segment) -> None:
        raise KeyError("enough")

    with Engine(model) as engine:
        eyes = Eyes(engine, store)
        windows = len(seen(eyes, prepared))
        monkeypatch.setattr(model, "open_many", hold)
        with pytest.raises(KeyError, match="enough"):
            analyze_windows(prepared, prepared.windows, eyes, POLICIES, stop)
        gone_on.set()
        wait_for(lambda: engine.metrics().waiting["batch"] == 0)
        assert len(opened) == 2
        assert engine.metrics().requests == {"done": windows + 2, "cancelled": 2 * (windows - 1)}


# ---- in the service


@pytest.fixture
def runtime(tmp_path: Path, tiny_random_checkpoint: Path, few_policies: Path) -> Iterator[Runtime]:
    with fresh_runtime(tmp_path / "data", tiny_random_checkpoint, few_policies, span_s=12.0) as runtime:
        yield runtime


def asked(runtime: Runtime, job: Job, text: str) -> str:
    with runtime.database.write() as session:
        return life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text=text).id


def kept_tokens(runtime: Runtime) -> list[str]:
    return sorted(path.name for path in (runtime.settings.data / TOKENS).rglob("*") if path.is_file())


def test_a_worker_keeps_the_tokens_of_each_window_until_the_video_is_deleted(runtime: Runtime, clip: Path) -> None:
    job = accept(runtime, clip.read_bytes())
    assert work(runtime, Task.PREPARE, job.id) == "done"
    assert kept_tokens(runtime) == []
    with runtime.database.read() as session:
        spans = list(session.exec(select(SpanWork).where(SpanWork.job_id == job.id).order_by(SpanWork.first_window)))
        document = session.get_one(Job, job.id).prepared
        folder = session.get_one(Job, job.id).work_folder
    assert document is not None
    assert folder is not None
    windows = Prepared.from_document(document, Path()).windows
    assert len(spans) > 1
    for span in spans:
        assert work(runtime, Task.ANALYZE_SPAN, span.id) == "done"
        so_far = windows[: span.last_window]
        assert kept_tokens(runtime) == sorted("{}-{}.safetensors".format(*frames_of(window)) for window in so_far)
    assert set(run_all(runtime)) == {"done"}

    proxy = runtime.blobs.path(folder) / document["proxy"]
    proxy.write_bytes(b"")
    question = asked(runtime, job, "What is there?")
    assert work(runtime, Task.ANSWER, question) == "done"
    with runtime.database.read() as session:
        answer = session.get_one(Question, question).answer
    assert answer is not None
    assert answer["question"] == "What is there?"

    tokens = runtime.settings.data / TOKENS
    shutil.move(tokens, tokens.with_name("elsewhere"))
    assert work(runtime, Task.ANSWER, asked(runtime, job, "And now?")) == "waiting"  # the proxy is needed, and is gone
    shutil.move(tokens.with_name("elsewhere"), tokens)

    with runtime.database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    assert disposal.dispose(runtime.database, runtime.blobs, job.video_id)
    assert kept_tokens(runtime) == []
