"""Says no in time: when more is asked at once than can be answered soon, the rest is told to come back.

Whoever is refused here has left nothing behind; whoever is let in is served as usual. Uploads are counted apart: they
are slow by nature and wait for their clients, not for us. Knows paths; not what routes do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.draining import drain
from api.problems import problem_response

MOST_REQUESTS: Final = 256
"""At once in one process, uploads and streams not counted; what waits longer is no longer waited for."""
MOST_UPLOADS: Final = 512
"""At once in one process; each holds one open file and at most a piece of it in memory."""
RETRY_AFTER_S: Final = 2
_ALWAYS: Final = frozenset({"/healthz", "/readyz"})


class Shedding:
    """503 `overloaded` with Retry-After beyond so many requests at once. `is_upload`: which are counted as uploads."""

    def __init__(self, app: ASGIApp, is_upload: Callable[[Scope], bool], is_stream: Callable[[Scope], bool]) -> None:
        self._app, self._is_upload, self._is_stream = app, is_upload, is_stream
        self._running = {True: 0, False: 0}  # only the event loop's thread touches it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS or self._is_stream(scope):
            await self._app(scope, receive, send)
            return
        upload = self._is_upload(scope)
        if self._running[upload] >= (MOST_UPLOADS if upload else MOST_REQUESTS):
            await drain(Request(scope, receive).stream())
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            refusal = problem_response(503, "overloaded", "too much is asked at once; try again soon", headers)
            await refusal(scope, receive, send)
            return
        self._running[upload] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[upload] -= 1
