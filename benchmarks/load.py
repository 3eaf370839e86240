"""Load on one machine: `./run bench load [--json FILE]`. The service and this generator are separate processes.

Status GETs, durable uploads, slow uploads, enqueue to start, the list over 100,000 videos, and five times too much.
The model is left out (`tests.faults.stub`); all else is the real thing. Loopback only; stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert
from sqlmodel import col, select

from tests.faults.ledger import wait_ended
from tests.faults.world import Crew, World
from vidlm.domain import PIPELINE_VERSION
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

SECONDS = 8.0
UPLOAD_BYTES = 100_000
SLOW_UPLOADS = 200
LISTED = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        figures = asyncio.run(_all(Path(folder)))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")


async def _all(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with World(folder / "a", None, Crew()) as world:
        async with _client(world) as client:
            one = await _upload(client)
            figures["status_get"] = await _rate(lambda: client.get(f"/v1/videos/{one}"), at_once=8)
            figures["enqueue_to_start"] = await _enqueue_to_start(world, client)
            figures["upload_100kB"] = await _rate(lambda: _post(client), at_once=8)
            figures["slow_uploads"] = await _slow_uploads(world, client)
            figures["overload"] = await _overload(world, client)
    with World(folder / "b", None, Crew()) as world:
        _fill(world)
        async with _client(world) as client:
            wanted = "/v1/videos?verdict=review&verdict=block&limit=50"
            figures["list_of_100000"] = await _rate(lambda: client.get(wanted), at_once=4)
    return figures


def _client(world: World) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=50)
    headers = {"Authorization": f"Bearer {world.key}"}
    return httpx.AsyncClient(base_url=world.url, headers=headers, timeout=60, limits=limits)


async def _post(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/videos", files={"file": ("a.mp4", secrets.token_bytes(UPLOAD_BYTES))})


async def _upload(client: httpx.AsyncClient) -> str:
    answer = await _post(client)
    return str(answer.raise_for_status().json()["id"])


async def _rate(request: Callable[[], Awaitable[httpx.Response]], *, at_once: int) -> dict[str, float]:
    """So many clients, each asking again as soon as it has its answer, for `SECONDS`."""
    took: list[float] = []
    bad = 0
    until = time.perf_counter() + SECONDS

    async def ask() -> None:
        nonlocal bad
        while time.perf_counter() < until:
            began = time.perf_counter()
            answer = await request()
            took.append(time.perf_counter() - began)
            bad += answer.status_code >= 400

    await asyncio.gather(*(ask() for _ in range(at_once)))
    return {"per_s": round(len(took) / SECONDS, 1), **_quantiles(took), "errors": bad}


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = lambda share: round(1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 1)  # noqa: E731
    return {"p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99)}


async def _enqueue_to_start(world: World, client: httpx.AsyncClient) -> dict[str, float]:
    """From the acknowledged upload to a worker's claim, one job at a time, by the rows' own times."""
    videos = []
    for _ in range(40):
        videos.append(await _upload(client))
        await asyncio.sleep(0.15)
    wait_ended(world.database, videos, 60)
    with world.database.read() as session:
        rows = session.exec(select(Job.created_at, Job.started_at).where(col(Job.video_id).in_(videos))).all()
    return _quantiles([(start - made).total_seconds() for made, start in rows if start is not None])


async def _slow_uploads(world: World, client: httpx.AsyncClient) -> dict[str, float]:
    """Many clients on thin lines at once, and what the API needs for them."""
    before = _resident_mb(world)

    async def drip() -> Any:
        for _ in range(20):
            yield secrets.token_bytes(UPLOAD_BYTES // 20)
            await asyncio.sleep(0.25)

    async def upload() -> bool:
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'

        async def body() -> Any:
            yield head
            async for part in drip():
                yield part
            yield b"\r\n--x--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        return (await client.post("/v1/videos", content=body(), headers=headers)).status_code == 202

    done = asyncio.gather(*(upload() for _ in range(SLOW_UPLOADS)))
    peak = before
    while not done.done():
        peak = max(peak, _resident_mb(world))
        await asyncio.sleep(0.2)
    taken = sum(done.result())
    return {"at_once": SLOW_UPLOADS, "failures": SLOW_UPLOADS - taken, "api_mb": round(peak, 1)}


async def _overload(world: World, client: httpx.AsyncClient) -> dict[str, float]:
    """Five times as many requests at once as are let in: what is refused says when to come back, the rest is done."""
    refused, polite, accepted, failed = 0, 0, [], 0

    async def upload() -> None:
        nonlocal refused, polite, failed
        try:
            answer = await _post(client)
        except httpx.HTTPError:
            failed += 1
            return
        if answer.status_code == 202:
            accepted.append(str(answer.json()["id"]))
        elif answer.status_code in (429, 503):
            refused += 1
            polite += "retry-after" in answer.headers
        else:
            failed += 1

    await asyncio.gather(*(upload() for _ in range(5 * 300)))
    done = await asyncio.to_thread(wait_ended, world.database, accepted, 600)
    return {
        "asked": 5 * 300,
        "accepted": len(accepted),
        "refused": refused,
        "refused_with_retry_after": polite,
        "broken": failed,
        "accepted_and_lost": len(accepted) - len(done),
    }


def _resident_mb(world: World) -> float:
    return int(Path(f"/proc/{world.pid('api')}/statm").read_text().split()[1]) * 4096 / 1e6


def _fill(world: World) -> None:
    """`LISTED` videos, a tenth of them flagged."""
    begin = datetime.now(UTC) - timedelta(days=30)
    for start in range(0, LISTED, 10_000):
        numbers = range(start, start + 10_000)
        made = [begin + timedelta(seconds=20 * number) for number in numbers]
        videos = [
            {
                "id": f"vid_{number:028x}",
                "tenant_id": DEFAULT_TENANT,
                "filename": f"{number}.mp4",
                "sha256": f"{number:064x}",
                "size_bytes": 1,
                "created_at": at,
            }
            for number, at in zip(numbers, made, strict=True)
        ]
        jobs = [
            {
                "id": f"job_{number:028x}",
                "tenant_id": DEFAULT_TENANT,
                "video_id": f"vid_{number:028x}",
                "pipeline_version": PIPELINE_VERSION,
                "state": "ready",
                "verdict_action": "review" if number % 10 == 0 else "allow",
                "created_at": at,
                "finished_at": at,
            }
            for number, at in zip(numbers, made, strict=True)
        ]
        with world.database.write() as session:
            session.connection().execute(insert(Video), videos)
            session.connection().execute(insert(Job), jobs)


if __name__ == "__main__":
    main()
