"""Visual tokens kept on disk: a later question or a new policy touches neither the decoder nor the vision tower.

Knows files, digests and ages. Does not know how tokens are made: the caller names everything that decides them. What is
missing, damaged or another's is computed again; a full disk fails nobody's job. Threads and processes may share a root.

    root/<sha[:2]>/<sha>/<digest of model, preprocessing and recipe>/<first>-<last>.safetensors
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import math
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vidlm.errors import StorageError
from vidlm.model.prefix import VisualTokens

PREPROCESSING_VERSION: Final = "1"  # changes whenever the same frames would give the tower other values
FORMAT: Final = 1
MARK_S: Final = 60.0  # an entry is marked as used at most so often: a write for every read would be too much
STALE_TEMP_S: Final = 3600.0  # a temporary file nobody wrote to for so long belongs to a process that died
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# all that is ever counted or removed below the root; a forgotten video's folder is `gone` while it is being removed
_OURS: Final = re.compile(
    r"\w\w/\w{64}(?P<gone>\.gone-\w{16})?/\w{16}/([0-9]+-[0-9]+\.safetensors|(?P<temp>\.\w{16}\.tmp))", re.ASCII
)
_ABOUT: Final = tuple(field.name for field in fields(VisualTokens) if field.name != "tokens")  # tuples of numbers
_HALVES: Final = (torch.float16, torch.bfloat16)
# whatever a file that is not ours, or no longer, may make safetensors, json and torch raise
_DAMAGE: Final = (SafetensorError, OSError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """What tokens were made from and how. `recipe`: what else decides them (sampling rate, frame size, ...), short."""

    video_sha256: str
    model_revision: str
    recipe: str


class TokenStore:
    """The tokens below one folder, at most `budget_bytes` of them; 0 keeps nothing.

    Each process looks at the whole root after writing a tenth of that, so several may exceed it by a tenth each.
    """

    def __init__(self, root: Path, budget_bytes: int) -> None:
        self._root = root
        self._budget = budget_bytes
        self._lock = threading.Lock()  # guards `_room` and the search for what to evict
        self._room = -1  # bytes that may be written before the folder has to be looked at again; at first it has to
        self._told: set[int | None] = {errno.ENOENT}  # a folder removed under a write was forgotten: no failure

    def get(self, key: TokenKey, frames: tuple[int, int]) -> VisualTokens | None:
        """The tokens of the window of frames `[first, last)`: float16 or bfloat16 `[pairs, n, D]` on the CPU.

        None when there are none, or none to be trusted: such a file is removed. `ValueError`: no sha, or no window.
        """
        path = self._path(key, frames)
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > self._budget:
                raise ValueError("nothing that `put` would have left here")
            # read, not mapped: a failing disk must be an error, no signal, and what was checked must not change
            visual = _unpack(path.read_bytes(), _identity(key, frames))
        except FileNotFoundError:
            return None
        except _DAMAGE:
            _remove(path)
            return None
        if abs(time.time() - status.st_mtime) > MARK_S:
            with suppress(OSError):
                os.utime(path)
        return visual

    def put(self, key: TokenKey, frames: tuple[int, int], visual: VisualTokens) -> None:
        """Keep the tokens of the window of frames `[first, last)`, over any that were there.

        float32 becomes float16 where that can hold every value, else bfloat16. What is empty, not finite or larger than
        the whole budget is not kept, nor is anything when the disk refuses: that is logged, once for each cause. A
        video that is forgotten meanwhile stays forgotten. Raises `ValueError` as `get` does.
        """
        path = self._path(key, frames)
        data = _pack(_identity(key, frames), visual) if self._budget > 0 else None
        if data is None or len(data) > self._budget:
            return
        try:
            _write(path, data)
        except OSError as exc:
            if exc.errno not in self._told:
                self._told.add(exc.errno)
                log.warning("visual tokens cannot be kept on disk: %s", exc.strerror)
        self._make_room(len(data), path)  # counted even if in vain: that only means looking sooner

    def forget(self, video_sha256: str) -> None:
        """Remove everything made from a video; nothing there is no error. Raises `StorageError` if something stays."""
        folder = self._video_folder(video_sha256)
        try:
            with suppress(FileNotFoundError):  # in one step, so that no write under way can put its file back
                folder.rename(f"{folder}.gone-{secrets.token_hex(8)}")
        except OSError as exc:
            raise StorageError("the tokens of this video could not be removed") from exc
        gone = [Path(name) for name in glob.glob(f"{glob.escape(str(folder))}.gone-*")]  # noqa: PTH207  Path's races
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)
        if any(path.exists() for path in gone):
            raise StorageError("some tokens of this video could not be removed")

    def size_bytes(self) -> int:
        """The size of all our files, whoever wrote them. Looks at every one."""
        return sum(status.st_size for _, _, status in _files(self._root))

    def _video_folder(self, video_sha256: str) -> Path:
        if not _SHA256.fullmatch(video_sha256):
            raise ValueError(f"not a SHA-256 in lower case hex: {video_sha256!r}")
        return self._root / video_sha256[:2] / video_sha256

    def _path(self, key: TokenKey, frames: tuple[int, int]) -> Path:
        first, last = frames
        if not 0 <= first < last:
            raise ValueError(f"not a window of frames: [{first}, {last})")
        made_by = json.dumps([key.model_revision, PREPROCESSING_VERSION, key.recipe])
        digest = hashlib.sha256(made_by.encode()).hexdigest()[:16]
        return self._video_folder(key.video_sha256) / digest / f"{first:d}-{last:d}.safetensors"

    def _make_room(self, written: int, newest: Path) -> None:
        """Count what was written; when it may be too much, remove what was not used for longest, but not `newest`."""
        with self._lock:
            self._room -= written
            if self._room >= 0:
                return
            entries: list[tuple[int, int, Path]] = []
            for path, name, status in _files(self._root):
                if name["gone"] or (name["temp"] and time.time() - status.st_mtime > STALE_TEMP_S):
                    _remove(path)
                elif not name["temp"]:
                    entries.append((status.st_mtime_ns, status.st_size, path))
            total, slack = sum(size for _, size, _ in entries), self._budget // 10
            wanted = self._budget - slack if total > self._budget else total
            for _, size, path in sorted(entries):
                if total > wanted and path != newest:
                    _remove(path)
                    total -= size
            self._room = min(self._budget - total, slack)  # others write here too


def _identity(key: TokenKey, frames: tuple[int, int]) -> dict[str, Any]:
    """What an entry has to say of itself to be the one that is asked for."""
    made_by = {"format": FORMAT, "preprocessing": PREPROCESSING_VERSION}
    return {**made_by, **asdict(key), "frames": [int(frame) for frame in frames]}


def _pack(identity: dict[str, Any], visual: VisualTokens) -> bytes | None:
    """An entry's bytes. None for what must not be kept: no values, values or times not finite, no floats."""
    tokens = _halved(visual.tokens.detach().to("cpu"))
    about = {name: getattr(visual, name) for name in _ABOUT}
    if tokens is None or not all(math.isfinite(number) for numbers in about.values() for number in numbers):
        return None
    entry = json.dumps({**identity, "about": about})  # a float is written so that it is read as the same
    return save({"tokens": tokens}, {"entry": entry, "sha256": _digest(entry, tokens)})


