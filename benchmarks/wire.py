"""HTTP/1.1 with so little of a client that what is measured is the server: one connection, one request at a time.

Good for answers that name their length, and for nothing else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

BOUNDARY: Final = "vidlm-load"
_KIND: Final = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"

_HEAD: Final = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'.encode()
_TAIL: Final = f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One connection to `url`, made anew where the server closed it; a context manager."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        self._host, self._port, self._key = str(place.hostname), int(place.port or 80), key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> Answer:
        return await self._ask(f"GET {path}", b"")

    async def upload(self, data: bytes) -> Answer:
        """One file as a form."""
        return await self._ask(
            "POST /v1/videos", _HEAD + data + _TAIL, f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
        )

    async def upload_slowly(self, parts: AsyncIterable[bytes], size_bytes: int) -> Answer:
        """One file of so many bytes, sent as its parts come."""
        writer = await self._open()
        writer.write(self._head("POST /v1/videos", len(_HEAD) + size_bytes + len(_TAIL), _KIND) + _HEAD)
        async for part in parts:
            writer.write(part)
            await writer.drain()
        writer.write(_TAIL)
        return await self._answer()

    async def _ask(self, line: str, body: bytes, *headers: str) -> Answer:
        writer = await self._open()
        writer.write(self._head(line, len(body), *headers) + body)
        await writer.drain()
        return await self._answer()

    def _head(self, line: str, size_bytes: int, *headers: str) -> bytes:
        more = "".join(f"{header}\r\n" for header in headers)
        text = f"{line} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {self._key}\r\nContent-Length: {size_bytes}\r\n"
        return f"{text}{more}\r\n".encode()

    async def _open(self) -> asyncio.StreamWriter:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self._writer

    async def _answer(self) -> Answer:
        assert self._reader is not None
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            await self.close()
        return Answer(int(lines[0].split()[1]), headers, body)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def noise(size_bytes: int) -> bytes:
    """Bytes that nobody sent before."""
    return secrets.token_bytes(size_bytes)
