"""The audit in a browser: looked through, verified, taken away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser_helpers import House, Tab
from playwright.sync_api import Page, expect
from sqlalchemy import text
from sqlmodel import select
from tampering import unguarded

from vidlm.store.ledger import Audit


def rows(page: Page) -> list[str]:
    return [row.inner_text() for row in page.locator(".rows tbody tr").all()]


@contextmanager
def altered(house: House, number: int) -> Iterator[None]:
    """Inside the block the row says that somebody else did it, in words that a page must not run."""
    with house.database.read() as session:
        actor = session.exec(select(Audit.actor).where(Audit.number == number)).one()

    def write(said: str) -> None:
        with house.database.write() as session, unguarded(session):
            statement = text("UPDATE audit SET actor = :said WHERE number = :number")
            session.connection().execute(statement, {"said": said, "number": number})

    write("<img src=x onerror=alert(1)>")
    try:
        yield
    finally:
        write(actor)


def test_the_chain_is_verified_by_keyboard(tab: Tab) -> None:
    page = tab.sign_in("admin", "/audit")
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit")
    tab.check_looks()
    page.get_by_role("button", name="Verify now").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#check")).to_contain_text(re.compile(r"Yes: [\d,]+ rows verified in \d+\.\d\d s"))
    assert page.evaluate("document.activeElement.id") == "verify-now"
    tab.check_looks()
    tab.go("/audit?event=audit.verified")
    assert "audit.verified" in rows(page)[0]


def test_a_row_that_somebody_altered_is_named_and_shown(tab: Tab, house: House) -> None:
    with altered(house, 2):
        page = tab.sign_in("admin", "/audit")
        page.get_by_role("button", name="Verify now").click()
        expect(page.get_by_role("alert")).to_contain_text("A row was altered.")
        expect(page.get_by_role("alert")).to_contain_text("Number 2")
        tab.check_looks()
        page.get_by_role("link", name="Look at it").click()
        page.wait_for_url(re.compile("cursor=3$"))
        assert "<img src=x onerror=alert(1)>" in rows(page)[0]
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#check")).to_contain_text("Yes: ")


def test_filters_stand_in_the_address_and_times_are_the_readers(tab: Tab) -> None:
    page = tab.sign_in("admin", "/audit")
    page.get_by_label("Who").focus()
    page.keyboard.type("admin")
    page.keyboard.press("Enter")
    page.wait_for_url("**/audit?who=admin")
    assert all("admin" in row for row in rows(page))
    page.get_by_role("search").get_by_label("From").fill("2020-06-01T12:00")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url(re.compile("from=2020-06-01T10"))  # Paris, in summer
    expect(page.get_by_role("search").get_by_label("From")).to_have_value("2020-06-01T12:00")
    assert rows(page)
    page.locator(".rows summary").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".rows details[open]")).to_contain_text(re.compile("[0-9a-f]{64}"))
    tab.check_looks()
    page.locator(".rows tbody tr").first.locator("a code").first.click()
    page.wait_for_url(re.compile("event="))
    tab.go("/audit?target=vid_nobodys")
    expect(page.get_by_text("Nothing here with these filters.")).to_be_visible()
    tab.check_looks()
    page.get_by_role("link", name="Show all").first.click()
    page.wait_for_url(re.compile("/audit$"))
    tab.allowed.append("422")
    tab.go("/audit?until=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("is no time")
    tab.check_access()


def test_it_is_taken_away_and_that_stands_in_it(tab: Tab, tmp_path: Path) -> None:
    page = tab.sign_in("admin", "/audit")
    page.locator("[name=format]").select_option("json")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download").click()
    coming.value.save_as(tmp_path / "audit.jsonl")
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, len(lines) + 1))
    page.get_by_role("link", name="Who took it").click()
    page.wait_for_url(re.compile("event=audit.exported"))
    assert "admin" in rows(page)[0]
