"""People, keys and webhooks, by keyboard and by mouse."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from browser_helpers import House, Tab, wait_ended
from playwright.sync_api import Browser, Locator, Page, expect

from vidlm.jobs import webhooks
from vidlm.store.tables import DEFAULT_TENANT


@contextmanager
def another_browser(browser: Browser, house: House, name: str, password: str) -> Iterator[Page]:
    """A browser of somebody else, signed in if the password is theirs."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.goto(f"{house.url}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    try:
        yield page
    finally:
        context.close()


def secret(page: Page) -> str:
    return page.locator("#secret").inner_text()


def tab_to(page: Page, wanted: Locator) -> None:
    """By the Tab key alone, as often as it takes."""
    for _ in range(60):
        if wanted.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the Tab key does not lead there")


def test_somebody_is_added_promoted_and_switched_off_by_keyboard(tab: Tab, house: House, browser: Browser) -> None:
    page = tab.sign_in("admin", "/admin")
    tab.check_looks()
    tab_to(page, page.get_by_label("Name"))
    page.keyboard.type("ann.keys")
    page.keyboard.press("Enter")
    expect(page.locator("#shown")).to_contain_text("ann.keys")
    expect(page.locator("#shown")).to_be_focused()
    expect(page).to_have_url(re.compile("/admin$"))
    tab.check_looks()
    with another_browser(browser, house, "ann.keys", secret(page)) as hers:
        expect(hers).to_have_url(re.compile("/queue$"))
        expect(hers.get_by_role("link", name="Operations")).to_have_count(0)
        tab_to(page, page.get_by_role("link", name="ann.keys"))
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("/admin/people/usr_"))
        tab.check_looks()
        tab_to(page, page.get_by_label("Role"))
        page.keyboard.type("Lead")
        tab_to(page, page.get_by_label("Child safety"))
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_have_text("Saved.")
        expect(page.get_by_label("Role")).to_have_value("lead")
        expect(page.get_by_label("Child safety")).to_be_checked()
        hers.reload()
        expect(hers.get_by_role("link", name="Operations")).to_have_count(1)
        tab_to(page, page.get_by_role("button", name="Disable"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("signed out everywhere")
        tab.check_looks()
        hers.reload()
        expect(hers).to_have_url(re.compile("/sign-in"))
    tab_to(page, page.get_by_role("button", name="Enable"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("may sign in again")


def test_a_password_is_reset_and_somebody_signed_out_by_mouse(tab: Tab, house: House, browser: Browser) -> None:
    page = tab.sign_in("admin", "/admin")
    page.get_by_label("Name").fill("ben.mouse")
    page.get_by_label("Role").select_option("viewer")
    page.get_by_role("button", name="Add", exact=True).click()
    old = secret(page)
    page.get_by_role("link", name="ben.mouse").click()
    with another_browser(browser, house, "ben.mouse", old) as his:
        page.reload()
        page.get_by_role("button", name="Sign out everywhere").click()
        expect(page.get_by_role("status").first).to_have_text("Signed out everywhere.")
        his.goto(f"{house.url}/settings")
        expect(his).to_have_url(re.compile("/sign-in"))
    page.get_by_role("button", name="Reset the password").click()
    expect(page.get_by_role("dialog")).to_contain_text("ben.mouse")
    tab.check_access()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#shown")).to_have_count(0)
    page.get_by_role("button", name="Reset the password").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset the password").click()
    expect(page.locator("#shown")).to_be_visible()
    expect(page).to_have_url(re.compile("/admin/people/usr_[0-9a-f]+$"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.locator(".toast")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == secret(page) != old
    with another_browser(browser, house, "ben.mouse", old) as his:
        expect(his.get_by_role("alert")).to_contain_text("do not belong together")
    with another_browser(browser, house, "ben.mouse", secret(page)) as his:
        expect(his).not_to_have_url(re.compile("/sign-in"))
    page.reload()
    expect(page.locator("#shown")).to_have_count(0)


def test_what_is_refused_is_said_beside_the_field(tab: Tab) -> None:
    page = tab.sign_in("admin", "/admin")
    tab.allowed.append("422")
    for name, said in (("viewer", "somebody called so"), ("<img src=x onerror=alert(1)>", "A name has up to 64")):
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text(said)
        expect(page.get_by_label("Name")).to_have_value(name)
        expect(page.get_by_label("Name")).to_be_focused()
    tab.check_looks()
    page.get_by_role("link", name="admin", exact=True).click()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody has to stay admin")
    tab.check_looks()


def test_a_key_is_made_used_and_revoked(tab: Tab, house: House) -> None:
    name = "<b onmouseover=alert(1)>cam</b> \u202egnp.exe"
    page = tab.sign_in("admin", "/admin/keys")
    tab.check_looks()
    page.get_by_label("What it is for").fill("gone soon")
    page.get_by_label("Role").select_option("viewer")
    page.get_by_role("button", name="Make", exact=True).click()
    key = secret(page)
    tab.check_looks()

    def status() -> int:
        return httpx.get(f"{house.url}/v1/videos", headers={"Authorization": f"Bearer {key}"}).status_code

    assert status() == 200
    page.reload()
    assert key not in page.content()
    page.get_by_role("button", name="Revoke gone soon").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("gone soon")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert status() == 200
    page.get_by_role("button", name="Revoke gone soon").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status").first).to_contain_text("opens nothing any more")
    assert status() == 401
    tab.check_looks()
    tab.allowed.append("422")
    page.get_by_label("What it is for").fill(name)
    page.get_by_role("button", name="Make", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("A key needs a name")  # a mark that turns text around is no name
    page.get_by_label("What it is for").fill(name.partition(" \u202e")[0])
    page.get_by_role("button", name="Make", exact=True).click()
    expect(page.locator("td.name").first).to_contain_text("<b onmouseover=alert(1)>cam</b>")


@dataclass
class Receiver:
    """An address on the loopback, what kinds of messages came there, and what it answers next instead of 200."""

    url: str
    got: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def receiver(house: House) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            made.got.extend(re.findall(r'"type":"([\w.]+)"', body))
            self.send_response(made.answers.pop() if made.answers else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook?a=%3Cimg%3E&b='\"x")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    with house.database.write() as session:
        for hook in webhooks.list_all(session, DEFAULT_TENANT):
            webhooks.delete(session, hook, actor="cli")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_added_tested_changed_and_removed(tab: Tab, receiver: Receiver) -> None:
    page = tab.sign_in("admin", "/admin/webhooks")
    expect(page.get_by_text("Nobody is told.")).to_be_visible()
    tab.check_looks()
    address = page.locator("#add [name=url]")
    address.fill(receiver.url)
    page.get_by_label("What it is for").fill("<script>alert(1)</script>")
    page.get_by_text("Only some events").click()
    page.get_by_label("video.ready").check()
    tab.check_looks()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("whsec_")
    tab.check_looks()
    first = secret(page)
    page.get_by_role("dialog").get_by_role("button", name="Done").click()
    card = page.locator("article.hook")
    expect(card).to_contain_text("<script>alert(1)</script>")
    card.get_by_role("button", name="Send a test").click()
    expect(card.locator(".answer")).to_contain_text("Answered 200")
    assert receiver.got == ["webhook.test"]
    card.get_by_role("button", name="New secret").click()
    page.get_by_role("dialog").get_by_role("button", name="New secret").click()
    expect(page.locator("#secret")).not_to_have_text(first)
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(card).to_contain_text("paused")
    expect(card.get_by_role("button", name="Resume")).to_be_focused()
    tab.check_looks()
    page.keyboard.press("Enter")
    expect(card).to_contain_text("active")
    tab.allowed += ["409", "422"]
    for url, said in ((receiver.url, "told already"), ("ftp://example.org/", "no http or https address")):
        address.fill(url)
        page.keyboard.press("Enter")
        expect(page.locator("#add-problem")).to_contain_text(said)
        expect(address).to_be_focused()
    tab.check_looks()
    card.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(card).to_have_count(0)


def test_what_was_sent_is_listed_and_sent_again(tab: Tab, house: House, receiver: Receiver) -> None:
    wait_ended(house.client, str(house.client.upload(house.clips[0].path)["id"]), 90)
    house.client.post("/v1/webhooks", {"url": receiver.url, "events": ["video.ready"]})
    page = tab.sign_in("admin", "/admin/webhooks")
    card, log = page.locator("article.hook"), page.locator(".log tbody")
    receiver.answers.append(503)
    card.get_by_role("button", name="Send again…").click()
    tab.check_looks()
    lately = "new Date(Date.now() - 60000 * (1 + new Date().getTimezoneOffset())).toISOString().slice(0, 16)"
    page.get_by_label("What happened since").fill(page.evaluate(lately))  # not more than one page of the log
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(log).to_contain_text("the receiver answered 503", timeout=15_000)
    tab.check_looks()
    expect(log).not_to_contain_text("to be sent", timeout=20_000)
    page.locator(".tries summary", has_text="2").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tries[open]")).to_contain_text(re.compile(r"503 \d+\.\d\d s.*200 \d+\.\d\d s", re.DOTALL))
    page.get_by_label("State").select_option("delivered")
    page.wait_for_url(re.compile(r"/admin/webhooks\?state=delivered$"))
    before = len(receiver.got)
    page.locator("[data-replay]").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_have_text("On its way again.")
    expect(log).to_contain_text("sent again, 1", timeout=15_000)
    assert len(receiver.got) == before + 1
    tab.go("/admin/webhooks?state=sending")
    expect(page.get_by_text("Nothing here with these filters.")).to_be_visible()
    tab.check_looks()
