"""Refusing while somebody is still sending: a connection that is cut in the middle shows no answer."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import suppress
from typing import Final

import anyio
from starlette.requests import ClientDisconnect

_MOST_BYTES: Final = 16 << 20
_MOST_S: Final = 5.0


async def drain(chunks: AsyncIterable[bytes]) -> None:
    """Read and drop what is still coming, up to a limit in bytes and seconds; the answer is then likely to be read."""
    dropped = 0
    with anyio.move_on_after(_MOST_S), suppress(ClientDisconnect):
        async for chunk in chunks:
            dropped += len(chunk)
            if dropped > _MOST_BYTES:
                break
