"""Following a job live: every event once and in order however often the connection breaks; no stream is left behind."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uvicorn
from conftest import Api
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from jobs_helpers import must_take
from sqlalchemy.exc import OperationalError
from test_api_videos import finish, job_of, problem, upload

from api import following
from api.following import Followers, is_news
from api.main import create_app
from vidlm.domain import JobState
from vidlm.jobs import life
from vidlm.jobs.progress import Progress
from vidlm.queue import Task
from vidlm.store.ledger import Event
from vidlm.store.tables import DEFAULT_TENANT, Tenant

WAY = ["video.queued", "video.preparing", "video.analyzing", "video.finishing", "flag.created", "video.ready"]
PATIENCE_S = 60.0


@dataclass
class Heard:
    """What came over one stream."""

    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)
    progress_at_s: list[float] = field(default_factory=list)
    comments: int = 0
    retry_ms: int | None = None

    @property
    def ids(self) -> list[int]:
        return [number for number, _, _ in self.events]

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.events]


def listen(
    api: Api,
    video_id: str,
    heard: Heard,
    *,
    after: int | None = None,
    until: Callable[[Heard], bool] = lambda _: False,
) -> int:
    """Read a stream to its end, or until enough was heard; the status it was answered with."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with api.client.stream("GET", f"/v1/videos/{video_id}/events", headers=headers, timeout=PATIENCE_S) as response:
        if response.status_code != 200:
            response.read()
            return response.status_code
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        message: dict[str, str] = {}
        for line in response.iter_lines():
            if line.startswith(":"):
                heard.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                assert name not in message
                message[name] = value
            elif message:
                keep(heard, message)
                message = {}
            if until(heard):
                break
    return 200


def keep(heard: Heard, message: dict[str, str]) -> None:
    if "retry" in message:
        heard.retry_ms = int(message["retry"])
    elif message["event"] == "progress":
        assert "id" not in message
        heard.progress.append(json.loads(message["data"]))
        heard.progress_at_s.append(time.monotonic())
    else:
        heard.events.append((int(message["id"]), message["event"], json.loads(message["data"])))


