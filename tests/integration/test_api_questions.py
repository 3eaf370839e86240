"""Questions over REST, with and without waiting for the answer."""

import threading
import time

import pytest
from conftest import Api
from jobs_helpers import analysis, must_take
from test_api_videos import finish, problem, upload

from vidlm.domain import Answer, to_document
from vidlm.jobs import life
from vidlm.queue import Task

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


def test_half_a_character_is_survived(api: Api, video: str) -> None:
    body = b'{"question": "what \\ud800 is it?"}'
    response = api.client.post(f"{video}/questions", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (202, 422)


def test_only_a_ready_video_can_be_asked(api: Api) -> None:
    here = f"/v1/videos/{upload(api).json()['id']}"
    assert problem(api.client.post(f"{here}/questions", json={"question": "what?"})) == (409, "not_ready")
