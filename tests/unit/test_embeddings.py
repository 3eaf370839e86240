"""Tokens come back as they were or not at all, whatever happens to the disk, the files and those who share them."""

import dataclasses
import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from vidlm.errors import StorageError
from vidlm.model import embeddings
from vidlm.model.embeddings import TokenKey, TokenStore
from vidlm.model.prefix import VisualTokens

SHA, OTHER_SHA = "ab" * 32, "cd" * 32
KEY = TokenKey(SHA, "revision", "fps=2 height=336")
WINDOW = (0, 16)
MIB = 1024**2


def visual(
    seed: int = 0, dtype: torch.dtype = torch.bfloat16, pairs: int = 3, n: int = 4, width: int = 8
) -> VisualTokens:
    tokens = torch.randn(pairs, n, width, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return VisualTokens(tokens=tokens, pair_times_s=tuple(seed + pair / 3 for pair in range(pairs)), grid_hw=(2, 2 * n))


def same(ours: VisualTokens | None, theirs: VisualTokens) -> bool:
    """Whether every field is equal, to the last bit."""
    if ours is None or ours.tokens.dtype != theirs.tokens.dtype:
        return False
    rest = [field.name for field in dataclasses.fields(VisualTokens) if field.name != "tokens"]
    return torch.equal(ours.tokens, theirs.tokens) and all(
        getattr(ours, name) == getattr(theirs, name) for name in rest
    )


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if not path.is_dir())


def the_file(root: Path) -> Path:
    (path,) = files(root)
    return path


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def store(root: Path) -> TokenStore:
    return TokenStore(root, MIB)


