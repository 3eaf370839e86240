"""An upload in several requests, as a file that grows. Knows files and locks; knows no table and no HTTP.

    incoming/<video_id>              the bytes so far: its size says how many there are, and nothing else does
    incoming/<video_id>.note         what the uploader said at the beginning, to the letter
    incoming/<video_id>.unchecked    where a chunk begins whose checksum has not been found good yet

One writer at a time: it holds the file's lock, which ends with its process at the latest. What was written before a
connection, a process or the disk's room ended is kept, except of a chunk with a checksum: whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vidlm.errors import ConflictError, InputError
from vidlm.store.blobs import (
    NOTE,
    PLACED,
    UNCHECKED,
    BlobStore,
    StoredBlob,
    blob_key,
    place,
    storage_error,
    sync_folder,
)

CHECKSUMS: Final = ("sha1", "sha256")
"""The algorithms a chunk may be checked with."""


class LockedError(ConflictError):
    """Somebody else is writing to this upload just now."""

    code = "locked"


class ChecksumError(InputError):
    """The bytes of a chunk are not those its sender meant."""

    code = "checksum_mismatch"


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one chunk add up to. `algorithm` is one of `CHECKSUMS`."""

    algorithm: str
    digest: bytes


class Partial:
    """The upload of one video, as long as it is not whole."""

    def __init__(self, blobs: BlobStore, video_id: str) -> None:
        self._blobs, self._video_id = blobs, video_id
        self._path = blobs.partial_path(video_id)

    def begin(self, note: str) -> None:
        """Make room for the first byte, durably, and keep `note` beside it. Raises `StorageError`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if note:
                with _beside(self._path, NOTE).open("xb") as file:
                    file.write(note.encode())
                    file.flush()
                    os.fsync(file.fileno())
            self._path.touch(exist_ok=False)
            sync_folder(self._path.parent)
        except OSError as exc:
            with suppress(OSError):
                self._blobs.remove_partial(self._video_id)
            raise storage_error(exc) from exc

    def note(self) -> str:
        """What was kept at the beginning; empty where nothing was, or is any more."""
        try:
            return _beside(self._path, NOTE).read_text()
        except FileNotFoundError:
            return ""

    def offset(self) -> int | None:
        """How many good bytes are here; None where there is no such file (any more)."""
        begun = _chunk_begun(self._path)
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return None
        return size if begun is None else min(size, begun)

    def open(self) -> OpenPartial | None:
        """The upload, to be written to by us alone; None where there is no such file (any more).

        Raises `LockedError`, `StorageError`.
        """
        try:
            file = io.FileIO(os.open(self._path, os.O_RDWR | os.O_APPEND), "r+")
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise storage_error(exc) from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                raise FileNotFoundError
            return OpenPartial(self._blobs, self._path, file)
        except BlockingIOError as exc:
            file.close()
            raise LockedError("another request is sending to this upload; ask for its offset again soon") from exc
        except FileNotFoundError:  # it became whole, or was called off, before the lock was ours
            file.close()
            return None
        except OSError as exc:
            file.close()
            raise storage_error(exc) from exc


class OpenPartial:
    """An upload that nobody else writes to before the `with` ends."""

    def __init__(self, blobs: BlobStore, path: Path, file: io.FileIO) -> None:
        self._blobs, self._path, self._file = blobs, path, file
        begun = _chunk_begun(path)
        if begun is not None:  # a process died over a chunk that it could not check any more
            file.truncate(min(begun, self.offset))
        _beside(path, UNCHECKED).unlink(missing_ok=True)

    @property
    def offset(self) -> int:
        """How many bytes are here."""
        return os.fstat(self._file.fileno()).st_size

    def chunk(self, checksum: Checksum | None = None) -> Chunk:
        """A run of bytes to be added at the end. Raises `StorageError`."""
        return Chunk(self._path, self._file, checksum)

    def seal(self, tenant_id: str) -> StoredBlob:
        """No more bytes will come: they are durable once this returns, and known by their digest.

        Reads the whole file. Raises `StorageError`.
        """
        try:
            self._file.seek(0)
            digest = hashlib.file_digest(self._file, "sha256").hexdigest()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise storage_error(exc) from exc
        return StoredBlob(blob_key(tenant_id, digest), digest, self.offset)

    def place(self, sealed: StoredBlob) -> None:
        """Make the bytes visible under their key as well. Called under that key's lock (`engine.lock_key`).

        They stay here too, under a second name of the same file: should the transaction that calls this come to
        nothing, or the process die, nothing is lost and all this can be done again. Raises `StorageError`.
        """
        second = _beside(self._path, PLACED)
        try:
            second.unlink(missing_ok=True)
            second.hardlink_to(self._path)
        except OSError as exc:
            raise storage_error(exc) from exc
        place(self._blobs.root, second, sealed.key)
        second.unlink(missing_ok=True)  # a rename onto another name of the same file does nothing

    def leave(self) -> None:
        """The bytes have found their place: they are not kept here any longer. The note is."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Chunk:
    """A run of bytes that is being added. Ends with `finish`, `break_off` or `take_back`."""

    def __init__(self, path: Path, file: io.FileIO, checksum: Checksum | None) -> None:
        self._file, self._checksum = file, checksum
        self._mark = _beside(path, UNCHECKED)
        self._begin = os.fstat(file.fileno()).st_size
        self._digest = None if checksum is None else hashlib.new(checksum.algorithm)
        if checksum is not None:
            try:
                self._mark.write_text(f"{self._begin}\n")
            except OSError as exc:
                self._mark.unlink(missing_ok=True)
                raise storage_error(exc) from exc

    def write(self, data: bytes | bytearray) -> None:
        """Add `data`. What fitted before an error stays. Raises `StorageError` (code `disk_full` when it is)."""
        if self._digest is not None:
            self._digest.update(data)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as exc:
            raise storage_error(exc) from exc

    def finish(self) -> None:
        """All of it was written: durable once this returns. Raises `ChecksumError`: then it is as if it never came."""
        if self._checksum is not None and self._digest is not None and self._digest.digest() != self._checksum.digest:
            self.take_back()
            raise ChecksumError(f"the {self._checksum.algorithm} of these bytes is another; send them again")
        try:
            os.fdatasync(self._file.fileno())
        except OSError as exc:
            raise storage_error(exc) from exc
        self._mark.unlink(missing_ok=True)

    def break_off(self, last: bytes | bytearray = b"") -> None:
        """No more comes after `last`, and the upload is to be closed. Without a checksum what came is kept.

        With one nothing of it counts any more; whoever opens the upload next takes it away.
        """
        if self._checksum is None:
            self.write(last)

    def take_back(self) -> None:
        """Nothing of it is kept."""
        self._file.truncate(self._begin)
        self._mark.unlink(missing_ok=True)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(path.name + what)


def _chunk_begun(path: Path) -> int | None:
    """Where the chunk begins that is being checked, if there is one."""
    try:
        text = _beside(path, UNCHECKED).read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.endswith("\n") else None  # half a mark: not a byte of the chunk was written yet
