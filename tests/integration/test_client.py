"""The client against the real API over a real socket: documents in and out, failures as errors with their code."""

from pathlib import Path

import pytest
from clips import H264, numbered
from conftest import Api
from review_helpers import analysed, flag

from vidlm.client import Client
from vidlm.errors import ServiceError


@pytest.fixture
def client(api: Api) -> Client:
    return Client(api.url, api.client.headers["Authorization"].removeprefix("Bearer "))


def test_an_upload_arrives_whole(client: Client, tmp_path: Path) -> None:
    file = numbered(tmp_path / "two words; [odd].mp4", *H264, frames=20, fps=10).path
    video = client.upload(file)
    assert (video["filename"], video["size_bytes"]) == (file.name, file.stat().st_size)
    assert client.get(f"/v1/videos/{video['id']}") == video
    with pytest.raises(ServiceError) as early:  # no worker runs here
        client.post(f"/v1/videos/{video['id']}/questions", {"question": "What is it?"}, {"Prefer": "wait=1"})
    assert early.value.code == "not_ready"


def test_a_problem_keeps_its_code(client: Client) -> None:
    with pytest.raises(ServiceError) as missing:
        client.get("/v1/videos/vid_none")
    assert missing.value.code == "not_found"
    with pytest.raises(ServiceError) as stranger:
        Client(client.address, "vk_wrong").get("/v1/policies")
    assert stranger.value.code == "unauthorized"


def test_silence_is_an_error() -> None:
    with pytest.raises(ServiceError, match="did not answer GET /v1/policies"):
        Client("http://127.0.0.1:1", "vk_none").get("/v1/policies")


def test_an_answer_without_a_document_is_none(api: Api, client: Client) -> None:
    analysed(api.database, flag(score=0.9))
    item = client.post("/v1/review/claim", {})["item"]
    assert client.post(f"/v1/review/items/{item['id']}/release", {"token": item["lock"]["token"]}) is None
