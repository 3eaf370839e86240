"""Who may see what, for every route there is; and what every route says of itself."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Api
from fastapi.testclient import TestClient
from pydantic import TypeAdapter
from servers import ValkeyProcess
from sqlmodel import update
from test_api_videos import finish, problem, upload

from api import roles, schemas
from api.main import create_app
from api.problems import Problem
from vidlm.config import Settings
from vidlm.domain import Analysis, Answer, Role
from vidlm.jobs import presence
from vidlm.likeness.hashlists import Form, parse_hash_list
from vidlm.moderation.policies import read_policies
from vidlm.queue import Queue
from vidlm.store.ledger import Worker
from vidlm.store.tables import DEFAULT_TENANT, Tenant

ROOT = Path(__file__).parents[2]
OPEN = {("get", "/healthz"), ("get", "/readyz"), ("options", "/v1/uploads")}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of all that OpenAPI tells of."""
    document = create_app(Settings(data=Path("/nonexistent"), database_url="postgresql://x/y")).openapi()
    return [(method, path, what) for path, methods in document["paths"].items() for method, what in methods.items()]


BODIES = {
    ("post", "/v1/webhooks"): {"url": "https://hooks.example.org/"},
    ("post", "/v1/webhooks/{webhook_id}/replay"): {"since": "2026-01-01T00:00:00Z"},
    ("patch", "/v1/webhooks/{webhook_id}"): {},
    ("post", "/v1/policy-sets"): {"name": "stricter"},
    ("post", "/v1/policy-sets/what-if"): {"policy_set_id": "pst_1"},
    ("patch", "/v1/policy-sets/{policy_set_id}"): {},
    ("post", "/v1/policy-sets/{policy_set_id}/activate"): {"reason": "why not"},
    ("post", "/v1/review/claim"): {},
    ("post", "/v1/review/items/{item_id}/keep"): {"token": 1},
    ("post", "/v1/review/items/{item_id}/release"): {"token": 1},
    ("post", "/v1/review/items/{item_id}/decision"): {"token": 1, "outcome": "second_opinion"},
    ("post", "/v1/review/queues"): {"name": "ours", "title": "Ours", "rule": {}},
    ("patch", "/v1/review/queues/{name}"): {"title": "theirs"},
    ("patch", "/v1/review/settings"): {},
    ("post", "/v1/review/golden"): {"video_id": "vid_1", "outcome": "approve"},
    ("post", "/v1/videos/{video_id}/appeals"): {"note": "unfair"},
    ("post", "/v1/policies/{policy_id}/backfill"): {"policy_set_id": "pst_1"},
    ("post", "/v1/banks/{bank}/entries"): {"video_id": "vid_1", "reason": "why not"},
    ("post", "/v1/policies/{policy_id}/threshold-proposals"): {"goal": "precision", "value": 0.9},
    ("post", "/v1/policies/{policy_id}/threshold-proposals/{proposal_id}/accept"): {"reason": "why not"},
    ("post", "/v1/policies/{policy_id}/threshold-proposals/{proposal_id}/decline"): {"reason": "why"},
}


NOBODYS = {
    "video_id": "vid_1",
    "question_id": "qst_1",
    "webhook_id": "whk_1",
    "delivery_id": "dlv_1",
    "policy_set_id": "pst_1",
    "backfill_id": "bfl_1",
    "number": "0",
    "item_id": "rvi_1",
    "decision_id": "dec_1",
    "golden_id": "gld_1",
    "name": "nobodys",
    "bank": "known_bad",
    "entry_id": "bke_1",
    "policy_id": "nobodys.policy",  # the service's own are everybody's
    "proposal_id": "tpr_1",
}


def filled(path: str, ids: dict[str, str]) -> str:
    return path.format_map(NOBODYS | ids) + ("?scheme=aws" if path.endswith("/labels") else "")


def body(method: str, path: str) -> dict[str, Any]:
    if (method, path) in BODIES:
        return {"json": BODIES[method, path]}
    if method == "post" and path.endswith("questions"):
        return {"json": {"question": "what?"}}
    if method == "post" and path != "/v1/videos":
        return {}
    return {"files": {"file": ("a", b"b")}} if method == "post" else {}