def rewrite(path: Path, **changes: object) -> None:
    """Change what an entry says of itself, and sign it as `put` would."""
    data = path.read_bytes()
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tokens = load(data)["tokens"]
    entry = json.dumps(json.loads(metadata["entry"]) | changes)
    path.write_bytes(save({"tokens": tokens}, {"entry": entry, "sha256": embeddings._digest(entry, tokens)}))


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_halves_come_back_as_they_were(self, store, root, dtype):
        store.put(KEY, WINDOW, visual(1, dtype))
        assert same(store.get(KEY, WINDOW), visual(1, dtype))
        assert same(TokenStore(root, MIB).get(KEY, WINDOW), visual(1, dtype))

    @settings(max_examples=25, deadline=None)
    @given(data=st.data(), pairs=st.integers(1, 4), n=st.integers(1, 5), width=st.integers(1, 6))
    def test_shapes_and_times_come_back_exactly(self, tmp_path_factory, data, pairs, n, width):
        store = TokenStore(tmp_path_factory.mktemp("tokens"), MIB)
        times = st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * pairs)
        names = [field.name for field in dataclasses.fields(VisualTokens) if field.name.endswith("times_s")]
        kept = VisualTokens(
            tokens=torch.randn(pairs, n, width).half(),
            grid_hw=(2, 2 * n),
            **{name: data.draw(times, name) for name in names},
        )
        store.put(KEY, WINDOW, kept)
        assert same(store.get(KEY, WINDOW), kept)

    def test_a_part_of_a_larger_tensor_and_one_with_gradients(self, store):
        whole = visual(2, pairs=8)
        store.put(KEY, (0, 6), whole.slice(3, 6))
        assert same(store.get(KEY, (0, 6)), whole.slice(3, 6))
        turned = VisualTokens(
            tokens=torch.randn(3, 4, 5).half().mT.requires_grad_(), pair_times_s=(0.0, 0.1, 0.2), grid_hw=(2, 10)
        )
        store.put(KEY, WINDOW, turned)
        assert same(store.get(KEY, WINDOW), turned)

    def test_what_is_returned_is_the_callers_own(self, store):
        store.put(KEY, WINDOW, visual())
        store.get(KEY, WINDOW).tokens.zero_()
        assert same(store.get(KEY, WINDOW), visual())

    @settings(max_examples=25, deadline=None)
    @given(scale=st.floats(1e-6, 15000))
    def test_float32_becomes_float16_within_rounding(self, tmp_path_factory, scale):
        store = TokenStore(tmp_path_factory.mktemp("tokens"), MIB)
        exact = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0)) * scale
        store.put(KEY, WINDOW, dataclasses.replace(visual(), tokens=exact))
        stored = store.get(KEY, WINDOW).tokens
        assert stored.dtype == torch.float16
        torch.testing.assert_close(stored.float(), exact, rtol=2**-11, atol=2**-25)

    @pytest.mark.parametrize(
        ("value", "dtype"), [(65504.0, torch.float16), (65505.0, torch.bfloat16), (-1e30, torch.bfloat16)]
    )
    def test_float32_too_large_for_float16_becomes_bfloat16(self, store, value, dtype):
        exact = torch.full((3, 4, 8), value)
        store.put(KEY, WINDOW, dataclasses.replace(visual(), tokens=exact))
        stored = store.get(KEY, WINDOW).tokens
        assert stored.dtype == dtype
        torch.testing.assert_close(stored.float(), exact, rtol=2**-8, atol=0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_what_is_not_finite_is_not_stored(self, store, root, dtype, value):
        spoilt = visual(dtype=dtype)
        spoilt.tokens[1, 2, 3] = value
        store.put(KEY, WINDOW, spoilt)
        assert files(root) == []

    def test_nor_what_rounds_to_infinity_nor_no_values_nor_no_floats_nor_impossible_times(self, store, root):
        largest = torch.full((3, 4, 8), torch.finfo(torch.float32).max)
        for tokens in (largest, torch.zeros(3, 0, 8), torch.zeros(3, 4, 8, dtype=torch.int32)):
            store.put(KEY, WINDOW, dataclasses.replace(visual(), tokens=tokens))
        store.put(KEY, WINDOW, dataclasses.replace(visual(), pair_times_s=(0.0, 1.0, float("nan"))))
        assert files(root) == []

    def test_another_key_or_window_is_another_entry(self, store):
        keys = [
            KEY,
            *(dataclasses.replace(KEY, **{name: OTHER_SHA}) for name in ("video_sha256", "model_revision", "recipe")),
        ]
        wanted = {
            (key, window): visual(seed)
            for seed, (key, window) in enumerate((k, w) for k in keys for w in [(0, 8), (0, 80), (8, 16)])
        }
        for (key, window), tokens in wanted.items():
            assert store.get(key, window) is None
            store.put(key, window, tokens)
        assert all(same(store.get(key, window), tokens) for (key, window), tokens in wanted.items())

    def test_another_preprocessing_sees_nothing_of_this_one(self, store, monkeypatch):
        store.put(KEY, WINDOW, visual())
        monkeypatch.setattr(embeddings, "PREPROCESSING_VERSION", "next")
        assert store.get(KEY, WINDOW) is None

    def test_putting_again_replaces(self, store, root):
        store.put(KEY, WINDOW, visual(1))
        store.put(KEY, WINDOW, visual(2))
        assert same(store.get(KEY, WINDOW), visual(2))
        assert len(files(root)) == 1


class TestDamage:
    """Each of these is no entry, is removed, and does not stand in the way of the next one."""

    @pytest.fixture(autouse=True)
    def kept(self, store):
        store.put(KEY, WINDOW, visual())

    def refused(self, store: TokenStore, key: TokenKey = KEY, window: tuple[int, int] = WINDOW) -> None:
        assert store.get(key, window) is None
        assert not os.path.lexists(store._path(key, window))
        store.put(key, window, visual(7))
        assert same(store.get(key, window), visual(7))

    def test_truncated_anywhere(self, store, root):
        path = the_file(root)
        data = path.read_bytes()
        for length in {*range(0, len(data), 7), 1, 7, 8, 9, len(data) - 1}:
            path.write_bytes(data[:length])
            assert store.get(KEY, WINDOW) is None, length
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
        self.refused(store)

    def test_one_byte_changed_anywhere(self, store, root):
        path = the_file(root)
        data = path.read_bytes()
        header = 8 + int.from_bytes(data[:8], "little")
        dice = random.Random(0)
        for place in [*range(header), *range(header, len(data), 5)]:
            changed = bytearray(data)
            changed[place] ^= dice.randrange(1, 256)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(changed)
            seen = store.get(KEY, WINDOW)
            # a space turned into a tab behind the header changes nothing that is said
            assert seen is None or (same(seen, visual()) and changed[place] in b" \t\r\n"), place
            assert path.exists() == (seen is not None)
        path.unlink(missing_ok=True)
        self.refused(store)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"\x00" * 8,
            b"\xff" * 4096,
            (2**62).to_bytes(8, "little") + b"{}",
            (2).to_bytes(8, "little") + b"{}",
            (4).to_bytes(8, "little") + b"null",
            (64).to_bytes(8, "little") + b"[" * 64,
            b"<html>" * 100,
            save({"tokens": torch.zeros(3, 4, 8).half()}),
            save({"tokens": torch.zeros(3, 4, 8).half()}, {"entry": "[" * 100_000, "sha256": ""}),
            save({"weight": torch.zeros(3, 4, 8).half()}, {"entry": "{}", "sha256": ""}),
        ],
        ids=range(11),
    )
    def test_garbage(self, store, root, garbage):
        the_file(root).write_bytes(garbage)
        self.refused(store)

    def test_more_bytes_than_there_should_be(self, store, root):
        with the_file(root).open("ab") as file:
            file.write(b"more")
        self.refused(store)

    def test_larger_than_anything_kept_is_not_even_read(self, store, root):
        os.truncate(the_file(root), 1024**4)  # a hole, no data
        self.refused(store)

    @pytest.mark.parametrize("full", [False, True])
    def test_a_folder_in_its_place(self, store, root, full):
        path = the_file(root)
        path.unlink()
        path.mkdir()
        if full:
            (path / "0-16.safetensors").write_bytes(b"x")
        self.refused(store)

    def test_a_link_or_a_pipe_in_its_place(self, store, root, tmp_path):
        path = the_file(root)
        shutil.move(path, tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        self.refused(store)
        assert (tmp_path / "elsewhere").exists()
        path.unlink()
        os.mkfifo(path)
        self.refused(store)

    @pytest.mark.parametrize(
        ("key", "window"),
        [
            (dataclasses.replace(KEY, video_sha256=OTHER_SHA), WINDOW),
            (dataclasses.replace(KEY, model_revision="next"), WINDOW),
            (dataclasses.replace(KEY, recipe="fps=1"), WINDOW),
            (KEY, (16, 32)),
        ],
    )
    def test_anothers_file_copied_here(self, store, root, key, window):
        here = store._path(key, window)
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(the_file(root), here)
        self.refused(store, key, window)
        assert same(store.get(KEY, WINDOW), visual())

    @pytest.mark.parametrize(
        "changes",
        [
            {"format": 0},
            {"preprocessing": "0"},
            {"frames": None},
            {"about": None},
            {"about": {"grid_hw": [2, 8]}},
            {"about": {"pair_times_s": [0.0], "grid_hw": [2, 8]}},
        ],
    )
    def test_well_signed_but_of_another_format(self, store, root, changes):
        rewrite(the_file(root), **changes)
        self.refused(store)

    def test_times_that_do_not_fit_or_a_field_nobody_knows(self, store, root):
        path = the_file(root)
        rest = {field.name: getattr(visual(), field.name) for field in dataclasses.fields(VisualTokens)[1:]}
        rewrite(path, about=rest)
        assert same(store.get(KEY, WINDOW), visual())
        rewrite(path, about=rest | {"pair_times_s": [0.0]})
        self.refused(store)
        rewrite(path, about=rest | {"unknown": [1]})
        self.refused(store)

    @pytest.mark.parametrize(
        "tokens", [torch.zeros(3, 4, 8), torch.zeros(3, 4, 8).half() / 0, torch.zeros(12, 8).half()]
    )
    def test_well_signed_but_of_values_never_stored(self, store, root, tokens):
        path = the_file(root)
        rewrite(path)
        assert same(store.get(KEY, WINDOW), visual())
        data = path.read_bytes()
        entry = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["entry"]
        path.write_bytes(save({"tokens": tokens}, {"entry": entry, "sha256": embeddings._digest(entry, tokens)}))
        self.refused(store)


class TestCrash:
    @pytest.mark.parametrize("call", ["replace", "fsync"])
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
    def test_a_disk_that_refuses_fails_nobody_and_is_told_once(self, store, monkeypatch, caplog, call, code):
        def refuse(*_args: object) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as broken:
            broken.setattr(os, call, refuse)
            store.put(KEY, WINDOW, visual())
            store.put(KEY, (16, 32), visual())
        assert files(store._root) == []
        assert [os.strerror(code) in record.message for record in caplog.records] == [True]
        assert store.get(KEY, WINDOW) is None
        store.put(KEY, WINDOW, visual())
        assert same(store.get(KEY, WINDOW), visual())

    def test_the_entry_that_was_there_stays(self, store, root, monkeypatch):
        def refuse(*_args: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        store.put(KEY, WINDOW, visual(1))
        monkeypatch.setattr(os, "replace", refuse)
        store.put(KEY, WINDOW, visual(2))
        assert same(store.get(KEY, WINDOW), visual(1))
        assert len(files(root)) == 1

    def test_an_interrupt_passes_and_leaves_nothing(self, store, root, monkeypatch):
        def interrupt(*_args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.put(KEY, WINDOW, visual())
        assert files(root) == []

    def test_a_root_that_is_a_file(self, tmp_path, caplog):
        (tmp_path / "file").write_text("mine")
        store = TokenStore(tmp_path / "file", MIB)
        store.put(KEY, WINDOW, visual())
        assert store.get(KEY, WINDOW) is None
        assert store.size_bytes() == 0
        assert len(caplog.records) == 1
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_file_synced_before_it_is_named_and_the_folder_after(self, store, monkeypatch):
        steps: list[str] = []
        fsync, replace = os.fsync, os.replace

        def record_fsync(descriptor: int) -> None:
            steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
            fsync(descriptor)

        def record_replace(source: Path, target: Path) -> None:
            assert Path(source).parent == Path(target).parent
            steps.append("name")
            replace(source, target)

        monkeypatch.setattr(os, "fsync", record_fsync)
        monkeypatch.setattr(os, "replace", record_replace)
        store.put(KEY, WINDOW, visual())
        assert steps == ["file", "name", "folder"]

    def test_a_killed_process_leaves_only_whole_entries(self, root):
        """Killed at ten moments of its work; forked, since a fresh interpreter would take longer than all the rest."""
        store = TokenStore(root, 1024 * MIB)
        for round_ in range(10):
            receive, send = multiprocessing.Pipe(duplex=False)
            child = multiprocessing.get_context("fork").Process(target=put_for_ever, args=(root, send), daemon=True)
            child.start()
            try:
                assert receive.poll(30)
                child.join(0.003 * round_)
            finally:
                os.kill(child.pid, signal.SIGKILL)
                child.join()
            entries = [path for path in files(root) if path.suffix == ".safetensors"]
            assert entries
            for path in entries:
                first, last = map(int, path.stem.split("-"))
                assert same(store.get(KEY, (first, last)), large(first % 3))
        left = [path for path in files(root) if path.suffix != ".safetensors"]
        for path in left:
            age(path, 7200)
        store.put(KEY, WINDOW, visual())
        assert not any(path.exists() for path in left)


def large(seed: int) -> VisualTokens:
    return visual(seed, pairs=8, n=64, width=256)


def put_for_ever(root: Path, send) -> None:
    torch.set_num_threads(1)
    store = TokenStore(root, 1024 * MIB)
    values = [large(seed) for seed in range(3)]
    for number in range(10**9):
        first = number % 10
        store.put(KEY, (first, first + 16), values[first % 3])
        if number == 0:
            send.send(number)


class TestBudget:
    @pytest.fixture
    def size(self, tmp_path) -> int:
        """What one entry takes; two digits in each frame number make them all alike."""
        other = TokenStore(tmp_path / "other", MIB)
        other.put(KEY, (10, 20), visual())
        return other.size_bytes()

    def test_the_least_recently_used_goes_first(self, root, size):
        store = TokenStore(root, 10 * size + 9)
        for number in range(10):
            store.put(KEY, (10 + number, 20 + number), visual())
            age(store._path(KEY, (10 + number, 20 + number)), 3600 - number)
        assert store.size_bytes() == 10 * size
        assert store.get(KEY, (10, 20)) is not None  # the oldest, now the most recently used
        store.put(KEY, (50, 60), visual())
        left = {path.name.split("-")[0] for path in files(root)}
        assert left == {"10", "13", "14", "15", "16", "17", "18", "19", "50"}
        assert store.size_bytes() <= 0.9 * (10 * size + 9)

    @settings(max_examples=20, deadline=None)
    @given(
        puts=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.booleans()), max_size=25),
        budget=st.integers(0, 8000),
    )
    def test_never_above_the_budget(self, tmp_path_factory, puts, budget):
        store = TokenStore(tmp_path_factory.mktemp("tokens"), budget)
        for first, pairs, forget in puts:
            store.put(KEY, (first, 20), visual(pairs=pairs))
            assert store.size_bytes() <= budget
            if forget:
                store.forget(SHA)

    def test_one_larger_than_the_budget_is_not_kept_and_evicts_nobody(self, root, size):
        store = TokenStore(root, 2 * size)
        store.put(KEY, (10, 20), visual())
        store.put(KEY, (11, 20), visual(pairs=100))
        assert store.get(KEY, (11, 20)) is None
        assert store.get(KEY, (10, 20)) is not None

    def test_one_as_large_as_the_budget_is_kept_alone(self, root, size):
        store = TokenStore(root, size)
        for first in (10, 11, 12):
            store.put(KEY, (first, 20), visual())
            assert [path.name for path in files(root)] == [f"{first}-20.safetensors"]

    def test_no_budget_keeps_nothing(self, root):
        store = TokenStore(root, 0)
        store.put(KEY, WINDOW, visual())
        assert store.get(KEY, WINDOW) is None
        assert not root.exists()

    def test_empty_folders_go(self, root, size):
        store = TokenStore(root, 2 * size)
        for byte in range(20):
            store.put(dataclasses.replace(KEY, video_sha256=f"{byte:02x}" * 32), (10, 20), visual())
        assert len(list(root.iterdir())) <= 2
        assert all(any(folder.iterdir()) for folder in root.rglob("*") if folder.is_dir())

    def test_the_root_is_not_looked_at_on_every_put(self, root, size, monkeypatch):
        walks: list[Path] = []
        walk = os.walk
        monkeypatch.setattr(os, "walk", lambda top, **more: (walks.append(top), walk(top, **more))[1])
        store = TokenStore(root, 1000 * size)
        for number in range(90):
            store.put(KEY, (number + 10, 200), visual())
        assert len(walks) == 1

    def test_two_stores_share_a_root(self, root, size):
        stores = [TokenStore(root, 20 * size), TokenStore(root, 20 * size)]
        for number in range(80):
            stores[number % 2].put(KEY, (10 + number, 99), visual(number))
            assert stores[0].size_bytes() <= 24 * size  # a tenth each above the budget
            assert same(stores[1 - number % 2].get(KEY, (10 + number, 99)), visual(number))

    def test_a_use_is_marked_at_most_once_a_minute(self, store, root):
        store.put(KEY, WINDOW, visual())
        path = the_file(root)
        for seconds, marked in [(30, False), (90, True), (-90, True)]:  # the last: a clock that was put back
            age(path, seconds)
            before = path.stat().st_mtime_ns
            store.get(KEY, WINDOW)
            assert (path.stat().st_mtime_ns != before) is marked
        assert abs(path.stat().st_mtime - time.time()) < 30

    def test_what_dead_processes_left_goes_and_what_is_being_written_stays(self, store, root):
        folder = store._path(KEY, WINDOW).parent
        gone = root / SHA[:2] / f"{SHA}.gone-{'0' * 16}" / folder.name / "0-16.safetensors"
        for path in (stale := folder / f".{'0' * 16}.tmp", fresh := folder / f".{'1' * 16}.tmp", gone):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
        age(stale, 3700)
        store.put(KEY, WINDOW, visual())
        assert sorted(path.name for path in files(root)) == sorted([fresh.name, "0-16.safetensors"])
        assert not gone.parent.parent.exists()

    def test_files_that_are_not_ours_are_left_alone(self, root, size):
        strangers = [root / "0-16.safetensors", root / "ab" / "0-16.safetensors", root / "notes" / "x" / "y" / "z.txt"]
        for path in strangers:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 10 * size)
            age(path, 10**6)
        store = TokenStore(root, 2 * size)
        for number in range(10):
            store.put(KEY, (10 + number, 20 + number), visual())
        assert all(path.exists() for path in strangers)
        assert 0 < store.size_bytes() <= 2 * size


