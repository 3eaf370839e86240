"""Opening the database, SQLite or PostgreSQL, so that a committed row survives whatever comes.

Knows connections, transactions, migrations and the clock; knows no table's meaning.

SQLite: WAL, synchronous=FULL, foreign keys, five seconds' patience for a lock. A writing transaction takes its lock
when it begins (BEGIN IMMEDIATE): one that starts as a reader and then writes fails when somebody wrote in between.
Writers of one process stand in line for it, and processes ask for it every millisecond or so: SQLite's own busy handler
sleeps for up to a tenth of a second at a time, and whoever sleeps is overtaken.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, TimeoutError
from sqlmodel import Session

from vidlm.errors import SettingsError, StorageError

_MIGRATION_LOCK = 0x76_69_64_6C_6D  # any constant that every vidlm process agrees on
_PATIENCE_S = 5.0
_ASK_AGAIN_S = (0.0005, 0.002)
_BUSY_TIMEOUT = f"PRAGMA busy_timeout={1000 * _PATIENCE_S:.0f}"
_SQLITE_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON", _BUSY_TIMEOUT)


class Database:
    """Sessions on one database. One instance a process; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._writer = self._engine.execution_options(vidlm_writes=True)
        self._line = threading.Lock() if self._engine.dialect.name == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on a snapshot; whatever is changed in it is thrown away."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in ONE transaction, committed at the end, rolled back by any exception. Rows stay readable.

        A thread holds one at a time. Raises SQLAlchemy's errors; its `TimeoutError` where others write for too long.
        """
        if self._line is not None and not self._line.acquire(timeout=_PATIENCE_S):
            raise TimeoutError(f"others have been writing for {_PATIENCE_S:.0f} s")
        try:
            with Session(self._writer, expire_on_commit=False) as session, session.begin():
                yield session
        finally:
            if self._line is not None:
                self._line.release()

    def is_migrated(self) -> bool:
        """Whether the schema is the newest this code knows. Raises SQLAlchemy's errors while the database is away."""
        with self._engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() == _head()

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()


def clock(session: Session) -> datetime:
    """The time leases are reckoned by: the server's, or this machine's for SQLite, which lives on it."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = session.connection().execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


def lock_key(session: Session, key: str) -> None:
    """Until the transaction ends, nobody else holds the lock of this name. On SQLite a writer is alone anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


def open_engine(url: str) -> Engine:
    """An engine for a SQLite or PostgreSQL URL. Raises `SettingsError` for any other."""
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed.render_as_string(hide_password=False))
        if parsed.get_backend_name() == "postgresql":
            return create_engine(parsed, pool_size=10, max_overflow=40, pool_pre_ping=True, pool_timeout=10)
    except ArgumentError as exc:
        raise SettingsError("VIDLM_DATABASE_URL is not a database URL") from exc
    except (NoSuchModuleError, ModuleNotFoundError) as exc:
        raise SettingsError(f"VIDLM_DATABASE_URL needs a driver that is not installed ({exc})") from exc
    raise SettingsError("VIDLM_DATABASE_URL must begin with sqlite:/// or postgresql://")


def migrate(url: str) -> None:
    """Bring the schema to the newest revision; nothing happens when it is there. Several processes may call it at once.

    Raises `SettingsError`, `StorageError`.
    """
    with migration(url) as config:
        command.upgrade(config, "head")


@contextmanager
def migration(url: str) -> Iterator[Config]:
    """Alembic's configuration on a connection in ONE transaction, committed at the end; one process at a time.

    SQLite alters a table by making it anew and dropping the old one, so its foreign keys are looked at afterwards.
    """
    engine = open_engine(url)
    sqlite = engine.dialect.name == "sqlite"
    if sqlite:
        event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA foreign_keys=OFF"))
    try:
        with engine.execution_options(vidlm_writes=True).begin() as connection:
            if not sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            yield alembic_config(connection)
            if sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
                raise StorageError(f"a migration would leave {len(broken)} rows without what they belong to")
    except OperationalError as exc:
        raise StorageError("the database cannot be opened", code="database_unavailable") from exc
    finally:
        engine.dispose()


def _open_sqlite(url: str) -> Engine:
    folder = Path(make_url(url).database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"the database's folder cannot be made: {exc.strerror}") from exc
    engine = create_engine(url, pool_size=10, max_overflow=40, pool_timeout=10)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in _SQLITE_PRAGMAS[::-1]:  # patience first: turning WAL on may have to wait
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get("vidlm_writes", False):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection) -> None:
    """BEGIN IMMEDIATE, asked for again and again while another process writes."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    until_s = time.monotonic() + _PATIENCE_S
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < until_s:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # the rest of the code says which kind of busy
                    break
                time.sleep(random.uniform(*_ASK_AGAIN_S))
            else:
                return
    finally:
        driver.execute(_BUSY_TIMEOUT)
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails as SQLAlchemy's errors do


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()
