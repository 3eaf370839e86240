"""The whole service as processes: what it does when some of them are killed, and that none outlives it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from clips import H264, numbered
from sqlmodel import col, select

from vidlm.config import Settings
from vidlm.errors import SettingsError
from vidlm.launch import Service
from vidlm.store.engine import Database
from vidlm.store.tables import AnalysisRow, SegmentRow, SpanWork

ROOT = Path(__file__).parents[2]
ENDED = {"ready", "rejected", "failed"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_random_checkpoint: Path, few_policies: Path) -> Settings:
    """Short leases, short spans, and a data folder too deep for a socket's path."""
    return Settings(
        data=tmp_path_factory.mktemp("d" * 60) / ("deep" * 15),
        port=0,
        model=str(tiny_random_checkpoint),
        policies=few_policies,
        device="cpu",
        span_s=4.0,
        segment_max_s=4.0,
        lease_s=4.0,
        sweep_every_s=1.0,
    )


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Service]:
    with Service(settings) as service:
        service.wait_ready(60)
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {service.api_key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """20 seconds: five spans."""
    return numbered(tmp_path_factory.mktemp("clips") / "c.mp4", *H264, frames=160, fps=8).path.read_bytes()


def upload(client: httpx.Client, data: bytes) -> str:
    response = client.post("/v1/videos", files={"file": ("a.mp4", data)})
    assert response.status_code == 202, response.text
    return str(response.json()["links"]["self"])


def wait_until(truth: Callable[[], bool], seconds: float, what: str) -> None:
    deadline_s = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline_s, f"not after {seconds} s: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_worker_killed_in_mid_analysis_is_replaced_and_the_job_is_ready_once(
    service: Service, client: httpx.Client, clip: bytes, settings: Settings
) -> None:
    here = upload(client, clip)

    def spans_done() -> int:
        return int(client.get(here).json()["progress"]["spans_done"])

    wait_until(lambda: spans_done() >= 1, 60, "a span is done")
    killed = service.pids()["model-1"]
    os.kill(killed, signal.SIGKILL)
    before = spans_done()
    status = client.get(here).json()
    assert status["state"] == "analyzing"
    wait_until(lambda: client.get(here).json()["state"] in ENDED, 90, "the job has ended")
    assert client.get(here).json()["state"] == "ready"
    assert service.pids()["model-1"] != killed
    database = Database(settings.sql_url)
    with database.read() as session:
        assert len(session.exec(select(AnalysisRow)).all()) == 1
        spans = session.exec(select(SpanWork).order_by(col(SpanWork.index))).all()
        indices = list(session.exec(select(SegmentRow.index).order_by(col(SegmentRow.index))).all())
    database.close()
    assert indices == list(range(len(indices)))
    assert [span.token for span in spans[:before]] == [1] * before  # what was done was not done again
    document = client.get(f"{here}/analysis").json()
    assert [segment["index"] for segment in document["segments"]] == indices
    assert document["segments"][-1]["end_s"] == 20.0


def test_a_question_through_every_process(client: httpx.Client, clip: bytes) -> None:
    here = upload(client, clip)
    wait_until(lambda: client.get(here).json()["state"] == "ready", 90, "the video is ready")
    response = client.post(f"{here}/questions", json={"question": "What is there?"}, headers={"Prefer": "wait=45"})
    assert (response.status_code, response.json()["state"]) == (200, "ready")


def test_uploads_are_taken_and_worked_off_although_the_broker_was_killed(
    service: Service, client: httpx.Client
) -> None:
    os.kill(service.pids()["valkey"], signal.SIGKILL)
    videos = [upload(client, b"no video") for _ in range(5)]
    wait_until(lambda: all(client.get(here).json()["state"] == "rejected" for here in videos), 60, "all are rejected")
    assert {client.get(here).json()["error"]["code"] for here in videos} == {"not_a_video"}


def test_the_api_keeps_its_port_when_it_is_killed(service: Service, client: httpx.Client) -> None:
    os.kill(service.pids()["api"], signal.SIGKILL)
    wait_until(lambda: _answers(client), 30, "the API answers again")


def test_a_data_folder_serves_one_service(settings: Settings, service: Service) -> None:
    assert service.api_key
    with pytest.raises(SettingsError, match="in use"):
        Service(settings).start()


def test_more_keys_can_be_made(service: Service, client: httpx.Client) -> None:
    another = {"Authorization": f"Bearer {service.create_key('another')}"}
    assert client.get("/v1/videos", headers=another).status_code == 200


def test_no_process_outlives_the_one_that_started_it(tmp_path: Path, tiny_random_checkpoint: Path) -> None:
    """However that one ends: stopped, interrupted at the keyboard, killed."""
    script = """
import signal, sys, time
from pathlib import Path
from vidlm.config import Settings
from vidlm.launch import Service
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored
with Service(Settings(data=Path(sys.argv[1]), port=0, model=sys.argv[2])) as service:
    while len(service.pids()) < 5:
        time.sleep(0.01)
    time.sleep(float(sys.argv[3]))  # some are killed as they start
    print(*service.pids().values(), flush=True)
    time.sleep(600)
"""
    ends = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: -signal.SIGINT, signal.SIGKILL: -signal.SIGKILL}
    parents = {}
    for number, pause_s in zip(ends, ("2.5", "0.5", "0"), strict=True):
        command = [sys.executable, "-c", script, str(tmp_path / number.name), str(tiny_random_checkpoint), pause_s]
        parents[number] = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    for number, parent in parents.items():
        assert parent.stdout is not None
        with parent:
            pids = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(pids) == 5
            assert all(alive(pid) for pid in pids)
            parent.send_signal(number)
            parent.wait(30)
            wait_until(lambda ids=pids: not any(alive(pid) for pid in ids), 5, "all children are gone")
        assert parent.returncode == ends[number]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
