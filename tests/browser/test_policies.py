"""Policies: found, read, drafted, tried, put in force and back, by keyboard and by mouse."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser_helpers import House, Tab
from playwright.sync_api import Page, expect
from sqlmodel import col, update

from vidlm.moderation.policies import load_policies
from vidlm.moderation.revisions import SetState
from vidlm.policy import policy_sets
from vidlm.policy.backfills import question_version
from vidlm.review.judged import question_of
from vidlm.store.backfill import Backfill
from vidlm.store.engine import clock
from vidlm.store.moderation import PolicySetRow, ThresholdProposal
from vidlm.store.tables import DEFAULT_TENANT

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
IN_HAND = "/policies/weapons.in_hand"
THIS_LONG_MS = 60_000
"""For whatever the embedded model has to do on a busy machine."""


@pytest.fixture(autouse=True)
def as_found(house: House) -> Iterator[None]:
    """Afterwards the service's own policies are in force again, and no draft is left."""
    yield
    with house.database.write() as session:
        mine = col(PolicySetRow.state) != SetState.RETIRED.value
        session.exec(update(PolicySetRow).where(mine).values(state=SetState.RETIRED.value, retired_at=clock(session)))


def in_both_themes(tab: Tab) -> None:
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        tab.check_access()
    tab.page.emulate_media(color_scheme="light")


def make_draft(page: Page, name: str) -> str:
    """A draft of what is in force, from the page of policies; its id."""
    page.get_by_role("button", name="Make a draft", exact=True).first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("dialog").get_by_role("button", name="Make a draft").click()
    page.wait_for_url(re.compile("/policy-sets/pst_"))
    return page.url.rpartition("/")[2]


def pick(page: Page, title: str) -> None:
    page.locator("#picks").get_by_role("button", name=title).first.click()
    expect(page.locator("#form-title")).to_have_text(title)


def review_of(house: House, policy_id: str) -> float:
    found = house.client.get("/v1/policies")["policies"]
    return float(next(one["review_threshold"] for one in found if one["id"] == policy_id))


def test_a_viewer_finds_a_policy_and_reads_its_histogram_by_keyboard(tab: Tab) -> None:
    page = tab.sign_in("viewer", "/policies")
    expect(page.get_by_role("heading", level=1)).to_have_text("Policies")
    expect(page.get_by_role("button", name="Make a draft")).to_have_count(0)
    in_both_themes(tab)
    page.locator("main").focus()
    page.keyboard.press("/")
    page.keyboard.type("weapon hand")
    expect(page.locator("#found")).to_have_text("1 found")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"{IN_HAND}$"))
    chart = page.locator("svg.histogram")
    expect(chart.locator(".bar-of")).to_have_count(20)
    expect(chart.locator("[data-threshold=review]")).to_contain_text("review 0.5")
    expect(page.get_by_text("Suggested thresholds")).to_have_count(0)
    logarithmic = page.get_by_role("button", name="logarithmic")
    logarithmic.focus()
    page.keyboard.press("Enter")
    expect(logarithmic).to_have_attribute("aria-pressed", "true")
    page.locator("summary", has_text="As a table").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#histogram table")).to_be_visible()
    counted = [int(text) for text in page.locator("#histogram td.number:last-child").all_inner_texts()]
    said = re.match(r"\d+", page.locator("#histogram p.quiet").inner_text())
    assert said is not None
    assert sum(counted) == int(said[0]) >= 8
    in_both_themes(tab)


def test_words_that_no_policy_has_are_said_to_be_none(tab: Tab) -> None:
    page = tab.sign_in("viewer", "/policies")
    page.get_by_label("Find a policy").fill("nonsense")
    expect(page.get_by_text("No policy has these words.")).to_be_visible()
    tab.check_access()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("link", name="Weapon in hand")).to_be_visible()


def try_with_fewer_flags(tab: Tab, title: str) -> None:
    """How sure a model is of the clips changes with every model; how short they are does not."""
    page = tab.page
    lasts = page.get_by_label("A flag lasts at least, in seconds", exact=True)
    usually = lasts.input_value()
    page.get_by_label("never by itself").check()  # what would block is flagged however short it is
    lasts.fill("600")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("heading", name="Videos by verdict")).to_be_visible()
    expect(page.locator("#trial").get_by_role("row", name=re.compile(f"^{title}"))).to_contain_text(re.compile(r"-\d"))
    in_both_themes(tab)
    lasts.fill(usually)
    page.get_by_label("never by itself").uncheck()


