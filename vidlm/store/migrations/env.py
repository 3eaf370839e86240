"""Alembic's door into the database: `vidlm.store.engine.migrate` hands it an open connection in a transaction.

To write a new revision: `python -m vidlm.store.migrations "what changes"`.
"""

from typing import Any, Literal

from alembic import context
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from vidlm.store import (  # noqa: F401  they fill the metadata
    backfill,
    hooks,
    ledger,
    likeness,
    moderation,
    people,
    review,
    tables,
    words,
)
from vidlm.store.columns import CleanText, UtcDateTime


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Spell our own column types shortly; `False` leaves a thing to Alembic."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "UtcDateTime()"
    if kind == "type" and isinstance(item, CleanText):
        return "sa.Text()"
    if kind == "type" and isinstance(item, AutoString):
        return "sa.String()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    render_item=render_item,
)
context.run_migrations()
