"""The library: finding, paging, and uploading from the first byte to the verdict; by keyboard and by mouse."""

from __future__ import annotations

import base64
import os
import re
import signal
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser_helpers import House, Tab
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect
from sqlalchemy import delete, insert
from sqlmodel import col

from vidlm.domain import PIPELINE_VERSION, JobState
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

HOSTILE = "<img src=x onerror=alert(1)>.mp4"
OLD = 60
"""Videos that were rejected long ago: they come last, and show only what is asked for."""


@pytest.fixture
def many(house: House) -> Iterator[None]:
    """A library of more than two pages."""
    ids = [f"vid_000000000{number:03x}{'0' * 16}" for number in range(OLD)]
    owner = {"tenant_id": DEFAULT_TENANT}
    videos = [
        owner | {"id": one, "filename": f"{number} {HOSTILE}", "sha256": "0" * 64, "size_bytes": 5}
        for number, one in enumerate(ids)
    ]
    job = {"state": JobState.REJECTED.value, "error_code": "not_a_video", "error_detail": f"no video: {HOSTILE}"}
    jobs = [owner | job | {"id": f"job{one}", "video_id": one, "pipeline_version": PIPELINE_VERSION} for one in ids]
    with house.database.write() as session:
        session.execute(insert(Video), videos)
        session.execute(insert(Job), jobs)
    yield
    with house.database.write() as session:
        session.execute(delete(Job).where(col(Job.video_id).in_(ids)))
        session.execute(delete(Video).where(col(Video.id).in_(ids)))


