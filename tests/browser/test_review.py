"""Reviewing: from the queue to a decision, by keyboard and by mouse, and whatever may come between."""

from __future__ import annotations

import os
import re
import signal

import pytest
from browser_helpers import House, Tab
from playwright.sync_api import Page, expect

DESK = re.compile("/review/rvi_")


@pytest.fixture
def desk(tab: Tab, house: House) -> Page:
    """A reviewer at the desk, with something to do."""
    house.refill(3)
    page = tab.sign_in("reviewer")
    page.locator("#start button").click()
    page.wait_for_url(DESK)
    steady(page)
    return page


def steady(page: Page) -> str:
    """Wait until the desk takes a decision; returns the item's id."""
    expect(page.locator("#flags li").first).to_be_visible()
    page.wait_for_timeout(400)
    return item_of(page)


def item_of(page: Page) -> str:
    return page.url.split("/review/")[1].split("?")[0]


def next_after(page: Page, item_id: str) -> str:
    page.wait_for_url(lambda address: item_id not in address)
    return steady(page)


def test_from_the_queue_to_a_decision_by_keyboard(tab: Tab, house: House) -> None:
    house.refill(3)
    page = tab.sign_in("reviewer")
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue")
    tab.check_access()
    page.locator("main").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(DESK)
    first = steady(page)
    video = page.locator("#video")
    expect(video).to_have_class(re.compile("veiled-blur"))
    tab.check_access()
    page.keyboard.press("n")
    page.keyboard.press("b")
    expect(video).not_to_have_class(re.compile("veiled-blur"))
    page.keyboard.press("2")
    second = next_after(page, first)
    expect(video).to_have_class(re.compile("veiled-blur"))  # the next one is veiled again
    expect(page.locator("#undo")).to_be_enabled()
    page.keyboard.press("u")
    page.wait_for_url(lambda address: first in address)
    steady(page)
    page.keyboard.press("5")
    assert next_after(page, first) == second  # what was on the desk comes next
    expect(page.locator("#undo")).to_be_enabled()
    made = house.decisions(first)
    assert [(one.outcome, one.undone_at is not None) for one in made] == [("approve", True), ("remove", False)]


def test_by_mouse_with_a_verdict_a_flag(desk: Page, house: House) -> None:
    item = item_of(desk)
    flag = desk.locator("#flags li").first
    flag.get_by_role("button", name="Right").click()
    expect(flag.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "true")
    desk.get_by_role("button", name="Approve: allowed").click()
    expect(desk.get_by_role("alert")).to_contain_text("say in a note")  # a right flag and an approved video need a word
    desk.locator("#note").fill("a toy <b>knife</b>")
    desk.get_by_role("button", name="Approve: allowed").click()
    next_after(desk, item)
    expect(desk.locator("#undo")).to_be_enabled()
    (made,) = house.decisions(item)
    assert (made.outcome, made.note) == ("approve", "a toy <b>knife</b>")


def test_a_double_click_decides_once(desk: Page, house: House) -> None:
    item = item_of(desk)
    desk.get_by_role("button", name="Remove").first.dblclick()
    after = next_after(desk, item)
    expect(desk.locator("#undo")).to_be_enabled()
    assert len(house.decisions(item)) == 1
    assert house.decisions(after) == []


def test_a_decision_survives_the_death_of_the_service(desk: Page, tab: Tab, house: House) -> None:
    tab.allowed += ["Failed to load resource", "net::ERR", "ERR_CONNECTION", "ERR_EMPTY", "ERR_INCOMPLETE"]
    item = item_of(desk)
    os.kill(house.service.pids()["api"], signal.SIGKILL)
    desk.keyboard.press("5")
    expect(desk.locator("#unsent")).to_be_visible(timeout=10_000)
    expect(desk.locator("#unsent")).to_contain_text("not saved yet")
    expect(desk.locator("#unsent")).to_be_hidden(timeout=30_000)  # it is started again, and takes it
    house.service.wait_ready(30)
    (made,) = house.decisions(item)
    assert made.outcome == "remove"


