"""The audit looked through, and verified beside other work, on either database."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, func, select
from tampering import unguarded

from vidlm.audit import anchors, checks, listing, reading, verifying
from vidlm.audit.checks import Checks
from vidlm.audit.listing import Wanted
from vidlm.store.chain import audit
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit
from vidlm.store.tables import DEFAULT_TENANT, Tenant

OTHER = "ten_other"
ACTORS = ("key_1", "key_2", "usr_3")


@pytest.fixture
def noted(database: Database) -> Database:
    """Ninety rows of one tenant, by three in turn, and three of another."""
    with database.write() as session:
        session.add(Tenant(id=OTHER, name="other"))
        for number in range(90):
            note(session, DEFAULT_TENANT, ACTORS[number % 3], "flag.seen" if number % 2 else "flag.lost", number)
        for number in range(3):
            note(session, OTHER, "key_1", "other.thing", number)
    return database


def note(session: Session, tenant_id: str, actor: str, event: str, number: int) -> None:
    audit(session, tenant_id=tenant_id, actor=actor, event=event, target_id=f"vid_{number % 5}")


def found(database: Database, limit: int = 1000, **wanted: object) -> list[int]:
    with reading.snapshot(database) as session:
        rows = listing.page(session, Wanted(DEFAULT_TENANT, **wanted), limit)  # type: ignore[arg-type]
    assert {row.tenant_id for row in rows} <= {DEFAULT_TENANT}
    return [row.number for row in rows]


def test_pages_follow_each_other_newest_first(noted: Database) -> None:
    pages, before = [], None
    while page := found(noted, 20, before=before):
        pages.append(page)
        before = page[-1]
    assert [number for page in pages for number in page] == list(range(90, 0, -1))
    assert [len(page) for page in pages] == [20, 20, 20, 20, 10]


def test_filters_let_through_what_they_say_and_nothing_else(noted: Database) -> None:
    now = datetime.now(UTC)
    assert found(noted, actors=("key_2",)) == list(range(89, 0, -3))
    assert found(noted, actors=("usr_3", "key_2", "nobody")) == [n for n in range(90, 0, -1) if n % 3 != 1]
    assert found(noted, 5, actors=("usr_3", "key_2"), before=80) == [78, 77, 75, 74, 72]
    assert found(noted, event="flag.seen", target_id="vid_0") == [n for n in range(90, 0, -1) if n % 10 == 6]
    assert found(noted, event="other.thing") == []
    assert len(found(noted, since=now - timedelta(hours=1), until=now + timedelta(hours=1))) == 90
    assert found(noted, until=now - timedelta(hours=1)) == []
    assert found(noted, since=now + timedelta(hours=1)) == []
    with reading.snapshot(noted) as session:
        assert listing.events(session, DEFAULT_TENANT) == ["flag.lost", "flag.seen"]
        assert listing.events(session, "ten_nobodys") == []


def verified_rows(database: Database) -> list[dict[str, object]]:
    with database.read() as session:
        rows = session.exec(select(Audit).where(Audit.event == "audit.verified").order_by(col(Audit.number))).all()
        return [row.details for row in rows]


def test_a_check_counts_its_rows_and_stands_in_the_audit(noted: Database) -> None:
    running = Checks(noted)
    assert running.of(DEFAULT_TENANT) is None
    begun = running.begin(DEFAULT_TENANT, "usr_3")
    assert (begun.total, begun.actor) == (90, "usr_3")
    ended = running.wait(DEFAULT_TENANT, 20)
    assert ended is not None
    assert ended.report is not None
    assert (ended.rows, ended.report.rows, ended.report.faults, ended.is_running) == (90, 90, (), False)
    assert running.of(OTHER) is None
    assert verified_rows(noted) == [{"rows": 90, "flaw": None, "number": None}]


def test_one_check_of_a_tenant_runs_at_a_time_and_ends_when_it_is_told_to(
    noted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, at_work = threading.Event(), threading.Event()
    running = Checks(noted)
    verify = verifying.verify

    def slow(*asked: object, told: verifying.Told, **others: object) -> verifying.Report:
        told(50)
        at_work.set()
        held.wait(20)
        told(60)
        return verify(*asked, told=told, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(checks, "verify", slow)
    first = running.begin(DEFAULT_TENANT, "usr_3")
    assert at_work.wait(20)
    assert running.begin(DEFAULT_TENANT, "key_1").began_at == first.began_at
    now = running.of(DEFAULT_TENANT)
    assert now is not None
    assert (now.actor, now.rows, now.is_running) == ("usr_3", 50, True)
    closing = threading.Thread(target=running.close)
    closing.start()
    time.sleep(0.05)
    held.set()
    closing.join(20)
    ended = running.of(DEFAULT_TENANT)
    assert ended is not None
    assert (ended.problem, ended.report) == ("stopped", None)
    assert verified_rows(noted) == []


def test_a_chain_that_takes_no_more_rows_is_reported_all_the_same(noted: Database) -> None:
    with noted.write() as session, unguarded(session):
        session.connection().execute(text("DELETE FROM audit_head WHERE tenant_id = :id"), {"id": DEFAULT_TENANT})
    running = Checks(noted)
    running.begin(DEFAULT_TENANT, "usr_3")
    ended = running.wait(DEFAULT_TENANT, 20)
    assert ended is not None
    assert ended.report is not None
    (fault,) = ended.report.faults
    assert fault.flaw is verifying.Flaw.HEADLESS
    assert verified_rows(noted) == []


def test_what_anchors_vouch_for_is_looked_for_too(noted: Database, tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    anchors.write(noted, file)
    with noted.write() as session, unguarded(session):
        session.connection().execute(text("DELETE FROM audit WHERE tenant_id = :id"), {"id": DEFAULT_TENANT})
        session.connection().execute(text("DELETE FROM audit_head WHERE tenant_id = :id"), {"id": DEFAULT_TENANT})
    for anchored, flaws in ((None, []), (file, [verifying.Flaw.MISSING])):
        running = Checks(noted, anchored)
        running.begin(DEFAULT_TENANT, "usr_3")
        ended = running.wait(DEFAULT_TENANT, 20)
        assert ended is not None
        assert ended.report is not None
        assert [fault.flaw for fault in ended.report.faults] == flaws
        with noted.write() as session, unguarded(session):  # what said that it was verified
            session.connection().execute(text("DELETE FROM audit WHERE tenant_id = :id"), {"id": DEFAULT_TENANT})
            session.connection().execute(text("DELETE FROM audit_head WHERE tenant_id = :id"), {"id": DEFAULT_TENANT})


def test_a_file_of_anchors_that_is_none_is_said(noted: Database, tmp_path: Path) -> None:
    (tmp_path / "anchors.jsonl").write_text("nonsense\n")
    running = Checks(noted, tmp_path / "anchors.jsonl")
    running.begin(DEFAULT_TENANT, "usr_3")
    ended = running.wait(DEFAULT_TENANT, 20)
    assert ended is not None
    assert ended.problem == "invalid_anchor"
    with noted.read() as session:
        assert session.exec(select(func.count()).select_from(Audit)).one() == 93
