"""A POST that is sent twice is done once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from conftest import Api
from jobs_helpers import audited
from sqlmodel import col, func, select, update
from test_api_videos import finish, problem, upload

from vidlm.jobs import idempotency
from vidlm.jobs.idempotency import KEPT_S, KeyReusedError, Reply
from vidlm.store.engine import Database
from vidlm.store.ledger import IdempotencyKey, Outbox
from vidlm.store.tables import DEFAULT_TENANT, Job, Question, Tenant, Video


def post(api: Api, data: bytes = b"abc", key: str = "k1", filename: str = "a.mp4", **fields: str) -> httpx.Response:
    return api.client.post(
        "/v1/videos", files={"file": (filename, data)}, data=fields, headers={"Idempotency-Key": key}
    )


def rows(api: Api, table: type[Any]) -> int:
    with api.database.read() as session:
        return int(session.exec(select(func.count()).select_from(table)).one())


def test_the_same_upload_under_the_same_key_is_one_video(api: Api) -> None:
    first, second = post(api), post(api)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert first.headers["location"] == second.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    with api.database.read() as session:
        assert audited(session) == ["video.accepted"]
    for table in (Video, Job, Outbox):
        assert rows(api, table) == 1


@pytest.mark.parametrize("other", [{"data": b"xyz"}, {"filename": "b.mp4"}, {"client_id": "7"}, {"priority": "bulk"}])
def test_another_upload_under_the_same_key_is_refused(api: Api, other: dict[str, Any]) -> None:
    assert post(api).status_code == 202
    assert problem(post(api, **other)) == (422, "idempotency_key_reused")
    assert rows(api, Video) == 1
    files = [path for path in (api.settings.data / "blobs").rglob("*") if path.is_file()]
    assert [path.name.split(".")[0] for path in files] == [hashlib.sha256(b"abc").hexdigest()]


def test_many_at_once_are_one(api: Api) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(api), range(40)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert rows(api, Video) == 1


def test_keys_belong_to_a_tenant(api: Api) -> None:
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    mine = post(api).json()["id"]
    headers = api.key("ten_other") | {"Idempotency-Key": "k1"}
    theirs = httpx.post(f"{api.url}/v1/videos", files={"file": ("a.mp4", b"abc")}, headers=headers)
    assert theirs.status_code == 202
    assert theirs.json()["id"] != mine


def test_an_error_is_not_kept(api: Api) -> None:
    assert problem(post(api, priority="yesterday")) == (422, "invalid_request")
    assert post(api).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_keys_that_cannot_be_kept_are_refused(api: Api, key: str) -> None:
    assert problem(post(api, key=key)) == (422, "invalid_request")


def test_a_question_is_asked_once(api: Api) -> None:
    video_id = upload(api).json()["id"]
    finish(api, video_id)
    ask = {"url": f"/v1/videos/{video_id}/questions", "headers": {"Idempotency-Key": "q"}}
    first, second = (api.client.post(**ask, json={"question": "what?"}) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert rows(api, Question) == 1
    assert problem(api.client.post(**ask, json={"question": "where?"})) == (422, "idempotency_key_reused")


def test_the_same_key_on_another_route_is_another_request(api: Api) -> None:
    video_id = post(api).json()["id"]
    cancel = f"/v1/videos/{video_id}/cancel"
    assert problem(api.client.post(cancel, headers={"Idempotency-Key": "k1"})) == (422, "idempotency_key_reused")
    assert api.client.post(cancel, headers={"Idempotency-Key": "k2"}).json()["state"] == "cancelled"


def test_a_cancel_that_is_sent_again_after_a_retry_changes_nothing(api: Api) -> None:
    here = f"/v1/videos/{post(api).json()['id']}"
    keyed = {"headers": {"Idempotency-Key": "c"}}
    cancelled = api.client.post(f"{here}/cancel", **keyed)
    assert api.client.post(f"{here}/retry").json()["state"] == "queued"
    assert api.client.post(f"{here}/cancel", **keyed).json() == cancelled.json()
    assert api.client.get(here).json()["state"] == "queued"


def test_rules_hold_in_the_database(database: Database) -> None:
    reply = Reply(202, {"id": "vid_1"}, {"Location": "/v1/videos/vid_1"})
    with database.write() as session:
        assert idempotency.begin(session, DEFAULT_TENANT, "k", "digest") is None
        idempotency.keep(session, DEFAULT_TENANT, "k", reply)
    with database.write() as session:
        assert idempotency.begin(session, DEFAULT_TENANT, "k", "digest") == reply
    with pytest.raises(KeyReusedError), database.write() as session:
        idempotency.begin(session, DEFAULT_TENANT, "k", "another")

    def fail() -> None:
        with database.write() as session:
            assert idempotency.begin(session, DEFAULT_TENANT, "half", "digest") is None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.write() as session:
        assert idempotency.begin(session, DEFAULT_TENANT, "half", "digest") is None


def test_two_transactions_at_once_do_it_once(database: Database) -> None:
    done: list[int] = []

    def request(number: int) -> Any:
        with database.write() as session:
            kept = idempotency.begin(session, DEFAULT_TENANT, "k", "digest")
            if kept is not None:
                return kept.body
            done.append(number)
            idempotency.keep(session, DEFAULT_TENANT, "k", Reply(202, number))
            return number

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(request, range(16)))
    assert len(done) == 1
    assert said == done * 16


def test_replies_are_kept_for_a_day_and_not_for_ever(database: Database) -> None:
    with database.write() as session:
        idempotency.begin(session, DEFAULT_TENANT, "k", "digest")
        idempotency.keep(session, DEFAULT_TENANT, "k", Reply(202, None))
        assert idempotency.forget_old(session) == 0
        old = datetime.now(UTC) - timedelta(seconds=KEPT_S + 1)
        session.exec(update(IdempotencyKey).where(col(IdempotencyKey.key) == "k").values(created_at=old))
    with database.write() as session:
        assert idempotency.forget_old(session) == 1
