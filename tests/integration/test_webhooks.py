"""What webhooks promise, against real receivers: signed, at least once, one at a time, tried again, told again.

On SQLite and on PostgreSQL; receivers are HTTP servers on the loopback, which is allowed here.
"""

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from conftest import Api
from fastapi.testclient import TestClient
from jobs_helpers import ATTEMPTS, accepted, expire, must_take
from sqlalchemy import text
from sqlmodel import col, select, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from test_api_videos import finish, problem, upload
from test_jobs_life import ready

from api import webhook_examples as shown
from api import webhook_schemas as schemas
from api.main import create_app
from vidlm.config import Settings
from vidlm.domain import WorkState
from vidlm.errors import ConflictError, InputError, LeaseLost, MediaError
from vidlm.jobs import control, deliveries, delivery_log, life, outbox, webhooks
from vidlm.jobs.claims import WEBHOOK_ATTEMPTS
from vidlm.jobs.deliveries import WAITS_S, wait_s
from vidlm.jobs.events import TOLD, Told
from vidlm.jobs.intake import NO_WISHES, Wishes
from vidlm.outward import OutwardError
from vidlm.queue import Task
from vidlm.store.engine import Database
from vidlm.store.hooks import Delivery, WebhookEndpoint
from vidlm.store.ledger import Audit, Event, Outbox
from vidlm.store.tables import DEFAULT_TENANT, Job, Tenant, Video
from workers.courier import courier_once, deliver, run_courier

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
SETTINGS = Settings(webhook_private=True)


