"""Runs one program on untrusted bytes and gets rid of it, whatever it does. Knows processes; knows nothing of video.

The child is exec'ed (never a fork of this process), in a session of its own, with an empty environment, no stdin,
limits on memory, CPU, file size and open files (`confine.py`), and a wall-clock deadline after which its whole group
is killed and reaped.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from vidlm.errors import ToolError
from vidlm.video import confine

_CONFINE: Final = str(Path(confine.__file__).resolve())


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a child may use. `deadline_s` is wall-clock; CPU time is `deadline_s` on each of `threads`."""

    deadline_s: float
    memory_bytes: int = 2 * 1024**3
    file_bytes: int = 256 * 1024**2
    threads: int = 1

    def to_limits(self) -> dict[str, int]:
        """As `resource` names. The CPU limit is a second line of defence: it holds even if the parent is stopped."""
        return {
            "AS": self.memory_bytes,
            "CPU": math.ceil(self.deadline_s * self.threads) + 1,
            "FSIZE": self.file_bytes,
            "NOFILE": 64,
            "CORE": 0,
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. `code` is its exit status, negative for a signal; outputs may be cut at their limits."""

    code: int
    timed_out: bool
    stdout: bytes
    stderr: str


def run(
    program: Sequence[str], *, folder: Path, confinement: Confinement, max_output_bytes: int = 64 * 1024**2
) -> Finished:
    """Run `program` (absolute path first) with `folder` as its working directory, and wait until it is gone.

    Returns no later than about a second after the deadline, with no process of the child's group left.
    Raises `ToolError` if it cannot be started.
    """
    limits = json.dumps({**confinement.to_limits(), "parent": os.getpid()})
    command = [sys.executable, "-I", "-S", _CONFINE, limits, *program]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        try:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as exc:
            raise ToolError(f"cannot start a child process: {exc.strerror}") from exc
        timed_out = False
        try:
            child.wait(confinement.deadline_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _end_group(child)
        finished = Finished(
            code=child.returncode,
            timed_out=timed_out or child.returncode == -signal.SIGXCPU,
            stdout=_head(stdout, max_output_bytes),
            stderr=_head(stderr, 64 * 1024).decode("utf-8", "replace"),
        )
    if finished.code == confine.CANNOT_START:
        raise ToolError(finished.stderr.strip() or "cannot start a child process")
    return finished


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's group, and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _head(file: IO[bytes], limit: int) -> bytes:
    file.seek(0)
    return file.read(limit)
