"""Resumable uploads over real sockets: the protocol's rules, and every way a connection, a process or a disk ends."""

import base64
import hashlib
import os
import random
import resource
import select as polling
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import httpx
import pytest
from conftest import Api
from fastapi.testclient import TestClient
from jobs_helpers import audited
from sqlmodel import select, update
from test_api_videos import job_of, problem, upload

from api import tus
from api.main import create_app
from api.routes.uploads import router
from vidlm import crash
from vidlm.client import Client
from vidlm.config import Settings
from vidlm.errors import ServiceError
from vidlm.queue import Task
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database, migrate
from vidlm.store.keys import create_key
from vidlm.store.ledger import Outbox
from vidlm.store.partial import Partial
from vidlm.store.tables import DEFAULT_TENANT, Job, Tenant, Video
from workers.sweeper import sweep_once

ROOT = Path(__file__).parents[2]
SPOKEN = {"Tus-Resumable": "1.0.0"}
AS_BYTES = {"Content-Type": "application/offset+octet-stream"}


def said(**pairs: str) -> str:
    """An Upload-Metadata header."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def begin(client: httpx.Client, length: int, data: bytes | None = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    every = SPOKEN | {"Upload-Length": str(length)} | (AS_BYTES if data is not None else {}) | named
    return client.post(router.prefix, content=data, headers=every)


def begun(client: httpx.Client, length: int, **headers: str) -> str:
    response = begin(client, length, **headers)
    assert response.status_code == 201, response.text
    return response.headers["location"]


def offset(client: httpx.Client, where: str) -> int:
    response = client.head(where, headers=SPOKEN)
    assert response.status_code == 200
    return int(response.headers["upload-offset"])


def send(client: httpx.Client, where: str, data: bytes, at: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(where, content=data, headers=SPOKEN | AS_BYTES | {"Upload-Offset": str(at)} | named)


def document(client: httpx.Client, where: str) -> dict[str, object]:
    found: dict[str, object] = client.get(where.replace("/uploads/", "/videos/")).json()
    return found


def checksum(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def incoming(settings: Settings) -> list[str]:
    """What lies in the folder of uploads, but notes."""
    return sorted(path.name for path in (settings.data / "incoming").glob("*") if path.suffix != ".note")


def until(done: Callable[[], bool], patience_s: float = 20.0) -> None:
    end = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def begin_patch(line: socket.socket, client: httpx.Client, where: str, length: int, at: int, **headers: str) -> None:
    """Send a PATCH up to its body, and wait until the server wants that: the upload is locked then."""
    line.sendall(raw_patch(client, where, bytes(length), at, Expect="100-continue", **headers)[:-length])
    assert line.recv(1000).startswith(b"HTTP/1.1 100")


def raw_patch(client: httpx.Client, where: str, data: bytes, at: int, **headers: str) -> bytes:
    """The bytes of a PATCH request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    every = SPOKEN | AS_BYTES | {"Upload-Offset": str(at), "Content-Length": str(len(data)), "Host": "x"} | named
    every["Authorization"] = client.headers["authorization"]
    head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return f"PATCH {where} HTTP/1.1\r\n{head}\r\n".encode() + data


@contextmanager
def connection(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20) as line:
        yield line


