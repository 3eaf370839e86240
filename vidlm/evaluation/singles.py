"""Every single thing that an evaluation asked, and what came of it: a line of JSON each.

A table says how good a model is; these lines say where it went wrong, and what two models do differently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vidlm.domain import Span
from vidlm.errors import StorageError
from vidlm.evaluation.figures import known

Said = float | bool | str | Sequence[str] | tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """One thing asked of a video, or of [start_s, end_s) of it: it counts in the table's row of that name.

    `said` and `truth` are what that row compares: a score and whether the policy holds; words; times [start, end) in
    seconds.
    """

    row: str
    video: str
    asked: str
    said: Said
    truth: Said
    right: bool
    start_s: float | None = None
    end_s: float | None = None


Tell = Callable[[Single], None]


def tell_nobody(_single: Single) -> None:
    """For those who want the table only."""


def times(span: Span | None) -> tuple[float, float] | None:
    """An interval as lines carry it."""
    return None if span is None else (span.start_s, span.end_s)


@contextmanager
def written_to(path: Path | None) -> Iterator[Tell]:
    """A file that every single thing becomes a line of as it is told, so that what was asked before an error is there.

    Where `path` is None nothing is written. Raises `StorageError` for a file that cannot be written.
    """
    if path is None:
        yield tell_nobody
        return
    try:
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as exc:
        raise StorageError(f"{path.name} cannot be written: {exc.strerror}") from exc
    with file:
        yield lambda single: print(json.dumps(_line(single), ensure_ascii=False), file=file)


def _line(single: Single) -> dict[str, object]:
    line = asdict(single)
    for name in ("said", "start_s", "end_s"):
        if isinstance(line[name], float):
            line[name] = known(line[name])
    return {name: value for name, value in line.items() if value is not None or name in ("said", "truth")}