@dataclass(frozen=True)
class Got:
    """One request as a receiver saw it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]


@dataclass
class Receiver:
    """An HTTP server. It answers 200, or what `answers` still holds; `delay` is called before."""

    url: str
    got: list[Got] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    delay: Callable[[], object] = lambda: None
    most_at_once: int = 0

    def kinds(self) -> list[str]:
        return sorted(one.message["type"] for one in self.got)


@contextmanager
def serving() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    lock, now = threading.Lock(), Counter[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                now["here"] += 1
                receiver.most_at_once = max(receiver.most_at_once, now["here"])
                receiver.got.append(Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.answers.pop(0) if receiver.answers else 200
            receiver.delay()
            with lock:
                now["here"] -= 1
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving() as made:
        yield made


def register(database: Database, url: str, *events: Told) -> WebhookEndpoint:
    with database.write() as session:
        return webhooks.create(session, tenant_id=DEFAULT_TENANT, actor="key_test", url=url, events=events)


def rejected(database: Database, wishes: Wishes = NO_WISHES) -> Job:
    """A job that has ended: one event that webhooks are told of."""
    job = accepted(database, wishes=wishes)
    held = must_take(database, Task.PREPARE, job.id)
    with database.write() as session:
        life.gave_up(session, held, MediaError("not_a_video", "this is no video"), max_attempts=ATTEMPTS)
    return job


def all_deliveries(database: Database) -> list[Delivery]:
    with database.read() as session:
        return list(session.exec(select(Delivery).order_by(col(Delivery.id))).all())


def the_delivery(database: Database) -> Delivery:
    (delivery,) = all_deliveries(database)
    return delivery


def tries(database: Database, delivery: Delivery) -> list[tuple[int, int | None, str | None]]:
    with database.read() as session:
        return [(row.number, row.status, row.error) for row in delivery_log.attempts_of(session, delivery.id)]


def owed(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.exec(select(Outbox.target_id).where(Outbox.task == Task.DELIVER.value)).all())


def hurry(database: Database) -> None:
    """The wait for the next attempt is over."""
    with database.write() as session:
        session.exec(update(Delivery).values(not_before=None))
        ours = col(Outbox.task) == Task.DELIVER.value
        session.exec(update(Outbox).where(ours).values(due_at=datetime.now(UTC) - timedelta(seconds=1)))


def signature(secret: str, got: Got) -> str:
    """What the specification says, written once more."""
    key = base64.b64decode(secret[len("whsec_") :])
    signed = b".".join((got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_a_message_is_signed_and_says_what_happened(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    job = rejected(database, Wishes(filename="secret name.mp4", client_id="cam 7"))
    courier_once(database, SETTINGS)
    (got,) = receiver.got
    with database.read() as session:
        (event,) = session.exec(select(Event).where(Event.kind == Told.REJECTED)).all()
    assert got.message == {
        "type": "video.rejected",
        "timestamp": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {
            "event_id": event.public_id,
            "video_id": job.video_id,
            "client_id": "cam 7",
            "state": "rejected",
            "error_code": "not_a_video",
            "verdict": None,
            "toy_model": None,
        },
    }
    assert (got.path, got.headers["content-type"]) == ("/hook", "application/json")
    assert got.headers["webhook-id"] == event.public_id
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert got.headers["webhook-signature"] == signature(endpoint.secret, got)
    delivery = the_delivery(database)
    assert (delivery.state, delivery.endpoint_id, delivery.error_code) == ("done", endpoint.id, None)
    assert delivery.delivered_at is not None
    assert tries(database, delivery) == [(1, 200, None)]
    assert owed(database) == []


def test_the_standard_library_of_webhooks_verifies_it(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    courier_once(database, SETTINGS)
    (got,) = receiver.got
    assert Webhook(endpoint.secret).verify(got.body, got.headers) == got.message
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.new_secret()).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint.secret).verify(got.body + b" ", got.headers)


def test_a_secret_is_24_random_bytes() -> None:
    made = {webhooks.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in made} == {24}


def test_a_receiver_that_fails_is_tried_again_with_the_same_bytes(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    receiver.answers = [500, 301, 404]
    for attempt in range(1, 4):
        courier_once(database, SETTINGS)
        delivery = the_delivery(database)
        assert (delivery.state, delivery.error_code) == ("waiting", f"http_{[500, 301, 404][attempt - 1]}")
        assert delivery.not_before is not None
        away_s = (delivery.not_before - datetime.now(UTC)).total_seconds()
        assert WAITS_S[attempt - 1] - 5 < away_s <= WAITS_S[attempt - 1] * 1.1
        courier_once(database, SETTINGS)  # too early
        assert len(receiver.got) == attempt
        hurry(database)
    courier_once(database, SETTINGS)
    assert tries(database, the_delivery(database)) == [(1, 500, None), (2, 301, None), (3, 404, None), (4, 200, None)]
    assert (the_delivery(database).state, the_delivery(database).error_code) == ("done", None)
    assert {(got.body, got.headers["webhook-id"]) for got in receiver.got} == {
        (receiver.got[0].body, receiver.got[0].headers["webhook-id"])
    }
    assert all(got.headers["webhook-signature"] == signature(endpoint.secret, got) for got in receiver.got)


def test_a_receiver_that_never_answers_well_is_given_up(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    receiver.answers = [503] * 100
    for _ in range(WEBHOOK_ATTEMPTS + 3):
        courier_once(database, SETTINGS)
        hurry(database)
    assert len(receiver.got) == WEBHOOK_ATTEMPTS
    delivery = the_delivery(database)
    assert (delivery.state, delivery.error_code, delivery.error_detail) == (
        "failed",
        "http_503",
        "the receiver answered 503",
    )
    assert owed(database) == []


def test_the_attempts_stretch_over_a_day() -> None:
    assert len(WAITS_S) == WEBHOOK_ATTEMPTS - 1
    assert sum(WAITS_S) - max(WAITS_S) >= 24 * 3600  # even where a courier took one attempt with it
    assert [wait_s(attempt, 0.0) for attempt in range(1, WEBHOOK_ATTEMPTS)] == list(WAITS_S)
    assert WAITS_S[0] < wait_s(1, 0.999) < WAITS_S[0] * 1.1
    assert list(WAITS_S) == sorted(WAITS_S)


def test_an_attempt_without_an_answer_says_why(database: Database) -> None:
    with serving() as gone:
        register(database, gone.url)
    rejected(database)
    courier_once(database, SETTINGS)
    assert tries(database, the_delivery(database)) == [(1, None, "refused")]
    assert the_delivery(database).error_code == "refused"


def test_private_addresses_are_called_only_where_that_is_allowed(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    courier_once(database, Settings())
    assert tries(database, the_delivery(database)) == [(1, None, "address_not_allowed")]
    assert receiver.got == []


def test_of_two_hundred_passes_over_one_delivery_one_sends_it(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    receiver.delay = lambda: time.sleep(0.3)
    delivery_id = the_delivery(database).id
    with ThreadPoolExecutor(20) as pool:
        said = Counter(pool.map(lambda _: deliver(database, SETTINGS, delivery_id), range(200)))
    assert said == {"delivered": 1, "skipped": 199}
    assert len(receiver.got) == 1
    assert tries(database, the_delivery(database)) == [(1, 200, None)]


def test_several_couriers_share_what_is_due(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    for _ in range(20):
        rejected(database)
    threads = [threading.Thread(target=courier_once, args=(database, SETTINGS)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    courier_once(database, SETTINGS)  # one may have passed by rows that another just held
    assert Counter(got.headers["webhook-id"] for got in receiver.got).most_common(1)[0][1] == 1
    assert len(receiver.got) == 20
    assert {delivery.state for delivery in all_deliveries(database)} == {"done"}


def test_a_courier_that_died_is_replaced(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    with database.write() as session:
        begun = deliveries.begin(session, the_delivery(database).id, lease_s=0.5)
    assert begun is not None  # and then it dies
    courier_once(database, SETTINGS)
    assert receiver.got == []
    time.sleep(0.6)
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 1
    assert tries(database, the_delivery(database)) == [(2, 200, None)]
    for late in (deliveries.delivered, deliveries.refused):  # it was only slow: what it has to say comes too late
        with pytest.raises(LeaseLost), database.write() as session:
            late(session, begun[0], status=200, seconds=1.0)


def test_a_courier_that_died_before_its_claim_is_replaced(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    with database.read() as session:
        due = deliveries.next_due(session, 5, {})
    with database.write() as session:
        assert deliveries.take(session, due) == due
    with database.write() as session:
        assert deliveries.take(session, due) == []  # nobody takes it twice
        (row,) = session.exec(select(Outbox).where(Outbox.task == Task.DELIVER.value)).all()
        assert 0 < (row.due_at - datetime.now(UTC)).total_seconds() <= deliveries.TAKEN_S
    hurry(database)
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 1


def test_a_delivery_that_takes_every_courier_down_ends(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    delivery_id = the_delivery(database).id
    for _ in range(WEBHOOK_ATTEMPTS):
        with database.write() as session:
            assert deliveries.begin(session, delivery_id, lease_s=30) is not None
        expire(database, Task.DELIVER, delivery_id)
    hurry(database)
    courier_once(database, SETTINGS)
    assert receiver.got == []
    with database.write() as session:
        assert life.end_exhausted(session, Task.DELIVER, max_attempts=WEBHOOK_ATTEMPTS) == [delivery_id]
    assert (the_delivery(database).state, the_delivery(database).error_code) == ("failed", "worker_lost")
    assert owed(database) == []


def test_an_upload_may_name_an_address_for_itself(database: Database, receiver: Receiver) -> None:
    rejected(database, Wishes(webhook_url=receiver.url + "?job=1"))
    rejected(database)
    courier_once(database, SETTINGS)
    (got,) = receiver.got
    assert got.path == "/hook?job=1"
    with database.write() as session:
        secret = webhooks.signing_secret(session, DEFAULT_TENANT)
        assert webhooks.signing_secret(session, DEFAULT_TENANT) == secret
        other = webhooks.rotate_signing_secret(session, DEFAULT_TENANT, actor="key_test")
    assert got.headers["webhook-signature"] == signature(secret, got)
    with database.read() as session:
        assert session.get_one(Tenant, DEFAULT_TENANT).webhook_secret == other != secret


def test_the_signing_secret_is_made_once(database: Database) -> None:
    def ask(_: int) -> str:
        with database.write() as session:
            return webhooks.signing_secret(session, DEFAULT_TENANT)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(16)))) == 1


def test_an_address_is_told_once_of_an_event(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database, Wishes(webhook_url=receiver.url))
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 1


def test_each_address_gets_the_events_it_asked_for(database: Database) -> None:
    with serving() as everything, serving() as flags, serving() as other:
        register(database, everything.url)
        register(database, flags.url, Told.FLAG, Told.REVIEW)
        register(database, other.url, Told.CANCELLED, Told.EXPIRED)
        job = ready(database)
        courier_once(database, SETTINGS)
        assert everything.kinds() == ["flag.created", "video.ready"]
        assert flags.kinds() == ["flag.created"]
        assert other.got == []
        flag = flags.got[0].message["data"]
        assert flag | {"event_id": "", "flag_id": ""} == {
            "event_id": "",
            "flag_id": "",
            "video_id": job.video_id,
            "policy_id": "a.b",
            "start_s": 0.0,
            "end_s": 5.0,
            "score": 0.75,
            "severity": "low",
            "action": "review",
            "second_look": None,
        }
        verdict = next(got.message["data"] for got in everything.got if got.message["type"] == "video.ready")
        assert (verdict["verdict"], verdict["toy_model"]) == ("review", True)


def test_another_tenants_events_are_not_told(database: Database, receiver: Receiver) -> None:
    with database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    with database.write() as session:
        webhooks.create(session, tenant_id="ten_other", actor="key_test", url=receiver.url)
    rejected(database)
    courier_once(database, SETTINGS)
    assert (receiver.got, all_deliveries(database)) == ([], [])


def test_of_a_deleted_video_only_ids_are_told(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    job = rejected(database, Wishes(client_id="somebody"))
    with database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
    courier_once(database, SETTINGS)
    assert receiver.kinds() == ["video.deleted", "video.rejected"]
    for got in receiver.got:
        assert got.message["data"] == {"event_id": got.headers["webhook-id"], "video_id": job.video_id}


@pytest.mark.parametrize("how", ["delete", "disable"])
def test_what_waits_for_an_address_that_is_no_more_is_called_off(
    database: Database, receiver: Receiver, how: str
) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    with serving() as other:
        register(database, other.url)
        rejected(database)
        with database.write() as session:
            row = webhooks.find(session, DEFAULT_TENANT, endpoint.id, lock=True)
            assert row is not None
            if how == "delete":
                webhooks.delete(session, row, actor="key_test")
            else:
                webhooks.change(session, row, actor="key_test", enabled=False)
        rejected(database)
        courier_once(database, SETTINGS)
        assert (len(receiver.got), len(other.got)) == (0, 2)
    states = Counter((delivery.endpoint_id == endpoint.id, delivery.state) for delivery in all_deliveries(database))
    assert states == {(True, "cancelled"): 2, (False, "done"): 2}
    assert owed(database) == []
    with database.read() as session:
        assert (webhooks.find(session, DEFAULT_TENANT, endpoint.id) is None) == (how == "delete")


def test_a_deletion_overtakes_a_delivery_on_its_way(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    receiver.answers = [500]
    arrived, go_on = threading.Event(), threading.Event()
    receiver.delay = lambda: (arrived.set(), go_on.wait(5))
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(deliver, database, SETTINGS, the_delivery(database).id)
        assert arrived.wait(5)
        with database.write() as session:
            webhooks.delete(session, session.get_one(WebhookEndpoint, endpoint.id), actor="key_test")
        go_on.set()
        assert said.result() == "lost"
    assert the_delivery(database).state == "cancelled"
    hurry(database)
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 1


def test_an_event_that_was_being_written_when_its_address_was_deleted_is_not_told(
    database: Database, receiver: Receiver
) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    with database.write() as session:
        session.get_one(WebhookEndpoint, endpoint.id).deleted_at = datetime.now(UTC)
    courier_once(database, SETTINGS)
    assert receiver.got == []
    assert (the_delivery(database).state, owed(database)) == ("cancelled", [])


def test_an_address_that_is_gone_is_disabled(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    for _ in range(3):
        rejected(database)
    receiver.answers = [410]
    assert deliver(database, SETTINGS, all_deliveries(database)[0].id) == "failed"
    rejected(database)
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 1
    assert [delivery.state for delivery in all_deliveries(database)] == ["failed", "cancelled", "cancelled"]
    with database.read() as session:
        assert not session.get_one(WebhookEndpoint, endpoint.id).enabled
    assert owed(database) == []


def test_an_upload_whose_own_address_is_gone_is_not_tried_again(database: Database, receiver: Receiver) -> None:
    rejected(database, Wishes(webhook_url=receiver.url))
    receiver.answers = [410]
    courier_once(database, SETTINGS)
    assert (the_delivery(database).state, the_delivery(database).error_code) == ("failed", "http_410")


def test_what_waits_follows_to_a_new_address_with_its_secret(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    receiver.answers = [500]
    courier_once(database, SETTINGS)
    with serving() as moved:
        with database.write() as session:
            row = session.get_one(WebhookEndpoint, endpoint.id)
            webhooks.change(session, row, actor="key_test", url=moved.url)
            webhooks.rotate(session, row, actor="key_test")
            secret = row.secret
        hurry(database)
        courier_once(database, SETTINGS)
        (got,) = moved.got
        assert (got.body, len(receiver.got)) == (receiver.got[0].body, 1)
        assert got.headers["webhook-signature"] == signature(secret, got)
        assert secret != endpoint.secret
        assert (the_delivery(database).url, the_delivery(database).state) == (moved.url, "done")


def test_an_address_that_was_told_already_is_not_told_again_by_a_change(database: Database, receiver: Receiver) -> None:
    with serving() as away:
        endpoint = register(database, away.url)
    rejected(database, Wishes(webhook_url=receiver.url))
    courier_once(database, SETTINGS)
    with database.write() as session:
        row = session.get_one(WebhookEndpoint, endpoint.id)
        webhooks.change(session, row, actor="key_test", url=receiver.url)
    hurry(database)
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 1
    assert Counter(delivery.state for delivery in all_deliveries(database)) == {"done": 1, "cancelled": 1}


def test_one_delivery_is_told_again(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    courier_once(database, SETTINGS)

    def again(_: int) -> int:
        with database.write() as session:
            first = session.exec(select(Delivery).where(Delivery.replay == 0)).one()
            return delivery_log.again(session, first, actor="key_test").replay

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(again, range(4))) == [1, 2, 3, 4]
    courier_once(database, SETTINGS)
    assert len({(got.body, got.headers["webhook-id"]) for got in receiver.got}) == 1
    assert len(receiver.got) == 5
    with database.write() as session:
        row = session.get_one(WebhookEndpoint, endpoint.id)
        webhooks.delete(session, row, actor="key_test")
        with pytest.raises(ConflictError, match="deleted"):
            delivery_log.again(session, session.exec(select(Delivery)).all()[0], actor="key_test")


def test_an_address_is_told_again_since_a_time(database: Database, receiver: Receiver) -> None:
    before = rejected(database)  # nobody was registered yet
    time.sleep(0.01)
    since = datetime.now(UTC)
    time.sleep(0.01)
    endpoint = register(database, receiver.url, Told.REJECTED)
    told = [rejected(database) for _ in range(3)]
    ready(database)  # what it did not ask for
    receiver.answers = [500]
    courier_once(database, SETTINGS)
    receiver.got.clear()

    def again(since: datetime, **more: Any) -> delivery_log.Replayed:
        with database.write() as session:
            row = session.get_one(WebhookEndpoint, endpoint.id)
            return delivery_log.again_since(session, row, since, actor="key_test", **more)

    first = again(since, limit=2)
    assert (first.deliveries, first.last_event is None) == (2, False)
    assert again(since, limit=2, after=first.last_event) == delivery_log.Replayed(1, None)
    courier_once(database, SETTINGS)
    ids = [got.message["data"]["video_id"] for got in receiver.got]
    assert sorted(ids) == sorted(job.video_id for job in told)
    assert again(since, undelivered=True) == delivery_log.Replayed(0, None)
    receiver.got.clear()
    assert again(since - timedelta(days=1), undelivered=True) == delivery_log.Replayed(1, None)
    courier_once(database, SETTINGS)
    assert [got.message["data"]["video_id"] for got in receiver.got] == [before.video_id]
    assert again(datetime.now(UTC) + timedelta(days=1)) == delivery_log.Replayed(0, None)


def test_a_disabled_address_is_told_what_it_missed(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    since = datetime.now(UTC) - timedelta(seconds=1)

    def switch(on: bool) -> None:
        with database.write() as session:
            webhooks.change(session, session.get_one(WebhookEndpoint, endpoint.id), actor="key_test", enabled=on)

    rejected(database)
    switch(False)
    rejected(database)
    with pytest.raises(ConflictError, match="disabled"), database.write() as session:
        delivery_log.again_since(session, session.get_one(WebhookEndpoint, endpoint.id), since, actor="key_test")
    switch(True)
    with database.write() as session:
        row = session.get_one(WebhookEndpoint, endpoint.id)
        assert delivery_log.again_since(session, row, since, actor="k", undelivered=True).deliveries == 2
    courier_once(database, SETTINGS)
    assert len(receiver.got) == 2


def test_a_slow_receiver_holds_up_nobody_else(database: Database) -> None:
    with serving() as slow, serving() as quick:
        go_on, stop = threading.Event(), threading.Event()
        slow.delay = lambda: go_on.wait(20)
        register(database, slow.url)
        for number in range(12):  # the slow one's are the oldest, at one address and at several paths of it
            rejected(database, Wishes(webhook_url=f"{slow.url}/{number}"))
        register(database, quick.url)
        for _ in range(6):
            rejected(database)
        courier = threading.Thread(target=run_courier, args=(database, SETTINGS, stop), kwargs={"threads": 4})
        courier.start()
        try:
            wait_until(lambda: len(quick.got) == 6)
            assert (len(slow.got), slow.most_at_once) == (deliveries.PER_ADDRESS, deliveries.PER_ADDRESS)
        finally:
            go_on.set()
            wait_until(lambda: len(slow.got) == 30)
            stop.set()
            courier.join()
        assert slow.most_at_once == deliveries.PER_ADDRESS
        assert len({(got.path, got.headers["webhook-id"]) for got in slow.got}) == 30


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_the_courier_outlives_an_outage_of_the_database(database: Database, receiver: Receiver) -> None:
    stop = threading.Event()
    courier = threading.Thread(target=run_courier, args=(database, SETTINGS, stop))
    register(database, receiver.url)
    with database.write() as session:
        session.connection().execute(text("ALTER TABLE outbox RENAME TO away"))
    try:
        with structlog.testing.capture_logs() as logs:
            courier.start()
            wait_until(lambda: any(line["event"] == "loop.waiting" for line in logs))
            with database.write() as session:
                session.connection().execute(text("ALTER TABLE away RENAME TO outbox"))
            rejected(database)
            wait_until(lambda: len(receiver.got) == 1)
    finally:
        stop.set()
        courier.join()


def test_a_courier_that_is_told_to_stop_ends_what_it_has_begun(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    arrived, stop = threading.Event(), threading.Event()
    receiver.delay = lambda: (arrived.set(), time.sleep(0.5))
    courier = threading.Thread(target=run_courier, args=(database, SETTINGS, stop))
    courier.start()
    assert arrived.wait(5)
    stop.set()
    courier.join()
    assert the_delivery(database).state == "done"


def test_neither_secret_nor_message_is_logged(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database, Wishes(client_id="somebody"))
    with structlog.testing.capture_logs() as logs:
        receiver.answers = [500]
        courier_once(database, SETTINGS)
        hurry(database)
        courier_once(database, SETTINGS)
    assert [(line["event"], line["status"], line["attempt"]) for line in logs] == [
        ("webhook.waiting", 500, 1),
        ("webhook.delivered", 200, 2),
    ]
    assert not re.search(r"whsec_|somebody|video\.rejected", str(logs))
    with database.write() as session:
        copy = delivery_log.again(session, session.exec(select(Delivery)).one(), actor="key_test")
        session.flush()
        begun = deliveries.begin(session, copy.id, lease_s=30)
    assert begun is not None
    assert endpoint.secret not in repr(begun)
    assert "somebody" not in repr(begun)


def test_a_secret_that_breaks_its_message_costs_one_delivery(database: Database, receiver: Receiver) -> None:
    broken = register(database, receiver.url)
    with database.write() as session:
        session.get_one(WebhookEndpoint, broken.id).secret = "whsec_x"
    rejected(database)
    with serving() as fine:
        register(database, fine.url)
        rejected(database)
        with structlog.testing.capture_logs() as logs:
            courier_once(database, SETTINGS)
        assert (len(fine.got), receiver.got) == (1, [])
    assert [line["event"] for line in logs].count("webhook.broken") == 2


def test_the_log_is_read_by_address_video_and_state(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    jobs = [rejected(database) for _ in range(4)]
    lone = rejected(database, Wishes(webhook_url=receiver.url + "?own"))
    receiver.answers = [500]
    assert deliver(database, SETTINGS, all_deliveries(database)[0].id) == "waiting"
    assert deliver(database, SETTINGS, all_deliveries(database)[1].id) == "delivered"

    def page(**which: Any) -> list[delivery_log.Entry]:
        with database.read() as session:
            return delivery_log.page(session, DEFAULT_TENANT, limit=10, **which)

    newest_first = [delivery.id for delivery in reversed(all_deliveries(database))]
    assert len(newest_first) == 6
    assert [entry.delivery.id for entry in page()] == newest_first
    assert [entry.delivery.id for entry in page(before=newest_first[3])] == newest_first[4:]
    assert {entry.event.video_id for entry in page(endpoint_id=endpoint.id)} == {job.video_id for job in [*jobs, lone]}
    assert len(page(endpoint_id=endpoint.id)) == 5
    assert len(page(video_id=lone.video_id)) == 2
    assert [entry.attempts for entry in page(state=WorkState.DONE)] == [1]
    assert Counter(entry.attempts for entry in page(state=WorkState.WAITING)) == {0: 4, 1: 1}
    with database.read() as session:
        assert delivery_log.page(session, "ten_other", limit=10) == []
        assert delivery_log.find(session, "ten_other", newest_first[0]) is None


def test_a_secret_of_ones_own_has_to_be_one(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    own = "whsec_" + base64.b64encode(b"k" * 32).decode()
    with database.write() as session:
        row = session.get_one(WebhookEndpoint, endpoint.id)
        webhooks.rotate(session, row, actor="key_test", secret=own)
        assert row.secret == own
        for bad in ("", "whsec_", own[6:], "whsec_" + base64.b64encode(b"k" * 23).decode(), own + "!", "whsec_é" * 9,
                    "whsec_" + base64.b64encode(b"k" * 65).decode()):  # fmt: skip
            with pytest.raises(InputError):
                webhooks.rotate(session, row, actor="key_test", secret=bad)
            with pytest.raises(InputError):
                webhooks.rotate_signing_secret(session, DEFAULT_TENANT, actor="key_test", secret=bad)


def test_the_broker_is_never_asked_for_webhooks(database: Database, receiver: Receiver) -> None:
    register(database, receiver.url)
    rejected(database)
    with database.read() as session:
        assert not outbox.any_due(session)
        assert deliveries.next_due(session, 1, {})


# Over HTTP


@pytest.fixture
def near(api: Api) -> Iterator[TestClient]:
    """The API where private addresses are allowed, over the same rows."""
    settings = api.settings.model_copy(update={"webhook_private": True})
    with TestClient(create_app(settings), headers=dict(api.client.headers)) as client:
        yield client


def test_an_address_is_tried_at_once_and_signed_as_ever(api: Api, near: TestClient, receiver: Receiver) -> None:
    webhook = near.post("/v1/webhooks", json={"url": receiver.url}).json()
    near.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": False})  # one may try before it is told of anything
    receiver.answers = [503]
    refused = near.post(f"/v1/webhooks/{webhook['id']}/test").json()
    assert (refused["status"], refused["error"]) == (503, None)
    told = near.post(f"/v1/webhooks/{webhook['id']}/test").json()
    assert (told["status"], told["error"]) == (200, None)
    assert 0 <= told["seconds"] < 10
    got = receiver.got[-1]
    Webhook(webhook["secret"]).verify(got.body, got.headers)
    assert (got.headers["webhook-id"], got.message["type"]) == (told["message_id"], "webhook.test")
    assert got.message["data"] == {"webhook_id": webhook["id"]}
    assert all_deliveries(api.database) == []
    with api.database.read() as session:
        acts = session.exec(select(Audit.event).where(Audit.event == "webhook.tested")).all()
        assert len(acts) == 2
    with serving() as gone:
        pass
    gone_id = near.post("/v1/webhooks", json={"url": gone.url}).json()["id"]
    assert near.post(f"/v1/webhooks/{gone_id}/test").json()["error"] == "refused"
    public = api.client.post(f"/v1/webhooks/{webhook['id']}/test").json()  # here nothing goes inside
    assert (public["status"], public["error"]) == (None, "address_not_allowed")
    assert problem(near.post("/v1/webhooks/whk_nobodys/test")) == (404, "not_found")


def test_the_whole_way_over_http(api: Api, near: TestClient, receiver: Receiver) -> None:
    made = near.post("/v1/webhooks", json={"url": receiver.url, "events": ["video.ready"], "description": "d"})
    assert made.status_code == 201
    webhook = made.json()
    assert made.headers["location"] == f"/v1/webhooks/{webhook['id']}"
    secret = webhook.pop("secret")
    assert api.client.get(made.headers["location"]).json() == webhook
    assert api.client.get("/v1/webhooks").json() == {"items": [webhook]}
    form = {"webhook_url": receiver.url + "?own"}
    video_id = api.client.post("/v1/videos", files={"file": ("a", b"b")}, data=form).json()["id"]
    finish(api, video_id)
    receiver.answers = [503] * 3
    courier_once(api.database, SETTINGS)
    hurry(api.database)
    courier_once(api.database, SETTINGS)
    signing = api.client.get("/v1/webhooks/signing-secret").json()["secret"]
    assert Counter((got.path, got.message["type"]) for got in receiver.got) == {
        ("/hook", "video.ready"): 2,
        ("/hook?own", "video.ready"): 2,
        ("/hook?own", "flag.created"): 2,
    }
    for got in receiver.got:
        Webhook(signing if "own" in got.path else secret).verify(got.body, got.headers)
    log = api.client.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()
    assert log["next_cursor"] is None
    (entry,) = log["items"]
    assert (entry["state"], entry["attempts"], entry["event"], entry["error"]) == ("delivered", 2, "video.ready", None)
    whole = api.client.get(f"/v1/webhooks/deliveries/{entry['id']}").json()
    assert [(one["number"], one["status"], one["error"]) for one in whole["tries"]] == [(1, 503, None), (2, 200, None)]
    assert whole["message"] == next(got.message for got in receiver.got if got.path == "/hook")
    assert {name: whole[name] for name in entry} == entry
    everything = api.client.get("/v1/webhooks/deliveries", params={"video_id": video_id, "state": "delivered"}).json()
    assert Counter(item["webhook_id"] for item in everything["items"]) == {webhook["id"]: 1, None: 2}
    again = api.client.post(f"/v1/webhooks/deliveries/{entry['id']}/replay")
    assert (again.status_code, again.json()["replay"], again.json()["state"]) == (202, 1, "waiting")
    assert again.json()["message_id"] == entry["message_id"]
    receiver.got.clear()
    courier_once(api.database, SETTINGS)
    assert [got.headers["webhook-id"] for got in receiver.got] == [entry["message_id"]]
    since = {"since": "2026-01-01T00:00:00+02:00"}
    assert api.client.post(f"/v1/webhooks/{webhook['id']}/replay", json=since).json() == {
        "deliveries": 1,
        "next_cursor": None,
    }
    assert api.client.delete(f"/v1/webhooks/{webhook['id']}").status_code == 204
    assert problem(api.client.get(f"/v1/webhooks/{webhook['id']}")) == (404, "not_found")
    assert problem(api.client.post(f"/v1/webhooks/deliveries/{entry['id']}/replay")) == (409, "webhook_deleted")
    gone = api.client.get("/v1/webhooks/deliveries", params={"webhook_id": webhook["id"]}).json()["items"]
    assert [item["state"] for item in gone] == ["cancelled", "delivered", "delivered"]


def test_pages_of_the_log_follow_each_other(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": "https://hooks.example.org/"}).json()
    for _ in range(3):
        finish(api, upload(api).json()["id"])
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.client.get(f"/v1/webhooks/{made['id']}/deliveries", params=params).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 6
    assert seen == sorted(seen, reverse=True)
    assert problem(api.client.get("/v1/webhooks/deliveries", params={"cursor": "\0"})) == (422, "invalid_request")
    assert problem(api.client.get("/v1/webhooks/deliveries", params={"state": "done"})) == (422, "invalid_request")


def test_secrets_are_shown_when_they_are_made_and_not_again(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": "https://hooks.example.org/"}).json()
    here = f"/v1/webhooks/{made['id']}"
    rotated = api.client.post(f"{here}/rotate").json()
    assert rotated["secret"] != made["secret"]
    own = {"secret": "whsec_" + base64.b64encode(b"k" * 24).decode()}
    assert api.client.post(f"{here}/rotate", json=own).json()["secret"] == own["secret"]
    assert problem(api.client.post(f"{here}/rotate", json={"secret": "x"})) == (422, "invalid_secret")
    for response in (api.client.get(here), api.client.get("/v1/webhooks"), api.client.patch(here, json={})):
        assert "secret" not in response.text
    signing = api.client.get("/v1/webhooks/signing-secret").json()
    assert api.client.get("/v1/webhooks/signing-secret").json() == signing
    other = api.client.post("/v1/webhooks/signing-secret/rotate").json()
    assert api.client.get("/v1/webhooks/signing-secret").json() == other != signing


BAD_WEBHOOKS: list[tuple[dict[str, Any], str]] = [
    ({}, "invalid_request"),
    ({"url": "hooks.example.org"}, "invalid_request"),
    ({"url": "ftp://hooks.example.org/"}, "invalid_request"),
    ({"url": "https://u:p@hooks.example.org/"}, "invalid_request"),
    ({"url": "https://hooks.example.org/" + "x" * 2000}, "invalid_request"),
    ({"url": "https://hooks.example.org/\0"}, "invalid_request"),
    ({"url": "https://hooks.example.org/", "events": ["video.nonsense"]}, "invalid_request"),
    ({"url": "https://hooks.example.org/", "description": "x" * 501}, "invalid_request"),
    ({"url": "http://127.0.0.1/"}, "address_not_allowed"),
    ({"url": "http://2130706433/"}, "address_not_allowed"),
    ({"url": "http://0x7f.1:8080/"}, "address_not_allowed"),
    ({"url": "https://[::1]/"}, "address_not_allowed"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "address_not_allowed"),
    ({"url": "http://localhost:9/"}, "address_not_allowed"),
    ({"url": "http://169.254.169.254/latest"}, "address_not_allowed"),
    ({"url": "http://exa_mple$.org/"}, "address_not_allowed"),
]


@pytest.mark.parametrize(("asked", "code"), BAD_WEBHOOKS, ids=range(len(BAD_WEBHOOKS)))
def test_an_address_that_cannot_be_called_is_refused(api: Api, asked: dict[str, Any], code: str) -> None:
    assert problem(api.client.post("/v1/webhooks", json=asked)) == (422, code)
    made = api.client.post("/v1/webhooks", json={"url": "https://fine.example.org/"}).json()
    if "url" in asked:
        assert problem(api.client.patch(f"/v1/webhooks/{made['id']}", json=asked)) == (422, code)
    assert api.client.get("/v1/webhooks").json()["items"] == [
        {name: value for name, value in made.items() if name != "secret"}
    ]


def test_a_webhook_is_changed(api: Api) -> None:
    made = api.client.post("/v1/webhooks", json={"url": "https://a.example.org/"}).json()
    api.client.post("/v1/webhooks", json={"url": "https://b.example.org/"})
    here = f"/v1/webhooks/{made['id']}"
    change = {"url": "https://c.example.org/", "events": ["flag.created", "video.ready"], "enabled": False}
    changed = api.client.patch(here, json=change | {"description": None}).json()
    assert changed == api.client.get(here).json()
    assert (changed["url"], changed["enabled"], set(changed["events"])) == (change["url"], False, set(change["events"]))
    assert problem(api.client.patch(here, json={"url": "https://b.example.org/"})) == (409, "already_registered")
    since = {"since": "2026-01-01T00:00:00Z"}
    assert problem(api.client.post(f"{here}/replay", json=since)) == (409, "webhook_disabled")
    assert problem(api.client.post(f"{here}/replay", json={"since": "2026-01-01T00:00:00"})) == (422, "invalid_request")
    assert api.client.patch(here, json={"enabled": True, "events": []}).json()["events"] == []
    assert api.client.post(f"{here}/replay", json=since).json() == {"deliveries": 0, "next_cursor": None}


def test_an_address_is_registered_once_and_so_many_at_most(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"url": "https://hooks.example.org/"}
    made = api.client.post("/v1/webhooks", json=asked)
    assert problem(api.client.post("/v1/webhooks", json=asked)) == (409, "already_registered")
    api.client.delete(made.headers["location"])
    assert api.client.post("/v1/webhooks", json=asked).status_code == 201  # a tombstone holds no address
    monkeypatch.setattr(webhooks, "MAX_ENDPOINTS", 1)
    assert problem(api.client.post("/v1/webhooks", json={"url": "https://b.example.org/"})) == (
        409,
        "too_many_webhooks",
    )


def test_a_post_that_is_sent_twice_is_done_once(api: Api) -> None:
    headers = {"Idempotency-Key": "one"}
    asked = {"url": "https://hooks.example.org/"}
    first, second = (api.client.post("/v1/webhooks", json=asked, headers=headers) for _ in range(2))
    assert (first.json(), first.status_code) == (second.json(), second.status_code)
    assert len(api.client.get("/v1/webhooks").json()["items"]) == 1
    here = first.headers["location"]
    headers = {"Idempotency-Key": "two"}
    rotated = [api.client.post(f"{here}/rotate", headers=headers).json()["secret"] for _ in range(2)]
    assert len(set(rotated)) == 1


# What is written


def test_the_page_lists_every_event() -> None:
    rows = re.findall(r"^\| `((?:video|flag|known|review)\.\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(rows) == sorted(TOLD)


def test_the_page_tells_the_true_schedule() -> None:
    row = re.search(r"^\| wait \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert row is not None
    unit_s = {"s": 1, "min": 60, "h": 3600}
    written = [
        sum(int(count) * unit_s[unit] for count, unit in re.findall(r"(\d+) (s|min|h)", cell))
        for cell in row[1].split("|")
    ]
    assert written == list(WAITS_S)


def test_the_page_lists_every_reason() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE, flags=re.MULTILINE)
    assert OutwardError.__doc__ is not None
    assert sorted(rows) == sorted(re.findall(r"`(\w+)`", OutwardError.__doc__.split("why:")[1]))


def test_the_pages_python_verifies_a_message(database: Database, receiver: Receiver) -> None:
    endpoint = register(database, receiver.url)
    rejected(database)
    courier_once(database, SETTINGS)
    (got,) = receiver.got
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)
    verify = names["verify"]
    assert verify(endpoint.secret, got.headers, got.body)
    assert not verify(endpoint.secret, got.headers, got.body + b" ")
    assert not verify(webhooks.new_secret(), got.headers, got.body)
    assert not verify(endpoint.secret, got.headers | {"webhook-timestamp": "1700000000"}, got.body)
    assert verify(
        endpoint.secret, got.headers | {"webhook-signature": "v1,x " + got.headers["webhook-signature"]}, got.body
    )


def test_the_examples_are_true_to_their_schemas() -> None:
    for schema, example in (
        (schemas.WebhookIn, shown.WEBHOOK_IN),
        (schemas.WebhookOut, shown.WEBHOOK),
        (schemas.WebhookCreated, shown.WEBHOOK_CREATED),
        (schemas.WebhooksOut, shown.WEBHOOKS),
        (schemas.WebhookChange, shown.CHANGE),
        (schemas.SecretIn, shown.SECRET_IN),
        (schemas.SecretOut, shown.SECRET),
        (schemas.DeliveryOut, shown.DELIVERY),
        (schemas.DeliveryOut, shown.DELIVERY_AGAIN),
        (schemas.DeliveryPage, shown.DELIVERIES),
        (schemas.DeliveryWhole, shown.DELIVERY_WHOLE),
        (schemas.TestedOut, shown.TESTED),
        (schemas.ReplayIn, shown.REPLAY),
        (schemas.ReplayOut, shown.REPLAYED),
    ):
        assert set(schema.model_validate(example).model_fields_set) == set(example)
