"""Transactions, times and constraints of a real database."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError, TimeoutError
from sqlmodel import select

from vidlm.errors import StorageError
from vidlm.store import engine
from vidlm.store.chain import audit
from vidlm.store.columns import new_id
from vidlm.store.engine import Database, clock, migrate
from vidlm.store.keys import any_key, create_key, find_caller
from vidlm.store.ledger import Audit
from vidlm.store.tables import DEFAULT_TENANT, ApiKey, FlagRow, Job, Tenant, Video


def video(**values: object) -> Video:
    return Video(**{"tenant_id": DEFAULT_TENANT, "filename": "a", "sha256": "0", "size_bytes": 1, "blob": "b"} | values)


def test_sqlite_is_set_to_survive(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    with Database(url).read() as session:
        asked = {name: session.connection().execute(text(f"PRAGMA {name}")).scalar_one() for name in (
            "journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_times_come_back_as_the_same_moment(database: Database) -> None:
    noon_in_tokyo = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with database.write() as session:
        session.add(Tenant(id="ten_x", name="x", created_at=noon_in_tokyo))
    with database.read() as session:
        back = session.get_one(Tenant, "ten_x").created_at
    assert back == noon_in_tokyo
    assert back.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001  that is the point
    with pytest.raises(StatementError, match="time zone"), database.write() as session:
        session.add(Tenant(id="ten_x", name="x", created_at=naive))


def test_the_database_clock_is_about_now(database: Database) -> None:
    with database.read() as session:
        assert abs(clock(session) - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_writer_that_waits_for_itself_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    monkeypatch.setattr(engine, "_PATIENCE_S", 0.1)
    database = Database(url)
    with database.write(), pytest.raises(TimeoutError, match="writing"), database.write():
        pass
    with database.write() as session:
        create_key(session, "first")
        session.flush()
        with Database(url).write() as other, pytest.raises(OperationalError, match="locked"):  # as in another process
            other.connection()
    with database.read() as session:
        assert [key.name for key in session.exec(select(ApiKey)).all()] == ["first"]


WRITER = """
import sys, time
from vidlm.store.engine import Database
from vidlm.store.keys import create_key

database, longest_s = Database(sys.argv[1]), 0.0
for number in range(100):
    began_s = time.monotonic()
    with database.write() as session:
        create_key(session, f"{sys.argv[2]}-{number}")
    longest_s = max(longest_s, time.monotonic() - began_s)
print(longest_s)
"""


def test_processes_that_only_write_get_their_turns(tmp_path: Path) -> None:
    """Under SQLite's own busy handler one of them may be overtaken for seconds."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, name], stdout=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    longest_s = [float(writer.communicate(timeout=60)[0]) for writer in writers]
    with Database(url).read() as session:
        assert len(session.exec(select(ApiKey)).all()) == 400
    assert max(longest_s) < 4  # nobody came near the end of its patience


def test_an_exception_takes_everything_back(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(video())
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as session:
        assert session.exec(select(Video)).all() == []


@pytest.mark.parametrize(
    "row",
    [
        video(tenant_id="ten_nobody"),
        video(size_bytes=-1),
        video(sha256=""),
        Job(tenant_id=DEFAULT_TENANT, video_id="vid_none", pipeline_version="1"),
        FlagRow(tenant_id=DEFAULT_TENANT, job_id="j", policy_id="p", start_s=2, end_s=1, score=0.5, severity="low",
                action="review"),
    ],
    ids=["unknown tenant", "negative size", "a blob without a digest", "unknown video", "backward interval"],
)  # fmt: skip
def test_nonsense_never_gets_in(database: Database, row: Video | Job | FlagRow) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(type(row)(**row.model_dump()))


@pytest.mark.parametrize("values", [{"state": "asleep"}, {"state": "failed"}, {"spans_done": 1}])
def test_a_job_is_always_in_a_state_that_makes_sense(database: Database, values: dict[str, object]) -> None:
    with database.write() as session:
        session.add(video(id="vid_1"))
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Job(tenant_id=DEFAULT_TENANT, video_id="vid_1", pipeline_version="1", **values))


def test_writers_wait_for_each_other_instead_of_failing(database: Database) -> None:
    def write() -> None:
        for _ in range(20):
            with database.write() as session:
                before = len(session.exec(select(Audit.id)).all())
                audit(session, tenant_id=DEFAULT_TENANT, actor="a", event="e", target_id=str(before))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert len(session.exec(select(Audit.id)).all()) == 80


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writing, database.read() as reading:
        writing.add(video())
        writing.flush()
        assert reading.exec(select(Video)).all() == []


def test_keys_are_kept_as_hashes_alone(database: Database) -> None:
    with database.write() as session:
        assert not any_key(session)
        key = create_key(session, "mine")
    with database.read() as session:
        assert any_key(session)
        row = session.exec(select(ApiKey)).one()
        assert key not in str(row.model_dump())
        caller = find_caller(session, key)
        assert caller is not None
        assert (caller.tenant_id, caller.id) == (DEFAULT_TENANT, row.id)
        for other in ("", "vk_", key + "x", key[:-1], "\udcff"):
            assert find_caller(session, other) is None


def test_ids_sort_by_birth_and_never_meet() -> None:
    ids = [new_id("vid") for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert [name[:16] for name in ids] == sorted(name[:16] for name in ids)


def test_text_of_any_kind_can_be_kept(database: Database) -> None:
    with database.write() as session:
        session.add(video(id="vid_1", filename="a\0b \ud800 🎬 é"))
    with database.read() as session:
        assert session.get_one(Video, "vid_1").filename == "a\ufffdb \ufffd 🎬 é"


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="database"):
        migrate(f"postgresql://x@/y?host={tmp_path}&connect_timeout=1")
