"""A real browser on a real service: API, workers and the embedded model, with a few drawn clips looked at.

A page that breaks its content security policy, throws, logs an error or asks for something that is not there fails the
test that opened it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import PASSWORD, House, Tab, wait_ended
from playwright.sync_api import Browser, Playwright, sync_playwright

from vidlm.client import Client
from vidlm.config import Settings
from vidlm.domain import Role
from vidlm.launch import Service
from vidlm.people import accounts
from vidlm.store.engine import Database
from vidlm.toyworld.files import demo_clips

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One service for all tests of this process. Tests leave it usable; items are refilled by `refill`."""
    data = tmp_path_factory.mktemp("house")
    settings = Settings(data=data, port=0, workers=1, reuse_results=True, webhook_private=True)
    with Service(settings) as service:
        service.wait_ready(90)
        assert service.api_key is not None
        client = Client(service.url, service.api_key)
        database = Database(settings.sql_url)
        with database.write() as session:
            first = accounts.by_name(session, accounts.FIRST)
            assert first is not None
            accounts.set_password(session, first, PASSWORD, actor="cli")
            for role in (Role.VIEWER, Role.REVIEWER, Role.LEAD):
                accounts.create(session, role.value, PASSWORD, role=role)
        found = House(service.url, client, database, settings, service)
        found.clips = demo_clips(data / "clips", lambda *_: None)
        found.videos = {clip.name: str(client.upload(clip.path)["id"]) for clip in found.clips}
        for video_id in found.videos.values():
            wait_ended(client, video_id, 240)
        yield found
        database.close()


@pytest.fixture(scope="session")
def playwright_() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright_: Playwright) -> Iterator[Browser]:
    if CHROMIUM is None:
        if "browser" in os.environ.get("VIDLM_REQUIRE", ""):
            pytest.fail("no Chromium is installed, and VIDLM_REQUIRE asks for one")
        pytest.skip("no Chromium is installed (apt install chromium)")
    found = playwright_.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    )
    yield found
    found.close()


@pytest.fixture
def tab(browser: Browser, house: House) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB", timezone_id="Europe/Paris")
    page = context.new_page()
    found = Tab(page, house.url)
    page.on("pageerror", lambda error: found.faults.append(f"thrown: {error}"))
    page.on(
        "console",
        lambda message: found.faults.append(f"{message.type}: {message.text}") if message.type == "error" else None,
    )
    yield found
    context.close()
    left = [fault for fault in found.faults if not any(one in fault for one in found.allowed)]
    assert not left, left