def test_a_decision_survives_a_reload_of_the_page(desk: Page, tab: Tab, house: House) -> None:
    tab.allowed += ["Failed to load resource", "net::ERR"]
    item = item_of(desk)
    desk.context.set_offline(True)
    desk.keyboard.press("1")
    expect(desk.locator("#unsent")).to_be_visible(timeout=10_000)
    desk.context.set_offline(False)
    desk.once("dialog", lambda dialog: dialog.accept())
    desk.goto(f"{house.url}/queue")
    desk.locator("#start button").click()
    desk.wait_for_url(DESK)
    expect(desk.locator("#unsent")).to_be_hidden()
    desk.wait_for_timeout(1500)
    assert [one.outcome for one in house.decisions(item)] == ["approve"]


def test_what_somebody_else_decided_meanwhile_is_said(desk: Page, tab: Tab, house: House) -> None:
    tab.allowed.append("409")
    item = item_of(desk)
    taken = house.claim(item_id=item)
    told = [{"flag_id": one["id"], "verdict": "confirm"} for one in taken["flags"]]
    said = {"token": taken["lock"]["token"], "outcome": "remove", "flags": told}
    house.client.post(f"/v1/review/items/{item}/decision", said)
    desk.keyboard.press("1")
    expect(desk.locator(".toast")).to_contain_text("was decided already")
    desk.get_by_role("link", name="Look at it again").click()
    desk.wait_for_url(re.compile(item))
    expect(desk.get_by_role("alert")).to_contain_text("you can only look")
    assert [one.outcome for one in house.decisions(item)] == ["remove"]


def test_escalating_needs_a_word(desk: Page, house: House) -> None:
    item = item_of(desk)
    desk.keyboard.press("e")
    expect(desk.get_by_role("alert")).to_contain_text("what the lead should look at")
    expect(desk.locator("#note")).to_be_focused()
    desk.keyboard.type("is this 5 or 6?")  # keys write, they do not decide
    assert item_of(desk) == item
    desk.keyboard.press("Escape")
    desk.keyboard.press("e")
    next_after(desk, item)
    expect(desk.locator("#undo")).to_be_enabled()
    assert [one.outcome for one in house.decisions(item)] == ["escalate"]


def test_skipping_puts_it_back(desk: Page, house: House) -> None:
    item = item_of(desk)
    desk.keyboard.press("s")
    after = next_after(desk, item)
    assert after != item
    assert house.decisions(item) == []
    assert house.client.get(f"/v1/review/items/{item}")["state"] == "waiting"


def test_the_clip_answers_questions_with_times(desk: Page) -> None:
    desk.keyboard.press("q")
    desk.keyboard.type("Is there a fire?")
    desk.keyboard.press("Enter")
    row = desk.locator("#answers li").first
    expect(row).to_contain_text("Is there a fire?")
    expect(row).not_to_contain_text("Looking…", timeout=30_000)
    expect(row.locator("p").first).to_be_visible()


def test_the_timeline_and_the_captions_lead_into_the_video(desk: Page) -> None:
    desk.locator("#captions button").last.click()
    end = desk.evaluate("document.getElementById('video').currentTime")
    assert end > 1
    box = desk.locator("#timeline .band svg").first.bounding_box()
    assert box is not None
    desk.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert desk.evaluate("document.getElementById('video').currentTime") < 1
    desk.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    expect(desk.locator(".peek img")).to_have_class(re.compile("veiled-blur"))
    desk.keyboard.press("?")
    expect(desk.get_by_role("dialog")).to_be_visible()
    desk.keyboard.press("Escape")


def test_views_and_filters_are_kept(tab: Tab, house: House) -> None:
    house.refill(2)
    page = tab.sign_in("lead")
    page.get_by_label("Severity").select_option("medium")
    page.wait_for_url(re.compile("severity=medium"))
    page.get_by_role("button", name="Save this view").click()
    page.get_by_role("dialog").get_by_label("Name").fill("<i>medium</i> ones")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.goto(f"{house.url}/queue")
    page.locator("summary", has_text="Saved views").click()
    page.get_by_role("link", name="<i>medium</i> ones").click()
    page.wait_for_url(re.compile("severity=medium"))
    tab.check_access()
    page.get_by_label("Severity").select_option("severe")
    expect(page.get_by_text("Nothing here with these filters.")).to_be_visible()
    tab.check_access()


def test_the_queue_shows_what_comes_without_a_reload(tab: Tab, house: House) -> None:
    page = tab.sign_in("reviewer")
    expect(page.locator(".line").first).to_be_visible()
    total = page.locator(".line", has_text="Everything else").locator(".total")
    before = total.inner_text()
    house.refill(house.waiting() + 1)
    expect(total).not_to_have_text(before, timeout=15_000)
