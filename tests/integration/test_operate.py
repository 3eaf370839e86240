"""The operator's commands on real databases: what they say is what is there, and what they do is done."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jobs_helpers import accepted, analysis, expire, must_take, prepared, segment
from sqlmodel import Session, col, select, update

from vidlm import cli, launch, operate
from vidlm.config import EMBEDDED_MODEL, Settings
from vidlm.domain import JobState, Role
from vidlm.errors import MediaError, ModelError, PolicyError
from vidlm.jobs import life, presence
from vidlm.jobs.intake import Wishes
from vidlm.queue import CONSUME_ORDER, Queue, Task, broker_app, wake
from vidlm.store.engine import Database, migrate
from vidlm.store.hooks import Delivery, DeliveryAttempt, WebhookEndpoint
from vidlm.store.keys import find_caller
from vidlm.store.ledger import Audit, Outbox, Worker
from vidlm.store.tables import DEFAULT_TENANT, ApiKey, Job, SpanWork, Tenant

ROOT = Path(__file__).parents[2]
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """What tells a process of the database under test, with a data folder of its own."""
    (tmp_path / "data").mkdir()
    return {"VIDLM_DATABASE_URL": database_url, "VIDLM_DATA": str(tmp_path / "data"), "COLUMNS": "80"}


@pytest.fixture
def vidlm(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`vidlm ...` in this process; `env` adds to its environment."""
    for name in [name for name in os.environ if name.startswith("VIDLM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object, env: dict[str, str] | None = None) -> Done:
        with monkeypatch.context() as patch:
            for name, value in (environment | (env or {})).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["vidlm", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        shown = capsys.readouterr()
        return Done(arguments, int(ended.value.code or 0), shown.out, shown.err)

    return run


def spans_of(session: Session, job: Job) -> list[str]:
    query = select(SpanWork.id).where(SpanWork.job_id == job.id).order_by(col(SpanWork.index))
    return list(session.exec(query).all())


def made_ready(database: Database) -> Job:
    job = accepted(database, wishes=Wishes(filename="holiday.mp4", client_id="order-1"))
    prepared(database, job, spans=2)
    with database.read() as session:
        spans = spans_of(session, job)
    for index, span in enumerate(spans):
        held = must_take(database, Task.ANALYZE_SPAN, span)
        with database.write() as session:
            life.span_analyzed(session, held, [segment(index)])
    held = must_take(database, Task.FINISH, job.id)
    with database.write() as session:
        life.finished(session, held, analysis())
    return job


def ended(database: Database, error: Exception, filename: str = "x.mp4") -> Job:
    """A job whose only attempt at preparing failed with `error`."""
    job = accepted(database, wishes=Wishes(filename=filename))
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        life.gave_up(session, held, error, max_attempts=1)
    return job


def a_worker(database: Database, *queues: Queue, task: Task | None = None, target_id: str | None = None) -> str:
    with database.write() as session:
        worker_id = presence.arrive(session, queues)
    with database.write() as session:
        presence.say(session, worker_id, task.value if task else None, target_id)
    return worker_id


def owed_since(database: Database, job: Job, seconds: float) -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    with database.write() as session:
        session.exec(update(Outbox).where(col(Outbox.target_id) == job.id).values(due_at=at))


def status(vidlm: Run, **env: str) -> dict:
    done = vidlm("status", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_status_counts_what_there_is(vidlm: Run, database: Database) -> None:
    made_ready(database)
    ended(database, MediaError("not_a_video", "this is not a video"))
    for _ in range(2):
        ended(database, ModelError("no room", code="model_out_of_memory"))
    waiting = [accepted(database) for _ in range(3)]
    owed_since(database, waiting[0], 700)
    busy = accepted(database)
    prepared(database, busy, spans=3)
    with database.read() as session:
        span = spans_of(session, busy)[0]
    must_take(database, Task.ANALYZE_SPAN, span)
    a_worker(database, Queue.INTERACTIVE, Queue.GPU, task=Task.ANALYZE_SPAN, target_id=span)
    seen = status(vidlm)
    assert seen["jobs"] == {"queued": 3, "analyzing": 1, "ready": 1, "rejected": 1, "failed": 2}
    assert list(seen["jobs"]) == [state.value for state in JobState if state.value in seen["jobs"]]
    queues = {line["queue"]: line for line in seen["queues"]}
    assert [(queues[name]["waiting"], queues[name]["running"]) for name in ("cpu", "gpu")] == [(3, 0), (2, 1)]
    assert 700 <= queues["cpu"]["oldest_s"] < 760
    assert (queues["gpu"]["workers"], queues["cpu"]["workers"]) == (1, 0)
    counts = {"waiting": 0, "running": 0, "later": 0, "workers": 1}
    assert queues["interactive"] == counts | {"queue": "interactive", "oldest_s": None, "in_broker": None}
    (running,) = seen["running"]
    assert (running["task"], running["target_id"], running["video_id"]) == ("vidlm.analyze_span", span, busy.video_id)
    assert running["worker"].endswith(f":{os.getpid()}")
    assert (running["spans_done"], running["spans_total"], running["attempt"]) == (0, 3, 1)
    assert 0 <= running["for_s"] < 60
    assert [(row["state"], row["code"], row["jobs"]) for row in seen["failures"]] == [
        ("failed", "model_out_of_memory", 2),
        ("rejected", "not_a_video", 1),
    ]
    assert seen["broker"] is None
    assert seen["disk"]["total_bytes"] > seen["disk"]["free_bytes"] > 0


def test_work_of_a_dead_worker_waits_and_a_failed_attempt_comes_later(vidlm: Run, database: Database) -> None:
    lost, again = accepted(database), accepted(database)
    must_take(database, Task.PREPARE, lost.id)
    expire(database, Task.PREPARE, lost.id)
    owed_since(database, lost, 1)  # its wake-up falls due when its lease ends
    held = must_take(database, Task.PREPARE, again.id)
    with database.write() as session:
        life.gave_up(session, held, ModelError("no room"), max_attempts=3)
    cpu = next(line for line in status(vidlm)["queues"] if line["queue"] == "cpu")
    assert (cpu["waiting"], cpu["running"], cpu["later"]) == (1, 0, 1)


def test_a_silent_worker_is_gone(vidlm: Run, database: Database) -> None:
    worker_id = a_worker(database, Queue.CPU)
    with database.write() as session:
        silent = datetime.now(UTC) - timedelta(seconds=presence.FRESH_S + 60)
        session.exec(update(Worker).where(col(Worker.id) == worker_id).values(seen_at=silent))
    (worker,) = status(vidlm)["workers"]
    assert not worker["fresh"]
    assert worker["heard_s"] > presence.FRESH_S
    assert "ago: gone" in vidlm("status").stdout


def test_old_failures_are_forgotten(vidlm: Run, database: Database) -> None:
    job = ended(database, ModelError("no room"))
    with database.write() as session:
        yesterday = datetime.now(UTC) - timedelta(hours=25)
        session.exec(update(Job).where(col(Job.id) == job.id).values(finished_at=yesterday))
    seen = status(vidlm)
    assert seen["failures"] == []
    assert seen["jobs"] == {"failed": 1}


def test_webhooks_are_counted_until_they_are_delivered_or_given_up(vidlm: Run, database: Database) -> None:
    with database.write() as session:
        session.add(WebhookEndpoint(tenant_id=DEFAULT_TENANT, url="https://a.example/x", secret="s", events=[]))
    job = made_ready(database)
    assert status(vidlm)["webhooks"] == {"waiting": 2, "failed": 0}  # flag.created and video.ready
    with database.write() as session:
        first = session.exec(select(Delivery).order_by(col(Delivery.id))).all()[0]
        first.state, first.error_code = "failed", "webhook_failed"
        session.add(DeliveryAttempt(tenant_id=DEFAULT_TENANT, delivery_id=first.id, number=9, seconds=0.5, status=500))
    assert status(vidlm)["webhooks"] == {"waiting": 1, "failed": 1}
    told = json.loads(vidlm("jobs", "show", job.video_id, "--json").stdout)["deliveries"]
    assert [(one["event"], one["state"], one["attempts"], one["last_status"]) for one in told] == [
        ("flag.created", "failed", 9, 500),
        ("video.ready", "waiting", 0, None),
    ]


def test_the_brokers_queues_are_measured_while_it_answers(vidlm: Run, redis_url: str) -> None:
    for number in range(3):
        wake(broker_app(redis_url), Task.PREPARE, f"job_{number}")
    seen = status(vidlm, VIDLM_REDIS_URL=redis_url)
    assert seen["broker"] is True
    assert {line["queue"]: line["in_broker"] for line in seen["queues"]} == {
        "interactive": 0, "gpu": 0, "cpu": 3, "webhook": None
    }  # fmt: skip
    away = status(vidlm, VIDLM_REDIS_URL="redis://127.0.0.1:1/0")
    assert away["broker"] is False
    assert {line["in_broker"] for line in away["queues"]} == {None}


def test_the_broker_of_serve_is_found_on_the_data_folder(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> None:
    tmp_path = tmp_path_factory.mktemp("d")  # short: so must be the path of a socket
    socket = Path(redis_url.removeprefix("unix://"))
    settings = Settings(data=tmp_path)
    assert operate.broker_url(settings) is None
    (tmp_path / operate.BROKER_SOCKET).parent.mkdir()
    (tmp_path / operate.BROKER_SOCKET).symlink_to(socket)
    assert operate.broker_url(settings) == f"unix://{tmp_path / operate.BROKER_SOCKET}"
    assert operate.broker_url(Settings(data=tmp_path, redis_url="redis://elsewhere")) == "redis://elsewhere"
    assert launch.Service(settings)._socket_path().parts[-2:] == operate.BROKER_SOCKET.parts


def test_the_disk_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * 1_000_000)
    disk = operate.measure(tmp_path)
    assert disk is not None
    assert disk.whole
    assert 1_000_000 <= disk.used_bytes < 1_100_000
    assert operate.measure(tmp_path / "nowhere") is None


HOSTILE = "[red]x\x1b[2J\u202e and a name that is longer than any terminal is wide, whatever may be said of it.mp4"


@pytest.mark.parametrize("columns", [80, 140])
def test_what_is_shown_fits_the_terminal_and_obeys_no_file_name(vidlm: Run, database: Database, columns: int) -> None:
    job = ended(database, ModelError("no room", code="model_out_of_memory"), HOSTILE)
    held = accepted(database, wishes=Wishes(filename=HOSTILE))
    must_take(database, Task.PREPARE, held.id)
    a_worker(database, *CONSUME_ORDER, task=Task.PREPARE, target_id=held.id)
    commands = [("status",), ("status", "--watch"), ("jobs", "list"), ("jobs", "show", job.id)]
    for command in commands:
        done = vidlm(*command, env={"COLUMNS": str(columns)})
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.splitlines())) <= columns
        assert "\x1b" not in done.stdout
        assert job.video_id in done.stdout or held.video_id in done.stdout
    listed = vidlm("jobs", "list", env={"COLUMNS": str(columns)}).stdout
    assert "failed model_out_of_memory" in listed
    assert "[red]x" in listed


def test_jobs_are_listed_newest_first_and_by_state(vidlm: Run, database: Database) -> None:
    first, second = ended(database, ModelError("no room")), accepted(database)
    rejected = ended(database, MediaError("no_frames", "nothing in it"))

    def listed(*options: object) -> list[str]:
        return [row["job_id"] for row in json.loads(vidlm("jobs", "list", "--json", *options).stdout)]

    assert listed() == [rejected.id, second.id, first.id]
    assert listed("--limit", 1) == [rejected.id]
    assert listed("--state", "failed") == [first.id]
    assert listed("--state", "failed", "--state", "queued") == [second.id, first.id]
    assert listed("--state", "ready") == []
    assert "no such job" in vidlm("jobs", "list", "--state", "ready").stdout
    unknown = vidlm("jobs", "list", "--state", "nonsense")
    assert (unknown.returncode, unknown.stderr.split(":")[0]) == (2, "invalid_settings")


def test_several_tenants_are_told_apart(vidlm: Run, database: Database) -> None:
    with database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    accepted(database)
    assert "ten_" not in vidlm("jobs", "list").stdout
    accepted(database, "ten_other")
    shown = vidlm("jobs", "list", env={"COLUMNS": "140"}).stdout
    assert "ten_other" in shown
    assert DEFAULT_TENANT in shown


def test_a_jobs_dossier_tells_its_whole_life(vidlm: Run, database: Database) -> None:
    job = made_ready(database)
    told = json.loads(vidlm("jobs", "show", job.video_id, "--json").stdout)
    assert told == json.loads(vidlm("jobs", "show", job.id, "--json").stdout)
    assert [moment["state"] for moment in told["moments"]] == ["queued", "preparing", "analyzing", "finishing", "ready"]
    times = [moment["at"] for moment in told["moments"]]
    assert times == sorted(times)
    assert (told["job"]["state"], told["job"]["verdict"], told["toy_model"]) == ("ready", "review", True)
    assert (told["segments"], told["flags"], told["client_id"]) == (2, {"review": 1}, "order-1")
    assert [(span["index"], span["state"], span["attempts"]) for span in told["spans"]] == [
        (0, "done", 0),
        (1, "done", 0),
    ]
    shown = vidlm("jobs", "show", job.video_id).stdout
    assert all(word in shown for word in ("holiday.mp4", "order-1", "Spans  done 2", "segments 2, flags 1 (review 1)"))


def test_a_dossier_says_who_is_at_it_and_what_was_tried(vidlm: Run, database: Database) -> None:
    job = accepted(database)
    prepared(database, job, spans=3)
    with database.read() as session:
        spans = spans_of(session, job)
    held = must_take(database, Task.ANALYZE_SPAN, spans[0])
    with database.write() as session:
        life.gave_up(session, held, ModelError("no room"), max_attempts=3)
    must_take(database, Task.ANALYZE_SPAN, spans[1])
    a_worker(database, Queue.GPU, task=Task.ANALYZE_SPAN, target_id=spans[1])
    told = json.loads(vidlm("jobs", "show", job.id, "--json").stdout)
    assert [(span["state"], span["attempts"]) for span in told["spans"]] == [
        ("waiting", 1),
        ("running", 1),
        ("waiting", 0),
    ]
    assert told["spans"][1]["worker"].endswith(f":{os.getpid()}")
    assert told["spans"][0]["not_before"] is not None
    shown = vidlm("jobs", "show", job.id, env={"COLUMNS": "140"}).stdout
    assert "again at" in shown
    assert f":{os.getpid()}" in shown


def test_what_is_not_there_is_said_in_one_line(vidlm: Run) -> None:
    done = vidlm("jobs", "show", "vid_nothing")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "not_found: there is no such video or job\n")


def test_retry_and_cancel_say_what_became_of_each(vidlm: Run, database: Database) -> None:
    failed, waiting, ready = ended(database, ModelError("no room")), accepted(database), made_ready(database)
    done = vidlm("jobs", "retry", failed.video_id, waiting.id, "vid_nothing")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{failed.video_id}  queued",
        f"{waiting.id}  not_retriable: a job that is queued cannot be retried",
        "vid_nothing  not_found: there is no such video or job",
    ]
    with database.read() as session:
        assert session.get_one(Job, failed.id).error_code is None
        owed = select(Outbox).where(Outbox.target_id == failed.id, Outbox.task == Task.PREPARE.value)
        assert session.exec(owed).one().sent_at is None
    assert vidlm("jobs", "cancel", failed.id, waiting.id).returncode == 0
    late = vidlm("jobs", "cancel", ready.id, failed.id)
    assert late.returncode == 1
    assert late.stdout.splitlines() == [
        f"{ready.id}  already_ended: the job has ended already: it is ready",
        f"{failed.id}  cancelled",
    ]
    with database.read() as session:
        acted = session.exec(
            select(Audit.event, Audit.target_id).where(Audit.actor == "cli").order_by(col(Audit.id))
        ).all()
        assert list(acted) == [
            ("video.retried", failed.video_id),
            ("video.cancelled", failed.video_id),
            ("video.cancelled", waiting.video_id),
        ]


