"""A video's own page: jumping about in it, asking it, taking things out of it, and what is done to its job."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import House, Tab, wait_ended
from playwright.sync_api import Locator, Page, expect

from vidlm.domain import JobState
from vidlm.jobs import control, events, intake
from vidlm.jobs.intake import Wishes
from vidlm.store.blobs import StoredBlob, blob_key
from vidlm.store.columns import new_id
from vidlm.store.queries import questions_of
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=2</script>'


def time_of(page: Page) -> float:
    return float(page.evaluate("document.getElementById('video').currentTime"))


def is_at(page: Page, seconds: float) -> None:
    page.wait_for_function("at => Math.abs(document.getElementById('video').currentTime - at) < 0.3", arg=seconds)


def loaded(page: Page) -> None:
    page.wait_for_function("document.getElementById('video').readyState >= 1")


def in_both_themes(tab: Tab, check: Callable[[], None]) -> None:
    for theme in ("dark", "light"):
        tab.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        check()


def document(house: House, name: str) -> dict[str, Any]:
    return house.client.get(f"/v1/videos/{house.videos[name]}/analysis")


def ended(house: House, state: JobState, code: str | None, wishes: Wishes) -> str:
    """A video whose job ended so, without a worker; its file is not there."""
    with house.database.write() as session:
        blob = StoredBlob(blob_key(DEFAULT_TENANT, "0" * 64), "0" * 64, 5)
        video_id = new_id("vid")
        job = intake.accept(
            session, video_id=video_id, tenant_id=DEFAULT_TENANT, actor="key_test", blob=blob, wishes=wishes
        )
        session.flush()
        row = session.get_one(Job, job.id)
        row.error_code, row.error_detail = code, "said by a test" if code else None
        events.moved(session, row, state)
    return video_id


def test_jumping_by_mouse(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", f"/videos/{house.videos['minute']}")
    loaded(page)
    told = document(house, "minute")
    chapter = page.locator("#chapters button").nth(2)
    chapter.click()
    is_at(page, told["summary"]["chapters"][2]["start_s"])
    expect(page.locator("#chapters li").nth(2)).to_have_attribute("aria-current", "true")
    page.locator("#captions button").nth(4).click()
    is_at(page, told["segments"][4]["start_s"])
    expect(page.locator("#captions li").nth(4)).to_have_attribute("aria-current", "true")
    page.locator("#highlights button").first.click()
    is_at(page, told["segments"][min(told["summary"]["highlights"])]["start_s"])
    page.locator("#flags li").nth(1).locator("button").first.click()
    expect(page.locator("#flags li").nth(1)).to_have_attribute("aria-current", "true")
    assert any(one["start_s"] <= time_of(page) < one["end_s"] for one in told["flags"])
    expect(page.locator("#flags li").nth(1)).to_contain_text("What the policy says")
    page.locator("#timeline .band svg").first.click()  # in its middle
    is_at(page, told["video"]["duration_s"] / 2)
    in_both_themes(tab, tab.check_access)


def test_jumping_by_keyboard(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", f"/videos/{house.videos['minute']}")
    loaded(page)
    page.keyboard.press("n")
    first = page.locator("#flags li").first
    expect(first).to_have_attribute("aria-current", "true")
    at = time_of(page)
    page.keyboard.press("l")
    is_at(page, at + 2)
    page.keyboard.press("p")
    expect(page.locator("#flags li").last).to_have_attribute("aria-current", "true")
    page.locator("#captions button").nth(3).focus()
    page.keyboard.press("Enter")
    is_at(page, document(house, "minute")["segments"][3]["start_s"])
    page.locator("#tab-captions").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-ask")).to_be_focused()
    expect(page.locator("#panel-ask")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        tab.check_access()
    expect(page.locator("#panel-history")).to_contain_text("analyzing")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    tab.check_access()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_an_address_may_name_a_time(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", "/settings")
    tab.go(f"/videos/{house.videos['minute']}?t=24.5")
    loaded(page)
    is_at(page, 24.5)


def test_what_was_flagged_begins_veiled_and_what_was_cleared_does_not(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", f"/videos/{house.videos['minute']}")
    expect(page.locator("#video")).to_have_class(re.compile("veiled-blur"))
    page.locator("#unveil").click()
    expect(page.locator("#video")).not_to_have_class(re.compile("veiled-blur"))
    page.reload()
    expect(page.locator("#video")).to_have_class(re.compile("veiled-blur"))
    cleared = next(name for name in house.videos if document(house, name)["verdict"]["action"] == "allow")
    tab.go(f"/videos/{house.videos[cleared]}")
    loaded(page)
    expect(page.locator("#video")).not_to_have_class(re.compile("veiled"))
    expect(page.get_by_text("Nothing was flagged.")).to_be_visible()
    in_both_themes(tab, tab.check_access)


def test_asking_and_going_to_what_the_answer_rests_on(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", f"/videos/{house.videos['kitchen-knife']}")
    loaded(page)
    page.locator("main").focus()
    page.keyboard.press("q")
    page.keyboard.type("When does the person with a knife appear?")
    page.keyboard.press("Enter")
    answer = page.locator("#answers > li").first
    stamp = answer.locator("button.clock").first
    expect(stamp).to_be_visible(timeout=40_000)
    stamp.click()
    page.wait_for_function("document.getElementById('video').currentTime > 3")
    expect(page.locator("#conversation")).to_be_visible()
    page.get_by_label("A question about this clip").fill("What colour is it?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#answers > li")).to_have_count(2)
    expect(page.locator("#answers > li").first.locator("p").first).to_be_visible(timeout=40_000)
    tab.check_access()
    page.reload()
    page.locator("#tab-ask").click()
    expect(page.locator("#answers > li strong")).to_have_text(
        ["What colour is it?", "When does the person with a knife appear?"]
    )
    with house.database.read() as session:
        asked = questions_of(session, DEFAULT_TENANT, house.videos["kitchen-knife"], 10)
    assert len({row.conversation_id for row in asked}) == 1
    page.get_by_role("button", name="Ask more about this").last.click()
    expect(page.get_by_label("A question about this clip")).to_be_focused()
    page.get_by_role("button", name="Begin afresh").click()
    expect(page.locator("#conversation")).to_be_hidden()


def saved(page: Page, link: Locator) -> str:
    with page.expect_download() as waiting:
        link.click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_what_is_taken_out_is_what_was_seen(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", f"/videos/{house.videos['minute']}")
    told = document(house, "minute")
    links = page.locator("#downloads a")
    assert json.loads(saved(page, links.nth(0))) == told
    captions = saved(page, links.nth(1))
    assert captions.startswith("WEBVTT\n\n")
    assert captions.count(" --> ") == len(told["segments"])
    rows = list(csv.DictReader(io.StringIO(saved(page, links.nth(2)), newline="")))
    assert [row["caption"] for row in rows] == [segment["caption"] for segment in told["segments"]]
    for row, segment in zip(rows, told["segments"], strict=True):
        assert {name: float(row[name]) for name in segment["scores"]} == pytest.approx(segment["scores"], abs=1e-5)
    with page.expect_download() as waiting:
        links.nth(3).click()
    assert (
        Path(waiting.value.path()).stat().st_size
        == house.client.get(f"/v1/videos/{house.videos['minute']}")["size_bytes"]
    )


def test_a_video_that_was_rejected_explains_itself(tab: Tab, house: House) -> None:
    wishes = Wishes(filename=HOSTILE, client_id=HOSTILE)
    video_id = ended(house, JobState.REJECTED, "truncated", wishes)
    page = tab.sign_in("admin", f"/videos/{video_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.get_by_text("The file breaks off, or its index is missing.")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    assert page.title().startswith('"><img')
    in_both_themes(tab, tab.check_access)


@pytest.mark.parametrize(
    ("state", "code"),
    [(JobState.FAILED, "worker_lost"), (JobState.EXPIRED, "deadline_exceeded"), (JobState.CANCELLED, None)],
)
def test_every_end_can_be_read_by_everybody(tab: Tab, house: House, state: JobState, code: str | None) -> None:
    video_id = ended(house, state, code, Wishes(filename="a.mp4"))
    page = tab.sign_in("viewer", f"/videos/{video_id}")
    expect(page.locator("#ended")).to_be_visible()
    expect(page.locator("#state")).to_have_text(state)
    in_both_themes(tab, tab.check_access)
    with house.database.write() as session:  # others look at how the service stands
        control.deleted(session, session.get_one(Video, video_id), actor="key_test")


def test_a_job_is_called_off_tried_again_and_fills_its_page_when_it_is_ready(tab: Tab, house: House) -> None:
    clip = house.settings.data / "clips" / "again.mp4"
    clip.write_bytes(next(clip.parent.glob("street.*")).read_bytes() + b"\0" * 8)  # other bytes, the same pictures
    page = tab.sign_in("admin")
    video_id = str(house.client.upload(clip)["id"])
    house.client.post(f"/v1/videos/{video_id}/cancel", {})
    tab.go(f"/videos/{video_id}")
    expect(page.locator("#ended")).to_contain_text("called it off")
    page.get_by_role("button", name="Retry").click()
    page.locator("#confirm-not").press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    page.get_by_role("button", name="Retry").click()
    tab.check_access()
    page.locator("#confirm-sure").click()
    expect(page.locator("#progress, #verdict").first).to_be_visible()
    expect(page.locator("#verdict")).to_be_visible(timeout=90_000)
    expect(page.locator("#state")).to_have_text("ready")


def test_progress_is_shown_and_a_waiting_job_can_be_cancelled(tab: Tab, house: House) -> None:
    with house.database.write() as session:
        job = session.get_one(Job, _held(session))
        video_id = job.video_id
    page = tab.sign_in("admin", f"/videos/{video_id}")
    expect(page.locator("[data-stage=queued]")).to_have_attribute("aria-current", "step")
    expect(page.locator("#eta")).not_to_be_empty()
    in_both_themes(tab, tab.check_access)
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#confirm-not")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#ended")).to_contain_text("called it off")


def _held(session: Any) -> str:
    """A job in the queue that no worker takes yet; the id."""
    blob = StoredBlob(blob_key(DEFAULT_TENANT, "1" * 64), "1" * 64, 5)
    job = intake.accept(session, video_id=new_id("vid"), tenant_id=DEFAULT_TENANT, actor="key_test", blob=blob)
    job.not_before = datetime.now(UTC) + timedelta(hours=1)
    session.flush()
    return job.id


def test_deleting_is_asked_about_and_then_done(tab: Tab, house: House) -> None:
    clip = house.settings.data / "clips" / "gone.mp4"
    clip.write_bytes(next(clip.parent.glob("street.*")).read_bytes())
    video_id = str(house.client.upload(clip)["id"])
    wait_ended(house.client, video_id, 90)
    page = tab.sign_in("admin", f"/videos/{video_id}")
    more = page.locator("summary", has_text="More")
    more.click()
    page.get_by_role("button", name="Put under a legal hold").click()
    page.locator("#confirm-sure").click()
    expect(page.get_by_text("legal hold", exact=True)).to_be_visible()
    more.click()
    expect(page.get_by_text("nothing of it can be deleted")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    tab.check_access()
    page.get_by_role("button", name="Lift the legal hold").click()
    page.locator("#confirm-sure").click()
    expect(page.get_by_text("legal hold", exact=True)).to_have_count(0)
    more.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#confirm")).to_contain_text("removed for good")
    in_both_themes(tab, tab.check_access)
    page.get_by_role("button", name="Not now").click()
    assert house.client.get(f"/v1/videos/{video_id}")["state"] == "ready"
    more.click()
    page.get_by_role("button", name="Delete").click()
    tab.allowed.append("410")
    page.get_by_role("button", name="Delete it for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This was deleted.")
    in_both_themes(tab, tab.check_access)
    tab.allowed.append("404")
    tab.go("/videos/vid_0")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here.")
    tab.check_access()


def test_nobody_is_offered_what_they_may_not_do(tab: Tab, house: House) -> None:
    page = tab.sign_in("viewer", f"/videos/{house.videos['minute']}")
    expect(page.locator("#flags li").first).to_be_visible()
    assert page.locator("[data-act], #appeal, .acts a").count() == 0
    page.locator("#tab-past").click()
    expect(page.get_by_text("What people decided in detail is for reviewers.")).to_be_visible()


def test_a_lead_appeals_for_a_videos_owner(tab: Tab, house: House) -> None:
    clip = house.settings.data / "clips" / "appealed.mp4"
    clip.write_bytes(next(clip.parent.glob("kitchen-knife.*")).read_bytes())
    video_id = str(house.client.upload(clip)["id"])
    wait_ended(house.client, video_id, 90)
    item = house.claim(video_id=video_id)
    told = [{"flag_id": one["id"], "verdict": "confirm"} for one in item["flags"]]
    said = {"token": item["lock"]["token"], "outcome": "remove", "flags": told, "note": "it burns"}
    house.client.post(f"/v1/review/items/{item['id']}/decision", said)
    page = tab.sign_in("lead", f"/videos/{video_id}")
    page.locator("#tab-past").click()
    expect(page.locator("#past")).to_contain_text("it burns")
    page.get_by_role("button", name="Appeal").click()
    page.get_by_label("What its owner says").fill("A camp fire is <b>no</b> arson.")
    tab.check_access()
    page.locator("#appeal-form button.main").click()
    page.locator("#tab-past").click()
    expect(page.locator("#panel-past")).to_contain_text("A camp fire is <b>no</b> arson.")
    expect(page.locator("#appeal")).to_have_count(0)


@pytest.mark.parametrize("width", [1024, 390])
def test_it_fits_on_narrow_screens(tab: Tab, house: House, width: int) -> None:
    tab.page.set_viewport_size({"width": width, "height": 800})
    page = tab.sign_in("viewer", f"/videos/{house.videos['minute']}")
    expect(page.locator("#flags li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.check_access()
    page.context.clear_cookies()
    page = tab.sign_in("admin", f"/videos/{house.videos['minute']}")
    page.locator("summary", has_text="More").click()
    box = page.get_by_role("button", name="Delete").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
