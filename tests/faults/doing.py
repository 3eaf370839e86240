"""What a worker process is in the middle of, written down beside its data: a kill can be aimed, and timed after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vidlm.queue import Task


@dataclass(frozen=True, slots=True)
class Doing:
    """A unit of work under the token it was claimed with."""

    task: Task
    target_id: str
    token: int


@contextmanager
def written(data: Path, doing: Doing) -> Iterator[None]:
    """While the block runs, this process says that it is at it; what is killed in the block has said so for good."""
    path = _place(data, os.getpid())
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".new").write_text(f"{doing.task.value} {doing.target_id} {doing.token}")
    path.with_suffix(".new").rename(path)
    try:
        yield
    finally:
        path.unlink()


def read(data: Path, pid: int) -> Doing | None:
    """What that process is or was at; None while it is idle."""
    try:
        task, target_id, token = _place(data, pid).read_text().split()
    except FileNotFoundError:
        return None
    return Doing(Task(task), target_id, int(token))


def _place(data: Path, pid: int) -> Path:
    return data / "doing" / str(pid)