def test_a_key_is_made_and_printed_once(vidlm: Run, database: Database) -> None:
    done = vidlm("key", "compose")
    assert done.returncode == 0
    with database.read() as session:
        caller = find_caller(session, done.stdout.strip())
        assert caller is not None
        assert (caller.role, caller.restricted) == (Role.ADMIN, False)
        assert session.get_one(ApiKey, caller.id).name == "compose"
    made = vidlm("key", "Ann", "--role", "reviewer", "--restricted").stdout.strip()
    with database.read() as session:
        caller = find_caller(session, made)
        assert caller is not None
        assert (caller.role, caller.restricted) == (Role.REVIEWER, True)
        told = session.exec(select(Audit).where(Audit.target_id == caller.id)).one()
        assert (told.actor, told.event, told.details) == ("cli", "key.made", {"role": "reviewer", "restricted": True})
    refused = vidlm("key", "Bob", "--role", "king")
    assert (refused.returncode, "known are viewer, reviewer, lead, admin" in refused.stderr) == (2, True)


def test_keys_are_listed_and_revoked(vidlm: Run, database: Database) -> None:
    kept, gone = vidlm("key", "kept").stdout.strip(), vidlm("key", "gone", "--role", "viewer").stdout.strip()
    with database.read() as session:
        caller = find_caller(session, gone)
        assert caller is not None
    listed = vidlm("keys", "list").stdout
    assert re.search(rf"^{caller.id}  viewer +never +gone$", listed, flags=re.MULTILINE)
    assert gone not in listed
    for _ in range(2):
        assert vidlm("keys", "revoke", caller.id).returncode == 0
    with database.read() as session:
        assert find_caller(session, gone) is None
        assert find_caller(session, kept) is not None
        told = session.exec(select(Audit).where(Audit.target_id == caller.id).order_by(col(Audit.id))).all()
        assert [(row.actor, row.event) for row in told] == [("cli", "key.made"), ("cli", "key.revoked")]
    assert re.search(r"revoked +never +gone$", vidlm("keys", "list").stdout, flags=re.MULTILINE)
    nobodys = vidlm("keys", "revoke", "key_nobodys")
    assert (nobodys.returncode, "there is no key 'key_nobodys'" in nobodys.stderr) == (2, True)


