"""Operations: how the service stands, kept current, and what it says when it does not stand well."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from browser_helpers import House, Tab
from playwright.sync_api import Route, expect
from sqlmodel import col, delete, select

from vidlm.store.engine import clock
from vidlm.store.ledger import Worker
from vidlm.store.tables import Job

TICK_MS = 9000
"""The page asks every five seconds."""


def test_all_is_well_and_the_figures_are_those_of_the_clips(tab: Tab) -> None:
    page = tab.sign_in("lead", "/operations")
    expect(page.locator("#verdict .well")).to_contain_text("All is well.")
    expect(page.get_by_role("group", name="Queues")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^questions interactive"))).to_contain_text("nothing waits")
    expect(page.get_by_role("img", name=re.compile("in 24 hours"))).to_be_visible()
    expect(page.locator("#jobs-ready")).to_have_text(re.compile(r"\d+"))
    expect(page.locator("#of-workers")).to_be_visible()
    tab.check_access()
    page.emulate_media(color_scheme="dark")
    tab.check_access()


@pytest.mark.parametrize("width", [1024, 390])
def test_nothing_sticks_out_on_a_narrow_screen(tab: Tab, width: int) -> None:
    page = tab.sign_in("lead", "/operations")
    page.set_viewport_size({"width": width, "height": 860})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tab.check_access()


def test_a_worker_that_fell_silent_shows_by_itself_and_goes_again(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/operations")
    expect(page.locator("#verdict .well")).to_be_visible()
    with house.database.write() as session:
        now = clock(session)
        dead = Worker(
            host="<b>box</b>", pid=7, queues=["gpu"], started_at=now, seen_at=now - timedelta(minutes=5), task=None
        )
        session.add(dead)
    try:
        expect(page.locator("#verdict [data-kind=silent]")).to_contain_text("1 workers fell silent", timeout=TICK_MS)
        expect(page.locator("#spoken")).to_contain_text("fell silent")
        row = page.get_by_role("row").filter(has_text="<b>box</b>")
        expect(row).to_contain_text("gone for 5 min")
        tab.check_access()
    finally:
        with house.database.write() as session:
            session.exec(delete(Worker).where(col(Worker.host) == "<b>box</b>"))
    expect(page.locator("#verdict .well")).to_be_visible(timeout=TICK_MS)


def test_failures_are_counted_by_code_and_lead_into_the_library(tab: Tab, house: House) -> None:
    with house.database.write() as session:
        job = session.exec(select(Job).where(Job.video_id == house.videos["brawl"])).one()
        kept = job.state, job.error_code, job.finished_at
        job.state, job.error_code, job.finished_at = "failed", "worker_lost", clock(session) - timedelta(days=2)
        session.add(job)
    try:
        page = tab.sign_in("lead", "/operations")
        row = page.get_by_role("row", name=re.compile("worker_lost"))
        expect(row.get_by_role("cell")).to_have_text(["worker_lost", "0", "1", "2 d ago"], timeout=TICK_MS)
        tab.check_access()
        link = row.get_by_role("link", name="failed")
        expect(link).to_have_attribute("href", "/library?state=failed")
        link.focus()
        page.wait_for_timeout(5500)  # the page was drawn anew meanwhile
        expect(link).to_be_focused()
    finally:
        with house.database.write() as session:
            job = session.exec(select(Job).where(Job.video_id == house.videos["brawl"])).one()
            job.state, job.error_code, job.finished_at = kept
            session.add(job)


def test_it_stands_still_when_told_to_by_keyboard(tab: Tab) -> None:
    page = tab.sign_in("lead", "/operations")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/operations") else None)
    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    page.keyboard.press("Enter")
    expect(pause).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#freshness")).to_have_text("Paused")
    asked.clear()
    page.wait_for_timeout(5500)
    assert asked == []
    page.keyboard.press("Enter")
    expect(pause).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(500)
    assert len(asked) == 1


def test_while_the_service_is_away_the_page_says_so_and_stays(tab: Tab) -> None:
    page = tab.sign_in("lead", "/operations")
    tab.allowed += ["ERR_FAILED", "htmx:sendError", "htmx:afterRequest"]

    def away(route: Route) -> None:
        route.abort()

    page.route("**/operations", away)
    expect(page.locator("#away")).to_be_visible(timeout=TICK_MS)
    expect(page.locator("#of-queues")).to_be_visible()
    expect(page.locator(".toast")).to_have_count(0)
    tab.check_access()
    page.unroute("**/operations", away)
    expect(page.locator("#away")).to_be_hidden(timeout=TICK_MS)


def test_it_is_for_leads(tab: Tab) -> None:
    tab.sign_in("reviewer")
    tab.allowed.append("403")
    tab.go("/operations")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("This is not for you.")
    expect(tab.page.get_by_role("link", name="Operations")).to_have_count(0)
