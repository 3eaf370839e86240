"""The policies' pages over a real socket: what they count is what is stored, and what is hidden stays so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Api
from review_helpers import analysed, flag, must_claim, person
from review_helpers import decide as decided
from simulated_review import POLICY, World, reviewed
from sqlmodel import Session, col, select, update
from test_api_videos import problem
from test_dashboard_access import PASSWORD, SAME, browser
from test_what_if import FIGHT, GUN, OWN, both, stored

from vidlm.domain import Role
from vidlm.moderation.decisions import Outcome
from vidlm.moderation.policies import policy_set
from vidlm.moderation.revisions import with_thresholds
from vidlm.people import accounts
from vidlm.policy import backfills, decided_flags, policy_sets, trial_facts, trials
from vidlm.policy.flag_counts import flag_counts
from vidlm.policy.histograms import histogram
from vidlm.review import filing
from vidlm.review.quality import policy_quality, precisions
from vidlm.review.standing import ALWAYS
from vidlm.store.backfill import Backfill, BackfilledScore
from vidlm.store.engine import Database, clock
from vidlm.store.tables import DEFAULT_TENANT, Job, SegmentRow

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'


def draft(lead: httpx.Client, name: str = "Stricter") -> str:
    answer = lead.post("/policies/drafts", data={"name": name})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def rows_of(lead: httpx.Client, set_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lead.get(f"/v1/policy-sets/{set_id}").json()["policies"]
    return rows


def counts(database: Database, policy: Any = FIGHT, **more: Any) -> tuple[dict[int, int], int, bool]:
    """By bin, where there are any; the unscored; whether there are more."""
    with database.read() as session:
        found = histogram(session, DEFAULT_TENANT, policy, OWN, **more)
    return {place: count for place, count in enumerate(found.counts) if count}, found.unscored, found.capped


def test_a_histogram_counts_videos_by_their_highest_score(api: Api) -> None:
    stored(api.database, [both(0.1, 0.9), both(0.62, 0.0)])
    stored(api.database, [both(1.0, 0.0)])
    stored(api.database, [both(0.04, 0.0)])
    assert counts(api.database) == ({0: 1, 12: 1, 19: 1}, 0, False)
    assert counts(api.database, bins=2) == ({0: 1, 1: 2}, 0, False)
    assert counts(api.database, most=2) == ({0: 1, 19: 1}, 0, True)


def test_scores_of_other_words_are_not_counted_and_those_of_a_backfill_are(api: Api) -> None:
    jobs = [stored(api.database, [both(0.9, 0.0), both(0.2, 0.0)]), stored(api.database, [both(0.9, 0.0)])]
    duel = replace(FIGHT, blocked="a duel")
    assert counts(api.database, duel) == ({}, 2, False)
    with api.database.write() as session:
        later(session, jobs[0], duel, [0.3, 0.7])
        later(session, jobs[1], duel, [])
    assert counts(api.database, duel) == ({14: 1}, 1, False)
    with api.database.write() as session:
        session.exec(update(BackfilledScore).values(question_version="another"))
    assert counts(api.database, duel) == ({}, 2, False)


def later(session: Session, job: Job, policy: Any, scores: list[float]) -> None:
    """A backfill's scores of the first segments."""
    version = backfills.question_version(policy)
    row = Backfill(
        tenant_id=DEFAULT_TENANT, policy_id=policy.id, question_version=version, policy={}, filters={},
        created_by="key_ann", state="done", ended_at=clock(session),
    )  # fmt: skip
    session.add(row)
    session.flush()
    parts = session.exec(select(SegmentRow.id).where(SegmentRow.job_id == job.id).order_by(col(SegmentRow.index))).all()
    for part, score in zip(parts, scores, strict=False):
        session.add(
            BackfilledScore(
                segment_id=part,
                policy_id=policy.id,
                question_version=version,
                tenant_id=DEFAULT_TENANT,
                job_id=job.id,
                backfill_id=row.id,
                model_revision="r1",
                score=score,
            )
        )


def test_flags_of_the_last_days_are_counted(api: Api) -> None:
    first = analysed(api.database, flag(), flag("violence.fight"))
    analysed(api.database, flag())
    with api.database.write() as session:
        now = clock(session)
        assert flag_counts(session, DEFAULT_TENANT, now - timedelta(days=1)) == {
            "weapons.shown": 2,
            "violence.fight": 1,
        }
        session.exec(update(Job).where(col(Job.id) == first.id).values(finished_at=now - timedelta(days=3)))
        assert flag_counts(session, DEFAULT_TENANT, now - timedelta(days=1)) == {"weapons.shown": 1}
        assert flag_counts(session, "ten_other", now - timedelta(days=1)) == {}