def _unpack(data: bytes, identity: dict[str, Any]) -> VisualTokens:
    """The reverse of `_pack`. Raises one of `_DAMAGE` for anything that `_pack` did not make for this `identity`."""
    tensors = load(data)  # checks the header's length and every offset before either is believed
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    entry, tokens = json.loads(metadata["entry"]), tensors["tokens"]
    if metadata["sha256"] != _digest(metadata["entry"], tokens) or {**entry, **identity} != entry:
        raise ValueError("damaged, or another's")
    about = {name: tuple(entry["about"][name]) for name in _ABOUT}
    if (len(tensors), len(entry["about"])) != (1, len(about)) or _halved(tokens) is not tokens:
        raise ValueError("not what `_pack` writes")
    return VisualTokens(tokens=tokens, **about)  # sees that shape and times agree


def _halved(tokens: Tensor) -> Tensor | None:
    """`tokens` in 16 bits and one piece, themselves if they are; None when there are none or not all are finite."""
    if tokens.dtype in (torch.float32, torch.float64) and tokens.numel() > 0:
        fits = float(tokens.abs().max()) <= torch.finfo(torch.float16).max
        tokens = tokens.to(torch.float16 if fits else torch.bfloat16)
    good = tokens.dtype in _HALVES and tokens.numel() > 0 and bool(tokens.isfinite().all())
    return tokens.contiguous() if good else None


def _digest(entry: str, tokens: Tensor) -> str:
    """SHA-256 over the values and what is said of them: a time that is wrong is as bad as a value that is."""
    digest = hashlib.sha256(f"{entry} {tokens.dtype} {list(tokens.shape)}".encode())
    digest.update(tokens.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _write(path: Path, data: bytes) -> None:
    """A whole file at `path` or none, whatever happens. Raises `OSError`, leaving nothing temporary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temp.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    finally:
        _remove(temp)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _files(root: Path) -> Iterator[tuple[Path, re.Match[str], os.stat_result]]:
    """Our files below `root`, links unfollowed. One that another process removes meanwhile is left out."""
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if ours := _OURS.fullmatch(path.relative_to(root).as_posix()):
                with suppress(OSError):
                    yield path, ours, path.lstat()


def _remove(path: Path) -> None:
    """Remove a file, or a folder that stands where a file should, and folders left empty; failing is no error."""
    with suppress(OSError):
        remove = shutil.rmtree if stat.S_ISDIR(path.lstat().st_mode) else Path.unlink
        remove(path)
        for folder in path.parents[:3]:  # up to the first that is not empty, never the root
            folder.rmdir()