def test_a_draft_is_told_what_is_wrong_then_tried_put_in_force_and_undone(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/policies")
    before = review_of(house, "weapons.in_hand")
    in_both_themes(tab)
    page.get_by_role("button", name="Make a draft", exact=True).first.click()
    in_both_themes(tab)
    page.keyboard.press("Escape")
    make_draft(page, "Stricter")
    pick(page, "Weapon in hand")
    expect(page.locator("#scores .bar-of")).to_have_count(20)
    review = page.get_by_label("Review from", exact=True)
    review.fill("0.97")
    expect(page.locator("#wrong-review")).to_contain_text("above Block from (0.95)")
    expect(review).to_have_attribute("aria-invalid", "true")
    in_both_themes(tab)
    page.get_by_role("button", name="Put in force …").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_label("Review from, as a slider").fill("0.7")
    expect(review).to_have_value("0.7")
    expect(page.locator("#wrong-review")).to_be_empty()
    expect(page.locator("#scores [data-threshold=review]")).to_have_text("review 0.7")
    expect(page.locator("#standing")).to_have_text("Not saved yet. One policy differs from what is in force.")
    try_with_fewer_flags(tab, "Weapon in hand")
    page.get_by_role("button", name="Put in force …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("del").first).to_have_text("0.5")
    expect(dialog.locator("ins").first).to_have_text("0.7")
    in_both_themes(tab)
    dialog.get_by_label("Why").fill(f"too many toys {SCRIPT}")
    dialog.get_by_role("button", name="Put in force").click()
    page.wait_for_url(re.compile("/policies$"))
    assert review_of(house, "weapons.in_hand") == 0.7
    expect(page.get_by_text("review 0.7")).to_be_visible()
    expect(page.locator("td.reason").first).to_have_text(f"too many toys {SCRIPT}")
    tab.check_access()

    page.get_by_role("row", name="The service's own policies").get_by_role("button").click()
    page.get_by_label("Name").fill("As it was")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/policy-sets/pst_"))
    page.get_by_role("button", name="Put in force …").click()
    page.get_by_label("Why").fill("the toys were knives")
    page.get_by_role("dialog").get_by_role("button", name="Put in force").click()
    page.wait_for_url(re.compile("/policies$"))
    assert review_of(house, "weapons.in_hand") == before
    page.get_by_role("link", name="Stricter").first.click()
    expect(page.locator(".change")).to_contain_text("Weapon in hand")
    in_both_themes(tab)


def test_a_draft_is_changed_and_put_in_force_by_keyboard_alone(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/policies")
    keys = page.keyboard
    page.get_by_role("button", name="Make a draft", exact=True).first.focus()
    keys.press("Enter")
    keys.type("By keyboard")
    keys.press("Enter")
    page.wait_for_url(re.compile("/policy-sets/pst_"))
    page.get_by_label("Find a policy").focus()
    keys.type("alcohol")
    keys.press("Tab")
    keys.press("Tab") if page.evaluate("document.activeElement.getAttribute('aria-current')") else None
    keys.press("Enter")
    expect(page.locator("#form-title")).to_have_text("Alcohol")
    page.get_by_label("Review from, as a slider").focus()
    keys.press("ArrowRight")
    expect(page.get_by_label("Review from", exact=True)).to_have_value("0.61")
    keys.press("Control+s")
    expect(page.locator("#standing")).to_contain_text("Saved.")
    page.get_by_role("button", name="Put in force …").focus()
    keys.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Why")).to_be_focused()
    keys.type("a little")
    keys.press("Tab")
    keys.press("Enter")
    page.wait_for_url(re.compile("/policies$"))
    assert review_of(house, "regulated.alcohol") == 0.61


def test_what_is_not_saved_is_there_again_and_leaving_is_asked_about(tab: Tab) -> None:
    page = tab.sign_in("lead", "/policies")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    make_draft(page, "Unsaved")
    pick(page, "Fight")
    page.get_by_label("Blocked", exact=True).fill("two people in a duel")
    expect(page.locator("#standing")).to_contain_text("Not saved yet.")
    page.reload()
    assert asked == ["beforeunload"]
    expect(page.locator("#notices")).to_contain_text("is here again")
    pick(page, "Fight")
    expect(page.get_by_label("Blocked", exact=True)).to_have_value("two people in a duel")
    tab.check_access()
    page.get_by_role("button", name="Throw it away").click()
    expect(page.get_by_label("Blocked", exact=True)).to_have_value("two people fighting or hitting each other")
    expect(page.locator("#standing")).to_contain_text("Saved.")


def test_what_somebody_else_changed_meanwhile_goes_together(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/policies")
    set_id = make_draft(page, "Of two")
    with house.database.write() as session:
        row = session.get_one(PolicySetRow, set_id)
        theirs = [
            one | {"title": "Bullying, theirs"} if one["id"] == "harassment.bullying" else one for one in row.policies
        ]
        theirs = [one | {"severity": "high"} if one["id"] == "violence.fight" else one for one in theirs]
        policy_sets.change(session, row, actor="key_other", policies=policy_sets.read_policies(theirs))
    pick(page, "Fight")
    page.get_by_label("Severity").select_option("low")
    page.get_by_label("Title").fill("Fight, mine")
    tab.allowed.append("409")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#notices")).to_contain_text("Both of you changed violence.fight: Severity")
    tab.check_access()
    expect(page.locator("#picks")).to_contain_text("Bullying, theirs")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#standing")).to_contain_text("Saved.")
    with house.database.read() as session:
        rows = {one["id"]: one for one in session.get_one(PolicySetRow, set_id).policies}
    assert rows["harassment.bullying"]["title"] == "Bullying, theirs"
    assert (rows["violence.fight"]["title"], rows["violence.fight"]["severity"]) == ("Fight, mine", "low")


def test_a_new_policy_is_put_to_the_library_and_its_progress_is_seen(tab: Tab) -> None:
    page = tab.sign_in("lead", "/policies")
    make_draft(page, f"New {IMAGE}")
    page.get_by_role("button", name="Add a policy").click()
    expect(page.get_by_label("Id", exact=True)).to_be_focused()
    page.get_by_label("Id", exact=True).fill("Weapons")
    expect(page.locator("#wrong-id")).to_contain_text("must look like")
    page.get_by_label("Id", exact=True).fill("weapons.knife")
    page.get_by_label("Title").fill(SCRIPT)
    page.get_by_label("Blocked", exact=True).fill("a knife")
    page.get_by_label("Allowed", exact=True).fill(IMAGE)
    expect(page.locator(".question")).to_contain_text(IMAGE)
    expect(page.locator("#wrong-id")).to_be_empty()
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("heading", name="What was not scored")).to_be_visible()
    tab.check_access()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="Its page, and backfills").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(SCRIPT)
    expect(page.get_by_text("No scores yet.")).to_be_visible()
    in_both_themes(tab)
    page.get_by_role("button", name="Score the library").click()
    in_both_themes(tab)
    page.get_by_role("dialog").get_by_role("button", name="Score the library").click()
    expect(page.locator("#backfills progress")).to_be_visible()
    expect(page.locator("#backfills")).to_contain_text("done", timeout=THIS_LONG_MS)
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 1)
    expect(page.locator("#histogram .bar-of")).to_have_count(20)
    in_both_themes(tab)


def test_a_backfill_is_called_off(tab: Tab, house: House) -> None:
    policy = next(one for one in load_policies().policies if one.id == "regulated.gambling")
    with house.database.write() as session:
        row = Backfill(
            tenant_id=DEFAULT_TENANT,
            policy_id=policy.id,
            question_version=question_version(policy),
            policy={},
            filters={},
            planned_all=True,
            videos_total=100,
            videos_planned=100,
            videos_done=25,
            created_by="key_somebody",
        )
        session.add(row)
        session.flush()
        backfill_id = row.id
    page = tab.sign_in("lead", "/policies/regulated.gambling")
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 0.25)
    in_both_themes(tab)
    page.get_by_role("button", name="Call it off").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#backfills")).to_contain_text("called off")
    with house.database.read() as session:
        assert session.get_one(Backfill, backfill_id).state == "cancelled"


