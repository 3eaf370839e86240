"""Questions over REST, with and without waiting for the answer."""

import threading
import time
from pathlib import Path

import pytest
from conftest import Api
from fastapi.testclient import TestClient
from jobs_helpers import ATTEMPTS, analysis, must_take
from sqlmodel import select, update
from test_api_videos import finish, problem, upload
from test_jobs_life import ready

from api import draining
from api.main import create_app
from vidlm.config import Settings
from vidlm.domain import Answer, to_document
from vidlm.errors import QuestionError
from vidlm.jobs import life
from vidlm.queue import Task
from vidlm.store.engine import Database
from vidlm.store.keys import create_key
from vidlm.store.tables import DEFAULT_TENANT, Job, Question, Tenant

SAID = Answer("what?", "that", 0.5, False, (), analysis().provenance)


@pytest.fixture
def video(api: Api) -> str:
    """The path of a video that is ready."""
    video_id: str = upload(api).json()["id"]
    finish(api, video_id)
    return f"/v1/videos/{video_id}"


def answer(api: Api, question_id: str) -> None:
    held = must_take(api.database, Task.ANSWER, question_id)
    with api.database.write() as session:
        life.answered(session, held, SAID)


def client_on(database_url: str, database: Database, tmp_path: Path) -> TestClient:
    """A client of an API on a database of either kind, to be used as a context manager."""
    with database.write() as session:
        key = create_key(session, "test", DEFAULT_TENANT)
    app = create_app(Settings(data=tmp_path / "data", database_url=database_url))
    return TestClient(app, headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False)


def test_ask_then_look(api: Api, video: str) -> None:
    response = api.client.post(f"{video}/questions", json={"question": "  what?\n"})
    assert response.status_code == 202
    asked = response.json()
    assert (asked["state"], asked["question"], asked["answer"]) == ("queued", "what?", None)
    assert response.headers["location"] == f"/v1/questions/{asked['id']}"
    answer(api, asked["id"])
    found = api.client.get(response.headers["location"]).json()
    assert (found["state"], found["answer"], found["toy_model"]) == ("ready", to_document(SAID), True)


def test_prefer_wait_answers_as_soon_as_there_is_one(api: Api, video: str) -> None:
    asked = api.client.post(f"{video}/questions", json={"question": "what?"}).json()["id"]
    timer = threading.Timer(0.5, answer, (api, asked))
    timer.start()
    began_s = time.monotonic()
    response = api.client.get(f"/v1/questions/{asked}", headers={"Prefer": "wait=15"})
    assert response.json()["state"] == "ready"
    assert response.headers["preference-applied"] == "wait=15"
    assert 0.3 < time.monotonic() - began_s < 10
    timer.join()


def test_prefer_wait_gives_up_politely(api: Api, video: str) -> None:
    began_s = time.monotonic()
    response = api.client.post(f"{video}/questions", json={"question": "what?"}, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert response.headers["preference-applied"] == "wait=1"
    assert 0.9 < time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"question": ""}', (422, "invalid_question")),
        (b'{"question": " \\n\\u0000"}', (422, "invalid_question")),
        (b'{"question": "' + b"x" * 201 + b'"}', (422, "invalid_question")),
        (b'{"question": 5}', (422, "invalid_request")),
        (b"{}", (422, "invalid_request")),
        (b"[", (422, "invalid_request")),
        (b"\xff\xfe", (422, "invalid_request")),
        (b'{"question": "' + b"x" * 100_000 + b'"}', (413, "too_large")),
    ],
)
def test_what_is_no_question_is_refused_in_words(api: Api, video: str, body: bytes, expected: tuple[int, str]) -> None:
    headers = {"Content-Type": "application/json"}
    assert problem(api.client.post(f"{video}/questions", content=body, headers=headers)) == expected


