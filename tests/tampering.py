"""Getting at the audit past the triggers that guard it, as somebody would who owns the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlmodel import Session

GUARDED = ("audit", "audit_head")


@contextmanager
def unguarded(session: Session) -> Iterator[None]:
    """Inside the block nothing is refused; afterwards, in the same transaction, the triggers are as they were."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        query = text(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('audit', 'audit_head')"
        )
        triggers = connection.execute(query).all()
        for name, _ in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        for _, made in triggers:
            connection.exec_driver_sql(made)
        return
    for table in GUARDED:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    yield
    for table in GUARDED:
        connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