@contextmanager
def resting(house: House) -> Iterator[None]:
    """What is uploaded stays queued: who would prepare it holds still."""
    pid = house.service.pids()["cpu"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def fresh(house: House, name: str, clip: str = "street") -> FilePayload:
    """A small clip whose bytes nobody sent before: an empty box at its end makes them others."""
    data = next(one.path for one in house.clips if one.name == clip).read_bytes()
    filler = uuid.uuid4().bytes
    box = struct.pack(">I4s", 8 + len(filler), b"free") + filler
    return {"name": name, "mimeType": "video/mp4", "buffer": data + box}


def card_of(page: Page, name: str) -> Locator:
    return page.locator(".clip", has=page.get_by_role("link", name=name, exact=True))


def row_of(page: Page, name: str) -> Locator:
    return page.locator(".upload", has=page.locator(".file", has_text=name))


def choose(page: Page, *files: FilePayload) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload videos").press("Enter")
    chooser.value.set_files(list(files))


def dropped(page: Page, *files: FilePayload) -> None:
    """What a browser does when files are dropped."""
    sent = [[one["name"], one["mimeType"], base64.b64encode(one["buffer"]).decode()] for one in files]
    script = """(files) => {
        const data = new DataTransfer();
        for (const [name, type, text] of files)
            data.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name, { type }));
        return data;
    }"""
    data = page.evaluate_handle(script, sent)
    page.dispatch_event("main", "dragover", {"dataTransfer": data})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    expect(page.locator("#drop")).to_be_hidden()


def test_finding_by_words_and_by_filters(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", "/library")
    expect(page.get_by_role("heading", level=1)).to_have_text("Library")
    expect(page.get_by_role("button", name="Upload videos")).to_have_count(0)  # viewers only look
    tab.check_access()
    words = page.get_by_label("Words")
    words.focus()
    page.keyboard.type("street")
    expect(page).to_have_url(re.compile(r"/library\?q=street$"))
    expect(card_of(page, "street.mp4").first).to_be_visible()
    expect(card_of(page, "campfire.webm")).to_have_count(0)
    expect(words).to_be_focused()
    words.fill("")
    page.get_by_label("Verdict").select_option("block")
    expect(page).to_have_url(re.compile(r"/library\?verdict=block$"))
    expect(card_of(page, "campfire.webm").first).to_be_visible()
    expect(card_of(page, "street.mp4")).to_have_count(0)
    tab.check_access()
    page.reload()
    expect(page.get_by_label("Verdict")).to_have_value("block")
    words.fill("no such thing")
    expect(page.get_by_text("No video fits all of this.")).to_be_visible()
    tab.check_access()
    page.go_back()
    expect(card_of(page, "campfire.webm").first).to_be_visible()
    words.fill("no such thing")
    page.get_by_role("link", name="Show everything").click()
    expect(page).to_have_url(f"{house.url}/library")
    expect(card_of(page, "street.mp4").first).to_be_visible()


def test_more_filters_by_keyboard_and_days_begin_where_the_reader_is(tab: Tab) -> None:
    page = tab.sign_in("viewer", "/library")
    page.get_by_text("More filters").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Decided by people").select_option("pending")
    expect(page).to_have_url(re.compile("review=pending"))
    expect(card_of(page, "street.mp4")).to_have_count(0)
    page.get_by_label("Flagged by policy").select_option(index=1)
    page.get_by_label("Uploaded from").fill("2001-07-01")
    expect(page).to_have_url(re.compile("since=2001-07-01.*zone=120"))  # summer in Paris
    tab.check_access()
    page.go_back()
    page.get_by_label("Uploaded until").fill("2001-01-01")
    expect(page.get_by_text("No video fits all of this.")).to_be_visible()
    expect(page).to_have_url(re.compile("zone=60"))


def test_what_was_flagged_is_veiled_as_the_reader_likes(tab: Tab) -> None:
    page = tab.sign_in("viewer", "/library")
    veiled, plain = (card_of(page, name).first.locator("img") for name in ("campfire.webm", "street.mp4"))
    expect(veiled).to_have_class(re.compile("veiled-blur veiled-grey"))
    expect(plain).not_to_have_class(re.compile("veiled"))
    box = card_of(page, "street.mp4").first.locator(".still").bounding_box()
    assert box is not None
    assert abs(box["width"] / box["height"] - 16 / 9) < 0.02  # its place is kept, whatever the picture


@pytest.mark.usefixtures("many")
def test_more_pages_by_keyboard_and_hostile_names_are_text(tab: Tab) -> None:
    page = tab.sign_in("viewer", "/library?state=rejected")
    expect(page.locator(".clip")).to_have_count(24)
    more = page.get_by_role("link", name="More", exact=True)
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".clip")).to_have_count(48)
    expect(page.locator(".clip").nth(24).locator("a")).to_be_focused()
    more.click()
    expect(more).to_have_count(0)
    names = page.locator(".clip a.name").all_inner_texts()
    assert {f"{number} {HOSTILE}" for number in range(OLD)} <= set(names)
    assert len(set(page.locator(".clip").evaluate_all("all => all.map((one) => one.id)"))) == len(names)
    expect(page.locator(".clip .why").last).to_have_text(f"no video: {HOSTILE}")
    assert page.locator("img[src=x]").count() == 0
    tab.check_access()


