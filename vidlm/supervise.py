"""Keeps a set of child processes running, and leaves none behind.

A child that dies is started again, later each time. Children are killed with their whole process group when we stop,
and by the kernel when we are killed (`vidlm.child`). Knows commands; not what they do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

GRACE_S: Final = 25.0
"""How long children may take to stop before they are killed. A worker has given back what it had in hand by then."""

BACKOFF_S: Final = (0.2, 1.0, 5.0, 15.0, 30.0)
"""Seconds before a child that died is started again: after its first death, its second, ..."""

_STEADY_S: Final = 60.0  # a child that ran this long starts afresh in the eyes of the backoff
_POLL_S: Final = 0.1


@dataclass(slots=True)
class Child:
    """One supervised process. `keep_fd` is an open descriptor it inherits; the rest is the supervisor's."""

    name: str
    command: Sequence[str]
    keep_fd: int | None = None
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    deaths: int = 0  # lately: what the pause before the next start depends on
    died: int = 0  # in all
    retry_at_s: float = 0.0


class Supervisor:
    """Runs `children` from `start` to `stop`; the first, which the others lean on, is stopped last.

    Each child's output is appended to `<name>.log` in `logs`.
    """

    def __init__(
        self,
        children: Sequence[Child],
        environment: Mapping[str, str],
        logs: Path,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
    ) -> None:
        self._children, self._backoff_s = children, backoff_s
        self._environment = dict(environment)
        self._logs = logs
        self._stopping = threading.Event()
        # the kernel ties children to the thread that started them: it must live as long as they do
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def start(self) -> None:
        """Start every child; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop every child and wait until all are gone. May be called twice."""
        self._stopping.set()
        self._thread.join()

    def pids(self) -> dict[str, int]:
        """The process ids of the children that run now, by name."""
        return {child.name: child.process.pid for child in self._children if child.process is not None}

    def deaths(self, name: str) -> int:
        """How often the child of this name has died by itself so far."""
        return sum(child.died for child in self._children if child.name == name)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for child in self._children:
                self._tend(child)
            self._stopping.wait(_POLL_S)
        _end(self._children[1:])
        _end(self._children[:1])

    def _tend(self, child: Child) -> None:
        """Start `child` unless it runs, or died so lately that it has to wait."""
        now_s = time.monotonic()
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return
            _kill_group(child.process.pid)  # whatever it had started itself
            child.process = None
            child.died += 1
            child.deaths = 1 if now_s - child.started_s > _STEADY_S else child.deaths + 1
            child.retry_at_s = now_s + self._backoff_s[min(child.deaths, len(self._backoff_s)) - 1]
            log.warning("child.died", child=child.name, status=status, deaths=child.deaths)
        if now_s >= child.retry_at_s:
            child.started_s = now_s
            child.process = self._spawn(child)

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        """A new process in a session of its own, tied to this process's life."""
        with (self._logs / f"{child.name}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "vidlm.child", str(os.getpid()), *child.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                pass_fds=() if child.keep_fd is None else (child.keep_fd,),
            )


def _end(children: Sequence[Child]) -> None:
    """Ask all to stop, wait `GRACE_S` together, kill what is left, and everything they had started."""
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    deadline_s = time.monotonic() + GRACE_S
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline_s - time.monotonic()))
        _kill_group(process.pid)
        process.wait()
    for child in children:
        child.process = None


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
