"""Sets of policies over a real socket: drafted, changed, put in force for one tenant, kept for ever after."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from clips import H264, numbered
from conftest import Api
from sqlmodel import col, select
from test_api_videos import problem
from worker_helpers import accept, fresh_runtime, owed, run_all

from vidlm.moderation.policies import load_policies, read_policies
from vidlm.policy import policy_sets
from vidlm.queue import Task
from vidlm.store.ledger import Audit
from vidlm.store.queries import find_document, segments_of
from vidlm.store.tables import DEFAULT_TENANT, Job, Tenant
from workers.tasks import work

LASER: dict[str, Any] = {
    "id": "weapons.laser",
    "title": "Laser",
    "blocked": "a laser gun",
    "severity": "low",
    "review": 0.5,
    "block": "never",
}


def draft(api: Api, name: str = "ours", **more: Any) -> dict[str, Any]:
    answer = api.client.post("/v1/policy-sets", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/policy-sets/{document['id']}"
    return document


def activate(api: Api, set_id: str, reason: str = "because") -> httpx.Response:
    return api.client.post(f"/v1/policy-sets/{set_id}/activate", json={"reason": reason})


def audited(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    with api.database.read() as session:
        rows = session.exec(select(Audit).where(col(Audit.event).startswith("policy_set")).order_by(col(Audit.id)))
        return [(row.event, row.target_id, row.details) for row in rows]


def test_a_draft_is_a_copy_of_what_is_in_force(api: Api) -> None:
    made = draft(api)
    own = load_policies()
    assert read_policies(made["policies"]) == own.policies
    assert (made["number"], made["state"], made["version"]) == (1, "draft", own.version)
    assert (made["based_on"], made["changes"], made["unscored"]) == (None, [], [])
    assert api.client.get(f"/v1/policy-sets/{made['id']}").json() == made
    assert api.client.get("/v1/policies").json()["policy_set_id"] is None  # nothing is in force yet


def test_what_was_changed_is_said_and_audited_without_its_texts(api: Api) -> None:
    made = draft(api)
    fight, knife, *others = (row for row in made["policies"] if row["id"] in ("violence.fight", "weapons.shown"))
    assert not others
    rows = [fight | {"review": 0.45}, knife | {"blocked": "a sword"}, LASER]
    answer = api.client.patch(f"/v1/policy-sets/{made['id']}", json={"policies": rows, "name": "less"})
    changed = answer.json()
    assert (answer.status_code, changed["name"], changed["changed_by"]) == (200, "less", changed["created_by"])
    texts = [one["text"] for one in changed["changes"]]
    assert texts[:3] == [
        "violence.fight: review 0.5 -> 0.45",
        f"weapons.shown: blocked {knife['blocked']!r} -> 'a sword'",
        "weapons.laser: added",
    ]
    assert len(texts) == 3 + 35  # all others were removed
    assert changed["unscored"] == ["weapons.shown", "weapons.laser"]
    _, (event, target, details) = audited(api)
    assert (event, target, details["version"]) == ("policy_set.changed", made["id"], changed["version"])
    assert {"policy": "violence.fight", "field": "review_threshold", "before": 0.5, "after": 0.45} in details["changes"]
    assert {"policy": "weapons.shown", "field": "blocked"} in details["changes"]
    assert "sword" not in str(details)


def test_a_set_in_force_replaces_the_one_before_for_its_tenant_alone(api: Api) -> None:
    first, second = draft(api, policies=[LASER]), draft(api, "second")
    assert activate(api, first["id"], "a first try").json()["state"] == "active"
    answer = activate(api, second["id"], "a better one")
    document = answer.json()
    assert (answer.status_code, document["state"], document["reason"]) == (200, "active", "a better one")
    assert document["activated_by"] == document["created_by"]
    assert api.client.get("/v1/policies").json()["policy_set_id"] == second["id"]
    retired = api.client.get(f"/v1/policy-sets/{first['id']}").json()
    assert (retired["state"], retired["retired_at"] is not None) == ("retired", True)
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    theirs = httpx.get(f"{api.url}/v1/policies", headers=api.key("ten_other")).json()
    assert (theirs["policy_set_id"], theirs["version"]) == (None, load_policies().version)
    assert audited(api)[-1][2]["replaces"] == first["id"]


def test_a_draft_may_go_on_from_any_set(api: Api) -> None:
    laser = draft(api, policies=[LASER, LASER | {"id": "weapons.off", "enabled": False}])
    activate(api, laser["id"])
    assert [row["id"] for row in draft(api)["policies"]] == ["weapons.laser", "weapons.off"]  # the disabled one too
    from_draft = draft(api, based_on=draft(api, policies=[LASER | {"review": 0.7}])["id"])
    assert from_draft["policies"][0]["review"] == 0.7
    other = draft(api, policies=[LASER | {"review": 0.6}])
    assert (other["based_on"], other["changes"][0]["text"]) == (laser["id"], "weapons.laser: review 0.5 -> 0.6")


def test_policies_may_come_as_the_text_of_a_file(api: Api) -> None:
    assert draft(api, yaml=yaml.safe_dump({"policies": [LASER]}))["policies"][0]["blocked"] == "a laser gun"


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ({"policies": [LASER | {"review": 2}]}, "invalid_policy", "policy 'weapons.laser': field `review` is 2"),
        ({"policies": [LASER, LASER]}, "invalid_policy", "the id is used twice"),
        ({"policies": []}, "invalid_policy", "no policy is enabled"),
        ({"policies": [LASER | {"reveiw": 1}]}, "invalid_policy", "unknown field 'reveiw'"),
        ({"policies": [3]}, "invalid_request", "policies"),
        ({"yaml": "policies: ["}, "invalid_policy", "not valid YAML"),
        ({"yaml": "policies: []", "policies": []}, "invalid_request", "not both"),
        ({"name": ""}, "invalid_request", "name"),
    ],
)
def test_a_mistake_is_explained(api: Api, asked: dict[str, Any], code: str, says: str) -> None:
    answer = api.client.post("/v1/policy-sets", json={"name": "wrong"} | asked)
    assert problem(answer) == (422, code)
    assert says in answer.json()["detail"]
    assert api.client.get("/v1/policy-sets").json() == {"items": [], "next_before": None}


def test_what_was_in_force_is_never_changed_again(api: Api) -> None:
    first, discarded = draft(api, policies=[LASER]), draft(api)
    activate(api, first["id"])
    assert api.client.delete(f"/v1/policy-sets/{discarded['id']}").json()["state"] == "retired"
    for one in (first, discarded):
        address = f"/v1/policy-sets/{one['id']}"
        assert problem(api.client.patch(address, json={"name": "other"})) == (409, "not_a_draft")
        assert problem(activate(api, one["id"])) == (409, "not_a_draft")
        assert problem(api.client.delete(address)) == (409, "not_a_draft")


def test_two_activations_at_once_leave_one_in_force(api: Api) -> None:
    ids = [draft(api, str(number), policies=[LASER])["id"] for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert {answer.status_code for answer in pool.map(lambda one: activate(api, one), ids)} == {200}
    states = [one["state"] for one in api.client.get("/v1/policy-sets").json()["items"]]
    assert sorted(states) == ["active"] + ["retired"] * 5


def test_drafts_are_limited_and_listed_in_pages(api: Api) -> None:
    with api.database.write() as session:
        for number in range(policy_sets.MAX_DRAFTS):
            policy_sets.create(
                session, tenant_id=DEFAULT_TENANT, actor="key_x", name=str(number), policies=read_policies([LASER])
            )
            session.flush()
    assert problem(api.client.post("/v1/policy-sets", json={"name": "more"})) == (409, "too_many_drafts")
    page = api.client.get("/v1/policy-sets?limit=30").json()
    rest = api.client.get("/v1/policy-sets", params={"limit": 30, "before": page["next_before"]}).json()
    numbers = [one["number"] for one in page["items"] + rest["items"]]
    assert numbers == list(range(policy_sets.MAX_DRAFTS, 0, -1))
    assert rest["next_before"] is None


def test_a_job_is_scored_by_what_was_in_force_when_it_was_prepared(
    tmp_path: Path, tiny_random_checkpoint: Path, few_policies: Path, database_url: str
) -> None:
    clip = numbered(tmp_path / "four.mp4", *H264, frames=40, fps=10).path.read_bytes()
    with fresh_runtime(
        tmp_path / "data", tiny_random_checkpoint, few_policies, span_s=4.0, database_url=database_url
    ) as runtime:
        before = accept(runtime, clip)
        assert work(runtime, Task.PREPARE, before.id) == "done"
        with runtime.database.write() as session:
            row = policy_sets.create(
                session, tenant_id=DEFAULT_TENANT, actor="key_x", name="laser", policies=read_policies([LASER])
            )
            session.flush()
            policy_sets.activate(session, row, actor="key_x", reason="", before=runtime.own_policies.policies)
        after = accept(runtime, clip)
        run_all(runtime)
        assert owed(runtime) == []
        with runtime.database.read() as session:
            jobs = [session.get_one(Job, one.id) for one in (before, after)]
            scored = [set(segments_of(session, job.id)[0].scores) for job in jobs]
            documents = [find_document(session, DEFAULT_TENANT, job.video_id) for job in jobs]
    assert [job.policy_set_id for job in jobs] == [None, row.id]
    assert scored == [{policy.id for policy in runtime.own_policies.policies}, {"weapons.laser"}]
    versions = [document["provenance"]["policy_set_version"] for document in documents if document]
    assert versions == [runtime.own_policies.version, row.version]
    assert jobs[0].recipe != jobs[1].recipe
