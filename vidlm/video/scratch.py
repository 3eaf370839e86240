"""Work folders that are gone afterwards, also when whoever made one was killed. Knows folders; knows no video.

A folder is locked (flock) while its maker lives; the kernel lets go of the lock at any kind of death. Whoever makes the
next one beside it removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vidlm.errors import StorageError

_YOUNG_S: Final = 60.0
"""A folder this young may be about to be locked."""


@contextlib.contextmanager
def scratch_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder in `parent` (the system's temporary folder if None), removed with all it holds.

    Folders of the same prefix that were left behind by processes that died are removed as well. Raises `StorageError`.
    """
    place = parent or Path(tempfile.gettempdir())
    _remove_abandoned(place, prefix)
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place)).resolve()
        handle = os.open(folder, os.O_RDONLY)
    except OSError as exc:
        raise StorageError(f"no work folder can be made: {exc.strerror}") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(place: Path, prefix: str) -> None:
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if not folder.is_dir() or folder.is_symlink() or time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
