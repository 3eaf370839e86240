"""What several commands of `vidlm ...` share: options read, files written, settings loaded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from vidlm.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from vidlm.config import Settings

ACTOR: Final = "cli"
"""Who did it, in the audit."""


def time_of(option: str, given: str | None) -> datetime | None:
    """A time in UTC, where it names no zone. Raises `SettingsError` that names the option."""
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError as exc:
        raise SettingsError(f"{option} takes an ISO time, such as 2026-01-31 or 2026-01-31T12:00:00Z") from exc
    return at.replace(tzinfo=at.tzinfo or UTC)


@contextmanager
def made_whole(path: Path) -> Iterator[TextIO]:
    """A file that takes its place when it is written to the end, and never shows half of itself."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as exc:
        raise StorageError(f"the file cannot be written: {exc.strerror}") from exc
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        Path(name).replace(path)
    except OSError as exc:
        raise StorageError(f"the file cannot be written: {exc.strerror}") from exc
    finally:
        Path(name).unlink(missing_ok=True)


def settings_of_service() -> Settings:
    """The settings of the service that is looked at."""
    from vidlm.config import load_settings  # noqa: PLC0415

    return load_settings()