def test_precisions_of_many_are_those_of_each(api: Api) -> None:
    tenant_id = reviewed(api.database, np.random.default_rng(8), World(videos=800, sampled=0.2))
    with api.database.read() as session:
        found = precisions(session, tenant_id, OWN.policies, OWN, ALWAYS)
        alone = policy_quality(session, tenant_id, POLICY, OWN, ALWAYS)
    assert found == {POLICY.id: alone.at[0].performance.precision}


def test_a_lead_sees_the_figures_on_the_page_and_others_do_not(api: Api) -> None:
    tenant_id = reviewed(api.database, np.random.default_rng(8), World(videos=800, sampled=0.2))
    with api.database.write() as session:
        for role in (Role.LEAD, Role.REVIEWER):
            accounts.create(session, f"{role}-there", PASSWORD, role=role, tenant_id=tenant_id)
    page = f"/policies/{POLICY.id}"
    for role in (Role.LEAD, Role.REVIEWER):
        with httpx.Client(base_url=api.url, headers=SAME, timeout=30) as client:
            client.post("/sign-in", data={"name": f"{role}-there", "password": PASSWORD})
            shown, figures = client.get(page), client.get(f"{page}/quality?days=0")
            assert shown.status_code == 200
            assert ("Suggested thresholds" in shown.text) == (role is Role.LEAD)
            assert figures.status_code == (200 if role is Role.LEAD else 403)
            if role is Role.LEAD:
                assert figures.text.count('class="dot"') == 10
                assert set(client.get("/policies/precisions").json()) == {POLICY.id}


def test_what_is_restricted_is_hidden_from_those_without_the_grant(api: Api) -> None:
    stored(api.database, [{policy.id: 0.1 for policy in OWN.policies}], policies=OWN)
    analysed(api.database, flag("child_safety.child_endangerment"))
    hidden = "/policies/child_safety.child_endangerment"
    for granted in (False, True):
        with browser(api, Role.LEAD, restricted=granted) as lead:
            page, tree = lead.get(hidden).text, lead.get("/policies").text
            assert ('class="bar-of"' in page) == granted
            assert ("Flags, 30 days" in page) == granted
            assert ("grant for child safety" in tree) != granted
            assert lead.get(f"{hidden}/quality").status_code == 422


def test_a_draft_is_checked_without_being_changed(api: Api) -> None:
    with browser(api, Role.LEAD) as lead:
        set_id = draft(lead)
        rows = rows_of(lead, set_id)
        wrong = [*rows[:-1], rows[-1] | {"review": 2, "title": IMAGE, "severity": SCRIPT}]
        told = lead.post(f"/policy-sets/{set_id}/check", json={"policies": wrong}).json()
        assert {(one["place"], one["field"]) for one in told["problems"]} == {(36, "review"), (36, "severity")}
        fine = [*rows[:-1], rows[-1] | {"at_least_s": 2, "block": "never", "blocked": "a duel"}]
        told = lead.post(f"/policy-sets/{set_id}/check", json={"policies": fine}).json()
        assert told["problems"] == []
        changed = {(one["policy"], one["field"]) for one in told["changes"]}
        assert changed == {(rows[-1]["id"], name) for name in ("at_least_s", "block", "blocked")}
        assert told["unscored"] == [rows[-1]["id"]]
        assert rows_of(lead, set_id) == rows
        assert problem(lead.get("/v1/policy-sets/pst_none")) == (404, "not_found")


def test_somebody_elses_change_is_not_written_over(api: Api) -> None:
    with browser(api, Role.LEAD) as lead:
        set_id = draft(lead)
        path = f"/v1/policy-sets/{set_id}"
        seen = lead.get(path).json()["created_at"]
        first = lead.patch(path, json={"name": "mine", "seen_at": seen})
        assert first.status_code == 200, first.text
        assert problem(lead.patch(path, json={"name": "theirs", "seen_at": seen})) == (409, "changed_meanwhile")
        assert problem(lead.post(f"{path}/activate", json={"reason": "r", "seen_at": seen})) == (
            409,
            "changed_meanwhile",
        )
        assert lead.patch(path, json={"name": "again", "seen_at": first.json()["changed_at"]}).status_code == 200
        assert lead.patch(path, json={"name": "whatever it is now"}).status_code == 200


