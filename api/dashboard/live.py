"""Numbers that pages show live: looked at once for everybody who watches, and sent when they change.

A stream is a server-sent event whose name is the event and whose data is nothing a page would trust: it asks for the
part that changed. While nobody watches, nobody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

log = structlog.get_logger(__name__)

POLL_S: Final = 2.0
HEARTBEAT_S: Final = 15.0
MOST: Final = 256
"""Streams of one process; more are asked to come back later."""


class Watch:
    """What is watched, by name, with what was seen of it last. Belongs to one event loop."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[float, Hashable]] = {}
        self._asking: dict[Hashable, asyncio.Lock] = {}
        self.open = 0

    async def look(self, what: Hashable, ask: Callable[[], Hashable]) -> Hashable:
        """What `ask` says, or said less than `POLL_S` ago to somebody else."""
        async with self._asking.setdefault(what, asyncio.Lock()):
            at_s, seen = self._seen.get(what, (0.0, None))
            if time.monotonic() - at_s >= POLL_S:
                seen = await run_in_threadpool(ask)
                self._seen[what] = (time.monotonic(), seen)
            return seen

    async def changes(self, what: Hashable, ask: Callable[[], Hashable]) -> AsyncIterator[str]:
        """`changed` at once and after every change; a sign of life now and then."""
        self.open += 1
        try:
            yield "retry: 3000\n\n"
            said: object = object()
            spoke_s = time.monotonic()
            while True:
                try:
                    now = await self.look(what, ask)
                except SQLAlchemyError as exc:
                    log.warning("watch.waiting", error=type(exc).__name__)
                    now = said
                if now != said:
                    said, spoke_s = now, time.monotonic()
                    yield "event: changed\ndata: \n\n"
                elif time.monotonic() - spoke_s >= HEARTBEAT_S:
                    spoke_s = time.monotonic()
                    yield ": still here\n\n"
                await asyncio.sleep(POLL_S)
        finally:
            self.open -= 1
            if not self.open:
                self._seen.clear()
                self._asking.clear()
