"""What holds for every request whatever its route: headers on each response, and a limit on bodies kept in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.draining import drain
from api.problems import problem_response

MAX_BODY_BYTES: Final = 64 << 10
"""Of every request body but an upload's or a list's, which are streamed and have limits of their own."""

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Headers that every response carries, whoever made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Reads a body before its route does, and answers 413 where it is too large. `streamed` paths are left alone."""

    def __init__(self, app: ASGIApp, streamed: Callable[[str], bool]) -> None:
        self._app = app
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bodyless = scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "DELETE", "OPTIONS")
        if bodyless or self._streamed(scope["path"]):
            await self._app(scope, receive, send)
            return
        messages: deque[Message] = deque()
        size, more = 0, True
        while more:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                if more:
                    await drain(Request(scope, receive).stream())
                refusal = problem_response(413, "too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
                await refusal(scope, receive, send)
                return

        async def replay() -> Message:
            return messages.popleft() if messages else await receive()

        await self._app(scope, replay, send)
