"""More at once than can be answered soon is refused, politely; uploads, streams and health are counted apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from api import shedding
from api.shedding import RETRY_AFTER_S, Shedding


class Gate:
    """An application that answers nobody until it is opened; a path that ends in `bug` raises then."""

    def __init__(self) -> None:
        self.inside, self.opened = 0, asyncio.Event()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.inside += 1
        await self.opened.wait()
        if scope["path"].endswith("bug"):
            raise RuntimeError("a bug")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def crowd(gate: Gate, *paths: str) -> AsyncIterator[tuple[httpx.AsyncClient, list[asyncio.Task[httpx.Response]]]]:
    """A client, and requests that have come in and wait at the gate."""
    app = Shedding(gate, lambda scope: scope["path"] == "/upload", lambda scope: scope["path"] == "/stream")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
        waiting = [asyncio.create_task(client.get(path)) for path in paths]
        while gate.inside < len(paths):
            await asyncio.sleep(0)
        yield client, waiting


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "MOST_REQUESTS", 2)
    monkeypatch.setattr(shedding, "MOST_UPLOADS", 1)


def test_one_too_many_is_told_when_to_come_back_and_let_in_later() -> None:
    async def run() -> None:
        gate = Gate()
        async with crowd(gate, "/a", "/b") as (client, waiting):
            refused = await client.get("/c")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, str(RETRY_AFTER_S))
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["code"] == "overloaded"
            assert gate.inside == 2  # it left nothing behind
            gate.opened.set()
            assert [(await one).status_code for one in waiting] == [204, 204]
            assert (await client.get("/c")).status_code == 204

    asyncio.run(run())


def test_uploads_streams_and_health_do_not_take_each_others_places() -> None:
    async def run() -> None:
        gate = Gate()
        paths = ("/a", "/b", "/upload", "/stream", "/stream", "/stream", "/healthz", "/readyz")
        async with crowd(gate, *paths) as (client, waiting):
            assert [(await client.get(path)).status_code for path in ("/a", "/upload")] == [503, 503]
            gate.opened.set()
            assert {(await one).status_code for one in waiting} == {204}

    asyncio.run(run())


def test_a_request_that_ends_badly_gives_its_place_back() -> None:
    async def run() -> None:
        gate = Gate()
        async with crowd(gate, "/bug", "/bug") as (client, waiting):
            gate.opened.set()
            for one in waiting:
                with pytest.raises(RuntimeError):
                    await one
            assert (await client.get("/a")).status_code == 204

    asyncio.run(run())


def test_who_is_refused_while_sending_is_heard_out_first() -> None:
    """A connection that is cut while its client sends shows no answer: the body is read, and dropped."""
    sent = 0

    async def film() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(20):
            sent += 1
            yield bytes(1 << 16)

    async def run() -> None:
        gate = Gate()
        async with crowd(gate, "/a", "/b") as (client, waiting):
            assert (await client.post("/c", content=film())).status_code == 503
            assert (sent, gate.inside) == (20, 2)
            gate.opened.set()
            await asyncio.gather(*waiting)

    asyncio.run(run())