def wait_for(done: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    give_up_s = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


@contextmanager
def listening(api: Api, video_id: str, **options: Any) -> Iterator[Heard]:
    """A stream read beside the test; at the end it must have ended by itself."""
    heard = Heard()
    thread = threading.Thread(target=listen, args=(api, video_id, heard), kwargs=options)
    thread.start()
    yield heard
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_job_is_followed_from_its_upload_to_its_last_flag(api: Api) -> None:
    video_id = upload(api).json()["id"]
    with listening(api, video_id) as heard:
        wait_for(lambda: heard.progress)  # it stands in the line, and the stream with it
        assert heard.kinds == ["video.queued"]
        finish(api, video_id)
    assert heard.retry_ms == 2000
    assert heard.kinds == WAY
    assert heard.ids == sorted(set(heard.ids))
    flag, ready = heard.events[-2][2], heard.events[-1][2]
    assert (ready["video_id"], ready["state"], ready["verdict"]) == (video_id, "ready", "review")
    assert (flag["policy_id"], flag["start_s"]) == ("a.b", 0.0)
    times = [datetime.fromisoformat(document["at"]) for _, _, document in heard.events]
    assert times == sorted(times)
    assert (datetime.now(UTC) - times[0]).total_seconds() < PATIENCE_S
    assert heard.progress[0] == {
        "stage": "queued", "spans_done": 0, "spans_total": 0, "stage_fraction": 0.0, "fraction": 0.0,
        "eta_s": None}  # fmt: skip


def test_who_comes_back_gets_what_came_since_and_nothing_twice(api: Api) -> None:
    video_id = upload(api).json()["id"]
    finish(api, video_id)
    whole = Heard()
    assert listen(api, video_id, whole) == 200
    assert whole.kinds == WAY
    for number, last in enumerate(whole.ids[:-1]):
        rest = Heard()
        assert listen(api, video_id, rest, after=last) == 200
        assert rest.events == whole.events[number + 1 :]
        assert rest.progress == []  # it ended long ago: nothing moves any more
    assert listen(api, video_id, Heard(), after=whole.ids[-1]) == 204
    url = f"/v1/videos/{video_id}/events"
    by_query = api.client.get(url, params={"last_event_id": whole.ids[-2]})
    assert by_query.text.count("\nid: ") == 1
    assert api.client.get(url, params={"last_event_id": whole.ids[-1]}).status_code == 204
    both = api.client.get(url, params={"last_event_id": 0}, headers={"Last-Event-ID": str(whole.ids[-1])})
    assert both.status_code == 204  # a browser comes back to the same address with a newer header


def test_nothing_is_lost_when_the_connection_breaks_again_and_again(api: Api) -> None:
    rng = random.Random(3)
    videos = [upload(api).json()["id"] for _ in range(4)]
    heard = {video_id: [] for video_id in videos}  # type: ignore[var-annotated]

    def follow(video_id: str) -> None:
        last: int | None = None
        while True:
            part = Heard()
            status = listen(api, video_id, part, after=last, until=lambda one: len(one.events) >= rng.randrange(1, 4))
            heard[video_id] += part.events
            if status == 204:
                return
            last = part.ids[-1] if part.ids else last

    threads = [threading.Thread(target=follow, args=(video_id,)) for video_id in videos]
    for thread in threads:
        thread.start()
    for video_id in videos:
        finish(api, video_id)
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    for video_id in videos:
        assert [kind for _, kind, _ in heard[video_id]] == WAY


def test_a_retried_job_may_be_followed_again(api: Api) -> None:
    video_id = upload(api).json()["id"]
    api.client.post(f"/v1/videos/{video_id}/cancel")
    first = Heard()
    assert listen(api, video_id, first) == 200
    assert first.kinds == ["video.queued", "video.cancelled"]
    assert listen(api, video_id, Heard(), after=first.ids[-1]) == 204
    api.client.post(f"/v1/videos/{video_id}/retry")
    with listening(api, video_id, after=first.ids[-1]) as again:
        wait_for(lambda: again.events)
        finish(api, video_id)
    assert again.kinds == WAY


def test_a_deleted_video_says_so_once_to_who_follows_and_is_gone_for_who_comes(api: Api) -> None:
    video_id = upload(api).json()["id"]
    with listening(api, video_id) as heard:
        wait_for(lambda: heard.progress)
        api.client.delete(f"/v1/videos/{video_id}")
    assert heard.kinds == ["video.queued", "video.deleted"]
    assert {*heard.events[-1][2]} == {"video_id", "at"}
    assert problem(api.client.get(f"/v1/videos/{video_id}/events")) == (410, "deleted")


def test_who_may_not_follow(api: Api) -> None:
    video_id = upload(api).json()["id"]
    with api.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    here = f"/v1/videos/{video_id}/events"
    assert problem(httpx.get(api.url + here, headers=api.key("ten_other"))) == (404, "not_found")
    assert problem(httpx.get(api.url + here)) == (401, "unauthorized")
    assert problem(api.client.get("/v1/videos/vid_unknown/events")) == (404, "not_found")
    for odd in ("x", "-1", "1.5", "9" * 19, ""):
        assert problem(api.client.get(here, params={"last_event_id": odd})) == (422, "invalid_request")
    assert problem(api.client.get(here, headers={"Last-Event-ID": "evt_1"})) == (422, "invalid_request")


def test_progress_comes_as_it_changes_and_at_most_once_a_second(api: Api) -> None:
    video_id = upload(api).json()["id"]
    held = must_take(api.database, Task.PREPARE, job_of(api, video_id).id)
    with listening(api, video_id, until=lambda one: bool(one.progress) and one.progress[-1]["stage_fraction"] >= 0.9) \
            as heard:  # fmt: skip
        wait_for(lambda: heard.progress)
        for share in range(1, 31):
            with api.database.write() as session:
                life.preparing(session, held, share / 30)
            time.sleep(0.1)
    shares = [document["stage_fraction"] for document in heard.progress]
    assert shares == sorted(set(shares))
    assert {document["stage"] for document in heard.progress} == {"preparing"}
    assert 2 <= len(shares) <= 8
    apart = [later - earlier for earlier, later in zip(heard.progress_at_s, heard.progress_at_s[1:], strict=False)]
    assert min(apart) > 0.7


def test_more_events_than_are_read_at_once_all_come(api: Api) -> None:
    video_id = upload(api).json()["id"]
    with api.database.write() as session:
        for number in range(450):
            session.add(
                Event(tenant_id=DEFAULT_TENANT, video_id=video_id, kind="flag.created", document={"number": number})
            )
    api.client.post(f"/v1/videos/{video_id}/cancel")
    heard = Heard()
    assert listen(api, video_id, heard) == 200
    assert [document.get("number") for _, _, document in heard.events] == [None, *range(450), None]


# with an app whose streams can be counted


@pytest.fixture
def counted(api: Api) -> Iterator[tuple[Api, FastAPI]]:
    """The same service once more, in an app that the test has hold of."""
    app = create_app(api.settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_for(lambda: server.started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, headers=api.client.headers, timeout=20) as client:
            yield replace(api, client=client, url=url), app
        server.should_exit = True
        thread.join()


def drop_in(api: Api, video_id: str) -> socket.socket:
    """A raw stream, open, its first bytes read."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    lines = [f"GET /v1/videos/{video_id}/events HTTP/1.1", f"Host: {host}",
             f"Authorization: {api.client.headers['authorization']}", "", ""]  # fmt: skip
    connection.sendall("\r\n".join(lines).encode())
    seen = b""
    while b"event: progress" not in seen:
        seen += connection.recv(4096)
    return connection


def test_fifty_streams_that_are_dropped_are_gone(counted: tuple[Api, FastAPI]) -> None:
    api, app = counted
    followers: Followers = app.state.followers
    video_id = upload(api).json()["id"]
    connections = [drop_in(api, video_id) for _ in range(50)]
    assert len(followers) == 50
    assert api.client.get(f"/v1/videos/{video_id}").status_code == 200  # nobody else waits for them
    for connection in connections:
        connection.close()
    wait_for(lambda: len(followers) == 0, seconds=10)
    wait_for(lambda: followers.is_idle, seconds=10)  # and nobody looks any more
    drop_in(api, video_id).close()
    wait_for(lambda: len(followers) == 0, seconds=10)


def test_one_stream_too_many_is_asked_to_come_back(
    counted: tuple[Api, FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, app = counted
    monkeypatch.setattr(app.state, "followers", Followers(api.database, app.state.forecast, most=2))
    video_id = upload(api).json()["id"]
    first, second = drop_in(api, video_id), drop_in(api, video_id)
    refused = api.client.get(f"/v1/videos/{video_id}/events")
    assert problem(refused) == (503, "too_many_streams")
    assert int(refused.headers["retry-after"]) > 0
    first.close()
    wait_for(lambda: len(app.state.followers) == 1)
    drop_in(api, video_id).close()
    second.close()


def test_a_quiet_stream_is_kept_alive(counted: tuple[Api, FastAPI], monkeypatch: pytest.MonkeyPatch) -> None:
    api, _ = counted
    monkeypatch.setattr(following, "HEARTBEAT_S", 0.3)
    video_id = upload(api).json()["id"]
    heard = Heard()
    listen(api, video_id, heard, until=lambda one: one.comments >= 2)
    assert heard.kinds == ["video.queued"]
    assert len(heard.progress) <= 2


def test_a_stream_outlives_an_outage_of_the_database(
    counted: tuple[Api, FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = counted
    video_id = upload(api).json()["id"]
    away = threading.Event()
    meant = following.video_status

    def status(*asked: Any) -> Any:
        if away.is_set():
            raise OperationalError("SELECT", {}, Exception("away"))
        return meant(*asked)

    monkeypatch.setattr(following, "video_status", status)
    with listening(api, video_id) as heard:
        wait_for(lambda: heard.progress)
        away.set()
        finish(api, video_id)
        time.sleep(1.5)
        assert heard.kinds == ["video.queued"]
        away.clear()
    assert heard.kinds == WAY


TOLD = Progress(JobState.ANALYZING, 0.5, 0.525, 100.0)


def test_an_estimate_that_only_runs_down_is_no_news() -> None:
    said = (TOLD, 0.0)
    assert is_news(None, TOLD, 0.0)
    assert not is_news(said, replace(TOLD, eta_s=90.0), 10.0)
    assert not is_news(said, replace(TOLD, eta_s=97.0), 10.0)
    assert is_news(said, replace(TOLD, eta_s=60.0), 10.0)
    assert is_news(said, replace(TOLD, eta_s=130.0), 10.0)
    assert is_news(said, replace(TOLD, eta_s=None), 10.0)
    assert is_news(said, replace(TOLD, stage_fraction=0.6), 10.0)


@given(st.floats(0, 1), st.none() | st.floats(0, 1e6), st.floats(0, 0.999))
def test_nothing_is_said_twice_within_a_second(share: float, eta_s: float | None, later_s: float) -> None:
    assert not is_news((TOLD, 5.0), replace(TOLD, stage_fraction=share, eta_s=eta_s), 5.0 + later_s)
