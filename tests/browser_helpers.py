"""What browser tests share: the service they drive, and a page with everything that went wrong in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from sqlmodel import col, func, select, update

from vidlm.client import Client
from vidlm.config import Settings
from vidlm.launch import Service
from vidlm.moderation.decisions import ItemState
from vidlm.store.engine import Database
from vidlm.store.review import ReviewDecision, ReviewItem
from vidlm.toyworld.files import DemoClip

PASSWORD = "a-Long-enough-one-7"


@dataclass
class House:
    """The service, and people of every role in it, all with the same password."""

    url: str
    client: Client
    database: Database
    settings: Settings
    service: Service
    clips: list[DemoClip] = field(default_factory=list)
    videos: dict[str, str] = field(default_factory=dict)  # clip name -> id

    def waiting(self) -> int:
        """Items that wait for anybody."""
        with self.database.read() as session:
            query = select(func.count()).where(ReviewItem.state == ItemState.WAITING.value)
            return session.exec(query).one()

    def refill(self, least: int) -> None:
        """See to it that so many items wait: what nobody decided is given back, then clips are sent once more."""
        with self.database.write() as session:
            held = update(ReviewItem).where(col(ReviewItem.state) == ItemState.CLAIMED.value)
            session.exec(held.values(claimed_until=datetime(2020, 1, 1, tzinfo=UTC)))
        while self.waiting() < least:
            sent = [str(self.client.upload(clip.path)["id"]) for clip in self.clips]
            for video_id in sent:
                wait_ended(self.client, video_id, 240)

    def claim(self, *, video_id: str = "", item_id: str = "") -> Any:
        """The item of a video, or that one, claimed with the first key; everything else is back in the line."""
        self.refill(0)
        passed: list[str] = []
        end = time.monotonic() + 30
        while time.monotonic() < end:
            item = self.client.post("/v1/review/claim", {"without": passed})["item"]
            if item is None:
                time.sleep(0.2)  # a video is done a moment before its item waits
            elif video_id in ("", item["video_id"]) and item_id in ("", item["id"]):
                return item
            else:
                passed.append(item["id"])
                self.client.post(f"/v1/review/items/{item['id']}/release", {"token": item["lock"]["token"]})
        raise AssertionError(f"nobody could claim {video_id or item_id}")

    def decisions(self, item_id: str) -> list[ReviewDecision]:
        """What was decided about an item."""
        with self.database.read() as session:
            query = select(ReviewDecision).where(ReviewDecision.item_id == item_id)
            return list(session.exec(query.order_by(col(ReviewDecision.id))).all())


@dataclass
class Tab:
    """A page, and what went wrong in it. `allowed`: addresses, or parts of messages, that a test expects to fail."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def sign_in(self, name: str, then: str = "/") -> Page:
        self.page.goto(f"{self.url}/sign-in?next={then}")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda address: "/sign-in" not in address)
        return self.page

    def go(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def check_access(self) -> None:
        """No serious violation of WCAG 2.2 A and AA that a program can find."""
        self.page.evaluate("scrollTo(0, 0)")  # what the head of the page happens to lie over is no fault
        tags = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
        found = Axe().run(self.page, options=tags).response["violations"]
        serious = [
            f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:3]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, "\n".join(serious)

    def check_looks(self) -> None:
        """The same in both themes, and at 390 px, where the page as a whole must not scroll sideways."""
        size = self.page.viewport_size
        assert size is not None
        for scheme, width in (("light", size["width"]), ("dark", size["width"]), ("light", 390)):
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            self.page.set_viewport_size({"width": width, "height": size["height"]})
            self.check_access()
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{wide} px at {width}"
        self.page.set_viewport_size(size)


def wait_ended(client: Client, video_id: str, seconds: float) -> None:
    """Return once a video's job has ended."""
    give_up = time.monotonic() + seconds
    while client.get(f"/v1/videos/{video_id}")["state"] not in ("ready", "rejected", "failed", "cancelled"):
        assert time.monotonic() < give_up, f"{video_id} is not done after {seconds:.0f} s"
        time.sleep(0.2)
