"""Uploads, lists, bytes and deletion over a real socket."""

import hashlib
import http.client
import os
import threading
from pathlib import Path

import httpx
import pytest
from conftest import Api
from jobs_helpers import ATTEMPTS, analysis, audited, must_take, prepared, segment
from sqlmodel import col, select

from vidlm.domain import to_document
from vidlm.errors import MediaError
from vidlm.jobs import life
from vidlm.queue import Task
from vidlm.review import filing
from vidlm.store.ledger import Outbox
from vidlm.store.tables import DEFAULT_TENANT, Job, SpanWork, Video


def upload(api: Api, data: bytes = b"hello", name: str = "a.mp4", **more: object) -> httpx.Response:
    return api.client.post("/v1/videos", files={"file": (name, data)}, **more)  # type: ignore[arg-type]


def job_of(api: Api, video_id: str) -> Job:
    with api.database.read() as session:
        return session.exec(select(Job).where(Job.video_id == video_id)).one()


def finish(api: Api, video_id: str) -> None:
    """Do what workers would, with an invented result."""
    job = job_of(api, video_id)
    prepared(api.database, job)
    with api.database.read() as session:
        spans = session.exec(select(SpanWork).where(SpanWork.job_id == job.id).order_by(col(SpanWork.index))).all()
    for span in spans:
        held = must_take(api.database, Task.ANALYZE_SPAN, span.id)
        with api.database.write() as session:
            life.span_analyzed(session, held, [segment(span.index)])
    held = must_take(api.database, Task.FINISH, job.id)
    with api.database.write() as session:
        life.finished(session, held, analysis())
        filing.file(session, session.get_one(Job, job.id))


def stored_files(api: Api) -> list[Path]:
    return [path for folder in ("blobs", "incoming", "work") for path in (api.settings.data / folder).rglob("*")
            if path.is_file()]  # fmt: skip


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert {"type", "title", "detail"} <= set(document)
    return response.status_code, document["code"]


def test_an_accepted_upload_is_durable_and_queued(api: Api) -> None:
    data = os.urandom(250_000)
    response = upload(api, data)
    assert response.status_code == 202
    document = response.json()
    assert response.headers["location"] == f"/v1/videos/{document['id']}" == document["links"]["self"]
    assert document["state"] == "queued"
    assert document["sha256"] == hashlib.sha256(data).hexdigest()
    assert document["size_bytes"] == len(data)
    with api.database.read() as session:
        video = session.get_one(Video, document["id"])
        assert [row.task for row in session.exec(select(Outbox)).all()] == [Task.PREPARE.value]
        assert audited(session) == ["video.accepted"]
    assert (api.settings.data / str(video.blob)).read_bytes() == data
    assert api.client.get(response.headers["location"]).json() == document


def test_an_empty_file_is_a_file(api: Api) -> None:
    response = upload(api, b"")
    assert response.status_code == 202
    assert response.json()["size_bytes"] == 0


def test_other_fields_may_come_along(api: Api) -> None:
    response = api.client.post("/v1/videos", files={"file": ("a", b"abc")}, data={"note": "x" * 1000})
    assert response.status_code == 202
    assert response.json()["size_bytes"] == 3