@pytest.mark.usefixtures("many")
def test_without_scripts_filters_and_pages_are_a_form_and_links(tab: Tab, browser: Browser) -> None:
    tab.sign_in("viewer", "/library")
    context = browser.new_context(storage_state=tab.page.context.storage_state(), java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{tab.url}/library")
    page.get_by_label("State").select_option("rejected")
    page.get_by_role("button", name="Show").click()
    first = page.locator(".clip").first.get_attribute("id")
    page.get_by_role("link", name="More", exact=True).click()
    expect(page.locator(".clip")).to_have_count(24)
    assert page.locator(".clip").first.get_attribute("id") != first
    context.close()


def test_uploading_by_the_file_chooser_until_it_is_ready(tab: Tab, house: House) -> None:
    page = tab.sign_in("admin", "/library")
    name = f"{uuid.uuid4().hex[:8]} {HOSTILE}"
    with resting(house):
        choose(page, fresh(house, name))
        row = row_of(page, name)
        expect(row).to_contain_text("queued")
        expect(row.get_by_role("progressbar", name=f"Progress of {name}")).to_be_visible()
        expect(page.get_by_role("button", name="Clear finished")).to_be_hidden()
        tab.check_access()
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        tab.check_access()
    expect(row).to_contain_text("ready: allow", timeout=90_000)
    expect(row.get_by_role("progressbar")).to_be_hidden()
    card = page.locator(".clip").first
    expect(card.get_by_role("link")).to_have_text(name)
    expect(card.locator("img")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    tab.check_access()
    expect(row.get_by_role("link", name="Open")).to_have_attribute("href", re.compile("/videos/vid_"))
    page.get_by_role("button", name="Clear finished").click()
    expect(page.locator("#uploads")).to_be_hidden()
    expect(page.get_by_role("button", name="Upload videos")).to_be_focused()


def test_dropping_several_and_calling_one_off_and_on_again(tab: Tab, house: House) -> None:
    page = tab.sign_in("admin", "/library")
    first, second, third = (f"{uuid.uuid4().hex[:8]}.mp4" for _ in range(3))
    with resting(house):
        dropped(page, *(fresh(house, name) for name in (first, second, third)))
        for name in (first, second, third):
            expect(row_of(page, name)).to_contain_text("queued")
        button = row_of(page, second).get_by_role("button", name="Cancel")
        button.focus()
        page.keyboard.press("Enter")
        expect(row_of(page, second)).to_contain_text("cancelled")
        retry = row_of(page, second).get_by_role("button", name="Retry")
        expect(retry).to_be_focused()
        tab.check_access()
        page.reload()  # what works on is followed on its card
        card = card_of(page, third)
        expect(card.get_by_text("queued")).to_be_visible()
        card.get_by_role("button", name="Cancel").click()
        expect(card.get_by_text("cancelled")).to_be_visible()
        tab.check_access()
        card_of(page, second).get_by_role("button", name="Retry").click()
        expect(card_of(page, second).get_by_text("queued")).to_be_visible()
    for name in (first, second):
        expect(card_of(page, name).get_by_text("allow")).to_be_visible(timeout=90_000)
    expect(card_of(page, third).get_by_text("cancelled")).to_be_visible()


def test_rubbish_ends_rejected_with_its_reason(tab: Tab) -> None:
    page = tab.sign_in("admin", "/library")
    name = f"{uuid.uuid4().hex[:8]}.mp4"
    choose(page, {"name": name, "mimeType": "video/mp4", "buffer": b"this is no video " * 40})
    expect(row_of(page, name)).to_contain_text(re.compile("rejected: .{8,}"), timeout=30_000)
    card = card_of(page, name)
    expect(card.get_by_text("rejected", exact=True)).to_be_visible()
    expect(card.locator(".why")).not_to_be_empty()
    expect(card.get_by_role("button")).to_have_count(0)
    tab.check_access()


def test_what_is_too_large_is_not_sent_and_what_was_cut_off_is_sent_again(tab: Tab, house: House) -> None:
    page = tab.sign_in("admin", "/library")
    tab.allowed += ["net::ERR_FAILED"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method) if request.url.endswith("/v1/videos") else None)
    page.locator("#files").evaluate("(node) => { node.dataset.most = 1000; }")
    choose(page, fresh(house, "large.mp4"))
    expect(row_of(page, "large.mp4")).to_contain_text("1.0 kB is the most that is taken")
    assert asked == []
    page.locator("#files").evaluate("(node) => { node.dataset.most = 1e9; }")
    page.route("**/v1/videos", lambda route: route.abort())
    name = f"{uuid.uuid4().hex[:8]}.mp4"
    choose(page, fresh(house, name))
    expect(row_of(page, name)).to_contain_text("The service does not answer.")
    tab.check_access()
    page.unroute("**/v1/videos")
    row_of(page, name).get_by_role("button", name="Send again").click()
    expect(row_of(page, name)).to_contain_text("ready: allow", timeout=90_000)


def test_a_list_that_cannot_be_had_says_so_in_its_place(tab: Tab) -> None:
    page = tab.sign_in("viewer", "/library")
    tab.allowed += ["503"]
    problem = '<div class="problem" role="alert"><strong>This did not work.</strong></div>'
    page.route("**/library?*", lambda route: route.fulfill(status=503, body=problem, content_type="text/html"))
    page.get_by_label("Verdict").select_option("allow")
    expect(page.locator("#found").get_by_role("alert")).to_be_visible()
    tab.check_access()
    page.unroute("**/library?*")
    page.get_by_label("Verdict").select_option("")
    expect(card_of(page, "street.mp4").first).to_be_visible()
