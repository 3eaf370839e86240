"""Quality over a real socket: figures for leads, and a threshold's way from decisions into force."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Api
from simulated_review import POLICY, Library, World, reviewed
from sqlmodel import col, select
from test_api_review import client_of
from test_api_videos import problem

from vidlm.domain import Role
from vidlm.store.ledger import Audit
from vidlm.store.tables import Tenant

WORLD = World(videos=4000, sampled=0.2, doubled=0.1, golden=25)
HERE = f"/v1/policies/{POLICY.id}"


def library(api: Api, world: World = WORLD, seed: int = 60) -> httpx.Client:
    """A lead of a tenant with such a library."""
    tenant_id = reviewed(api.database, np.random.default_rng(seed), world)
    return httpx.Client(base_url=api.url, headers=api.key(tenant_id, Role.LEAD), timeout=60)


def propose(client: httpx.Client, goal: str, value: float, **more: Any) -> httpx.Response:
    return client.post(f"{HERE}/threshold-proposals", json={"goal": goal, "value": value, **more})


def review_threshold(client: httpx.Client) -> float:
    policies = client.get("/v1/policies").json()["policies"]
    (found,) = [one["review_threshold"] for one in policies if one["id"] == POLICY.id]
    return float(found)


def test_a_lead_sees_how_well_a_policy_does(api: Api) -> None:
    with library(api) as lead:
        found = lead.get(f"{HERE}/quality").json()
        assert found["source"] == {"model": "r1", "prompts": "1"}
        counts = found["counts"]
        assert counts["at_random"] == counts["decisions"] > 500
        assert (counts["golden_violations"], counts["golden_clean"]) == (25, 25)
        review, block = found["at"]
        assert (review["action"], review["threshold"], block["action"]) == ("review", POLICY.review_threshold, "block")
        for name in ("precision", "recall", "flagged", "true_precision", "true_recall"):
            assert review[name]["low"] <= review[name]["value"] <= review[name]["high"]
        assert found["calibration"]["error_after"] < found["calibration"]["error"]
        assert found["calibration"]["calibrator"]["method"] == found["calibration"]["method"]
        none = lead.get(f"{HERE}/quality", params={"until": "2020-01-01T00:00:00Z"}).json()
        assert (none["counts"]["decisions"], none["at"][0]["precision"]["value"]) == (0, None)
        people = lead.get("/v1/review/quality").json()
        assert people["agreement"]["kappa"] > 0.5
        assert len(people["reviewers"]) == 10
        assert people["reviewers"][0]["golden"]["accuracy"]["n"] > 0


def test_a_threshold_goes_from_decisions_into_force_by_a_leads_word(api: Api) -> None:
    with library(api) as lead:
        first = propose(lead, "precision", 0.7)
        assert first.status_code == 201, first.text
        asked = propose(lead, "precision", 0.85, confidence=0.9).json()
        assert asked["state"] == "proposed"
        assert asked["threshold"] > asked["threshold_before"] == review_threshold(lead)
        assert asked["basis"]["expected"]["precision"]["value"] >= 0.85
        assert asked["basis"]["method"] == "learn then test"
        assert len(asked["basis"]["digest"]) == 64
        states = [one["state"] for one in lead.get(f"{HERE}/threshold-proposals").json()["proposals"]]
        assert states == ["proposed", "superseded"]
        assert review_threshold(lead) == POLICY.review_threshold  # nothing changes by itself
        url = f"{HERE}/threshold-proposals/{asked['id']}"
        keyed = {"Idempotency-Key": "accept"}
        done = lead.post(f"{url}/accept", json={"reason": "toys <b>"}, headers=keyed)
        again = lead.post(f"{url}/accept", json={"reason": "toys <b>"}, headers=keyed)
        assert (done.status_code, again.json()) == (200, done.json())
        assert (done.json()["state"], done.json()["reason"]) == ("accepted", "toys <b>")
        assert review_threshold(lead) == pytest.approx(asked["threshold"], abs=1e-6)  # shown with six decimals
        row = lead.get(f"/v1/policy-sets/{done.json()['policy_set_id']}").json()
        assert (row["state"], row["reason"]) == ("active", "toys <b>")
        assert {one["field"] for one in row["changes"]} == {"review_threshold", "keep_threshold"}
        assert row["unscored"] == []
        assert problem(lead.post(f"{url}/decline", json={"reason": "no"})) == (409, "already_settled")
        # what was decided before still counts, with the threshold of its time
        assert lead.get(f"{HERE}/quality").json()["counts"]["left_out"]["question"] == 0
    with api.database.read() as session:
        query = select(Audit).where(col(Audit.event).startswith("threshold.")).order_by(col(Audit.id))
        events = [(row.event, row.details["policy"]) for row in session.exec(query).all()]
        told = str([row.details for row in session.exec(select(Audit)).all()])
    names = ("proposed", "superseded", "proposed", "accepted")
    assert events == [(f"threshold.{name}", POLICY.id) for name in names]
    assert "toys" not in told


def test_a_proposal_may_be_declined_and_may_come_too_late(api: Api) -> None:
    with library(api) as lead:
        declined = propose(lead, "recall", 0.6).json()
        url = f"{HERE}/threshold-proposals"
        answer = lead.post(f"{url}/{declined['id']}/decline", json={"reason": "too many"}).json()
        assert (answer["state"], answer["policy_set_id"]) == ("declined", None)
        late = propose(lead, "queue", 100).json()
        policies = [{**one, "blocked": "a brawl"} for one in _rows(lead) if one["id"] == POLICY.id]
        made = lead.post("/v1/policy-sets", json={"name": "brawls", "policies": policies}).json()
        assert lead.post(f"/v1/policy-sets/{made['id']}/activate", json={"reason": "x"}).status_code == 200
        refused = lead.post(f"{url}/{late['id']}/accept", json={"reason": "short"})
        assert problem(refused) == (409, "outdated")
        assert problem(propose(lead, "precision", 0.9)) == (409, "too_few_decisions")  # on this question


def _rows(lead: httpx.Client) -> list[dict[str, Any]]:
    made = lead.post("/v1/policy-sets", json={"name": "copy"}).json()
    rows: list[dict[str, Any]] = made["policies"]
    return rows


def test_too_few_decisions_are_told_in_numbers(api: Api) -> None:
    with library(api, World(videos=40, rate=0.2, sampled=0.5), seed=61) as lead:
        refused = propose(lead, "precision", 0.9)
        assert problem(refused) == (409, "too_few_decisions")
        assert "36 decided videos with a violation are needed, there are " in refused.json()["detail"]
        assert problem(propose(lead, "recall", 0.95, confidence=0.9)) == (409, "too_few_decisions")
        assert problem(propose(lead, "queue", 0.01)) == (409, "too_few_decisions")
        for wrong in ({"goal": "precision", "value": 1}, {"goal": "queue", "value": 0}, {"goal": "recall", "value": 0.5,
                      "confidence": 1.5}, {"goal": "queue", "value": 5, "confidence": 0.9}):  # fmt: skip
            assert problem(lead.post(f"{HERE}/threshold-proposals", json=wrong)) == (422, "invalid_proposal")
        naive = {"since": "2026-01-01T00:00:00"}
        assert problem(lead.get(f"{HERE}/quality", params=naive)) == (422, "invalid_request")


def test_without_a_sample_nobody_knows_what_is_missed(api: Api) -> None:
    with library(api, replace(WORLD, sampled=0.0, golden=0)) as lead:
        found = lead.get(f"{HERE}/quality").json()
        assert found["at"][0]["precision"]["value"] > 0.5
        assert found["at"][0]["recall"]["value"] is found["prevalence"]["value"] is None
        assert found["calibration"]["at_random"] is False
        assert found["at"][0]["true_precision"] is None
        assert problem(propose(lead, "recall", 0.8)) == (409, "no_random_sample")
        precise = propose(lead, "precision", 0.75).json()
        assert precise["threshold"] >= POLICY.review_threshold
        assert precise["basis"]["expected"]["recall"]["value"] is None


def test_a_day_that_is_unlike_the_past_raises_an_alarm(api: Api) -> None:
    rng = np.random.default_rng(62)
    world, now = World(videos=2000), datetime.now(UTC)
    with api.database.write() as session:
        session.add(Tenant(id="ten_drift", name="drift"))
        session.flush()
        for days, shift in ((20, 1.0), (10, 1.0), (0.5, 2.0)):
            past = Library("ten_drift", rng, world, now - timedelta(days=days))
            scores = rng.beta(1, 6, 300)
            past.analysed(session, np.clip(scores, 0, 0.45), {"weapons.shown": rng.beta(shift, 6, 300)})
    with httpx.Client(base_url=api.url, headers=api.key("ten_drift", Role.LEAD), timeout=60) as lead:
        today = lead.get("/v1/review/drift").json()
        assert today["alarms"] == ["weapons.shown"]
        tests = {one["policy_id"]: one for one in today["policies"]}
        assert tests["weapons.shown"]["distance"]["p_corrected"] <= 0.01
        assert tests[POLICY.id]["distance"]["alarm"] is False
        assert tests["regulated.alcohol"]["distance"]["reason"].startswith("Too few")
        assert not any(policy_id.startswith("child_safety.") for policy_id in tests)
        quiet = {"until": (now - timedelta(days=9.5)).isoformat()}
        assert lead.get("/v1/review/drift", params=quiet).json()["alarms"] == []


PATHS = (f"{HERE}/quality", f"{HERE}/threshold-proposals", "/v1/review/quality", "/v1/review/drift")


@pytest.mark.parametrize("path", PATHS)
def test_quality_is_for_leads(api: Api, path: str) -> None:
    for role in (Role.VIEWER, Role.REVIEWER, Role.LEAD):
        with client_of(api, role) as client:
            answer = client.get(path)
        if role is Role.LEAD:
            assert answer.is_success
        else:
            assert problem(answer) == (403, "forbidden")


def test_what_is_restricted_or_another_tenants_is_not_told(api: Api) -> None:
    lead = api.client
    for method, path in (("GET", "quality"), ("POST", "threshold-proposals")):
        url = f"/v1/policies/child_safety.child_endangerment/{path}"
        body = {"goal": "precision", "value": 0.9} if method == "POST" else None
        assert problem(lead.request(method, url, json=body)) == (422, "restricted_policy")
    assert problem(lead.get("/v1/policies/no.such/quality")) == (404, "not_found")
    assert problem(lead.get("/v1/policies/%00/threshold-proposals")) == (404, "not_found")
    with library(api) as owner:
        made = propose(owner, "precision", 0.7).json()
        assert lead.get(f"{HERE}/threshold-proposals").json()["proposals"] == []
        for step in ("accept", "decline"):
            url = f"{HERE}/threshold-proposals/{made['id']}/{step}"
            assert problem(lead.post(url, json={"reason": "mine"})) == (404, "not_found")
    with client_of(api, Role.LEAD) as other:
        assert other.get("/v1/review/quality").json()["reviewers"] == []
