"""Reviewing: from the queue to a decision, by keyboard and by mouse."""

from __future__ import annotations

import re

from browser_helpers import Tab
from playwright.sync_api import expect


def test_from_the_queue_to_a_decision_by_keyboard(tab: Tab) -> None:
    page = tab.sign_in("reviewer")
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue")
    tab.check_access()
    page.locator("main").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/review/rvi_"))
    expect(page.locator("#flags li").first).to_be_visible()
    expect(page.locator("#video")).to_have_class(re.compile("veiled-blur"))
    tab.check_access()
    first = page.url
    page.keyboard.press("n")
    page.keyboard.press("b")
    expect(page.locator("#video")).not_to_have_class(re.compile("veiled-blur"))
    page.keyboard.press("2")
    page.wait_for_url(lambda address: address != first)
    expect(page.locator("#undo")).to_be_enabled()
    page.keyboard.press("u")
    page.wait_for_url(lambda address: address == first)
    expect(page.locator("#video")).to_have_class(re.compile("veiled-blur"))
