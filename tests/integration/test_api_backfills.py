"""Backfills over a real socket: asked for once, followed, listed, called off; what they found, beside the analysis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from conftest import Api
from sqlmodel import col, select
from test_api_videos import finish, problem, upload
from test_policy_sets import LASER, activate, draft

from vidlm.domain import Priority
from vidlm.jobs import backfills as units
from vidlm.jobs.backfills import Part
from vidlm.jobs.claims import claim_next
from vidlm.policy import backfills
from vidlm.queue import Task
from vidlm.store.backfill import BackfillWork
from vidlm.store.ledger import Audit, Outbox
from vidlm.store.tables import Tenant

SHOWN = "/v1/policies/weapons.shown/backfill"


def videos(api: Api, count: int) -> list[str]:
    ids = [upload(api, f"video {number}".encode()).json()["id"] for number in range(count)]
    for video_id in ids:
        finish(api, video_id)
    return ids


def begin(api: Api, path: str = SHOWN, **asked: Any) -> dict[str, Any]:
    answer = api.client.post(path, json=asked)
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/backfills/{document['id']}"
    return document


def work_off(api: Api, scores: dict[int, float], most: int = 10**6) -> int:
    """Do what workers would, with invented scores; how many units there were."""
    count = 0
    while count < most:
        with api.database.write() as session:
            held = claim_next(session, [Task.BACKFILL], lease_s=30, max_attempts=3)
        if held is None:
            break
        with api.database.write() as session:
            units.scored(session, held, Part(scores, 10.0, 0.0, None, "r1"))
        count += 1
    return count


def read(api: Api, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get(f"/v1/backfills/{document['id']}").json()
    return found


def audited(api: Api) -> list[tuple[str, dict[str, Any]]]:
    with api.database.read() as session:
        rows = session.exec(select(Audit).where(col(Audit.event).startswith("backfill")).order_by(col(Audit.id)))
        return [(row.event, row.details) for row in rows]


def test_a_backfill_is_followed_from_asking_to_its_end(api: Api) -> None:
    ids = videos(api, 3)
    began = begin(api)
    assert (began["state"], began["fraction"], began["policy_set_id"], began["apply"]) == ("running", 0, None, False)
    assert (began["videos"]["total"], began["minutes"]) == (3, {"total": 0.5, "done": 0, "needs_decode": 0})
    assert work_off(api, {0: 0.1, 1: 0.8}, most=2) == 2
    half = read(api, began)
    assert (half["fraction"], half["videos"]["done"], half["minutes"]["done"]) == (0.667, 2, 0.33)
    work_off(api, {0: 0.1, 1: 0.8})
    done = read(api, began)
    assert (done["state"], done["fraction"], done["videos"]["flagged"]) == ("done", 1, 3)
    assert done["ended_at"] is not None
    (shown,) = api.client.get(f"/v1/videos/{ids[0]}/backfilled").json()["items"]
    assert (shown["policy_id"], shown["backfill_id"], shown["model_revision"]) == ("weapons.shown", began["id"], "r1")
    assert shown["segments"][1] == {"index": 1, "start_s": 5.0, "end_s": 10.0, "score": 0.8}
    assert api.client.get(f"/v1/videos/{ids[0]}").json()["verdict"]["reason"] == "a.b"  # scores only: as it was
    events = audited(api)
    assert [event for event, _ in events] == ["backfill.asked", "backfill.finished"]
    assert events[1][1] | {"done": 3, "videos": 3} == events[1][1]


def test_the_same_question_is_put_to_a_library_once_at_a_time(api: Api) -> None:
    videos(api, 1)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.client.post(SHOWN), range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    began = next(answer.json() for answer in answers if answer.status_code == 202)
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert problem(refused) == (409, "backfill_running")
    assert refused.json()["backfill_id"] == began["id"]
    other = begin(api, "/v1/policies/violence.fight/backfill")  # another question may be asked meanwhile
    work_off(api, {0: 0.1})
    assert read(api, other)["state"] == read(api, began)["state"] == "done"
    begin(api)  # and this one again


def test_a_request_that_is_sent_again_begins_nothing(api: Api) -> None:
    videos(api, 1)
    answers = [api.client.post(SHOWN, json={"apply": True}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotent-replayed"] == "true"
    other = api.client.post(SHOWN, json={}, headers={"Idempotency-Key": "k"})
    assert problem(other) == (422, "idempotency_key_reused")
    assert len(api.client.get("/v1/backfills").json()["items"]) == 1


def test_which_policy_is_meant(api: Api) -> None:
    videos(api, 1)
    laser = "/v1/policies/weapons.laser/backfill"
    assert problem(api.client.post(laser)) == (404, "not_found")
    made = draft(api, policies=[LASER | {"enabled": False}, LASER | {"id": "weapons.other"}])
    assert problem(api.client.post(SHOWN, json={"policy_set_id": made["id"]})) == (404, "not_found")
    assert problem(api.client.post(SHOWN, json={"policy_set_id": "pst_\0"})) == (404, "not_found")
    asked = {"policy_set_id": made["id"], "apply": True}
    assert problem(api.client.post(laser, json=asked)) == (409, "not_in_force")
    tried = begin(api, laser, policy_set_id=made["id"])
    assert (tried["policy"]["blocked"], tried["policy_set_id"]) == ("a laser gun", made["id"])
    api.client.post(f"/v1/backfills/{tried['id']}/cancel")
    api.client.patch(f"/v1/policy-sets/{made['id']}", json={"policies": [LASER]})
    activate(api, made["id"])
    assert begin(api, laser, apply=True)["policy_set_id"] == made["id"]
    assert begin(api)["policy_set_id"] is None  # not in the set in force: the service's own
    assert problem(api.client.post("/v1/policies/violence.fight/backfill", json={"apply": True})) == (
        409,
        "not_in_force",
    )


def test_filters_say_which_videos(api: Api) -> None:
    ids = videos(api, 2)
    upload(api, b"not ready")
    last = api.client.get(f"/v1/videos/{ids[1]}").json()["created_at"]
    assert begin(api, created_from=last)["videos"]["total"] == 1
    fight = "/v1/policies/violence.fight/backfill"
    assert begin(api, fight, verdict=["review"], policy="a.b")["videos"]["total"] == 2
    none = begin(api, "/v1/policies/graphic.blood_gore/backfill", verdict=["block"])
    assert (none["videos"]["total"], none["state"], none["fraction"]) == (0, "done", 1)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    everything = begin(api, "/v1/policies/graphic.mutilation/backfill", created_until=later)
    assert everything["videos"]["total"] == 2
    assert work_off(api, {0: 0.1}) == 5
    assert read(api, everything)["filters"] == {"created_until": everything["filters"]["created_until"]}


@pytest.mark.parametrize(
    "asked",
    [{"created_from": "yesterday"}, {"verdict": ["perhaps"]}, {"policy": "A B"}, {"client_id": "a\0"}, {"apply": 3}],
)
def test_a_mistake_is_explained(api: Api, asked: dict[str, Any]) -> None:
    assert problem(api.client.post(SHOWN, json=asked)) == (422, "invalid_request")
    assert api.client.get("/v1/backfills").json() == {"items": [], "next_before": None}


def test_a_backfill_is_called_off(api: Api) -> None:
    videos(api, 2)
    began = begin(api)
    work_off(api, {0: 0.1}, most=1)
    cancelled = api.client.post(f"/v1/backfills/{began['id']}/cancel")
    document = cancelled.json()
    assert (cancelled.status_code, document["state"], document["videos"]["done"]) == (202, "cancelled", 1)
    assert document["cancelled_by"] == began["created_by"]
    assert api.client.post(f"/v1/backfills/{began['id']}/cancel").json() == document
    assert work_off(api, {0: 0.1}) == 0
    with api.database.read() as session:
        assert session.exec(select(Outbox)).all() == []
    assert [event for event, _ in audited(api)] == ["backfill.asked", "backfill.cancelled"]
    again = begin(api)
    assert work_off(api, {0: 0.1}) == 2
    assert problem(api.client.post(f"/v1/backfills/{again['id']}/cancel")) == (409, "already_ended")


def test_a_library_is_planned_a_page_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "PAGE", 4)
    videos(api, 11)
    began = begin(api)
    seen = []
    while True:
        with api.database.read() as session:
            seen.append(len(session.exec(select(BackfillWork)).all()))
            assert session.exec(select(BackfillWork.priority)).all() == [len(Priority)] * seen[-1]
        if not work_off(api, {0: 0.1}, most=1):
            break
    assert (seen[0], seen[-1], seen) == (4, 11, sorted(seen))
    done = read(api, began)
    assert (done["state"], done["videos"]["total"], done["videos"]["done"]) == ("done", 11, 11)


def test_backfills_are_listed_in_pages_and_are_nobody_elses(api: Api) -> None:
    ids = [begin(api)["id"] for _ in range(3)]  # of an empty library: done at once
    page = api.client.get("/v1/backfills?limit=2").json()
    rest = api.client.get("/v1/backfills", params={"limit": 2, "before": page["next_before"]}).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == sorted(ids, reverse=True)
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    theirs = api.key("ten_other")
    assert httpx.get(f"{api.url}/v1/backfills", headers=theirs).json()["items"] == []
    assert httpx.get(f"{api.url}/v1/backfills/{ids[0]}", headers=theirs).status_code == 404
    videos(api, 1)
    begin(api)
    assert httpx.post(f"{api.url}{SHOWN}", headers=theirs).json()["videos"]["total"] == 0


def test_there_are_only_so_many_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfills, "MOST_RUNNING", 1)
    videos(api, 1)
    begin(api)
    refused = api.client.post("/v1/policies/violence.fight/backfill")
    assert problem(refused) == (409, "too_many_backfills")
