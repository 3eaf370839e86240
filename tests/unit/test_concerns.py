"""What operators are told to do something about: nothing while all is well, and everything that is not, worst first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.pages.report import last_month
from api.dashboard.pages.rules import UNITS, field_of, nameable
from vidlm.concerns import PATIENCE_S, Kind, concerns
from vidlm.config import Settings
from vidlm.operate import LEAST_FREE_BYTES
from vidlm.overview import Failures, Overview, QueueLine, Webhooks, WorkerLine
from vidlm.queue import CONSUME_ORDER, Queue
from vidlm.review.settings import BOUNDS
from vidlm.room import Meter, Room
from vidlm.throughput import timed

NAMES = tuple(queue.value for queue in CONSUME_ORDER)
WORKER = WorkerLine("here", 1, NAMES, 1.0, fresh=True, task=None, for_s=None)
LINES = tuple(QueueLine(queue, 0, None, 0, 0, 0, workers=1) for queue in Queue)
WELL = Overview(
    at=datetime(2026, 11, 1, tzinfo=UTC),
    database="sqlite",
    broker=True,
    jobs={},
    queues=LINES,
    running=(),
    workers=(WORKER,),
    failures=(Failures("rejected", "not_a_video", 3, 60.0),),
    webhooks=Webhooks(2, 0),
    disk=None,
)
UPLOAD = LEAST_FREE_BYTES
ROOM = Room(10 * UPLOAD, 20 * UPLOAD, (), None)


def kinds(seen: Overview, room: Room | None = ROOM, behind: int = 0) -> list[Kind]:
    return [one.kind for one in concerns(seen, room, behind=behind, largest_upload=UPLOAD)]


def with_line(queue: Queue, **changes: Any) -> Overview:
    return replace(WELL, queues=tuple(replace(one, **changes) if one.queue is queue else one for one in LINES))


def test_where_all_is_well_nothing_is_said_and_files_that_are_no_videos_are_nobodys_fault() -> None:
    assert kinds(WELL) == []
    assert kinds(WELL, room=None) == []


def test_without_any_worker_that_is_said_once_and_not_for_every_queue() -> None:
    gone = replace(WORKER, fresh=False, heard_s=100_000.0)
    empty = replace(WELL, workers=(gone,), queues=tuple(replace(one, workers=0) for one in LINES))
    assert kinds(empty) == [Kind.NO_WORKERS]


def test_a_queue_that_nobody_takes_from_is_named_and_webhooks_need_no_worker() -> None:
    (found,) = concerns(with_line(Queue.GPU, workers=0, waiting=7), ROOM, behind=0, largest_upload=UPLOAD)
    assert (found.kind, found.bad, found.values) == (Kind.UNATTENDED, True, {"queue": "gpu", "count": 7})
    assert kinds(with_line(Queue.WEBHOOK, workers=0)) == []


@pytest.mark.parametrize("queue", list(Queue))
def test_who_waits_longer_than_anybody_should_is_told_of(queue: Queue) -> None:
    assert kinds(with_line(queue, waiting=1, oldest_s=PATIENCE_S[queue])) == []
    assert kinds(with_line(queue, waiting=1, oldest_s=PATIENCE_S[queue] + 1)) == [Kind.LATE]


def test_a_broker_that_is_away_explains_overdue_wakeups() -> None:
    assert kinds(WELL, behind=5) == [Kind.BEHIND]
    assert kinds(replace(WELL, broker=False), behind=5) == [Kind.NO_BROKER]
    assert kinds(replace(WELL, broker=None)) == []


@pytest.mark.parametrize(
    ("free", "said"),
    [(UPLOAD - 1, [Kind.DISK_FULL]), (UPLOAD, [Kind.DISK_LOW]), (2 * UPLOAD - 1, [Kind.DISK_LOW]), (2 * UPLOAD, [])],
)
def test_a_disk_is_low_before_it_is_full(free: int, said: list[Kind]) -> None:
    assert kinds(WELL, replace(ROOM, free_bytes=free)) == said


def test_only_a_worker_that_fell_silent_lately_is_news() -> None:
    silent = replace(WORKER, pid=2, fresh=False, heard_s=120.0)
    assert kinds(replace(WELL, workers=(WORKER, silent))) == [Kind.SILENT]
    assert kinds(replace(WELL, workers=(WORKER, replace(silent, heard_s=7200.0)))) == []


def test_the_worst_comes_first() -> None:
    failed = (Failures("failed", "worker_lost", 4, 5.0), Failures("failed", "model_error", 1, 5.0))
    seen = replace(WELL, broker=False, failures=failed, webhooks=Webhooks(0, 2))
    found = concerns(seen, replace(ROOM, free_bytes=0), behind=0, largest_upload=UPLOAD)
    assert [one.kind for one in found] == [Kind.NO_BROKER, Kind.DISK_FULL, Kind.FAILED, Kind.GIVEN_UP]
    assert found[2].values == {"count": 5, "code": "worker_lost"}
    assert [one.bad for one in found] == [True, True, False, False]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_nine_of_ten_are_within_the_ninetieth_percentile_and_no_less_would_do(seconds: list[float]) -> None:
    found = timed("whole", seconds)
    assert found.median_s is not None
    assert found.p90_s is not None
    assert min(seconds) <= found.median_s <= found.p90_s <= max(seconds)
    assert sum(one <= found.p90_s for one in seconds) >= 0.9 * len(seconds)
    assert sum(one < found.p90_s for one in seconds) < 0.9 * len(seconds)


def test_of_nothing_no_times_are_told() -> None:
    assert (timed("whole", []).median_s, timed("whole", []).count) == (None, 0)


def test_the_meter_says_what_takes_room(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "one").write_bytes(b"x" * 100_000)
    (tmp_path / "vidlm.db").write_bytes(b"x" * 5000)
    found = Meter(Settings(data=tmp_path)).look()
    assert found is not None
    assert 0 < found.free_bytes <= found.total_bytes
    (part,) = found.parts
    assert (part.name, part.whole, part.used_bytes >= 100_000) == ("blobs", True, True)
    assert found.database_bytes == 5000
    elsewhere = Meter(Settings(data=tmp_path, database_url="postgresql://x/y")).look()
    assert elsewhere is not None
    assert elsewhere.database_bytes is None
    assert Meter(Settings(data=tmp_path / "not here")).look() is None


def test_every_setting_has_a_field_and_is_stored_again_as_it_was() -> None:
    assert set(UNITS) == set(BOUNDS)
    assert field_of("golden_share", 0.07).value == 7.0
    assert field_of("lock_s", 600.0).value == 10.0
    assert field_of("severe_in_a_row", 5).whole
    assert not field_of("stretch_minutes", 50.0).whole


@given(st.sampled_from(sorted(UNITS)), st.floats(0, 1))
def test_what_is_shown_is_within_what_is_shown_as_bounds(name: str, part: float) -> None:
    least, most = BOUNDS[name]
    field = field_of(name, least + part * (most - least))
    assert field.least <= field.value <= field.most


def test_a_group_comes_before_its_policies() -> None:
    listed = nameable([("weapons.shown", "Weapon shown"), ("violence.fight", "Fight"), ("weapons.in_hand", "In hand")])
    assert [one for one, _ in listed] == ["violence", "violence.fight", "weapons", "weapons.in_hand", "weapons.shown"]


@given(st.dates(min_value=date(2000, 1, 1)))
def test_the_last_month_is_over_and_whole(today: date) -> None:
    month = last_month(today)
    assert month.first.day == 1
    assert month.first <= month.last < today.replace(day=1)
    assert (month.until - month.since).days in (28, 29, 30, 31)