def reset(line: socket.socket) -> None:
    """End a connection the hard way: RST instead of FIN."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


class Server:
    """The API in a process of its own, which may be killed and started again on the same socket and data."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data)
        migrate(self.settings.sql_url)
        self.database = Database(self.settings.sql_url)
        with self.database.write() as session:
            key = create_key(session, "test")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.client = httpx.Client(base_url=self.url, timeout=60, headers={"Authorization": f"Bearer {key}"})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, crash_at: str = "") -> None:
        """Start it and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
        number = self._listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api", "--fd", str(number)],
            pass_fds=[number],
            env=environment
            | {"VIDLM_DATA": str(self.settings.data), crash.VARIABLE: crash_at, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        assert self.client.get("/healthz").status_code == 200

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.client.close()
        self._listener.close()
        self.database.close()


def test_it_says_what_it_speaks_and_needs_no_key_for_that(api: Api) -> None:
    response = httpx.options(f"{api.url}/v1/uploads")
    assert response.status_code == 204
    told = {name: value for name, value in response.headers.items() if name.startswith("tus-")}
    assert told == {
        "tus-resumable": "1.0.0",
        "tus-version": "1.0.0",
        "tus-extension": "creation,creation-with-upload,expiration,termination,checksum",
        "tus-max-size": "300000",
        "tus-checksum-algorithm": "sha1,sha256",
    }


def test_a_file_in_pieces_becomes_a_video(api: Api) -> None:
    data = os.urandom(200_000)
    metadata = said(filename="видео.mp4", client_id="cam-7", priority="high", webhook_url="https://x.example/y",
                    filetype="video/mp4") + ",is_confidential"  # fmt: skip
    where = begun(api.client, len(data), Upload_Metadata=metadata)
    shown = document(api.client, where)
    assert (shown["state"], shown["sha256"], shown["size_bytes"]) == ("uploading", None, len(data))
    at = 0
    for length in (1, 70_000, 0, 129_999):
        head = api.client.head(where, headers=SPOKEN)
        assert (head.headers["upload-offset"], head.headers["upload-length"]) == (str(at), str(len(data)))
        assert (head.headers["upload-metadata"], head.headers["cache-control"]) == (metadata, "no-store")
        assert "upload-expires" in head.headers
        response = send(api.client, where, data[at : at + length], at)
        at += length
        assert (response.status_code, response.headers["upload-offset"]) == (204, str(at))
    assert "upload-expires" not in response.headers
    head = api.client.head(where, headers=SPOKEN)
    assert (head.headers["upload-offset"], head.headers["upload-metadata"]) == (str(len(data)), metadata)
    shown = document(api.client, where)
    assert (shown["state"], shown["sha256"]) == ("queued", hashlib.sha256(data).hexdigest())
    assert (shown["filename"], shown["client_id"], shown["priority"]) == ("видео.mp4", "cam-7", "high")
    assert api.client.get(f"/v1/videos/{shown['id']}/content").content == data
    assert job_of(api, str(shown["id"])).webhook_url == "https://x.example/y"
    assert incoming(api.settings) == []
    with api.database.read() as session:
        assert [row.task for row in session.exec(select(Outbox)).all()] == [Task.PREPARE.value]
        assert audited(session) == [
            "upload.begun",
            "video.accepted",
        ]


def test_a_deadline_begins_with_the_last_byte(api: Api) -> None:
    where = begun(api.client, 5, Upload_Metadata=said(deadline_s="100"))
    day = timedelta(seconds=api.settings.upload_patience_s)

    def left() -> timedelta:
        return datetime.fromisoformat(str(document(api.client, where)["deadline_at"])) - datetime.now(UTC)

    assert day - timedelta(minutes=1) < left() <= day
    expires = api.client.head(where, headers=SPOKEN).headers["upload-expires"]
    assert expires.endswith(" GMT")
    assert send(api.client, where, b"12345", 0).status_code == 204
    assert timedelta(seconds=40) < left() <= timedelta(seconds=100)


def test_an_empty_file_is_whole_at_once(api: Api) -> None:
    where = begun(api.client, 0)
    assert document(api.client, where)["state"] == "queued"
    assert offset(api.client, where) == 0
    assert send(api.client, where, b"", 0).status_code == 204


@pytest.mark.parametrize(("length", "kept"), [(5, 5), (9, 5)], ids=["all", "some"])
def test_bytes_may_come_with_the_beginning(api: Api, length: int, kept: int) -> None:
    response = begin(api.client, length, b"12345", Upload_Checksum=checksum(b"12345", "sha1"))
    assert (response.status_code, response.headers["upload-offset"]) == (201, str(kept))
    assert response.json()["state"] == ("queued" if length == kept else "uploading")
    where = response.headers["location"]
    if length > kept:
        assert send(api.client, where, b"6789", kept).status_code == 204
    assert document(api.client, where)["sha256"] == hashlib.sha256(b"123456789"[:length]).hexdigest()


def test_an_upload_begins_though_its_first_bytes_are_spoilt(api: Api) -> None:
    response = begin(api.client, 9, b"12345", Upload_Checksum=checksum(b"54321"))
    assert (response.status_code, response.headers["upload-offset"]) == (201, "0")
    assert offset(api.client, response.headers["location"]) == 0


def test_a_beginning_that_is_sent_again_is_the_same_upload(api: Api) -> None:
    replies = [begin(api.client, 10, b"12345", Idempotency_Key="k1") for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert len({reply.headers["location"] for reply in replies}) == 1
    assert [reply.headers["upload-offset"] for reply in replies] == ["5", "5"]
    assert [reply.headers.get("idempotent-replayed") for reply in replies] == [None, "true"]
    assert problem(begin(api.client, 11, Idempotency_Key="k1")) == (422, "idempotency_key_reused")
    assert len(api.client.get("/v1/videos").json()["items"]) == 1
    assert len(incoming(api.settings)) == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (422, "invalid_request")),
        ({"Upload-Length": "-1"}, (422, "invalid_request")),
        ({"Upload-Length": "ten"}, (422, "invalid_request")),
        ({"Upload-Length": "9" * 30}, (422, "invalid_request")),
        ({"Upload-Length": "300001"}, (413, "too_large")),
        ({"Upload-Defer-Length": "1"}, (422, "deferred_length")),
        ({"Upload-Length": "5", "Upload-Metadata": "filename not!base64"}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Metadata": ",,"}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Metadata": "a " + "YWFh" * 9000}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Metadata": said(priority="soon")}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Metadata": said(deadline_s="never")}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Metadata": said(webhook_url="file:///x")}, (422, "invalid_request")),
        ({"Upload-Length": "5", "Upload-Checksum": "md5 YQ=="}, (400, "unsupported_checksum")),
        ({"Upload-Length": "5", "Upload-Checksum": "sha1 ?"}, (400, "invalid_checksum")),
        ({"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, (412, "unsupported_version")),
    ],
)
def test_what_is_no_beginning_is_refused_in_words(api: Api, headers: dict[str, str], expected: tuple[int, str]) -> None:
    response = api.client.post("/v1/uploads", headers=SPOKEN | headers)
    assert problem(response) == expected
    assert response.headers["tus-resumable"] == "1.0.0"
    assert response.headers.get("tus-version") == ("1.0.0" if expected[0] == 412 else None)
    assert api.client.get("/v1/videos").json()["items"] == []
    assert incoming(api.settings) == []


def test_bytes_are_taken_only_as_what_they_are_and_where_they_belong(api: Api) -> None:
    assert problem(begin(api.client, 3, b"abcd")) == (413, "too_large")
    assert problem(begin(api.client, 3, b"abc", Content_Type="text/plain")) == (415, "unsupported_media_type")
    where = begun(api.client, 5)
    assert problem(send(api.client, where, b"ab", 0, Content_Type="text/plain")) == (415, "unsupported_media_type")
    assert problem(send(api.client, where, b"ab", 0, Tus_Resumable="2")) == (412, "unsupported_version")
    assert problem(api.client.patch(where, content=b"ab", headers=SPOKEN | AS_BYTES)) == (422, "invalid_request")
    assert send(api.client, where, b"ab", 0).status_code == 204
    for at in (0, 1, 3, 5):
        refusal = send(api.client, where, b"cde"[: max(0, 5 - at)], at)
        assert problem(refusal) == (409, "offset_conflict")
        assert refusal.json()["offset"] == 2
    assert problem(send(api.client, where, b"cdef", 2)) == (413, "too_large")
    endless = api.client.patch(
        where, content=(bytes(50_000) for _ in range(9)), headers=SPOKEN | AS_BYTES | {"Upload-Offset": "2"}
    )
    assert problem(endless) == (413, "too_large")
    assert offset(api.client, where) == 2
    assert send(api.client, where, b"cde", 2).status_code == 204
    assert problem(send(api.client, where, b"f", 5)) == (413, "too_large")
    assert document(api.client, where)["sha256"] == hashlib.sha256(b"abcde").hexdigest()


def test_a_refusal_is_heard_though_much_is_still_coming(api: Api) -> None:
    where = begun(api.client, 5)
    for closes in ({}, {"Connection": "close"}):
        assert problem(send(api.client, where, bytes(5_000_000), 0, **closes)) == (413, "too_large")


def test_a_chunk_with_a_checksum_is_kept_whole_or_not_at_all(api: Api) -> None:
    data = os.urandom(1000)
    where = begun(api.client, len(data))
    spoilt = send(api.client, where, data[:499] + b"!", 0, Upload_Checksum=checksum(data[:500]))
    assert problem(spoilt) == (460, "checksum_mismatch")
    assert offset(api.client, where) == 0
    assert send(api.client, where, data[:500], 0, Upload_Checksum=checksum(data[:500])).status_code == 204
    with connection(api.client) as line:
        begin_patch(line, api.client, where, 500, 500, Upload_Checksum=checksum(data[500:]))
        line.sendall(data[500:-1])
        reset(line)
    assert _free_offset(api.client, where) == 500
    assert send(api.client, where, data[500:], 500, Upload_Checksum=checksum(data[500:], "sha1")).status_code == 204
    assert document(api.client, where)["sha256"] == hashlib.sha256(data).hexdigest()


def test_two_at_once_do_not_mix(api: Api) -> None:
    data = os.urandom(100_000)
    where = begun(api.client, len(data))
    with connection(api.client) as line:
        begin_patch(line, api.client, where, len(data), 0)
        line.sendall(data[:-10])
        second = send(api.client, where, data, 0)
        assert problem(second) == (423, "locked")
        assert "retry-after" in second.headers
        line.sendall(data[-10:])
        assert line.recv(1000).startswith(b"HTTP/1.1 204")
    assert document(api.client, where)["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_sender_that_falls_silent_does_not_keep_others_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tus, "IDLE_S", 0.2)
    where = begun(api.client, 10)
    with connection(api.client) as line:
        line.sendall(raw_patch(api.client, where, b"0123456789", 0)[:-3])
        assert line.recv(1000).startswith(b"HTTP/1.1 408")
        assert offset(api.client, where) == 7
        assert send(api.client, where, b"789", 7).status_code == 204


@pytest.mark.parametrize(("uploads", "each"), [(6, 5), pytest.param(20, 6, marks=pytest.mark.slow)])
def test_no_reset_changes_a_byte(api: Api, uploads: int, each: int) -> None:
    chance = random.Random(uploads)
    moved = 0
    for number in range(uploads):
        data = chance.randbytes(chance.randrange(1, 300_000))
        where = begun(api.client, len(data))
        for _ in range(each):
            at = _free_offset(api.client, where)
            request = raw_patch(api.client, where, data[at:], at)
            with connection(api.client) as line:
                line.sendall(request[: chance.randrange(1, len(request))])
                time.sleep(chance.choice((0, 0.005, 0.05)))
                reset(line)
            now = _free_offset(api.client, where)
            assert at <= now < len(data)
            moved += now > at
        at = _free_offset(api.client, where)
        assert send(api.client, where, data[at:], at).status_code == 204
        assert document(api.client, where)["sha256"] == hashlib.sha256(data).hexdigest(), number
    assert moved >= uploads  # resets in the middle of a body brought it further


def _free_offset(client: httpx.Client, where: str) -> int:
    """How much is here, once the server has noticed that the last connection is gone."""
    at = offset(client, where)
    while (answer := send(client, where, b"", at)).status_code in (409, 423):
        at = offset(client, where)
    assert answer.status_code == 204
    return at


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with Server(tmp_path) as server:
        server.start()
        where = begun(server.client, len(data))
        assert send(server.client, where, data[:1_000_000], 0).status_code == 204
        with connection(server.client) as line:
            line.sendall(raw_patch(server.client, where, data[1_000_000:], 1_000_000)[:-500_000])
            until(lambda: offset(server.client, where) > 1_500_000)
            server.kill()
        server.start()
        at = offset(server.client, where)
        assert 1_500_000 < at < len(data) - 400_000
        with connection(server.client) as line:  # what nobody could check any more is not kept
            line.sendall(raw_patch(server.client, where, data[at:], at, Upload_Checksum=checksum(data[at:]))[:-100_000])
            file = tmp_path / "incoming" / where.rpartition("/")[2]
            until(lambda: file.stat().st_size > at + 100_000)
            assert offset(server.client, where) == at
            server.kill()
        server.start()
        assert offset(server.client, where) == at
        assert send(server.client, where, data[at:], at).status_code == 204
        assert document(server.client, where)["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_server_that_is_stopped_keeps_what_came(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.start()
        assert server.process is not None
        where = begun(server.client, 100_000)
        with connection(server.client) as line:
            begin_patch(line, server.client, where, 100_000, 0)
            line.sendall(bytes(70_000))
            assert document(server.client, where)["state"] == "uploading"  # it has had time to read them
            server.process.terminate()
            server.process.wait(timeout=20)
        assert (tmp_path / "incoming" / where.rpartition("/")[2]).stat().st_size == 70_000


def test_a_process_killed_over_the_last_byte_is_made_up_for(tmp_path: Path) -> None:
    sent: dict[str, bytes] = {}
    with Server(tmp_path) as server:
        for moment in ("sealed", "placed", "recorded", "committed"):
            server.start(f"resumable.{moment}")
            data = os.urandom(10_000)
            where = begun(server.client, len(data))
            sent[where] = data
            with pytest.raises(httpx.TransportError):
                send(server.client, where, data, 0)
            server.kill()
        server.start()
        for number, (where, data) in enumerate(sent.items()):
            if number % 2:
                assert offset(server.client, where) == len(data)
            else:
                assert send(server.client, where, b"", len(data)).status_code == 204
            shown = document(server.client, where)
            assert (shown["state"], shown["sha256"]) == ("queued", hashlib.sha256(data).hexdigest())
            assert server.client.get(f"/v1/videos/{shown['id']}/content").content == data
        with server.database.read() as session:
            assert len(session.exec(select(Outbox)).all()) == len(sent)


def test_a_full_disk_keeps_what_fitted_and_goes_on_later(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with Server(tmp_path) as server:
        server.start()
        assert server.process is not None
        where = begun(server.client, len(data))
        soft = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (2_000_000, soft[1]))
        assert problem(send(server.client, where, data, 0)) == (507, "disk_full")
        assert offset(server.client, where) == 2_000_000
        assert problem(send(server.client, where, data[2_000_000:], 2_000_000)) == (507, "disk_full")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, soft)
        assert send(server.client, where, data[2_000_000:], 2_000_000).status_code == 204
        assert document(server.client, where)["sha256"] == hashlib.sha256(data).hexdigest()


def test_an_upload_that_is_not_whole_in_time_goes(api: Api) -> None:
    where = begun(api.client, 5)
    video_id = where.rpartition("/")[2]
    assert send(api.client, where, b"ab", 0).status_code == 204
    assert incoming(api.settings) == [video_id]
    with api.database.write() as session:
        session.exec(update(Job).values(deadline_at=datetime.now(UTC) - timedelta(seconds=1)))
    sweep_once(api.database, BlobStore(api.settings.data), None, api.settings)
    assert list((api.settings.data / "incoming").iterdir()) == []
    assert api.client.head(where, headers=SPOKEN).status_code == 410
    assert problem(send(api.client, where, b"cde", 2)) == (410, "expired")
    assert problem(api.client.delete(where, headers=SPOKEN)) == (410, "expired")
    assert document(api.client, where)["state"] == "expired"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("DELETE", "/v1/uploads/{}", "cancelled"), ("POST", "/v1/videos/{}/cancel", "cancelled"),
     ("DELETE", "/v1/videos/{}", "deleted")],
)  # fmt: skip
def test_an_upload_can_be_called_off(api: Api, method: str, path: str, code: str) -> None:
    data = os.urandom(1000)
    where = begun(api.client, len(data), Upload_Metadata=said(filename="a.mp4"))
    video_id = where.rpartition("/")[2]
    with connection(api.client) as line:  # even while it is sent
        begin_patch(line, api.client, where, len(data), 0)
        assert api.client.request(method, path.format(video_id), headers=SPOKEN).status_code in (202, 204)
        line.sendall(data)
        assert line.recv(1000).startswith(b"HTTP/1.1 410")
    assert api.client.head(where, headers=SPOKEN).status_code == 410
    assert problem(send(api.client, where, b"", 0)) == (410, code)
    assert problem(api.client.delete(where, headers=SPOKEN)) == (410, code)
    if path != "/v1/videos/{}/cancel":
        assert list((api.settings.data / "incoming").iterdir()) == []
    assert not list((api.settings.data / "blobs").rglob("*.*"))


def test_a_whole_upload_is_a_video_and_cannot_be_called_off_here(api: Api) -> None:
    where = begin(api.client, 3, b"abc").headers["location"]
    assert problem(api.client.delete(where, headers=SPOKEN)) == (409, "already_uploaded")
    video = where.replace("/uploads/", "/videos/")
    assert api.client.post(f"{video}/cancel").status_code == 202
    assert offset(api.client, where) == 3
    assert api.client.delete(video).status_code == 204
    assert api.client.head(where, headers=SPOKEN).status_code == 410
    assert list((api.settings.data / "incoming").iterdir()) == []


def test_bytes_that_were_taken_away_are_said_to_be_lost(api: Api) -> None:
    where = begun(api.client, 5)
    BlobStore(api.settings.data).remove_partial(where.rpartition("/")[2])
    assert api.client.head(where, headers=SPOKEN).status_code == 410
    assert problem(send(api.client, where, b"abcde", 0)) == (410, "upload_lost")


def test_the_same_bytes_are_kept_once(api: Api) -> None:
    first = upload(api, b"abcde").json()
    where = begin(api.client, 5, b"abcde").headers["location"]
    with api.database.read() as session:
        assert len(set(session.exec(select(Video.blob)).all())) == 1
    assert api.client.delete(f"/v1/videos/{first['id']}").status_code == 204
    assert api.client.get(where.replace("/uploads/", "/videos/") + "/content").content == b"abcde"


def test_another_tenants_uploads_are_not_there(api: Api) -> None:
    where = begun(api.client, 5)
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    with httpx.Client(base_url=api.url, headers=api.key("ten_other")) as stranger:
        assert stranger.head(where, headers=SPOKEN).status_code == 404
        assert problem(send(stranger, where, b"abcde", 0)) == (404, "not_found")
        assert problem(stranger.delete(where, headers=SPOKEN)) == (404, "not_found")
    assert offset(api.client, where) == 0
    assert api.client.head("/v1/uploads/vid_none", headers=SPOKEN).status_code == 404
    assert problem(send(api.client, "/v1/uploads/..%2F..%2Fvidlm.db", b"", 0)) == (404, "not_found")


def test_methods_may_be_named_in_a_header(api: Api) -> None:
    where = begun(api.client, 5)
    headers = SPOKEN | AS_BYTES | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert api.client.post(where, content=b"ab", headers=headers).headers["upload-offset"] == "2"
    over = {"X-HTTP-Method-Override": "DELETE"}
    assert api.client.get(where, headers=SPOKEN | over).status_code == 204
    assert api.client.head(where, headers=SPOKEN).status_code == 410
    assert api.client.post("/v1/videos/vid_1", headers=over).status_code == 405  # here only


def test_both_databases_keep_an_upload(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, database_url=database_url)
    database, blobs = Database(database_url), BlobStore(tmp_path)
    with database.write() as session:
        key = create_key(session, "test")
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {key}"}) as app:
        client: httpx.Client = app  # type: ignore[assignment]
        where = begun(client, 5, Upload_Metadata=said(deadline_s="100"), Idempotency_Key="k")
        assert begun(client, 5, Upload_Metadata=said(deadline_s="100"), Idempotency_Key="k") == where
        video_id = where.rpartition("/")[2]
        assert send(client, where, b"ab", 0).status_code == 204
        (tmp_path / "incoming" / video_id).write_bytes(b"abcde")  # a process died over the last byte, ...
        with Partial(blobs, video_id).open() as file:  # type: ignore[union-attr]
            file.place(file.seal(DEFAULT_TENANT))
        answers: list[int] = []  # ... and many ask at once what became of it
        threads = [threading.Thread(target=lambda: answers.append(client.head(where, headers=SPOKEN).status_code))
                   for _ in range(6)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answers) <= {200, 423}
        assert offset(client, where) == 5
        assert document(client, where)["state"] == "queued"
        assert client.get(f"/v1/videos/{video_id}/content").content == b"abcde"
        other = begun(client, 5)
        assert client.delete(other, headers=SPOKEN).status_code == 204
        assert client.head(other, headers=SPOKEN).status_code == 410
    with database.read() as session:
        assert len(session.exec(select(Outbox)).all()) == 1
        assert audited(session) == [
            "upload.begun", "video.accepted", "upload.begun", "video.cancelled"]  # fmt: skip
    database.close()


class Cutter:
    """A door to the API that resets each of the first `cuts` connections over which many bytes come."""

    def __init__(self, api: Api, cuts: int) -> None:
        self._target = (api.client.base_url.host, api.client.base_url.port or 80)
        self._cuts, self._chance = cuts, random.Random(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                with line, socket.create_connection(self._target) as onward, suppress(OSError):
                    self._pass_on(line, onward)

    def _pass_on(self, line: socket.socket, onward: socket.socket) -> None:
        budget = self._chance.randrange(40_000, 90_000) if self.cut < self._cuts else 1 << 30
        while budget > 0:
            for source in polling.select([line, onward], [], [])[0]:
                data = source.recv(min(budget, 65_536))
                if not data:
                    return
                (onward if source is line else line).sendall(data)
                budget -= len(data)
        self.cut += 1
        reset(onward)
        reset(line)

    def close(self) -> None:
        self._listener.close()


def test_the_client_takes_up_what_broke_off(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "a b.mp4"
    file.write_bytes(os.urandom(299_000))
    key = api.client.headers["Authorization"].removeprefix("Bearer ")
    door = Cutter(api, cuts=3)
    video = Client(door.url, key).upload_resumable(file)
    door.close()
    assert door.cut == 3
    assert (video["filename"], video["state"]) == ("a b.mp4", "queued")
    assert video["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(api.client.get("/v1/videos").json()["items"]) == 1


def test_the_client_gives_up_where_it_is_no_use(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(bytes(300_001))
    key = api.client.headers["Authorization"].removeprefix("Bearer ")
    with pytest.raises(ServiceError) as refused:
        Client(api.url, key).upload_resumable(file)
    assert refused.value.code == "too_large"
    with pytest.raises(ServiceError, match="did not answer POST /v1/uploads"):
        Client("http://127.0.0.1:1", key).upload_resumable(file, tries=2)