def test_health_checks_tell_the_living_from_the_dead(vidlm: Run, database: Database) -> None:
    assert vidlm("alive", "worker").returncode == 1
    a_worker(database, Queue.CPU)
    assert vidlm("alive", "worker").returncode == 0
    job = accepted(database)
    assert vidlm("alive", "relay").returncode == 0  # it has a minute
    owed_since(database, job, operate.BEHIND_S + 5)
    assert vidlm("alive", "relay").returncode == 1
    assert vidlm("alive", "everything").returncode == 2
    with database.write() as session:
        worker = session.exec(select(Worker)).one()
        worker.host = "another"
    assert vidlm("alive", "worker").returncode == 1


def test_a_round_of_sweeping_sets_right_what_is_wrong(environment: dict[str, str], database: Database) -> None:
    overdue = accepted(database, wishes=Wishes(filename="a.mp4", deadline_s=0.001))
    time.sleep(0.01)
    done = in_a_process("sweep", "--once", env=environment)
    assert done.returncode == 0, done.stderr
    with database.read() as session:
        assert session.get_one(Job, overdue.id).state == "expired"


def test_without_a_database_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    done = in_a_process("sweep", "--once", env={"VIDLM_DATA": str(tmp_path)})
    assert (done.returncode, done.stderr.split(":")[0]) == (1, "no_database")
    assert not list(tmp_path.iterdir())


