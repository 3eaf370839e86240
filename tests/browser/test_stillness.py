"""Nothing that is read moves by itself while a page is loaded: each kind of page, wide and narrow."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser_helpers import House, Tab

MOST = 0.01
"""Cumulative layout shift; up to 0.1 is called good (web.dev, Cumulative Layout Shift)."""
SHIFTS = """new Promise(done => {
    const found = [];
    const named = ({ node }) => node?.id || node?.className || node?.nodeName;
    new PerformanceObserver(list => {
        for (const one of list.getEntries())
            if (!one.hadRecentInput) found.push([one.value, ...one.sources.map(named)]);
    }).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(found), 1500);
})"""


def check_still(page: Page) -> None:
    shifts = page.evaluate(SHIFTS)
    assert sum(value for value, *_ in shifts) <= MOST, shifts


@pytest.mark.parametrize(
    "path",
    [
        "/queue",
        "/library",
        "/policies",
        "/policies/weapons.shown",
        "/quality",
        "/quality/golden",
        "/quality/rules",
        "/quality/report",
        "/operations",
        "/audit",
        "/admin",
        "/admin/keys",
        "/admin/webhooks",
        "/settings",
    ],
)
def test_pages_stand_still(tab: Tab, path: str) -> None:
    page = tab.sign_in("admin", path)
    check_both_widths(page)


def check_both_widths(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    check_still(page)
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    check_still(page)


def test_the_desk_and_a_videos_page_stand_still(tab: Tab, house: House) -> None:
    house.refill(1)
    page = tab.sign_in("reviewer", f"/videos/{house.videos['minute']}")
    expect(page.locator("#flags li").first).to_be_visible()
    check_still(page)
    tab.go("/queue").locator("#start button").click()
    expect(page.locator("#flags li").first).to_be_visible()
    check_still(page)


def test_signing_in_stands_still(tab: Tab) -> None:
    check_both_widths(tab.go("/sign-in"))


def test_a_persons_page_stands_still(tab: Tab) -> None:
    page = tab.sign_in("admin", "/admin")
    page.get_by_role("link", name="reviewer", exact=True).click()
    page.wait_for_url(re.compile("/admin/people/usr_"))
    check_both_widths(page)


def test_a_draft_of_a_policy_set_stands_still(tab: Tab, house: House) -> None:
    draft = house.client.post("/v1/policy-sets", {"name": "Stillness"})
    try:
        check_both_widths(tab.sign_in("admin", f"/policy-sets/{draft['id']}"))
    finally:
        key = {"Authorization": f"Bearer {house.client.key}"}
        assert httpx.delete(f"{house.url}/v1/policy-sets/{draft['id']}", headers=key).is_success
