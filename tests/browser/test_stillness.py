"""Nothing that is read moves by itself while a page is loaded, or while what it watches changes."""

from __future__ import annotations

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
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    check_still(page)
    tab.page.set_viewport_size({"width": 390, "height": 800})
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