def test_policies_that_cannot_be_read_are_said_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", policies=tmp_path / "nowhere.yaml")
    with pytest.raises(PolicyError):
        launch.Service(settings).start()
    assert not (tmp_path / "data").exists()


def test_the_relay_sends_until_it_is_told_to_stop(tmp_path: Path, redis_url: str) -> None:
    environment = {"VIDLM_DATA": str(tmp_path), "VIDLM_REDIS_URL": redis_url}
    settings = Settings(data=tmp_path)
    migrate(settings.sql_url)
    database = Database(settings.sql_url)
    job = accepted(database)
    command = [sys.executable, "-m", "vidlm.cli", "relay"]
    relay = subprocess.Popen(command, env=clean(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 60
        sent = None
        while sent is None and time.monotonic() < until_s:
            time.sleep(0.1)
            with database.read() as session:
                sent = session.exec(select(Outbox.sent_at).where(Outbox.target_id == job.id)).one()
        assert sent is not None
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(60) == 0
    finally:
        relay.kill()
        relay.wait()
        database.close()


def clean(environment: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIDLM_")}
    return kept | {"PYTHONPATH": str(ROOT)} | environment


def in_a_process(*arguments: str, env: dict[str, str]) -> Done:
    command = [sys.executable, "-m", "vidlm.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=clean(env))


_WATCH = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored
sys.argv = ["vidlm", "status", "--watch"]
runpy.run_module("vidlm.cli", run_name="__main__")
"""


def test_status_is_drawn_again_and_again_until_it_is_interrupted(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    migrate(settings.sql_url)
    database = Database(settings.sql_url)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", _WATCH]
    size = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm"}
    env = clean({"VIDLM_DATA": str(tmp_path)} | size)
    watching = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    shown = b""

    def read_until(text: bytes) -> None:
        nonlocal shown
        until_s = time.monotonic() + 60
        while text not in shown and time.monotonic() < until_s:
            shown += os.read(ours, 65536)
        assert text in shown

    try:
        read_until(b"none")
        accepted(database)
        read_until(b"queued 1")  # nobody asked again
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
        database.close()


def test_without_a_database_one_line_says_so_and_none_is_made(vidlm: Run, tmp_path: Path) -> None:
    nowhere = {"VIDLM_DATA": str(tmp_path / "nowhere"), "VIDLM_DATABASE_URL": f"sqlite:///{tmp_path}/nowhere/x.db"}
    for command in (("status",), ("jobs", "list"), ("jobs", "retry", "vid_1"), ("key", "x"), ("alive", "relay")):
        done = vidlm(*command, env=nowhere)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert done.stderr.startswith("no_database: ")
    assert not (tmp_path / "nowhere").exists()
    away = {"VIDLM_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}
    assert vidlm("status", env=away).stderr == "database_unavailable: the database does not answer\n"


def found_by(vidlm: Run, *options: str, **env: str) -> tuple[int, dict[str, dict]]:
    done = vidlm("doctor", "--json", *options, env=env)
    return done.returncode, {one["check"]: one for one in json.loads(done.stdout)}


def test_the_doctor_finds_nothing_wrong_with_a_service_that_runs(
    vidlm: Run, database: Database, redis_url: str
) -> None:
    a_worker(database, *CONSUME_ORDER)
    status_, found = found_by(vidlm, VIDLM_REDIS_URL=redis_url, VIDLM_DEVICE="cpu")
    assert status_ == 0
    assert found.pop("sandbox")["verdict"] in ("ok", "warning")  # the kernel's business
    assert {one["verdict"] for one in found.values()} == {"ok"}
    assert set(found) == {
        "libraries", "settings", "policies", "data", "database", "broker", "clock", "relay", "workers", "ffmpeg", "gpu",
        "model",
    }  # fmt: skip


def test_a_service_that_does_not_run_is_a_warning_and_half_of_one_a_failure(vidlm: Run, database: Database) -> None:
    job = accepted(database)
    owed_since(database, job, operate.BEHIND_S + 5)
    status_, found = found_by(vidlm)
    assert status_ == 0
    assert {found[name]["verdict"] for name in ("workers", "relay", "broker")} == {"warning"}
    a_worker(database, Queue.CPU)
    status_, found = found_by(vidlm, VIDLM_REDIS_URL="redis://127.0.0.1:1/0")
    assert status_ == 1
    assert {found[name]["verdict"] for name in ("workers", "relay", "broker")} == {"failed"}
    assert "interactive, gpu" in found["workers"]["says"]
    assert found["workers"]["do"] == "start one: `vidlm worker --queues interactive,gpu`"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("env", "check", "verdict", "says"),
    [
        ({"VIDLM_KEEP_ORIGINAL_S": "60"}, "settings", "warning", "VIDLM_KEEP_ORIGINALS_S?"),
        ({"VIDLM_SAMPLE_FPS": "many"}, "settings", "failed", "VIDLM_SAMPLE_FPS"),
        ({"VIDLM_POLICIES": "/nowhere.yaml"}, "policies", "failed", "docs/policies.md"),
        ({"VIDLM_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}, "database", "failed", "does not answer"),
        ({"VIDLM_DATABASE_URL": "oracle://x"}, "database", "failed", "must begin with sqlite:/// or postgresql://"),
        ({"VIDLM_REDIS_URL": "nonsense"}, "broker", "failed", "no address"),
        ({"VIDLM_DEVICE": "cuda:77"}, "gpu", "failed", "VIDLM_DEVICE is cuda:77"),
        ({"VIDLM_MODEL": "/nowhere"}, "model", "failed", "there is no checkpoint folder"),
        ({"VIDLM_MODEL": "nobody/has-fetched-this"}, "model", "warning", "has not been fetched"),
        ({"VIDLM_MAX_UPLOAD_BYTES": str(2**60)}, "data", "warning", "less than two of the largest uploads"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_what_to_do(
    vidlm: Run, env: dict[str, str], check: str, verdict: str, says: str
) -> None:
    status_, found = found_by(vidlm, **env)
    assert found[check]["verdict"] == verdict
    assert says in found[check]["says"] + found[check]["do"]
    assert found[check]["do"]
    assert status_ == (1 if verdict == "failed" else 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_doctor_looks_at_the_data_folder_and_leaves_nothing_there(vidlm: Run, tmp_path: Path) -> None:
    for name in ("incoming", "blobs"):
        (tmp_path / "data" / name).mkdir()
    assert found_by(vidlm)[1]["data"]["verdict"] == "ok"
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == ["blobs", "incoming"]
    (tmp_path / "file").touch()
    status_, found = found_by(vidlm, VIDLM_DATA=str(tmp_path / "file"))
    assert (status_, found["data"]["verdict"]) == (1, "failed")
    status_, found = found_by(vidlm, VIDLM_DATA=str(tmp_path / "nowhere"))
    assert (status_, found["data"]["verdict"]) == (0, "warning")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_doctor_sees_that_weights_are_cut_off(vidlm: Run, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for file in EMBEDDED_MODEL.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert found_by(vidlm, VIDLM_MODEL=str(copy))[1]["model"]["verdict"] == "ok"
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    for broken in (whole[:-1], whole + b"x", whole[:100], b"", b"\xff" * 64):
        weights.write_bytes(broken)
        status_, found = found_by(vidlm, VIDLM_MODEL=str(copy))
        assert (status_, found["model"]["verdict"]) == (1, "failed"), len(broken)
    weights.unlink()
    assert "has no model.safetensors" in found_by(vidlm, VIDLM_MODEL=str(copy))[1]["model"]["says"]
    (copy / "config.json").write_text("{")
    assert "config.json" in found_by(vidlm, VIDLM_MODEL=str(copy))[1]["model"]["says"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_doctor_loads_the_model_when_asked_to(vidlm: Run, tiny_random_checkpoint: Path) -> None:
    found = found_by(vidlm, "--deep", VIDLM_MODEL=str(tiny_random_checkpoint), VIDLM_DEVICE="cpu")[1]["model"]
    assert (found["verdict"], found["says"].endswith("was loaded on cpu")) == ("ok", True)


def test_the_doctor_sees_a_database_that_nobody_migrated(
    vidlm: Run, request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> None:
    if database_url.startswith("sqlite"):
        (tmp_path / "empty.db").touch()
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = request.getfixturevalue("postgres_server").empty_database()
    status_, found = found_by(vidlm, VIDLM_DATABASE_URL=url)
    assert (status_, found["database"]["do"]) == (1, "`vidlm migrate`")
    assert "workers" not in found
    assert vidlm("status", env={"VIDLM_DATABASE_URL": url}).stderr.startswith("not_migrated: ")