def test_a_draft_can_be_of_what_is_in_force_of_an_earlier_set_and_of_the_services_own(api: Api) -> None:
    with browser(api, Role.LEAD) as lead:
        changed = draft(lead)
        rows = [one | {"enabled": False} if place else one for place, one in enumerate(rows_of(lead, changed))]
        lead.patch(f"/v1/policy-sets/{changed}", json={"policies": rows})
        lead.post(f"/v1/policy-sets/{changed}/activate", json={"reason": SCRIPT})
        bases = {"": 1, "own": 37, changed: 1}
        for of, enabled in bases.items():
            made = lead.post("/policies/drafts", data={"name": IMAGE, "of": of}).headers["location"]
            assert sum(one["enabled"] for one in rows_of(lead, made.rpartition("/")[2])) == enabled
        assert lead.post("/policies/drafts", data={"name": "x", "of": "pst_none"}).status_code == 404
        assert lead.post("/policies/drafts", data={"name": "  "}).status_code == 422
        page = lead.get("/policies").text
        assert "1 of 37 are on" in page
        assert SCRIPT not in page
        assert "<img src=x" not in page
        assert "never" in lead.get(f"/policy-sets/{changed}").text


def test_a_trial_tells_what_would_be_overturned_and_how_many_a_day(api: Api) -> None:
    jobs = [stored(api.database, [both(0.0, 0.7)]), stored(api.database, [both(0.0, 0.75)])]
    with api.database.write() as session:
        filing.file_missing(session)
    ann = person("ann")
    for outcome in (Outcome.APPROVE, Outcome.REMOVE):  # the surest score first
        decided(api.database, ann, must_claim(api.database, ann), outcome)
    stricter = policy_set(with_thresholds((FIGHT, GUN), {GUN.id: {"review": 0.9, "block": "never"}}))
    with api.database.read() as session:
        known = decided_flags.of_tenant(session, DEFAULT_TENANT)
        found = trials.run(session, DEFAULT_TENANT, policy_set((FIGHT, GUN)), stricter, OWN, decisions_of=known)
        now = clock(session)
        assert [(one.job_id, one.policy_id, one.confirmed) for one in found.gone] == [
            (jobs[0].id, GUN.id, True), (jobs[1].id, GUN.id, False)]  # fmt: skip
        assert trial_facts.days_of(session, DEFAULT_TENANT, None, now) == 1.0
        assert trial_facts.days_of(session, DEFAULT_TENANT, None, now + timedelta(days=3)) == pytest.approx(3, abs=0.1)
        named = trial_facts.videos_of(session, [job.id for job in jobs], restricted=False)
    assert {job_id: one.video_id for job_id, one in named.items()} == {job.id: job.video_id for job in jobs}
    with browser(api, Role.LEAD) as lead:
        set_id = draft(lead)
        rows = [one | {"review": 0.9, "keep": None} if one["id"] == GUN.id else one for one in rows_of(lead, set_id)]
        sent = {"policies": json.dumps(rows), "days": "7"}
        shown = lead.post(f"/policy-sets/{set_id}/what-if", data=sent).text
        assert all(f"/videos/{job.video_id}" in shown for job in jobs)
        assert "never asked of some videos" not in shown
        for bad in ("{", "{}", "[1]"):
            assert lead.post(f"/policy-sets/{set_id}/what-if", data={"policies": bad}).status_code == 422


def test_links_to_restricted_videos_are_for_those_with_the_grant(api: Api) -> None:
    job = analysed(api.database, flag("child_safety.child_endangerment"))
    with api.database.read() as session:
        assert trial_facts.videos_of(session, [job.id], restricted=False) == {}
        assert set(trial_facts.videos_of(session, [job.id], restricted=True)) == {job.id}


def test_of_a_set_that_is_no_draft_it_is_said_what_it_changed(api: Api) -> None:
    with browser(api, Role.LEAD) as lead:
        set_id = draft(lead, SCRIPT)
        rows = [one | {"blocked": IMAGE} if one["id"] == GUN.id else one for one in rows_of(lead, set_id)]
        lead.patch(f"/v1/policy-sets/{set_id}", json={"policies": rows})
        word_for_word = lead.get(f"/policy-sets/{set_id}/changes").text
        assert GUN.blocked in word_for_word
        assert "&lt;img src=x" in word_for_word
        lead.delete(f"/v1/policy-sets/{set_id}")
        page = lead.get(f"/policy-sets/{set_id}")
        assert "discarded" in page.text
        assert SCRIPT not in page.text
        assert 'id="editor"' not in page.text
    with browser(api, Role.VIEWER) as viewer:
        assert viewer.get(f"/policy-sets/{set_id}").status_code == 200
        assert "Make a draft" not in viewer.get("/policies").text
    with api.database.read() as session:
        assert policy_sets.active(session, DEFAULT_TENANT) is None