class TestForget:
    def test_one_video_goes_whole_and_the_other_stays(self, store, root):
        other = dataclasses.replace(KEY, video_sha256=OTHER_SHA)
        for key in (KEY, dataclasses.replace(KEY, recipe="fps=1"), dataclasses.replace(KEY, model_revision="r"), other):
            store.put(key, WINDOW, visual())
            store.put(key, (16, 32), visual())
        for _ in range(2):
            store.forget(SHA)
            assert {path.parent.parent.name for path in files(root)} == {OTHER_SHA}
        assert not any(SHA in str(path) for path in root.rglob("*"))
        assert same(store.get(other, WINDOW), visual())

    def test_where_there_is_nothing(self, store):
        store.forget(SHA)

    def test_what_an_earlier_attempt_left_goes_too(self, store, root):
        store.put(KEY, WINDOW, visual())
        folder = root / SHA[:2] / SHA
        folder.rename(f"{folder}.gone-{'0' * 16}")
        store.forget(SHA)
        assert files(root) == []

    def test_what_cannot_be_removed_is_not_believed_removed(self, store, root, monkeypatch):
        store.put(KEY, WINDOW, visual())
        with monkeypatch.context() as broken:
            broken.setattr(shutil, "rmtree", lambda *_args, **_more: None)
            with pytest.raises(StorageError):
                store.forget(SHA)
        assert store.get(KEY, WINDOW) is None
        store.forget(SHA)
        assert files(root) == []

    def test_a_write_under_way_does_not_bring_it_back(self, store, root, monkeypatch, caplog):
        fsync = os.fsync

        def forget_meanwhile(descriptor: int) -> None:
            fsync(descriptor)
            store.forget(SHA)

        monkeypatch.setattr(os, "fsync", forget_meanwhile)
        store.put(KEY, WINDOW, visual())
        assert files(root) == []
        assert caplog.records == []

    @pytest.mark.parametrize(
        "sha",
        [
            "",
            "..",
            "../" * 20 + "etc",
            "/etc/passwd",
            "a" * 63,
            "a" * 65,
            "A" * 64,
            "a" * 62 + "/.",
            "a" * 64 + "\n",
            "٣" * 64,
        ],
    )
    def test_a_name_that_is_no_digest_is_refused(self, store, tmp_path, sha):
        (tmp_path / "other").write_text("mine")
        key = dataclasses.replace(KEY, video_sha256=sha)
        for call in (
            lambda: store.get(key, WINDOW),
            lambda: store.put(key, WINDOW, visual()),
            lambda: store.forget(sha),
        ):
            with pytest.raises(ValueError, match="SHA-256"):
                call()
        assert files(tmp_path) == [tmp_path / "other"]

    @pytest.mark.parametrize("window", [(-1, 4), (4, 4), (5, 4)])
    def test_no_window_is_refused(self, store, window):
        with pytest.raises(ValueError, match="window"):
            store.get(KEY, window)

    @pytest.mark.parametrize("text", ["../../..", "a/b", "\x00", "\ud800", "é" * 5000, ""])
    def test_revision_and_recipe_may_be_any_text(self, store, root, text):
        key = TokenKey(SHA, text, text)
        store.put(key, WINDOW, visual())
        assert same(store.get(key, WINDOW), visual())
        assert the_file(root).relative_to(root).parts[:2] == (SHA[:2], SHA)


def test_threads_never_raise_and_never_see_anothers_tokens(root):
    """Four threads on two stores with room for a few entries: what is seen is right, and at the end within budget."""
    wanted = {(f"{number % 5:02x}" * 32, (number, number + 1)): visual(number) for number in range(20)}
    stores = [TokenStore(root, 12_000), TokenStore(root, 12_000)]
    faults: list[BaseException | str] = []
    hits: list[bool] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(250):
                (sha, window), tokens = dice.choice(list(wanted.items()))
                store, key = dice.choice(stores), dataclasses.replace(KEY, video_sha256=sha)
                what = dice.random()
                if what < 0.45:
                    store.put(key, window, tokens)
                elif what < 0.95:
                    seen = store.get(key, window)
                    hits.append(seen is not None)
                    if seen is not None and not same(seen, tokens):
                        faults.append(f"wrong tokens for {window}")
                else:
                    store.forget(sha)
        except BaseException as exc:  # noqa: BLE001  a thread's error would be lost
            faults.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert any(hits)
    assert stores[0].size_bytes() <= 1.3 * 12_000
    assert all(embeddings._OURS.fullmatch(path.relative_to(root).as_posix()) for path in files(root))
