"""Runs one program on untrusted bytes and gets rid of it, whatever it does. Knows processes; knows nothing of video.

    this process          exec          confine          exec          decoder
    deadline, reaping  ---------->  limits, layers  ---------->  one file, one folder

The child is exec'ed (never a fork of this process), in a session of its own, with an empty environment and no stdin.
What it can see and do is set in `confine/`: limits everywhere, and on Linux namespaces, Landlock and seccomp, each
where the kernel has it. After the wall-clock deadline its whole group is killed and reaped.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from vidlm.errors import SettingsError, ToolError
from vidlm.video.confine import CANNOT_START, LANDLOCK, LAYERS, NAMESPACES, SECCOMP

_CONFINE: Final = str(Path(__file__).resolve().parent / "confine")
_LIBRARIES: Final = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/nix/store",
)
"""Where systems keep what programs load when they start."""
_PROCESSES: Final = 128
WATCH_S: Final = 0.5
_TRIAL_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a child may use. `deadline_s` is wall-clock; CPU time is `cpu_s`, or `deadline_s` on each of `threads`.

    read: files and folders it may read, besides its own program and the system's libraries; its working folder is the
    only place it may write.
    """

    deadline_s: float
    memory_bytes: int = 2 * 1024**3
    file_bytes: int = 256 * 1024**2
    threads: int = 1
    cpu_s: float | None = None
    read: tuple[Path, ...] = ()

    def to_limits(self) -> dict[str, int]:
        """As `resource` names. The CPU limit is a second line of defence: it holds even if the parent is stopped."""
        return {
            "AS": self.memory_bytes,
            "CPU": math.ceil(self.cpu_s or self.deadline_s * self.threads) + 1,
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
    program: Sequence[str],
    *,
    folder: Path,
    confinement: Confinement,
    watch: Callable[[], None] | None = None,
    max_output_bytes: int = 64 * 1024**2,
) -> Finished:
    """Run `program` (absolute path first) with `folder` as its working directory, and wait until it is gone.

    `watch` is called every `WATCH_S` meanwhile, here; if it raises, the child is ended. Returns no later than about a
    second after the deadline, with no process of the child's group left. Raises `ToolError` if it cannot be started,
    or not with every layer that this machine has.
    """
    return _run(program, folder, confinement, layers(), watch=watch, max_output_bytes=max_output_bytes)


def layers() -> tuple[str, ...]:
    """Which of `LAYERS` this machine has, tried once in children that do nothing."""
    return tuple(layer for layer in LAYERS if not _trial(layer))


def missing() -> list[str]:
    """What keeps this machine from confining decoders wholly, a line each; empty where nothing does.

    Files are kept away by namespaces or Landlock, the network by namespaces or seccomp, and other processes by seccomp.
    """
    have = layers()
    return [f"{layer}: {_trial(layer)}" for layer in LAYERS if layer not in have]


def require() -> None:
    """Raise `SettingsError` unless decoders can be kept from the machine's files, network and processes."""
    have = layers()
    if SECCOMP not in have or not {NAMESPACES, LANDLOCK} & set(have):
        raise SettingsError(
            "VIDLM_SANDBOX is `require`, and this machine cannot confine decoders: " + "; ".join(missing())
        )


@lru_cache(maxsize=len(LAYERS))
def _trial(layer: str) -> str:
    """Why a program cannot be started with this layer; empty if it can."""
    with tempfile.TemporaryDirectory(prefix="vidlm-trial-") as folder:
        try:
            finished = _run(
                [sys.executable, "-I", "-S", "-c", "print('ready')"],
                Path(folder),
                Confinement(deadline_s=_TRIAL_S),
                (layer,),
                max_output_bytes=100,
            )
        except ToolError as exc:
            return exc.detail
    return "" if finished.stdout == b"ready\n" else f"the trial ended with {finished.code}"


def _run(
    program: Sequence[str],
    folder: Path,
    confinement: Confinement,
    put_on: Sequence[str],
    *,
    watch: Callable[[], None] | None = None,
    max_output_bytes: int,
) -> Finished:
    plan = {
        "parent": os.getpid(),
        "limits": confinement.to_limits(),
        "layers": list(put_on),
        "processes": _PROCESSES,
        "read": [*_needed(program[0]), *(str(path) for path in confinement.read)],
    }
    command = [sys.executable, "-I", "-S", _CONFINE, json.dumps(plan), *program]
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
        try:
            timed_out = not _wait(child, confinement.deadline_s, watch)
        finally:
            _end_group(child)
        finished = Finished(
            code=child.returncode,
            timed_out=timed_out or child.returncode == -signal.SIGXCPU,
            stdout=_head(stdout, max_output_bytes),
            stderr=_head(stderr, 64 * 1024).decode("utf-8", "replace"),
        )
    if finished.code == CANNOT_START:
        raise ToolError(finished.stderr.strip() or "cannot start a child process")
    return finished


@lru_cache(maxsize=16)
def _needed(program: str) -> tuple[str, ...]:
    """What a program has to read to start: itself, the system's libraries and, for Python, Python's."""
    paths = [program, *_LIBRARIES]
    if program == sys.executable:
        paths += [sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(__file__).resolve().parent)]
    return tuple(dict.fromkeys(paths))


def _wait(child: subprocess.Popen[bytes], deadline_s: float, watch: Callable[[], None] | None) -> bool:
    """Whether the child ended before the deadline."""
    until_s = time.monotonic() + deadline_s
    with _end_of(child) as has_ended:
        while (left_s := until_s - time.monotonic()) > 0:
            if has_ended(left_s if watch is None else min(left_s, WATCH_S)):
                return True
            if watch is not None:
                watch()
    return False


@contextlib.contextmanager
def _end_of(child: subprocess.Popen[bytes]) -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds for the child's end at most, and says whether it came.

    Where the kernel has it, through a handle that becomes readable: `Popen.wait` looks every 50 ms, which is much of
    the time that a short clip takes.
    """

    def wait(patience_s: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
        return child.returncode is not None

    try:
        handle = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not Linux, or older than 5.3
        yield wait
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        yield lambda patience_s: bool(poll.poll(patience_s * 1000))
    finally:
        os.close(handle)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's group, and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _head(file: IO[bytes], limit: int) -> bytes:
    file.seek(0)
    return file.read(limit)