ODD_NAMES = [
    b"../../etc/passwd",
    b"a\0b.mp4",
    "\u202egpj.exe".encode(),
    b"<script>alert(1)</script>.mp4",
    b"-i",
    b"n" * 10_000 + b".mp4",
    b"\xff\xfe\x80",
    b"",
    "видео 🎬.mkv".encode(),
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_names_are_stored_and_never_become_paths(api: Api, name: bytes) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\nabc\r\n--x--\r\n' % name
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = api.client.post("/v1/videos", content=body, headers=headers)
    assert response.status_code == 202, response.text
    shown = response.json()["filename"]
    assert shown == name.decode("utf-8", "replace").replace("\0", "\ufffd") or len(shown) == 255
    assert [path.name for path in stored_files(api)] == [f"{hashlib.sha256(b'abc').hexdigest()}.{DEFAULT_TENANT}"]
    content = api.client.get(response.json()["links"]["content"])
    assert content.content == b"abc"
    assert response.json()["id"] in content.headers["content-disposition"]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"{}", "application/json", (415, "unsupported_media_type")),
        (b"abc", "multipart/form-data", (415, "unsupported_media_type")),
        (b"abc", None, (415, "unsupported_media_type")),
        (b"nonsense", "multipart/form-data; boundary=x", (400, "invalid_multipart")),
        (b"", "multipart/form-data; boundary=x", (400, "invalid_multipart")),
        (b"abc", "multipart/form-data; boundary=" + "x" * 500, (400, "invalid_multipart")),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf', "multipart/form-data; boundary=x",
         (400, "invalid_multipart")),
        (b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nabc\r\n--x--\r\n',
         "multipart/form-data; boundary=x", (422, "file_missing")),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\na\r\n'
         b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nb\r\n--x--\r\n',
         "multipart/form-data; boundary=x", (422, "too_many_files")),
    ],
)  # fmt: skip
def test_what_is_no_upload_is_refused_in_words(
    api: Api, body: bytes, content_type: str | None, expected: tuple[int, str]
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert problem(api.client.post("/v1/videos", content=body, headers=headers)) == expected
    assert stored_files(api) == []


def test_too_large_is_said_while_it_is_still_coming(api: Api) -> None:
    assert upload(api, bytes(300_000)).status_code == 202
    assert problem(upload(api, bytes(300_001))) == (413, "too_large")
    assert problem(upload(api, bytes(5_000_000))) == (413, "too_large")
    assert len(stored_files(api)) == 1


def test_too_large_is_said_without_a_declared_length(api: Api) -> None:
    def chunks() -> object:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(50_000)

    response = api.client.post(
        "/v1/videos",
        content=chunks(),  # type: ignore[arg-type]
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert problem(response) == (413, "too_large")
    assert stored_files(api) == []


def test_a_client_that_hangs_up_leaves_nothing(api: Api) -> None:
    host = api.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    connection.putrequest("POST", "/v1/videos")
    for name, value in {
        "Authorization": api.client.headers["authorization"],
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": "100000",
    }.items():
        connection.putheader(name, value)
    connection.endheaders(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc')
    connection.close()
    for _ in range(200):
        if not stored_files(api):
            break
        threading.Event().wait(0.01)
    assert stored_files(api) == []
    assert api.client.get("/v1/videos").json()["items"] == []


def test_many_at_once(api: Api) -> None:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(upload(api, os.urandom(50_000)).status_code))
               for _ in range(16)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 16
    assert len(stored_files(api)) == 16


def test_pages_of_a_list_meet_and_never_overlap(api: Api) -> None:
    ids = [upload(api).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for expected in (2, 2, 1):
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = api.client.get("/v1/videos", params=query).json()
        assert len(page["items"]) == expected
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == sorted(ids, reverse=True)


def test_lists_by_state(api: Api) -> None:
    done, waiting = upload(api).json()["id"], upload(api).json()["id"]
    finish(api, done)
    by_state = {state: [item["id"] for item in api.client.get("/v1/videos", params={"state": state}).json()["items"]]
                for state in ("ready", "queued", "failed")}  # fmt: skip
    assert by_state == {"ready": [done], "queued": [waiting], "failed": []}


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "state=asleep", "cursor=" + "x" * 100])
def test_bad_queries_are_refused_in_words(api: Api, query: str) -> None:
    assert problem(api.client.get(f"/v1/videos?{query}")) == (422, "invalid_request")


def test_progress_verdict_and_analysis(api: Api) -> None:
    video_id = upload(api).json()["id"]
    here = f"/v1/videos/{video_id}"
    assert problem(api.client.get(f"{here}/analysis")) == (409, "not_ready")
    prepared(api.database, job_of(api, video_id), spans=2)
    assert api.client.get(here).json()["progress"] == {
        "stage": "analyzing", "spans_done": 0, "spans_total": 2, "stage_fraction": 0.0, "fraction": 0.1,
        "eta_s": None}  # fmt: skip
    with api.database.read() as session:
        span = session.exec(select(SpanWork.id).order_by(col(SpanWork.index))).first()
    held = must_take(api.database, Task.ANALYZE_SPAN, span or "")
    with api.database.write() as session:
        life.span_analyzed(session, held, [segment(0)])
    assert api.client.get(here).json()["progress"]["fraction"] == 0.525
    other = upload(api).json()["id"]
    finish(api, other)
    status = api.client.get(f"/v1/videos/{other}").json()
    assert status["verdict"] == {"action": "review", "reason": "a.b"}
    assert (status["toy_model"], status["progress"]["fraction"], status["duration_s"]) == (True, 1.0, 10.0)
    assert api.client.get(f"/v1/videos/{other}/analysis").json() == to_document(analysis())


def test_progress_of_preparing_is_seen(api: Api) -> None:
    video_id = upload(api).json()["id"]
    held = must_take(api.database, Task.PREPARE, job_of(api, video_id).id)
    for share, fraction in ((0.0, 0.0), (0.5, 0.05), (1.0, 0.1)):
        with api.database.write() as session:
            life.preparing(session, held, share)
        progress = api.client.get(f"/v1/videos/{video_id}").json()["progress"]
        assert (progress["stage"], progress["stage_fraction"], progress["fraction"]) == ("preparing", share, fraction)


def test_a_rejected_job_says_why(api: Api) -> None:
    video_id = upload(api).json()["id"]
    held = must_take(api.database, Task.PREPARE, job_of(api, video_id).id)
    with api.database.write() as session:
        life.gave_up(session, held, MediaError("no_frames", "it has no frames"), max_attempts=ATTEMPTS)
    status = api.client.get(f"/v1/videos/{video_id}").json()
    assert (status["state"], status["error"]) == ("rejected", {"code": "no_frames", "detail": "it has no frames"})
    answer = api.client.get(f"/v1/videos/{video_id}/analysis")
    assert problem(answer) == (409, "no_analysis")
    assert (answer.json()["state"], answer.json()["reason"]) == ("rejected", "no_frames")


def test_bytes_come_back_whole_and_in_ranges_as_an_attachment(api: Api) -> None:
    data = os.urandom(10_000)
    here = upload(api, data, "<b>.html").json()["links"]["content"]
    whole = api.client.get(here)
    assert whole.content == data
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    part = api.client.get(here, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == "bytes 100-199/10000"
    assert api.client.get(here, headers={"Range": "bytes=-5"}).content == data[-5:]
    assert api.client.get(here, headers={"Range": "bytes=20000-"}).status_code == 416


def test_deletion_removes_bytes_and_words(api: Api) -> None:
    video_id = upload(api).json()["id"]
    finish(api, video_id)
    here = f"/v1/videos/{video_id}"
    work = api.settings.data / f"work/{job_of(api, video_id).id}/1"
    work.mkdir(parents=True)
    (work / "proxy.mp4").write_bytes(b"frames")
    asked = api.client.post(f"{here}/questions", json={"question": "what?"}).json()["id"]
    assert api.client.delete(here).status_code == 204
    assert stored_files(api) == []
    for path in ("", "/analysis", "/content"):
        assert problem(api.client.get(here + path)) == (410, "deleted")
    assert problem(api.client.post(f"{here}/questions", json={"question": "what?"})) == (410, "deleted")
    assert problem(api.client.get(f"/v1/questions/{asked}")) == (404, "not_found")
    assert api.client.get("/v1/videos").json()["items"] == []
    tombstones = api.client.get("/v1/videos", params={"state": "deleted"}).json()["items"]
    assert [(row["id"], row["filename"], row["verdict"]) for row in tombstones] == [(video_id, "", None)]
    assert api.client.delete(here).status_code == 204