def test_a_threshold_without_decisions_is_not_suggested_and_it_is_said_why(tab: Tab) -> None:
    page = tab.sign_in("lead", IN_HAND)
    expect(page.locator("#quality")).to_contain_text("decided")
    tab.allowed.append("409")
    page.get_by_role("button", name="Suggest a threshold").click()
    expect(page.locator("#wish-problem")).to_contain_text("decided videos with a violation are needed")
    in_both_themes(tab)
    page.get_by_label("I want").select_option("queue")
    page.get_by_label("Videos", exact=True).fill("1")
    page.get_by_role("button", name="Suggest a threshold").click()
    expect(page.locator("#proposals .open, #wish-problem:not([hidden])")).to_have_count(1)


def suggested(house: House) -> str:
    """A suggestion that waits for a lead, in place of the decisions that it would rest on; its promise is hostile."""
    policy = next(one for one in load_policies().policies if one.id == "violence.fight")
    known, unknown = {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40}, {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    basis = dict.fromkeys(("first_decision", "last_decision", "since", "until", "source", "traffic"))
    basis |= {"method": "learn then test", "decisions": 40, "violations": 36, "at_random": False, "digest": "0" * 64}
    basis["expected"] = {"precision": known, "recall": unknown, "flagged": known, "queue": None}
    with house.database.write() as session:
        row = ThresholdProposal(
            tenant_id=DEFAULT_TENANT,
            policy_id=policy.id,
            goal="precision",
            value=0.9,
            confidence=0.9,
            threshold=0.61,
            threshold_before=policy.review_threshold,
            question=question_of(policy),
            promise=f"Surely {SCRIPT}",
            basis=basis,
            created_by="key_x",
        )
        session.add(row)
        session.flush()
        return row.id


def test_a_suggested_threshold_is_declined_and_another_accepted_with_a_reason(tab: Tab, house: House) -> None:
    suggested(house)
    page = tab.sign_in("lead", "/policies/violence.fight")
    expect(page.locator(".proposal.open")).to_contain_text(f"Surely {SCRIPT}")
    in_both_themes(tab)
    page.get_by_role("button", name="Decline").focus()
    page.keyboard.press("Enter")
    in_both_themes(tab)
    page.keyboard.type(f"no {IMAGE}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#proposals .proposal").first).to_contain_text(f"lead: no {IMAGE}")
    suggested(house)
    page.reload()
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("dialog").get_by_label("Why").fill("half were toys")
    page.get_by_role("button", name="Accept, and put in force").click()
    expect(page.locator("#proposals .proposal").first).to_contain_text("accepted")
    expect(page.locator("#histogram [data-threshold=review]")).to_have_text("review 0.61")
    assert review_of(house, "violence.fight") == 0.61


