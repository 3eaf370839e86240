"""Signing in and out, and what everybody finds."""

from __future__ import annotations

import re

from browser_helpers import Tab
from playwright.sync_api import expect


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(tab: Tab) -> None:
    tab.go("/queue?severity=high")
    expect(tab.page).to_have_url(re.compile("/sign-in"))
    tab.check_access()
    tab.allowed.append("401")
    tab.page.get_by_label("Name").fill("viewer")
    tab.page.get_by_label("Password").fill("wrong password")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("alert")).to_contain_text("do not belong together")


def test_out_again(tab: Tab) -> None:
    tab.sign_in("reviewer")
    expect(tab.page).to_have_url(re.compile("/queue$"))
    tab.page.locator("summary", has_text="reviewer").click()
    tab.allowed.append("401 (Unauthorized)")  # of what the page had asked for when it was left
    tab.page.get_by_role("button", name="Sign out").click()
    expect(tab.page).to_have_url(re.compile("/sign-in"))
    tab.go("/queue")
    expect(tab.page).to_have_url(re.compile("/sign-in"))


def test_settings_are_kept(tab: Tab) -> None:
    page = tab.sign_in("reviewer", "/settings")
    tab.check_access()
    page.get_by_label("Theme").select_option("dark")
    expect(page.get_by_role("status").first).to_have_text("Saved.")
    tab.check_access()
    page.get_by_label("Language").select_option("zh")
    expect(page.get_by_role("heading", level=1)).to_have_text("设置")
    page.get_by_label("语言").select_option("en")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_label("Theme").select_option("system")
    expect(page.get_by_role("status").first).to_have_text("Saved.")


def test_what_is_not_there_and_what_is_not_for_them_is_said(tab: Tab) -> None:
    tab.sign_in("viewer")
    tab.allowed += ["404", "403"]
    tab.go("/review/rvi_0")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("This is not for you.")
    tab.check_access()
