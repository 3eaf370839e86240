"""Review over a real socket: who may do what, the whole way of an item, and 200 people at once."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from conftest import Api
from review_helpers import analysed, flag
from sqlmodel import col, update
from test_api_videos import problem

from vidlm.domain import Role
from vidlm.store.review import ReviewItem
from vidlm.store.tables import DEFAULT_TENANT

PEOPLE = 200


def client_of(api: Api, role: Role, *, restricted: bool = False) -> httpx.Client:
    return httpx.Client(base_url=api.url, headers=api.key(DEFAULT_TENANT, role, restricted=restricted), timeout=60)


def claim(client: httpx.Client, *names: str) -> dict[str, Any]:
    answer = client.post("/v1/review/claim", json={"queues": list(names)})
    assert answer.status_code == 200, answer.text
    item: dict[str, Any] = answer.json()["item"]
    return item


def saying(item: dict[str, Any], outcome: str, **more: Any) -> dict[str, Any]:
    """Remove: all flags are right; approve: all are wrong."""
    verdict = {"verdict": "confirm"} if outcome == "remove" else {"verdict": "reject", "reason": "not_there"}
    told = [{"flag_id": one["id"], **verdict} for one in item["flags"]]
    return {"token": item["lock"]["token"], "outcome": outcome, "flags": told, **more}


def decide(client: httpx.Client, item: dict[str, Any], outcome: str, **more: Any) -> httpx.Response:
    return client.post(f"/v1/review/items/{item['id']}/decision", json=saying(item, outcome, **more))


def test_the_whole_way_of_an_item(api: Api) -> None:
    jobs = [analysed(api.database, flag(score=0.9)), analysed(api.database, flag(score=0.8))]
    with client_of(api, Role.REVIEWER) as ann:
        waits = {queue["name"]: queue["waiting"] for queue in ann.get("/v1/review/queues").json()["queues"]}
        assert waits["everything"]["by_severity"] == {"low": 2}
        listed = ann.get("/v1/review/items", params={"limit": 1}).json()
        assert listed["items"][0]["video_id"] == jobs[0].video_id
        rest = ann.get("/v1/review/items", params={"cursor": listed["next_cursor"]}).json()
        assert ([one["video_id"] for one in rest["items"]], rest["next_cursor"]) == ([jobs[1].video_id], None)
        item = claim(ann)
        assert (item["video_id"], item["occasion"], item["state"]) == (jobs[0].video_id, "flagged", "claimed")
        assert item["flags"][0]["evidence_s"] == [1.0]
        assert ann.get(f"/v1/review/items/{item['id']}").json() == item
        kept = ann.post(f"/v1/review/items/{item['id']}/keep", json={"token": item["lock"]["token"]}).json()
        assert kept["until"] > item["lock"]["until"]
        assert ann.get("/v1/review/items", params={"state": "claimed", "mine": True}).json()["items"][0]["lock"] == kept
        done = decide(ann, item, "remove", watched_s=2.5, advance={}).json()
        assert (done["review"], done["next"]["item"]["video_id"]) == ("removed", jobs[1].video_id)
        assert api.client.get(f"/v1/videos/{jobs[0].video_id}").json()["review"] == "removed"
        history = ann.get(f"/v1/videos/{jobs[0].video_id}/decisions").json()
        assert history["decisions"] == [done["decision"]]
        second = done["next"]["item"]
        token = {"token": second["lock"]["token"]}
        assert ann.post(f"/v1/review/items/{second['id']}/release", json=token).status_code == 204
        undone = ann.post(f"/v1/review/decisions/{done['decision']['id']}/undo").json()
        assert (undone["id"], undone["lock"]["token"]) == (item["id"], item["lock"]["token"] + 1)
        assert claim(ann)["id"] == second["id"]
        ann.post(f"/v1/review/items/{second['id']}/release", json={"token": second["lock"]["token"] + 1})
        skipping = {"without": [second["id"]]}
        assert ann.post("/v1/review/claim", json=skipping).json()["item"] is None  # it is left to others
        assert claim(ann)["id"] == second["id"]
        assert ann.get("/v1/review/me/exposure").json()["break_because"] is None


def test_what_is_wrong_is_said(api: Api) -> None:
    analysed(api.database, flag())
    with client_of(api, Role.REVIEWER) as ann, client_of(api, Role.REVIEWER) as bob:
        item = claim(ann)
        assert problem(decide(bob, item, "remove")) == (409, "claim_lost")
        assert problem(decide(ann, item | {"flags": []}, "remove")) == (422, "invalid_decision")
        wrong = saying(item, "remove") | {"outcome": "shrug"}
        assert problem(ann.post(f"/v1/review/items/{item['id']}/decision", json=wrong)) == (422, "invalid_request")
        assert decide(ann, item, "remove").status_code == 200
        assert problem(decide(ann, item, "remove")) == (409, "already_decided")
        assert problem(ann.post("/v1/review/claim", json={"queues": ["no_such"]})) == (404, "not_found")
        assert problem(ann.get("/v1/review/items", params={"cursor": "1:2"})) == (422, "invalid_request")
        lead = api.client
        assert problem(lead.post("/v1/review/queues", json={"name": "x", "title": "X", "rule": {"share": 2}})) == (
            422,
            "invalid_rule",
        )
        made = {"name": "x", "title": "X", "rule": {"share": 0.5}}
        assert lead.post("/v1/review/queues", json=made).status_code == 201
        assert problem(lead.post("/v1/review/queues", json=made)) == (409, "queue_exists")
        assert problem(lead.patch("/v1/review/settings", json={"lock_s": 1})) == (422, "invalid_settings")
        assert problem(lead.delete("/v1/review/queues/everything")) == (409, "built_in")


def test_a_decision_that_is_sent_twice_is_made_once(api: Api) -> None:
    analysed(api.database, flag())
    analysed(api.database, flag())
    with client_of(api, Role.REVIEWER) as ann:
        item = claim(ann)
        asked = saying(item, "remove", advance={})
        with ThreadPoolExecutor(4) as pool:  # a double click, and a retry
            answers = list(
                pool.map(
                    lambda _: ann.post(
                        f"/v1/review/items/{item['id']}/decision", json=asked, headers={"Idempotency-Key": "once"}
                    ),
                    range(4),
                )
            )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


def test_who_may_not_see_child_safety_does_not(api: Api) -> None:
    job = analysed(api.database, flag("child_safety.child_endangerment"))
    with client_of(api, Role.REVIEWER, restricted=True) as may, client_of(api, Role.LEAD) as lead:
        assert claim(lead) is None
        item = claim(may)
        assert item["video_id"] == job.video_id
        assert problem(lead.get(f"/v1/review/items/{item['id']}")) == (404, "not_found")
        assert lead.get("/v1/review/items", params={"state": "claimed"}).json()["items"] == []
        assert decide(may, item, "remove").status_code == 200
        assert lead.get(f"/v1/videos/{job.video_id}/decisions").json()["decisions"] == []
        golden = {"video_id": job.video_id, "outcome": "remove", "violated": []}
        assert problem(lead.post("/v1/review/golden", json=golden)) == (404, "not_found")
    restricted = client_of(api, Role.LEAD, restricted=True)
    with restricted as may, client_of(api, Role.LEAD) as lead:
        made = may.post("/v1/review/golden", json=golden).json()
        assert problem(lead.delete(f"/v1/review/golden/{made['id']}")) == (404, "not_found")
        assert may.delete(f"/v1/review/golden/{made['id']}").status_code == 204


def test_an_owner_appeals_and_hears_what_came_of_it(api: Api) -> None:
    job = analysed(api.database, flag())
    url = f"/v1/videos/{job.video_id}/appeals"
    with client_of(api, Role.REVIEWER) as ann:
        decide(ann, claim(ann), "remove")
    made = api.client.post(url, json={"note": "a toy <b>"})
    assert made.status_code == 201
    assert api.client.get(url).json()["appeals"] == [made.json()]
    decide(api.client, claim(api.client, "appeals"), "approve")
    assert api.client.get(url).json()["appeals"] == [made.json() | {"outcome": "approve"}]


def test_nobody_can_tell_a_golden_item(api: Api) -> None:
    job, other = analysed(api.database, flag()), analysed(api.database, flag())
    first = claim(api.client)
    decide(api.client, first, "remove")
    golden = {"video_id": first["video_id"], "outcome": "remove", "violated": [first["flags"][0]["id"]]}
    assert api.client.post("/v1/review/golden", json=golden).status_code == 201
    api.client.patch("/v1/review/settings", json={"golden_share": 0.5})
    with client_of(api, Role.REVIEWER) as ann:
        got = []
        while len(got) < 2:
            if (item := claim(ann)) is not None:
                got.append(item)
        assert {item["video_id"] for item in got} == {job.video_id, other.video_id}
        same = ("queue", "occasion", "state", "severity", "score", "restricted", "reason", "duration_s")
        assert {key: got[0][key] for key in same} == {key: got[1][key] for key in same}
        assert [item.keys() for item in got] == [got[0].keys()] * 2
        answers = [decide(ann, item, "approve").json() for item in got]
        assert [answer["decision"]["occasion"] for answer in answers] == ["flagged", "flagged"]
        assert [answer["asked_next"] for answer in answers] == [None, None]
    assert api.client.get(f"/v1/videos/{first['video_id']}").json()["review"] == "removed"


def test_two_hundred_people_at_once_and_some_of_them_die(api: Api) -> None:
    """Nobody gets what another has; what the dead held is somebody's again; all of it is decided once."""
    jobs = {analysed(api.database, flag(score=0.5 + number / 1000)).video_id for number in range(PEOPLE // 4)}
    keys = [api.key(DEFAULT_TENANT, Role.REVIEWER) for _ in range(PEOPLE)]
    held: Counter[str] = Counter()
    decided: Counter[str] = Counter()

    def claimed(client: httpx.Client) -> dict[str, Any] | None:
        while (answer := client.post("/v1/review/claim")).status_code == 503:  # too many at once for SQLite
            time.sleep(0.2)
        assert answer.status_code == 200, answer.text
        item: dict[str, Any] | None = answer.json()["item"]
        return item

    def first_round(number: int) -> None:
        with httpx.Client(base_url=api.url, headers=keys[number], timeout=120) as client:
            item = claimed(client)
            if item is None:
                return
            held[item["id"]] += 1
            if number % 2:  # the others are never heard of again
                decided[item["video_id"]] += decide(client, item, "approve").status_code == 200

    def second_round(number: int) -> None:
        with httpx.Client(base_url=api.url, headers=keys[number], timeout=120) as client:
            while (item := claimed(client)) is not None:
                decided[item["video_id"]] += decide(client, item, "approve").status_code == 200

    with ThreadPoolExecutor(PEOPLE) as pool:
        list(pool.map(first_round, range(PEOPLE)))
    assert len(held) == len(jobs)
    assert set(held.values()) == {1}
    ago = datetime.now(UTC) - timedelta(seconds=1)
    with api.database.write() as session:  # time passes
        session.exec(update(ReviewItem).where(col(ReviewItem.state) == "claimed").values(claimed_until=ago))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(second_round, range(8)))
    assert decided == dict.fromkeys(jobs, 1)


def test_what_child_safety_flagged_is_shown_to_those_who_may_see_it(api: Api) -> None:
    job = analysed(api.database, flag("child_safety.child_endangerment"))
    paths = ("analysis", "content", "poster", "preview", "thumbnails", "thumbnails/0")
    with client_of(api, Role.LEAD) as lead, client_of(api, Role.VIEWER, restricted=True) as may:
        assert lead.get(f"/v1/videos/{job.video_id}").json()["state"] == "ready"  # that it is there is no secret
        for path in paths:
            assert problem(lead.get(f"/v1/videos/{job.video_id}/{path}")) == (404, "not_found"), path
        asked = lead.post(f"/v1/videos/{job.video_id}/questions", json={"question": "what?"})
        assert problem(asked) == (404, "not_found")
        assert may.get(f"/v1/videos/{job.video_id}/analysis").status_code == 200
    assert api.client.get(f"/v1/videos/{job.video_id}/analysis").status_code == 200
