"""`Idempotency-Key`: a POST that is sent again is answered again, and done once.

A route does its work through `OnceDep`, inside the transaction that does it. Knows headers and replies; the rules
stand in `vidlm.jobs.idempotency`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api.deps import CallerDep
from api.problems import ProblemError
from vidlm.jobs import idempotency
from vidlm.jobs.idempotency import Reply

MAX_KEY_CHARS: Final = 255
REPLAYED: Final = "Idempotent-Replayed"
"""The header of a reply that was given before."""


@dataclass(frozen=True, slots=True)
class Once:
    """One request's key, if it has one, and which route it came to."""

    tenant_id: str
    key: str | None
    route: str

    def __call__(self, session: Session, asked: Any, do: Callable[[], Reply]) -> Reply:
        """What `do` replies; or, where this key was seen before, what was replied then.

        `asked` is all that the request asks for, as JSON types. Raises `KeyReusedError` where it is not what was asked
        before. An exception leaves nothing behind, not even the key.
        """
        if self.key is None:
            return do()
        digest = hashlib.sha256(json.dumps([self.route, asked], sort_keys=True).encode()).hexdigest()
        kept = idempotency.begin(session, self.tenant_id, self.key, digest)
        if kept is not None:
            return Reply(kept.status, kept.body, kept.headers | {REPLAYED: "true"})
        reply = do()
        idempotency.keep(session, self.tenant_id, self.key, reply)
        return reply


def get_once(
    request: Request,
    caller: CallerDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=MAX_KEY_CHARS,
            description="Any text. The same request under the same key is done once and answered alike, for 24 hours.",
        ),
    ] = None,
) -> Once:
    """The request's key. Raises `ProblemError` 422 for one that no database keeps."""
    if idempotency_key is not None and not (idempotency_key and idempotency_key.isprintable()):
        raise ProblemError(422, "invalid_request", "Idempotency-Key: between 1 and 255 printable characters")
    return Once(caller.tenant_id, idempotency_key, f"{request.method} {request.url.path}")


OnceDep = Annotated[Once, Depends(get_once)]


def respond(reply: Reply) -> JSONResponse:
    """A reply as a response."""
    return JSONResponse(reply.body, reply.status, reply.headers)
