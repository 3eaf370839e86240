"""Fixtures that several tests share. All parts are real: Valkey, SQLite, PostgreSQL, uvicorn."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import certifi
import httpx
import pytest
import redis
import uvicorn
import yaml
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from servers import PostgresServer, ValkeyProcess
from sqlmodel import SQLModel
from tampering import unguarded

from vidlm.config import Settings
from vidlm.domain import Role
from vidlm.jobs import presence
from vidlm.people import passwords
from vidlm.queue import CONSUME_ORDER
from vidlm.store.engine import Database, migrate
from vidlm.store.keys import create_key
from vidlm.store.tables import DEFAULT_TENANT


def pytest_configure(config: pytest.Config) -> None:
    """One authority instead of a hundred and fifty: each client of httpx reads them all, and tests speak no TLS."""
    if "SSL_CERT_FILE" not in os.environ:
        first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
        with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
            file.write(first + end)
        os.environ["SSL_CERT_FILE"] = file.name
        config.add_cleanup(Path(file.name).unlink)


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[Callable[[], PasswordHash]]:
    """What makes hashes of passwords as the service does: a third of a second each. Tests have cheap ones instead."""
    real, cheap = passwords._hasher, PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", lambda: cheap)
        yield real


@pytest.fixture(scope="session")
def tiny_random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Qwen2-VL checkpoint whose weights are random: small, loads and runs like any other."""
    from random_checkpoint import Recipe, write  # noqa: PLC0415  torch: only for those who need it

    return write(tmp_path_factory.mktemp("checkpoint"), Recipe())


@pytest.fixture(scope="session")
def few_policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy file of three, which a slow model gets through."""
    rows = [
        {
            "id": f"things.thing_{number}",
            "title": f"Thing {number}",
            "blocked": f"a thing of kind {number}",
            "severity": "medium",
            "review": 0.4,
            "block": "never",
        }
        for number in range(3)
    ]
    path = tmp_path_factory.mktemp("policies") / "few.yaml"
    path.write_text(yaml.safe_dump({"policies": rows}))
    return path


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(valkey_server: ValkeyProcess) -> str:
    """An empty broker."""
    redis.Redis.from_url(valkey_server.url).flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Skips, openly, where PostgreSQL is not installed, unless VIDLM_REQUIRE names it."""
    with PostgresServer.start_or_skip() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of SQLite, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "vidlm.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> Iterator[str]:
    """A fresh, empty, migrated database; the test runs once with each kind."""
    if request.param == "sqlite":
        shutil.copy(migrated_sqlite, tmp_path / "vidlm.db")
        yield f"sqlite:///{tmp_path / 'vidlm.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@dataclass(frozen=True)
class Api:
    """A running API: a client with a key of the default tenant, and what it works with."""

    client: httpx.Client
    database: Database
    settings: Settings
    url: str

    def key(self, tenant_id: str, role: Role = Role.ADMIN, *, restricted: bool = False) -> dict[str, str]:
        """Headers with a new key of `tenant_id`, which must exist."""
        with self.database.write() as session:
            made = create_key(session, "test", tenant_id, role=role, restricted=restricted)
        return {"Authorization": f"Bearer {made}"}


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def running_api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyProcess
) -> Iterator[Api]:
    """The API under a real uvicorn, once on each kind of database, with small limits; `api` hands it out empty."""
    from api.main import create_app  # noqa: PLC0415

    postgres: PostgresServer | None = None
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres_server")
    settings = Settings(
        data=tmp_path_factory.mktemp("api"),
        database_url=postgres.new_database() if postgres is not None else None,
        redis_url=valkey_server.url,
        max_upload_bytes=300_000,
        max_question_chars=200,
    )
    migrate(settings.sql_url)
    database = Database(settings.sql_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=20) as client:
            yield Api(client, database, settings, url)
        server.should_exit = True
        thread.join()
    database.close()


@pytest.fixture
def api(running_api: Api, redis_url: str) -> Api:
    """The API with nothing in it but a key. No worker runs, though one is said to: jobs stay queued."""
    assert redis_url == running_api.settings.redis_url
    with running_api.database.write() as session, unguarded(session):
        for table in reversed(SQLModel.metadata.sorted_tables):
            others = table.columns["id"] != DEFAULT_TENANT if table.name == "tenant" else None
            session.exec(table.delete() if others is None else table.delete().where(others))
        presence.arrive(session, CONSUME_ORDER)
    for folder in ("blobs", "incoming", "work"):
        shutil.rmtree(running_api.settings.data / folder, ignore_errors=True)
    running_api.client.headers.update(running_api.key(DEFAULT_TENANT))
    return running_api
