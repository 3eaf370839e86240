"""Column types and defaults that the tables share: aware UTC times and ids that sort by birth."""

import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator

_UNKEEPABLE: Final = re.compile("[\0\ud800-\udfff]")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, always UTC. SQLite forgets time zones: there it is stored naive and read back aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        aware: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text of any origin and length. A NUL or half a surrogate pair, which not every database keeps, becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        return _UNKEEPABLE.sub("\ufffd", value)


def new_id(prefix: str) -> str:
    """`prefix_` + 12 hex digits of milliseconds since 1970 + 16 random ones: unguessable, sorted by birth."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def utc_now() -> datetime:
    """This machine's clock, for `created_at`. Leases are reckoned by the database's (`engine.clock`)."""
    return datetime.now(UTC)