def test_a_draft_is_discarded(tab: Tab, house: House) -> None:
    page = tab.sign_in("lead", "/policies")
    set_id = make_draft(page, "Not wanted")
    page.get_by_role("button", name="Discard the draft").click()
    in_both_themes(tab)
    page.get_by_role("dialog").get_by_role("button", name="Discard the draft").click()
    page.wait_for_url(re.compile("/policies$"))
    expect(page.get_by_role("row", name=re.compile("Not wanted"))).to_contain_text("discarded")
    tab.go(f"/policy-sets/{set_id}")
    expect(page.get_by_role("button", name="Make a draft of it")).to_be_visible()
    with house.database.read() as session:
        assert session.get_one(PolicySetRow, set_id).state == SetState.RETIRED


def test_hostile_words_of_a_set_are_shown_as_text(tab: Tab, house: House) -> None:
    with house.database.write() as session:
        rows = list(load_policies().policies)
        named = policy_sets.read_policies(
            [
                {
                    "id": "xss.one",
                    "title": SCRIPT,
                    "blocked": IMAGE,
                    "allowed": SCRIPT,
                    "severity": "low",
                    "review": 0.5,
                    "block": "never",
                }
            ]
        )
        made = policy_sets.create(
            session, tenant_id=DEFAULT_TENANT, actor="key_x", name=IMAGE, policies=[*rows, *named], based_on=None
        )
        policy_sets.activate(session, made, actor="key_x", reason=f"{SCRIPT}{IMAGE}", before=rows)
        session.flush()
        set_id = made.id
    page = tab.sign_in("lead", "/policies")
    expect(page.get_by_role("link", name=SCRIPT)).to_be_visible()
    tab.go("/policies/xss.one")
    expect(page.get_by_role("heading", level=1)).to_have_text(SCRIPT)
    tab.go(f"/policy-sets/{set_id}")
    expect(page.locator(".change ins").first).to_have_text(IMAGE)
    tab.go("/policies")
    make_draft(page, SCRIPT)
    pick(page, SCRIPT)
    expect(page.get_by_label("Blocked", exact=True)).to_have_value(IMAGE)
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("width", [1024, 390])
def test_every_page_fits_narrow_windows(tab: Tab, width: int) -> None:
    page = tab.sign_in("lead", "/policies")
    page.set_viewport_size({"width": width, "height": 800})
    set_id = make_draft(page, "Narrow")
    for path in ("/policies", IN_HAND, f"/policy-sets/{set_id}"):
        tab.go(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        tab.check_access()