def test_a_body_that_is_too_large_and_all_there_is_refused_at_once(
    api: Api, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_MOST_S", 60.0)  # for what is still coming: here nothing is
    body = b'{"question": "' + b"x" * 100_000 + b'"}'
    answer = api.client.post(f"{video}/questions", content=body, timeout=20)
    assert problem(answer) == (413, "too_large")


def test_half_a_character_is_survived(api: Api, video: str) -> None:
    body = b'{"question": "what \\ud800 is it?"}'
    response = api.client.post(f"{video}/questions", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (202, 422)


def test_a_question_begins_a_conversation_and_others_may_follow_it(api: Api, video: str) -> None:
    first = api.client.post(f"{video}/questions", json={"question": "what?"}).json()
    other = api.client.post(f"{video}/questions", json={"question": "what?", "conversation_id": None}).json()
    assert first["conversation_id"].startswith("cnv_")
    assert other["conversation_id"].startswith("cnv_")
    assert other["conversation_id"] != first["conversation_id"]
    for turn in range(2):
        answer(api, first["id"])
        body = {"question": f"and {turn}?", "conversation_id": first["conversation_id"]}
        response = api.client.post(f"{video}/questions", json=body)
        assert response.status_code == 202
        then = response.json()
        assert then["conversation_id"] == first["conversation_id"]
        assert api.client.get(f"/v1/questions/{then['id']}").json() == then
        first = then


def test_a_conversation_waits_for_its_earlier_question(api: Api, video: str) -> None:
    first = api.client.post(f"{video}/questions", json={"question": "what?"}).json()
    then = {"question": "and then?", "conversation_id": first["conversation_id"]}
    early = api.client.post(f"{video}/questions", json=then)
    assert problem(early) == (409, "conversation_busy")
    assert early.json()["question_id"] == first["id"]
    held = must_take(api.database, Task.ANSWER, first["id"])
    assert problem(api.client.post(f"{video}/questions", json=then)) == (409, "conversation_busy")
    with api.database.read() as session:
        assert list(session.exec(select(Question.id)).all()) == [first["id"]]
    with api.database.write() as session:  # an end without an answer is an end
        assert life.gave_up(session, held, QuestionError("no"), max_attempts=ATTEMPTS) == "rejected"
    assert api.client.post(f"{video}/questions", json=then).status_code == 202


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'"cnv_none"', (404, "not_found")),
        (b'""', (404, "not_found")),
        (b'"' + b"x" * 65 + b'"', (422, "invalid_request")),
        (b"5", (422, "invalid_request")),
    ],
)
def test_what_is_no_conversation_is_refused_in_words(
    api: Api, video: str, body: bytes, expected: tuple[int, str]
) -> None:
    content = b'{"question": "what?", "conversation_id": ' + body + b"}"
    response = api.client.post(f"{video}/questions", content=content, headers={"Content-Type": "application/json"})
    assert problem(response) == expected


@pytest.mark.parametrize("name", [b"cnv_\\u0000", b"cnv_\\ud800"], ids=["nul", "half a character"])
def test_what_no_database_keeps_names_no_conversation(
    database_url: str, database: Database, tmp_path: Path, name: bytes
) -> None:
    here = f"/v1/videos/{ready(database).video_id}"
    content = b'{"question": "what?", "conversation_id": "' + name + b'"}'
    with client_on(database_url, database, tmp_path) as client:
        response = client.post(f"{here}/questions", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (404, 422)


def test_a_conversation_is_about_one_video_of_one_tenant(api: Api, video: str) -> None:
    first = api.client.post(f"{video}/questions", json={"question": "what?"}).json()
    answer(api, first["id"])
    then = {"question": "and then?", "conversation_id": first["conversation_id"]}
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    stranger = api.key("ten_other")
    for headers in ({}, stranger):
        other = upload(api, headers=headers).json()["id"]
        finish(api, other)
        response = api.client.post(f"/v1/videos/{other}/questions", json=then, headers=headers)
        assert problem(response) == (404, "not_found")
        assert "conversation" in response.json()["detail"]
    assert api.client.post(f"{video}/questions", json=then).status_code == 202


def test_of_many_follow_ups_at_once_one_is_taken(database_url: str, database: Database, tmp_path: Path) -> None:
    video_id = ready(database).video_id
    with database.write() as session:
        first = life.ask(session, tenant_id=DEFAULT_TENANT, video_id=video_id, text="what?")
    held = must_take(database, Task.ANSWER, first.id)
    with database.write() as session:
        life.answered(session, held, SAID)
    then = {"question": "and then?", "conversation_id": first.conversation_id}
    together, said = threading.Barrier(8), []
    with client_on(database_url, database, tmp_path) as client:

        def ask() -> None:
            together.wait()
            said.append(client.post(f"/v1/videos/{video_id}/questions", json=then).status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(said) == [202] + [409] * 7


def test_a_video_whose_frames_are_gone_cannot_be_asked(api: Api, video: str) -> None:
    with api.database.write() as session:
        session.exec(update(Job).values(work_folder=None))
    response = api.client.post(f"{video}/questions", json={"question": "what?"})
    assert problem(response) == (409, "frames_removed")


def test_only_a_ready_video_can_be_asked(api: Api) -> None:
    here = f"/v1/videos/{upload(api).json()['id']}"
    assert problem(api.client.post(f"{here}/questions", json={"question": "what?"})) == (409, "not_ready")