def stranger_to(api: Api, headers: dict[str, str]) -> httpx.Client:
    """One client for many requests: to make one takes longer than most of them."""
    return httpx.Client(base_url=api.url, headers=headers, timeout=60)


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code. The answer to a HEAD has no body: its status stands for both."""
    if response.request.method == "HEAD":
        return response.status_code, {401: "unauthorized", 403: "forbidden", 404: "not_found"}[response.status_code]
    return problem(response)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer vk_wrong"}, {"Authorization": "Basic eDp5"}],
                         ids=["none", "wrong", "basic"])  # fmt: skip
def test_every_route_but_health_needs_a_key(api: Api, headers: dict[str, str]) -> None:
    client = stranger_to(api, headers)
    for method, path, _ in operations():
        response = client.request(method, filled(path, {}), **body(method, path))
        if (method, path) in OPEN:
            assert response.is_success
        else:
            assert refusal(response) == (401, "unauthorized"), (method, path)
            assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", list(Role))
def test_every_route_is_for_those_it_is_said_to_be_for(api: Api, role: Role) -> None:
    client = stranger_to(api, api.key(DEFAULT_TENANT, role) | {"Tus-Resumable": "1.0.0"})
    for method, path, _ in operations():
        if (method, path) in OPEN:
            continue
        answer = client.request(method, filled(path, {}), **body(method, path))
        if role.covers(roles.needed(method.upper(), path)):
            assert answer.status_code != 403, (method, path)
        else:
            assert refusal(answer) == (403, "forbidden"), (method, path)


def decided(api: Api, video_id: str) -> dict[str, str]:
    """Rows that come of review."""
    item = api.client.post("/v1/review/claim").json()["item"]
    assert item["video_id"] == video_id
    told = [{"flag_id": flag["id"], "verdict": "confirm"} for flag in item["flags"]]
    said = {"token": item["lock"]["token"], "outcome": "remove", "flags": told}
    done = api.client.post(f"/v1/review/items/{item['id']}/decision", json=said).json()
    golden = api.client.post("/v1/review/golden", json={"video_id": video_id, "outcome": "remove"}).json()
    return {"item_id": item["id"], "decision_id": done["decision"]["id"], "golden_id": golden["id"]}


def test_another_tenants_rows_are_not_there(api: Api) -> None:
    webhook_id = api.client.post("/v1/webhooks", json={"url": "https://hooks.example.org/"}).json()["id"]
    video_id = upload(api).json()["id"]
    finish(api, video_id)
    question_id = api.client.post(f"/v1/videos/{video_id}/questions", json={"question": "what?"}).json()["id"]
    delivery_id = api.client.get(f"/v1/webhooks/{webhook_id}/deliveries").json()["items"][0]["id"]
    ids = {
        "video_id": video_id,
        "question_id": question_id,
        "webhook_id": webhook_id,
        "delivery_id": delivery_id,
        "policy_set_id": api.client.post("/v1/policy-sets", json={"name": "ours"}).json()["id"],
        "name": api.client.post("/v1/review/queues", json={"name": "ours", "title": "Ours", "rule": {}}).json()["name"],
        **decided(api, video_id),
        "backfill_id": api.client.post("/v1/policies/weapons.shown/backfill").json()["id"],
    }
    entry = api.client.post("/v1/banks/known_bad/entries", json={"video_id": video_id, "reason": "why not"})
    ids["entry_id"] = entry.json()["id"]
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    stranger = stranger_to(api, api.key("ten_other") | {"Tus-Resumable": "1.0.0"})
    asked = 0
    for method, path, _ in operations():
        if "{" in path.replace("{bank}", "known_bad") or ("{bank}/entries" in path and method == "post"):
            answer = stranger.request(method, filled(path, ids), **body(method, path))
            assert refusal(answer) == (404, "not_found"), (method, path)
            asked += 1
    assert asked >= 6
    assert stranger.get("/v1/banks/known_bad/export").text == ""
    paged = ("videos", "webhooks", "webhooks/deliveries", "policy-sets", "backfills", "review/items")
    for path in (f"/v1/{name}" for name in (*paged, "banks/known_bad/entries")):
        assert stranger.get(path).json()["items"] == []
    assert api.client.get(f"/v1/videos/{video_id}").json()["state"] == "ready"  # and nothing was deleted


def test_every_other_error_is_a_problem_document(api: Api) -> None:
    assert problem(api.client.get("/nothing/here")) == (404, "not_found")
    assert problem(api.client.put("/v1/videos")) == (405, "method_not_allowed")
    assert problem(api.client.get("/v1/videos/vid_unknown")) == (404, "not_found")
    assert problem(api.client.get("/v1/videos/%00")) == (404, "not_found")
    assert problem(api.client.get("/v1/videos/" + "x" * 100)) == (422, "invalid_request")
    assert problem(api.client.get("/v1/questions/%00%ff")) == (404, "not_found")


def test_a_bug_shows_nothing_of_the_house(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    app = create_app(api.settings)

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("/etc/secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/bug")
    assert response.json()["code"] == "internal"
    assert "secret" not in response.text
    capfd.readouterr()


def test_without_its_database_it_says_so(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, database_url=f"postgresql://x@/y?host={tmp_path}&connect_timeout=1")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        response = client.get("/v1/videos", headers={"Authorization": "Bearer vk_x"})
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        assert "retry-after" in response.headers
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz").json()
        assert ready["checks"] == {"database": "away", "broker": "not configured", "workers": "unknown"}


def test_a_queue_that_nobody_works_on_is_not_ready(api: Api) -> None:
    assert api.client.get("/readyz").json() == {"status": "ready"}
    with api.database.write() as session:
        session.exec(update(Worker).values(seen_at=datetime.now(UTC) - timedelta(seconds=presence.FRESH_S + 1)))
        presence.arrive(session, [Queue.CPU])
    response = api.client.get("/readyz")
    assert problem(response) == (503, "not_ready")
    assert response.json()["checks"]["workers"] == "nobody works on interactive, gpu"


def test_uploads_are_taken_while_the_broker_is_away(api: Api, valkey_server: ValkeyProcess) -> None:
    assert api.client.get("/readyz").json() == {"status": "ready"}
    valkey_server.kill()
    try:
        assert upload(api).status_code == 202
        response = api.client.get("/readyz")
        assert response.json()["checks"] == {"database": "ok", "broker": "away", "workers": "ok"}
        assert problem(response) == (503, "not_ready")
    finally:
        valkey_server.start()


def test_policies_are_listed(api: Api) -> None:
    document = api.client.get("/v1/policies").json()
    assert re.fullmatch(r"[0-9a-f]{12}", document["version"])
    assert {"weapons.in_hand", "violence.fight"} <= {policy["id"] for policy in document["policies"]}


def test_every_operation_shows_an_example_of_each_document() -> None:
    for method, path, what in operations():
        for status, response in what["responses"].items():
            for media_type, content in response.get("content", {}).items():
                assert "example" in content, (method, path, status, media_type)
                if media_type == "application/problem+json":
                    assert Problem.model_validate(content["example"]).status == int(status)
        for content in what.get("requestBody", {}).get("content", {}).values():
            assert "example" in content or "examples" in content or "examples" in content["schema"], (method, path)
        expected = {"401", "403", "503"} if (method, path) not in OPEN else set()
        assert expected <= set(what["responses"]), (method, path)


REVIEW = {
    "TOKEN": "TokenIn",
    "LOCK": "LockOut",
    "ITEM": "ReviewItemOut",
    "CASE": "ReviewCaseOut",
    "ITEM_PAGE": "ReviewItemPage",
    "EXPOSURE": "ExposureOut",
    "CLAIM": "ClaimOut",
    "DECISION_IN": "DecisionIn",
    "DECISION": "DecisionOut",
    "DECIDED": "DecidedOut",
    "HISTORY": "HistoryOut",
    "QUEUE_IN": "QueueIn",
    "QUEUE_CHANGE": "QueueChange",
    "QUEUE": "QueueOut",
    "QUEUES": "QueuesOut",
    "SETTINGS_CHANGE": "ReviewSettingsChange",
    "SETTINGS": "ReviewSettingsOut",
    "APPEAL_IN": "AppealIn",
    "APPEAL": "AppealOut",
    "APPEALS": "AppealsOut",
    "GOLDEN_IN": "GoldenIn",
    "GOLDEN": "GoldenOut",
    "GOLDENS": "GoldensOut",
    "TRANSPARENCY": "TransparencyOut",
}
"""Which example shows which document."""
QUALITY = {
    "QUALITY": "PolicyQualityOut",
    "PROPOSAL_IN": "ProposalIn",
    "REASON": "ReasonIn",
    "PROPOSAL": "ProposalOut",
    "ACCEPTED": "ProposalOut",
    "DECLINED": "ProposalOut",
    "PROPOSALS": "ProposalsOut",
    "DRIFT": "DriftOut",
    "REVIEW_QUALITY": "ReviewQualityOut",
}


def test_the_examples_are_true_to_their_schemas() -> None:
    from api import (  # noqa: PLC0415
        backfill_examples,
        backfill_schemas,
        bank_examples,
        bank_schemas,
        examples,
        policy_examples,
        policy_schemas,
        quality_examples,
        quality_schemas,
        queue_schemas,
        report_schemas,
        review_examples,
        review_schemas,
        what_if_schemas,
    )

    for example in (examples.VIDEO_QUEUED, examples.VIDEO_READY):
        schemas.VideoOut.model_validate(example)
    schemas.VideoPage.model_validate(examples.PAGE)
    for name, schema in REVIEW.items():
        found = next(module for module in (review_schemas, queue_schemas, report_schemas) if hasattr(module, schema))
        getattr(found, schema).model_validate(getattr(review_examples, name))
    for name, schema in QUALITY.items():
        getattr(quality_schemas, schema).model_validate(getattr(quality_examples, name))
    policy_schemas.PoliciesOut.model_validate(policy_examples.POLICIES)
    policy_schemas.LabelsOut.model_validate(policy_examples.LABELS)
    policy_schemas.PolicySetIn.model_validate(policy_examples.POLICY_SET_IN)
    for example in (policy_examples.POLICY_SET, policy_examples.ACTIVATED, policy_examples.DISCARDED):
        policy_schemas.PolicySetOut.model_validate(example)
    policy_schemas.PolicySetPage.model_validate(policy_examples.POLICY_SET_PAGE)
    what_if_schemas.WhatIfIn.model_validate(policy_examples.WHAT_IF_IN)
    what_if_schemas.WhatIfOut.model_validate(policy_examples.WHAT_IF)
    bank_schemas.EntryIn.model_validate(bank_examples.ENTRY_IN)
    for example in (bank_examples.ENTRY, bank_examples.WITHDRAWN):
        bank_schemas.EntryOut.model_validate(example)
    bank_schemas.EntryPage.model_validate(bank_examples.ENTRY_PAGE)
    bank_schemas.MatchesOut.model_validate(bank_examples.MATCHES)
    bank_schemas.ImportOut.model_validate(bank_examples.IMPORTED)
    parse_hash_list(bank_examples.HASH_LIST.encode(), Form.JSONL)
    read_policies(policy_examples.POLICY_SET_IN["policies"])
    backfill_schemas.BackfillIn.model_validate(backfill_examples.BACKFILL_IN)
    for example in (backfill_examples.BACKFILL, backfill_examples.CANCELLED):
        backfill_schemas.BackfillOut.model_validate(example)
    backfill_schemas.BackfillPage.model_validate(backfill_examples.BACKFILL_PAGE)
    backfill_schemas.BackfilledOut.model_validate(backfill_examples.BACKFILLED)
    for example in (examples.QUESTION, examples.FOLLOW_UP):
        schemas.QuestionIn.model_validate(example)
    for example in (examples.QUESTION_QUEUED, examples.QUESTION_READY):
        schemas.QuestionOut.model_validate(example)
    TypeAdapter(Answer).validate_python(examples.QUESTION_READY["answer"])
    TypeAdapter(Analysis).validate_python(examples.ANALYSIS)


def test_the_api_imports_without_torch() -> None:
    script = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "decord", "tokenizers", "safetensors", "av"}:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
sys.meta_path.insert(0, Wall())
import api.main, api.__main__, vidlm.launch
print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "transformers", "decord", "workers"}))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
