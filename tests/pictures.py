"""Pictures of every page of the dashboard, in both themes: `./run pictures [--out docs/images]`.

A service of its own with the demo's clips and a few decisions; a real browser. Loopback only; stops by itself.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser_helpers import PASSWORD, House, wait_ended
from vidlm.client import Client
from vidlm.config import Settings
from vidlm.launch import Service
from vidlm.people import accounts
from vidlm.store.engine import Database
from vidlm.toyworld.files import demo_clips

THEMES: Final = ("light", "dark")
SHOWN: Final = "kitchen-knife"


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium is installed (apt install chromium)")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        settings = Settings(data=Path(folder), port=0)
        with Service(settings) as service, sync_playwright() as playwright:
            service.wait_ready(90)
            house = _house(service, settings, Path(folder))
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for theme in THEMES:
                _take(browser, house, theme, options.out)
            browser.close()
            house.database.close()


def _house(service: Service, settings: Settings, folder: Path) -> House:
    """The demo's clips, one of them decided about."""
    assert service.api_key is not None
    house = House(service.url, Client(service.url, service.api_key), Database(settings.sql_url), settings, service)
    with house.database.write() as session:
        first = accounts.by_name(session, accounts.FIRST)
        assert first is not None
        accounts.set_password(session, first, PASSWORD, actor="cli")
    house.clips = demo_clips(folder / "clips", lambda *_: None)
    house.videos = {clip.name: str(house.client.upload(clip.path)["id"]) for clip in house.clips}
    for video_id in house.videos.values():
        wait_ended(house.client, video_id, 300)
    item = house.client.post("/v1/review/claim", {})["item"]
    told = [{"flag_id": one["id"], "verdict": "confirm"} for one in item["flags"]]
    said = {"token": item["lock"]["token"], "outcome": "remove", "flags": told, "watched_s": 4.0}
    house.client.post(f"/v1/review/items/{item['id']}/decision", said)
    return house


def _take(browser: Browser, house: House, theme: str, out: Path) -> None:
    """One picture a page. The desk is looked at last: it takes an item."""
    scheme = "dark" if theme == "dark" else "light"
    page = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme=scheme).new_page()

    def picture(name: str) -> None:
        page.wait_for_timeout(800)
        page.screenshot(path=out / f"{name}-{theme}.jpg", type="jpeg", quality=78)

    page.goto(f"{house.url}/sign-in")
    picture("sign-in")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue")
    picture("queue")
    for name, path in _pages(page, house):
        page.goto(house.url + path)
        picture(name)
    page.goto(f"{house.url}/queue")
    page.locator("#start button").click()
    page.wait_for_url("**/review/rvi_*")
    page.keyboard.press("n")
    picture("review")


def _pages(page: Page, house: House) -> list[tuple[str, str]]:
    """Every page of the menu, and some behind them."""
    menu = [link.get_attribute("href") or "/" for link in page.locator("header nav a").all()]
    listed = [(path.strip("/"), path) for path in menu if path != "/queue"]
    return [
        *listed,
        ("video", f"/videos/{house.videos[SHOWN]}"),
        ("policy", "/policies/weapons.in_hand"),
        ("keys", "/admin/keys"),
        ("webhooks", "/admin/webhooks"),
        ("settings", "/settings"),
    ]


if __name__ == "__main__":
    main()
