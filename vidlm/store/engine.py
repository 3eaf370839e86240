"""Opening the database, SQLite or PostgreSQL, so that a committed row survives whatever comes.

Knows connections, transactions, migrations and the clock; knows no table's meaning.

SQLite: WAL, synchronous=FULL, foreign keys, five seconds' patience for a lock. A writing transaction takes its lock
when it begins (BEGIN IMMEDIATE): one that starts as a reader and then writes fails when somebody wrote in between.
"""

from __future__ import annotations

import sqlite3
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
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlmodel import Session

from vidlm.errors import SettingsError, StorageError

_MIGRATION_LOCK = 0x76_69_64_6C_6D  # any constant that every vidlm process agrees on
_SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")


class Database:
    """Sessions on one database. One instance a process; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._writer = self._engine.execution_options(vidlm_writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on a snapshot; whatever is changed in it is thrown away."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in ONE transaction, committed at the end, rolled back by any exception. Rows stay readable."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

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
    folder.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=10, max_overflow=40, pool_timeout=10)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in _SQLITE_PRAGMAS[::-1]:  # patience first: turning WAL on may have to wait
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("vidlm_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()
