"""Uploaded bytes on the local disk: nothing half written is visible, and what was acknowledged survives a power cut.

Knows files and digests; knows no table. A blob's name is made here and holds nothing a client sent: the digest of its
bytes and whose they are, so that the same bytes of one tenant are kept once.

    incoming/<random>   --fsync, rename, fsync folder-->   blobs/<xx>/<sha256>.<tenant>
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vidlm.errors import StorageError

TOKENS: Final = "tokens"
"""The folder of all visual tokens."""

NOTE: Final = ".note"
UNCHECKED: Final = ".unchecked"
PLACED: Final = ".placed"
"""What may lie beside an upload in several requests (`vidlm.store.partial`), after its name."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A durable blob: `key` finds it again, below the data folder."""

    key: str
    sha256: str
    size_bytes: int


class IncomingBlob:
    """A blob being written. Leaving the `with` without `commit` removes every byte."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._digest = hashlib.sha256()
        self._path = root / "incoming" / secrets.token_hex(16)
        self.size_bytes = 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb", buffering=0)
        except OSError as exc:
            raise storage_error(exc) from exc

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Raises `StorageError` (code `disk_full` when it is)."""
        self._digest.update(data)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as exc:
            raise storage_error(exc) from exc
        self.size_bytes += len(data)

    def seal(self, tenant_id: str) -> StoredBlob:
        """All bytes are written, and durable; where they are to lie. Nobody sees them before `place`."""
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as exc:
            raise storage_error(exc) from exc
        digest = self._digest.hexdigest()
        return StoredBlob(blob_key(tenant_id, digest), digest, self.size_bytes)

    def place(self, sealed: StoredBlob) -> None:
        """Make the bytes visible under their key. Returns after the folder is on disk.

        Called under the key's lock (`engine.lock_key`), so that nobody takes the same bytes away meanwhile.
        """
        place(self._root, self._path, sealed.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class BlobStore:
    """The blobs and work folders below one data folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @property
    def root(self) -> Path:
        """The data folder."""
        return self._root

    def incoming(self) -> IncomingBlob:
        """A new blob to write into; use it as a context manager."""
        return IncomingBlob(self._root)

    def path(self, key: str) -> Path:
        """Where `key`, a blob's or a work folder's, lies."""
        return self._root / key

    def new_work_folder(self, job_id: str, token: int) -> str:
        """The key of a fresh folder for one attempt on a job: two attempts never write to the same place."""
        key = f"{work_root(job_id)}/{token}"
        try:
            shutil.rmtree(self._root / key, ignore_errors=True)
            (self._root / key).mkdir(parents=True)
        except OSError as exc:
            raise storage_error(exc) from exc
        return key

    def fill_work_folder(self, key: str, source: str) -> None:
        """Give the fresh work folder `key` all files of the folder `source`; where the disk can, they share room."""
        try:
            shutil.copytree(self._root / source, self._root / key, copy_function=_link, dirs_exist_ok=True)
        except OSError as exc:
            raise storage_error(exc) from exc

    def keep_only(self, key: str) -> None:
        """Remove what other attempts left beside the work folder `key`."""
        kept = self._root / key
        for folder in kept.parent.iterdir():
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)

    def remove(self, *keys: str) -> bool:
        """Remove blobs or folders; what is not there is no error. True when nothing is left of any of them."""
        for key in keys:
            path = self._root / key
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return not any((self._root / key).exists() for key in keys)

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """The keys of all blobs that were last written so long ago."""
        before = time.time() - older_than_s
        for path in (self._root / "blobs").glob("*/*"):
            if path.stat().st_mtime < before:
                yield str(path.relative_to(self._root))

    def remove_old_tokens(self, *, older_than_s: float, keep: Collection[str] = ()) -> int:
        """Remove the visual tokens of files that nobody asked about for so long; of how many files. `keep`: digests."""
        before = time.time() - older_than_s
        removed = 0
        for folder in (self._root / TOKENS).glob("*/*"):
            used = max((path.stat().st_mtime for path in folder.rglob("*")), default=0.0)
            if used < before and folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def partial_path(self, video_id: str) -> Path:
        """Where the bytes of an upload in several requests gather."""
        return self._root / "incoming" / video_id

    def remove_partial(self, video_id: str) -> bool:
        """Remove what has come of an upload in several requests; what is not there is no error."""
        return self.remove(*(f"incoming/{video_id}{what}" for what in ("", NOTE, UNCHECKED, PLACED)))

    def remove_stale_incoming(self, *, older_than_s: float) -> int:
        """Remove uploads that nobody wrote to for so long: their process died. How many there were."""
        folder = self._root / "incoming"
        removed = 0
        for path in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # its upload has ended meanwhile
                if path.stat().st_mtime < time.time() - older_than_s:
                    path.unlink()
                    removed += 1
        return removed


def blob_key(tenant_id: str, sha256: str) -> str:
    """The key a tenant's bytes are stored under: 256 folders, so that none grows too large."""
    return f"blobs/{sha256[:2]}/{sha256}.{tenant_id}"


def place(root: Path, file: Path, key: str) -> None:
    """Move a durable file to its key below `root`. Returns after both folders are on disk. Raises `StorageError`."""
    target = root / key
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)
    except OSError as exc:
        raise storage_error(exc) from exc


def work_root(job_id: str) -> str:
    """The key under which all attempts on a job keep their folders."""
    return f"work/{job_id}"


def tokens_root(sha256: str) -> str:
    """The key under which `vidlm.model.embeddings` keeps what the model saw in a file of that digest."""
    return f"{TOKENS}/{sha256[:2]}/{sha256}"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def sync_folder(folder: Path) -> None:
    """The names in `folder` are on disk once this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(exc: OSError) -> StorageError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError("there is no room left to store this", code="disk_full")
    return StorageError("the file could not be stored")
