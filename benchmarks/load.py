"""Load on one machine: `./run bench load [--json FILE]`. The service and this generator are separate processes.

Status GETs, durable uploads, slow uploads, enqueue to start, the list over 100,000 videos, and five times too much.
The model is left out (`tests.faults.stub`); all else is the real thing. Loopback only; stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from api.shedding import MOST_UPLOADS
from benchmarks import filled
from benchmarks.wire import Answer, Wire, noise
from tests.faults.ledger import wait_ended
from tests.faults.world import Crew, World
from vidlm.store.tables import Job

SECONDS = 8.0
UPLOAD_BYTES = 100_000
WORK = b"slow:0.25 "
SLOW_UPLOADS = 200
PIECES = 20
LISTED = 100_000
BARS = {
    "status_get": ("per_s >= 300", "p99_ms <= 60", "errors <= 0"),
    "enqueue_to_start": ("p95_ms <= 250",),
    "slow_uploads": ("failures <= 0", "api_mb <= 300"),
    "overload": ("broken <= 0", "accepted_and_lost <= 0", "refused_without_retry_after <= 0"),
    "upload_100kB": ("per_s >= 80", "p99_ms <= 300", "errors <= 0"),
    "list_of_100000": ("p99_ms <= 150", "errors <= 0"),
}
"""For two cores, with this generator on them."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench load", description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        figures = asyncio.run(_all(Path(folder)))
    for name, bars in BARS.items():
        figures[name]["missed"] = [bar for bar in bars if not _holds(figures[name], bar)]
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")


def _holds(figures: dict[str, float], bar: str) -> bool:
    name, sign, limit = bar.split()
    return figures[name] >= float(limit) if sign == ">=" else figures[name] <= float(limit)


async def _all(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with World(folder / "a", None, Crew()) as world:
        async with _wire(world) as wire:
            one = json.loads((await wire.upload(noise(1000))).body)["id"]
        wait_ended(world.database, [one], 60)
        figures["status_get"] = await _rate(world, lambda wire: wire.get(f"/v1/videos/{one}"), at_once=8)
        figures["enqueue_to_start"] = await _enqueue_to_start(world)
        figures["slow_uploads"] = await _slow_uploads(world)
        figures["overload"] = await _overload(world)
    with World(folder / "b", None, Crew()) as world:
        figures["upload_100kB"] = await _rate(world, lambda wire: wire.upload(_slow_to_work()), at_once=8)
    with World(folder / "c", None, Crew()) as world:
        filled.videos(world.database, LISTED)
        wanted = "/v1/videos?verdict=review&verdict=block&limit=50"
        figures["list_of_100000"] = await _rate(world, lambda wire: wire.get(wanted), at_once=4)
    return figures


def _wire(world: World) -> Wire:
    return Wire(world.url, world.key)


def _slow_to_work() -> bytes:
    """A file that workers take about as long for as for the shortest of clips; else they write as often as the API."""
    return WORK + noise(UPLOAD_BYTES - len(WORK))


async def _rate(world: World, ask: Callable[[Wire], Awaitable[Answer]], *, at_once: int) -> dict[str, float]:
    """So many clients, each asking again as soon as it has its answer, for `SECONDS`."""
    took: list[float] = []
    bad = 0
    until = time.perf_counter() + SECONDS

    async def client() -> None:
        nonlocal bad
        async with _wire(world) as wire:
            while time.perf_counter() < until:
                began = time.perf_counter()
                answer = await ask(wire)
                took.append(time.perf_counter() - began)
                bad += answer.status >= 400

    await asyncio.gather(*(client() for _ in range(at_once)))
    return {"per_s": round(len(took) / SECONDS, 1), **_quantiles(took), "errors": bad}


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = lambda share: round(1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 1)  # noqa: E731
    return {"p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99)}


async def _enqueue_to_start(world: World) -> dict[str, float]:
    """From the acknowledged upload to a worker's claim, one job at a time, by the rows' own times."""
    videos = []
    async with _wire(world) as wire:
        for _ in range(100):
            videos.append(json.loads((await wire.upload(noise(UPLOAD_BYTES))).body)["id"])
            await asyncio.sleep(0.15)
    wait_ended(world.database, videos, 60)
    with world.database.read() as session:
        rows = session.exec(select(Job.created_at, Job.started_at).where(col(Job.video_id).in_(videos))).all()
    return _quantiles([(start - made).total_seconds() for made, start in rows if start is not None])


async def _slow_uploads(world: World) -> dict[str, float]:
    """Many clients on thin lines at once, five seconds a file, and what the API needs for them."""

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            yield noise(UPLOAD_BYTES // PIECES)
            await asyncio.sleep(0.25)

    async def upload() -> bool:
        async with _wire(world) as wire:
            return (await wire.upload_slowly(drip(), UPLOAD_BYTES // PIECES * PIECES)).status == 202

    done = asyncio.gather(*(upload() for _ in range(SLOW_UPLOADS)))
    peak = _resident_mb(world)
    while not done.done():
        peak = max(peak, _resident_mb(world))
        await asyncio.sleep(0.2)
    return {"at_once": SLOW_UPLOADS, "failures": SLOW_UPLOADS - sum(done.result()), "api_mb": round(peak, 1)}


async def _overload(world: World) -> dict[str, float]:
    """Five times as many uploads at once as are let in: what is refused says when to come back, the rest is done."""
    asked = 5 * MOST_UPLOADS
    refused, rude, accepted = 0, 0, []
    broken: Counter[str] = Counter()

    async def upload() -> None:
        nonlocal refused, rude
        try:
            async with _wire(world) as wire:
                answer = await wire.upload(noise(UPLOAD_BYTES))
        except (OSError, asyncio.IncompleteReadError) as exc:
            broken[type(exc).__name__] += 1
            return
        if answer.status == 202:
            accepted.append(str(json.loads(answer.body)["id"]))
        elif answer.status in (429, 503):
            refused += 1
            rude += "retry-after" not in answer.headers
        else:
            broken[str(answer.status)] += 1

    await asyncio.gather(*(upload() for _ in range(asked)))
    done = await asyncio.to_thread(wait_ended, world.database, accepted, 600)
    return {
        "asked": asked,
        "accepted": len(accepted),
        "refused": refused,
        "refused_without_retry_after": rude,
        "broken": broken.total(),
        **broken,
        "accepted_and_lost": len(accepted) - len(done),
    }


def _resident_mb(world: World) -> float:
    return int(Path(f"/proc/{world.pid('api')}/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
