"""Bytes on a real disk."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidlm.store.blobs import BlobStore, work_root


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_is_written_is_what_is_kept(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    parts = [os.urandom(70_000), b"", b"end"]
    with store.incoming() as incoming:
        for part in parts:
            incoming.write(part)
        blob = incoming.seal("ten_1")
        assert not store.path(blob.key).exists()
        incoming.place(blob)
    whole = b"".join(parts)
    assert store.path(blob.key).read_bytes() == whole
    assert (blob.sha256, blob.size_bytes) == (hashlib.sha256(whole).hexdigest(), len(whole))
    assert files(tmp_path) == [store.path(blob.key)]


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def upload() -> None:
        with BlobStore(tmp_path).incoming() as incoming:
            incoming.write(b"half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        upload()
    assert files(tmp_path) == []


def test_a_disk_without_room_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from vidlm.errors import StorageError
from vidlm.store.blobs import BlobStore
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with BlobStore(Path(sys.argv[1])).incoming() as incoming:
        for _ in range(3):
            incoming.write(bytes(60_000))
except StorageError as exc:
    print(exc.code)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "disk_full"
    assert files(tmp_path) == []


def test_attempts_never_share_a_folder(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    first, second = store.new_work_folder("job_1", 1), store.new_work_folder("job_1", 2)
    assert first != second
    (store.path(first) / "proxy").write_bytes(b"1")
    (store.path(second) / "proxy").write_bytes(b"2")
    store.keep_only(second)
    assert [path.read_bytes() for path in files(tmp_path)] == [b"2"]
    assert store.remove(work_root("job_1"), "blobs/xx/never")
    assert files(tmp_path) == []


def test_old_unfinished_uploads_are_swept_and_young_ones_are_not(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "young").write_bytes(b"x")
    (incoming / "old").write_bytes(b"x")
    long_ago = time.time() - 61
    os.utime(incoming / "old", (long_ago, long_ago))
    assert store.remove_stale_incoming(older_than_s=60) == 1
    assert [path.name for path in files(tmp_path)] == ["young"]
