"""Quality: figures of a period, golden items, queues and settings, the report; by keyboard and by mouse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from browser_helpers import House, Tab
from playwright.sync_api import Page, expect
from simulated_review import FLAGGED_FROM, Library, Reviewers, World
from sqlmodel import col, delete, select

from vidlm.people import accounts
from vidlm.review import queues
from vidlm.store.engine import clock
from vidlm.store.review import (
    FlagDecision,
    GoldenAnswer,
    ReviewDecision,
    ReviewItem,
    ReviewLook,
    ReviewQueue,
    ReviewSettings,
)
from vidlm.store.tables import DEFAULT_TENANT, FlagRow, Job, SegmentRow, SpanWork, Video

HOSTILE = "<img src=x onerror=\"throw 'run'\">"


@pytest.fixture
def decided(house: House) -> Iterator[None]:
    """Two hundred videos that two people decided, some of them twice; gone again afterwards."""
    world = World(videos=200, sampled=0.3, golden=12, reviewers=Reviewers(people=2))
    rng = np.random.default_rng(7)
    scores, truth = world.draw(rng)
    filed = (scores >= FLAGGED_FROM) | (rng.random(world.videos) < world.sampled)
    with house.database.write() as session:
        line = ReviewQueue(
            id=f"rvq_{DEFAULT_TENANT}", tenant_id=DEFAULT_TENANT, name="simulated", title=HOSTILE, position=1, rule={}
        )
        queues.all_of(session, DEFAULT_TENANT)
        session.add(line)
        session.flush()
        library = Library(DEFAULT_TENANT, rng, world, datetime.now(UTC) - timedelta(days=10))
        library.analysed(session, scores)
        library.filed(session, filed, filed)
        for look in ("first", "second"):
            library.decided(session, look, filed, world.reviewers.say(rng, truth))
        library.golden(session, truth)
        ann = accounts.by_name(session, "reviewer")
        assert ann is not None
        mine = sa.update(ReviewDecision).where(col(ReviewDecision.actor) == "key_first_0").values(actor=ann.id)
        session.execute(mine)
        item_id = session.exec(select(ReviewItem.id).where(ReviewItem.queue_id == line.id)).first()
        assert item_id is not None
        at = clock(session)
        look_rows = [
            ReviewLook(tenant_id=DEFAULT_TENANT, actor=ann.id, item_id=item_id, seconds=600, severity="severe", at=at)
            for _ in range(4)
        ]
        session.add_all(look_rows)
    yield
    with house.database.write() as session:
        session.exec(delete(ReviewLook).where(col(ReviewLook.item_id) == item_id))
        for table in (
            FlagDecision,
            ReviewDecision,
            ReviewItem,
            GoldenAnswer,
            FlagRow,
            SegmentRow,
            SpanWork,
            Job,
            Video,
        ):
            session.exec(delete(table).where(col(table.id).contains(library.mark)))
        session.exec(delete(ReviewQueue).where(col(ReviewQueue.id) == line.id))


def row(page: Page, name: str) -> str:
    return page.get_by_role("row", name=re.compile(name)).first.inner_text()


@pytest.mark.usefixtures("decided")
def test_figures_come_with_intervals_and_what_they_rest_on(tab: Tab) -> None:
    page = tab.sign_in("lead", "/quality")
    expect(page.get_by_text("Agreement between reviewers")).to_be_visible()
    expect(page.locator(".figure", has_text="Agreement between")).to_contain_text(re.compile(r"κ 0\.\d\d"))
    assert re.search(r"\d+ % \d+ – \d+ %, n = \d\d", row(page, "^reviewer"))
    expect(page.get_by_role("row", name=re.compile("enough for today"))).to_contain_text("160.0 of 120 min")
    fight = page.get_by_role("row", name=re.compile("^Fight violence.fight"))
    expect(fight).to_contain_text(re.compile(r"\d+ % \d+ – \d+ %, n = \d+"))
    expect(page.locator("#policies")).not_to_have_attribute("aria-busy", "true")
    tab.check_access()
    page.emulate_media(color_scheme="dark")
    tab.check_access()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tab.check_access()


@pytest.mark.usefixtures("decided")
def test_another_period_by_keyboard_stands_in_the_address(tab: Tab) -> None:
    page = tab.sign_in("lead", "/quality")
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")
    week = page.get_by_role("link", name="7 days")
    week.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"days=7$"))
    expect(page.locator("#policies")).to_contain_text("Nobody was asked to look at cleared videos")
    expect(page.locator(".figure", has_text="Agreement between")).to_contain_text("too few")
    tab.check_access()
    page.get_by_role("link", name="90 days").click()
    expect(page.locator(".figure", has_text="Agreement between")).to_contain_text("κ")


def test_where_policies_cannot_be_read_that_is_said_in_their_place(tab: Tab) -> None:
    page = tab.sign_in("lead")
    tab.allowed += ["ERR_FAILED", "htmx:sendError", "htmx:afterRequest"]
    page.route("**/quality/policies*", lambda route: route.abort())
    tab.go("/quality")
    expect(page.locator("#policies [role=alert]")).to_contain_text("could not be read")
    tab.check_access()
    page.unroute("**/quality/policies*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#policies h2")).to_have_text("Policies")
    expect(page.locator("#policies [role=alert]")).to_have_count(0)


def test_a_golden_item_is_added_and_retired_by_keyboard(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/quality/golden")
    tab.check_access()
    page.get_by_label("Video id").fill("vid_nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("There is no such video.")
    tab.check_access()
    page.get_by_label("Video id").fill(house.videos["brawl"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Flags that are right")).to_contain_text("Fight")
    tab.check_access()
    page.get_by_role("radio", name="Remove").focus()
    page.keyboard.press("Space")
    fight = page.get_by_role("checkbox", name=re.compile("Fight")).first
    fight.focus()
    page.keyboard.press("Space")
    page.get_by_label("Note").fill(HOSTILE)
    page.get_by_role("button", name="Make it golden").focus()
    page.keyboard.press("Enter")
    added = page.get_by_role("row", name=re.compile(house.videos["brawl"]))
    expect(added).to_contain_text("Remove")
    expect(added).to_contain_text(HOSTILE)
    tab.check_access()
    tab.go(f"/quality/golden?video={house.videos['brawl']}")
    expect(page.get_by_role("alert")).to_contain_text("golden already")
    added.get_by_role("button", name="Retire").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text(house.videos["brawl"])
    tab.check_access()
    page.keyboard.press("Escape")
    expect(added).to_be_visible()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Retire").press("Enter")
    expect(page.get_by_text("There are no golden items yet.")).to_be_visible()
    tab.check_access()


def test_a_golden_item_by_mouse_says_what_the_service_refuses(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", f"/quality/golden?video={house.videos['brawl']}")
    page.get_by_text("Approve", exact=True).click()
    tab.allowed.append("422")
    page.route("**/v1/review/golden", lambda route: route.fulfill(
        status=422, content_type="application/problem+json",
        body=json.dumps({"code": "invalid_golden", "detail": f"{HOSTILE} is no flag of this video"}),
    ))  # fmt: skip
    page.get_by_role("button", name="Make it golden").click()
    expect(page.locator("#add-problem")).to_have_text(f"{HOSTILE} is no flag of this video")
    tab.check_access()
    page.unroute("**/v1/review/golden")
    page.get_by_role("button", name="Make it golden").click()
    row_of = page.get_by_role("row", name=re.compile(house.videos["brawl"]))
    row_of.get_by_role("button", name="Retire").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    row_of.get_by_role("button", name="Retire").click()
    page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    expect(row_of).to_have_count(0)


def test_settings_are_changed_in_the_units_shown_and_mistakes_are_said_beside_the_field(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/quality/rules")
    tab.check_access()
    share, lock = page.get_by_label("Golden share"), page.get_by_label("Lock", exact=True)
    share.fill("60")
    lock.fill("")
    page.keyboard.press("Enter")
    expect(page.locator("#golden_share-wrong")).to_have_text("Between 0 and 50.")
    expect(page.locator("#lock_s-wrong")).to_have_text("Something is missing here.")
    expect(lock).to_be_focused()
    expect(share).to_have_attribute("aria-invalid", "true")
    tab.check_access()
    page.get_by_label("Hard ones in a row").fill("2.5")
    page.get_by_role("button", name="Save").first.click()
    expect(page.locator("#severe_in_a_row-wrong")).to_have_text("A whole number.")
    for name, value in (("Hard ones in a row", "4"), ("Golden share", "7"), ("Lock", "2.5")):
        page.get_by_label(name, exact=True).fill(value)
    page.keyboard.press("Enter")
    expect(page.locator("#settings-said")).to_have_text("Saved.")
    expect(page.locator("#golden_share-wrong")).to_be_hidden()
    with house.database.read() as session:
        kept = session.get_one(ReviewSettings, DEFAULT_TENANT)
        assert (kept.lock_s, kept.golden_share, kept.severe_in_a_row) == (150.0, 0.07, 4)
    page.reload()
    expect(share).to_have_value("7")
    tab.allowed.append("422")
    page.route("**/v1/review/settings", lambda route: route.fulfill(
        status=422, content_type="application/problem+json",
        body=json.dumps({"code": "invalid_settings", "detail": "undo_s: between 0 and 86400"}),
    ))  # fmt: skip
    page.get_by_label("Undo").fill("6")
    page.keyboard.press("Enter")
    expect(page.locator("#undo_s-wrong")).to_have_text("undo_s: between 0 and 86400")
    expect(page.get_by_label("Undo")).to_be_focused()
    with house.database.write() as session:
        session.exec(delete(ReviewSettings))


def test_what_is_wrong_with_a_queue_is_said_beside_the_field_by_keyboard(tab: Tab) -> None:
    page = tab.sign_in("lead", "/quality/rules")
    new = page.get_by_role("button", name="New queue")
    new.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    tab.check_access()
    dialog.get_by_label("Short name").fill("Not So")
    dialog.get_by_label("Score from").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator("#q-name-wrong")).to_contain_text("Only a–z")
    expect(page.locator("#q-title-wrong")).to_have_text("Something is missing here.")
    expect(page.locator("#q-score_from-wrong")).to_have_text("Between 0 and 1.")
    expect(dialog.get_by_label("Short name")).to_be_focused()
    tab.check_access()
    page.keyboard.press("Escape")
    expect(new).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Short name")).to_have_value("")
    expect(page.locator("#q-name-wrong")).to_be_hidden()
    tab.allowed += ["422", "409"]
    dialog.get_by_label("Short name").fill("everything")
    dialog.get_by_label("Title").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator("#queue-problem")).to_contain_text("already")
    tab.check_access()
    dialog.get_by_label("Score from").fill("0.9")
    dialog.get_by_label("Score to").fill("0.2")
    page.keyboard.press("Enter")
    dialog.get_by_label("Short name").fill("ours")
    page.keyboard.press("Enter")
    expect(page.locator("#q-score_from-wrong")).to_contain_text("score_from <= score_to")


def test_a_queue_is_made_changed_and_removed_by_mouse(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/quality/rules")
    page.get_by_role("button", name="New queue").click()
    dialog = page.get_by_role("dialog")
    values = {"Short name": "ours", "Title": HOSTILE, "Score from": "0.9", "Languages": "es, pt-BR"}
    for name, value in (values | {"Share, drawn at random": "7"}).items():
        dialog.get_by_label(name).fill(value)
    dialog.get_by_text("severe", exact=True).click()
    dialog.get_by_label("Policies").select_option(["weapons", "violence.fight"])
    dialog.get_by_label("Opinions").select_option("2")
    dialog.get_by_role("button", name="Save").click()
    made = page.get_by_role("row").filter(has_text="ours")
    for text in (HOSTILE, "severities: severe", "share: 7.0 %"):
        expect(made).to_contain_text(text)
    tab.check_access()
    with house.database.read() as session:
        (kept,) = [one for one in queues.listed(session, DEFAULT_TENANT) if one.name == "ours"]
        rule = {"policies": ["violence.fight", "weapons"], "severities": ["severe"], "score_from": 0.9}
        assert (kept.rule, kept.opinions) == (rule | {"languages": ["es", "pt-BR"], "share": 0.07}, 2)
    made.get_by_role("button", name=re.compile("Change")).click()
    expect(dialog.get_by_label("Score from")).to_have_value("0.9")
    expect(dialog.get_by_role("checkbox", name="severe")).to_be_checked()
    expect(dialog.get_by_label("Short name")).to_have_attribute("readonly", "")
    dialog.get_by_label("Score from").fill("")
    dialog.get_by_label("Title").fill("Our own")
    dialog.get_by_role("button", name="Save").click()
    expect(made).to_contain_text("Our own")
    expect(made).not_to_contain_text("score from")
    made.get_by_role("button", name=re.compile("Remove")).click()
    expect(dialog).to_contain_text("Our own")
    tab.check_access()
    dialog.get_by_role("button", name="Remove").click()
    expect(made).to_have_count(0)


@pytest.mark.usefixtures("decided")
def test_the_report_is_shown_and_taken_away(tab: Tab, tmp_path: Path) -> None:
    page = tab.sign_in("lead", "/quality/report")
    expect(page.get_by_role("row", name=re.compile("^Fight"))).to_be_visible()
    tab.check_access()
    decisions = page.locator(".figure", has_text="Decisions by people").locator("strong").inner_text()
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download as JSON").press("Enter")
    file = tmp_path / "report.json"
    taken.value.save_as(file)
    assert re.fullmatch(r"transparency-[\d-]+\.json", taken.value.suggested_filename)
    assert sum(json.loads(file.read_text())["decisions"].values()) == int(decisions) > 50
    page.get_by_label("First day").fill("2026-02-01")
    page.get_by_label("Last day").fill("2026-01-01")
    tab.allowed.append("422")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("before the first")
    tab.check_access()
    page.get_by_role("link", name="The last whole month").click()
    expect(page.locator(".figure").first).to_be_visible()
    page.emulate_media(color_scheme="dark")
    tab.check_access()


@pytest.mark.parametrize("path", ["/quality/golden", "/quality/rules", "/quality/report"])
def test_nothing_sticks_out_on_a_telephone(tab: Tab, path: str) -> None:
    page = tab.sign_in("lead", path)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tab.check_access()


def test_in_chinese_no_english_is_left_in_the_tabs(tab: Tab) -> None:
    page = tab.sign_in("lead", "/quality")

    def speak(language: str) -> None:
        page.evaluate(
            """language => fetch("/settings/preferences", {method: "POST", body: JSON.stringify({language}),
               headers: {"Content-Type": "application/json"}})""",
            language,
        )
        page.reload()

    speak("zh")
    expect(page.get_by_role("navigation", name="质量各部分")).to_contain_text("透明度报告")
    tab.check_access()
    speak("en")
    expect(page.get_by_role("navigation", name="Parts of quality")).to_contain_text("Transparency report")
