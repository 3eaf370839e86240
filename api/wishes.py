"""What an uploader may say besides the bytes, out of text fields of a form or of an upload's metadata, checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from api.problems import ProblemError
from vidlm.domain import Priority
from vidlm.jobs.intake import Wishes

MAX_CLIENT_ID_CHARS: Final = 200
MAX_DEADLINE_S: Final = 30 * 24 * 3600.0
MAX_URL_CHARS: Final = 2000
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,7}", re.ASCII)
"""The shape of a tag (RFC 5646); whether it is registered is nobody's business here."""


def wishes_of(filename: str, fields: Mapping[str, str]) -> Wishes:
    """`filename` is clean already. Raises `ProblemError` 422 that names the field."""
    return Wishes(
        filename=filename,
        client_id=_client_id(fields.get("client_id")),
        language=_language(fields.get("language")),
        priority=_priority(fields.get("priority")),
        deadline_s=_deadline_s(fields.get("deadline_s")),
        webhook_url=None if "webhook_url" not in fields else checked_url(fields["webhook_url"], "webhook_url"),
    )


def checked_url(raw: str, field: str) -> str:
    """An http(s) address that may be called. Whether it is one of this network is looked at when it is called."""
    try:
        parts = urlsplit(raw.strip())
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole or len(raw) > MAX_URL_CHARS or not raw.isprintable() or " " in raw.strip():
        raise _invalid(field, "this is no http or https address")
    if parts.username is not None or parts.password is not None:
        raise _invalid(field, "an address must not hold a user name or a password")
    return raw.strip()


def _client_id(raw: str | None) -> str | None:
    if raw is not None and (not raw or len(raw) > MAX_CLIENT_ID_CHARS):
        raise _invalid("client_id", f"between 1 and {MAX_CLIENT_ID_CHARS} characters")
    return raw


def _language(raw: str | None) -> str | None:
    if raw is not None and not _LANGUAGE.fullmatch(raw):
        raise _invalid("language", "a language tag as in BCP 47, such as en or pt-BR")
    return raw


def _priority(raw: str | None) -> Priority:
    try:
        return Priority.NORMAL if raw is None else Priority(raw)
    except ValueError as exc:
        raise _invalid("priority", f"one of {', '.join(Priority)}") from exc


def _deadline_s(raw: str | None) -> float | None:
    if raw is None:
        return None
    try:
        seconds = float(raw)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_DEADLINE_S:
        raise _invalid("deadline_s", f"seconds from now, more than 0 and at most {MAX_DEADLINE_S:.0f}")
    return seconds


def _invalid(field: str, why: str) -> ProblemError:
    return ProblemError(422, "invalid_request", f"{field}: {why}")
