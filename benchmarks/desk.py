"""How fast the dashboard is: `./run bench desk [--json FILE] [--decisions 30] [--kept 500]`. Loopback only.

With 100,000 videos in the database, each of them waiting for review:

    pages      server time of the queue and of the library, asked by four clients at once, in ms
    parts      what the queue is made of: taking an item, counting what waits, a page of items, in ms

In a real browser at the desk, with the embedded model's own items:

    next_ms     from a key that decides to the next video's flags on the screen
    decision_s  interface time of one decision: from the video on the screen, over its keys (see plainly, next flag,
                decide), to the next one; nobody thinks meanwhile
    payload_kb  all that the first review page loads, without pictures and video
    heap_mb     memory of the page's scripts after as many decisions, garbage collected
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Page, Response, sync_playwright
from ready_rows import ready
from review_helpers import flag
from sqlmodel import Session

from benchmarks import filled
from tests.browser_helpers import PASSWORD, House, wait_ended
from vidlm.client import Client
from vidlm.config import Settings
from vidlm.domain import Role
from vidlm.launch import Service
from vidlm.people import accounts
from vidlm.review import listing, queues, serving
from vidlm.store.engine import Database
from vidlm.store.keys import Caller
from vidlm.store.tables import DEFAULT_TENANT
from vidlm.toyworld.files import demo_clips

VIDEOS: Final = 100_000
SECONDS: Final = 8.0
BARS: Final = {
    "queue_p99_ms": 150,
    "library_p99_ms": 150,
    "next_median_ms": 300,
    "decision_median_s": 2,
    "payload_kb": 300,
}

_NEXT: Final = """key => new Promise((done, fail) => {
    const before = location.pathname, began = performance.now();
    setTimeout(() => fail(new Error(`nothing came after ${key}`)), 10000);
    const look = () => location.pathname !== before && document.querySelector("#flags li")
        ? requestAnimationFrame(() => done(performance.now() - began)) : requestAnimationFrame(look);
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    look();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench desk", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--decisions", type=int, default=30)
    parser.add_argument("--kept", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="desk-") as folder:
        figures = at_the_desk(Path(folder) / "desk", options.decisions, options.kept)
        figures |= among_many(Path(folder) / "many")
    figures["missed"] = [name for name, bar in BARS.items() if figures[name] > bar]
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")


def at_the_desk(data: Path, decisions: int, kept: int) -> dict[str, Any]:
    """A browser, decisions with video, then many without, for the memory."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium is installed (apt install chromium)")
    settings = Settings(data=data, port=0, reuse_results=True)
    with Service(settings) as service, sync_playwright() as playwright:
        service.wait_ready(90)
        assert service.api_key is not None
        house = House(service.url, Client(service.url, service.api_key), Database(settings.sql_url), settings, service)
        house.clips = [clip for clip in demo_clips(data / "clips", lambda *_: None) if clip.name != "minute"]
        _person(house.database)
        for clip in house.clips:
            wait_ended(house.client, str(house.client.upload(clip.path)["id"]), 300)
        house.refill(decisions + 2)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        _sign_in(page, house.url)
        responses: list[Response] = []
        page.on("response", lambda response: responses.append(response))  # noqa: PLW0108  the library marks it
        page.locator("#start button").click()
        page.wait_for_url("**/review/rvi_*")
        page.locator("#flags li").first.wait_for()
        page.wait_for_timeout(2000)  # the next one is taken ahead
        payload_kb = _payload_kb(responses)
        figures = _timed(page, decisions) | {"payload_kb": payload_kb}
        for _ in range(kept + 5):
            ready(house.database, flag())
        figures["heap_mb"] = _heap(page, kept)
        browser.close()
        house.database.close()
    return figures


def _timed(page: Page, decisions: int) -> dict[str, Any]:
    nexts, wholes = [], []
    for number in range(decisions):
        began = time.perf_counter()
        page.keyboard.press("b")
        page.keyboard.press("n")
        page.wait_for_timeout(max(0.0, 360 - 1000 * (time.perf_counter() - began)))  # the desk takes nothing sooner
        nexts.append(float(page.evaluate(_NEXT, "5" if number % 3 else "1")))
        wholes.append(time.perf_counter() - began)
    return {
        "decisions": decisions,
        "next_median_ms": round(_share(nexts, 0.5), 1),
        "next_p95_ms": round(_share(nexts, 0.95), 1),
        "decision_median_s": round(_share(wholes, 0.5), 3),
    }


def _heap(page: Page, kept: int) -> dict[str, float]:
    """Megabytes after so many decisions."""
    session = page.context.new_cdp_session(page)
    found: dict[str, float] = {}
    for number in range(1, kept + 1):
        page.wait_for_timeout(360)
        page.evaluate(_NEXT, "5")
        if number in (50, kept // 2, kept):
            session.send("HeapProfiler.collectGarbage")
            found[str(number)] = round(session.send("Runtime.getHeapUsage")["usedSize"] / 1e6, 2)
    return found


def _payload_kb(responses: list[Response]) -> float:
    """What a page loaded that is neither picture nor video."""
    kinds = ("document", "script", "stylesheet")
    sizes = {one.url: len(one.body()) for one in responses if one.request.resource_type in kinds and one.status == 200}
    return round(sum(sizes.values()) / 1000, 1)


def among_many(data: Path) -> dict[str, Any]:
    """Pages and their parts, with `VIDEOS` in the database."""
    settings = Settings(data=data, port=0)
    with Service(settings) as service:
        service.wait_ready(90)
        database = Database(settings.sql_url)
        _person(database)
        filled.videos(database, VIDEOS)
        filled.items(database, VIDEOS)
        with httpx.Client(base_url=service.url, headers={"Sec-Fetch-Site": "same-origin"}) as client:
            client.post("/sign-in", data={"name": "reviewer", "password": PASSWORD})
            cookies = dict(client.cookies)
        figures: dict[str, Any] = {}
        for name, path in (("queue", "/queue"), ("library", "/library")):
            took = asyncio.run(_asked(service.url + path, cookies))
            figures |= {
                f"{name}_median_ms": round(_share(took, 0.5), 1),
                f"{name}_p99_ms": round(_share(took, 0.99), 1),
            }
        figures["parts"] = _parts(database)
        database.close()
    return figures


async def _asked(url: str, cookies: dict[str, str]) -> list[float]:
    """Milliseconds of each answer; four clients ask again and again."""
    took: list[float] = []
    until = time.perf_counter() + SECONDS

    async def client() -> None:
        async with httpx.AsyncClient(cookies=cookies, timeout=30) as asking:
            while time.perf_counter() < until:
                began = time.perf_counter()
                answer = await asking.get(url)
                answer.raise_for_status()
                assert answer.status_code == 200, answer.status_code
                took.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(client() for _ in range(4)))
    return took


def _parts(database: Database) -> dict[str, float]:
    """Median milliseconds, one at a time."""
    someone = Caller(DEFAULT_TENANT, "key_bench", Role.REVIEWER)

    def median_ms(do: Callable[[Session, int], object], *, writes: bool = False) -> float:
        took = []
        for number in range(20):
            began = time.perf_counter()
            with database.write() if writes else database.read() as session:
                do(session, number)
            took.append(1000 * (time.perf_counter() - began))
        return round(_share(took, 0.5), 1)

    def take(session: Session, number: int) -> None:
        assert serving.next_item(session, Caller(DEFAULT_TENANT, f"key_{number}", Role.REVIEWER)) is not None

    return {
        "take_ms": median_ms(take, writes=True),
        "count_ms": median_ms(lambda session, _: queues.waiting(session, DEFAULT_TENANT, restricted=False)),
        "page_ms": median_ms(lambda session, _: listing.list_items(session, someone, listing.Wanted(), 31)),
    }


def _person(database: Database) -> None:
    with database.write() as session:
        accounts.create(session, "reviewer", PASSWORD, role=Role.REVIEWER)


def _sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name").fill("reviewer")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue")


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
