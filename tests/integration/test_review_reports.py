"""What leads take away: decisions without what must not leave, and a period in numbers. Over HTTP and by command."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Api
from jobs_helpers import accepted
from review_helpers import analysed, decide, flag, must_claim, person
from sqlmodel import col, select, update
from test_api_videos import problem
from typer.testing import CliRunner

from vidlm.cli import app
from vidlm.domain import Action, Role
from vidlm.jobs import control
from vidlm.moderation.decisions import Outcome
from vidlm.review import appeals, deciding, exporting, golden, transparency
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit
from vidlm.store.review import ReviewDecision, ReviewItem
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

ANN, LEA = person("ann"), person("lea", Role.LEAD)
MAY = person("may", restricted=True)


def past(database: Database) -> list[str]:
    """Something of everything; the decisions that count."""
    analysed(database)
    analysed(database, flag(score=0.9), flag("violence.fight", start_s=5.0))
    analysed(database, flag(score=0.8), verdict=Action.BLOCK)
    removed = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE, note="=cmd()")
    spared = decide(database, ANN, must_claim(database, ANN), Outcome.APPROVE)
    analysed(database, flag("child_safety.child_endangerment"))
    decide(database, MAY, must_claim(database, MAY), Outcome.REMOVE)
    analysed(database, flag(score=0.7))
    undone = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    with database.write() as session:
        deciding.undo(session, ANN, session.get_one(ReviewDecision, undone.decision.id))
        job = session.get_one(Job, removed.decision.job_id)
        appeals.appeal(session, ANN, job, note="unfair")
        golden.add(session, LEA, job, outcome=Outcome.REMOVE, violated=[])
    granted = decide(database, LEA, must_claim(database, LEA, "appeals"), Outcome.APPROVE)
    gone = accepted(database)
    with database.write() as session:
        control.deleted(session, session.get_one(Video, gone.video_id), actor="key_x")
    return [done.decision.id for done in (removed, spared, granted)]


def test_decisions_go_out_without_what_must_not_leave(api: Api) -> None:
    counted = past(api.database)
    answer = api.client.get("/v1/review/decisions/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="decisions.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(dict.fromkeys(row["id"] for row in rows)) == counted
    assert len(rows) == 5  # a row for each flag that was decided on
    assert rows[0]["note"] == "'=cmd()"  # no spreadsheet runs it
    assert (rows[0]["policy_id"], rows[0]["verdict"], rows[0]["model_revision"]) == ("weapons.shown", "confirm", "r")
    assert "child_safety" not in answer.text
    lines = [json.loads(line) for line in api.client.get("/v1/review/decisions/export?format=json").text.splitlines()]
    assert [line["id"] for line in lines] == counted
    assert lines[0]["flags"][1]["evidence_s"] == [6.0]
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    none = api.client.get("/v1/review/decisions/export", params={"since": later})
    assert none.text.strip() == ",".join(exporting.COLUMNS)
    with api.database.read() as session:
        told = session.exec(select(Audit).where(Audit.event == "review.exported").order_by(col(Audit.id))).all()
    assert [row.details["format"] for row in told] == ["csv", "json", "csv"]


def test_exports_in_batches_are_whole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = past(database)
    monkeypatch.setattr(exporting, "BATCH", 2)
    out = io.StringIO()
    wanted = exporting.Wanted(DEFAULT_TENANT)
    assert exporting.export(database, out, exporting.Format.JSON, wanted, actor="cli") == len(counted)
    assert [json.loads(line)["id"] for line in out.getvalue().splitlines()] == counted


def test_a_period_in_numbers(database: Database) -> None:
    past(database)
    with database.write() as session:  # the first two waited for a minute and for three
        first_two = session.exec(select(ReviewItem).order_by(col(ReviewItem.id)).limit(2)).all()
        for item, minutes in zip(first_two, (1, 3), strict=True):
            assert item.decided_at is not None
            item.created_at = item.decided_at - timedelta(minutes=minutes)
    now = datetime.now(UTC)
    with database.read() as session:
        made = transparency.report(session, DEFAULT_TENANT, now - timedelta(hours=1), now + timedelta(seconds=5))
        before = transparency.report(session, DEFAULT_TENANT, now - timedelta(hours=2), now - timedelta(hours=1))
        others = transparency.report(session, "ten_other", now - timedelta(hours=1), now + timedelta(seconds=5))
    assert (made.videos_received, made.videos_deleted, made.videos_by_end) == (6, 1, {"ready": 5})
    assert made.minutes_analysed == pytest.approx(5 * 10 / 60)
    assert made.verdicts == {"allow": 1, "review": 3, "block": 1}
    assert made.decisions == {"approve": 2, "remove": 2}
    assert made.decisions_by_occasion == {"flagged": 3, "appeal": 1}
    assert (made.decisions_undone, made.blocks_overturned, made.appeals, made.appeals_granted) == (1, 1, 1, 1)
    weapons = made.policies["weapons.shown"]
    assert (weapons.flags, weapons.confirmed, weapons.rejected) == (3, 1, 2)
    assert weapons.overturned == pytest.approx(2 / 3)
    assert made.policies["child_safety.child_endangerment"].confirmed == 1
    assert made.waits.count == 4
    assert made.waits_by_severity["medium"].median_s == pytest.approx(30, abs=30.1)
    assert (before.videos_received, before.decisions, before.waits.median_s) == (0, {}, None)
    assert (others.videos_received, others.policies) == (0, {})


def test_a_report_says_the_same_when_its_videos_are_deleted(database: Database) -> None:
    past(database)
    now = datetime.now(UTC)

    def report() -> transparency.Report:
        with database.read() as session:
            return transparency.report(session, DEFAULT_TENANT, now - timedelta(days=1), now + timedelta(days=1))

    before = report()
    with database.write() as session:
        for video in session.exec(select(Video).where(col(Video.deleted_at).is_(None))).all():
            control.deleted(session, video, actor="key_x")
            control.deleted(session, video, actor="key_x")  # twice is once
    after = report()
    assert after.videos_deleted == before.videos_deleted + 5
    assert replace(after, videos_deleted=before.videos_deleted) == before
    with database.read() as session:
        others = transparency.report(session, "ten_other", now - timedelta(days=1), now + timedelta(days=1))
        older = transparency.report(session, DEFAULT_TENANT, now - timedelta(days=9), now - timedelta(days=2))
    assert (others.policies, others.verdicts, older.policies, older.minutes_analysed) == ({}, {}, {}, 0)


def test_the_report_over_http(api: Api) -> None:
    past(api.database)
    made = api.client.get("/v1/reports/transparency").json()
    assert made["policies"]["weapons.shown"]["overturned"] == pytest.approx(2 / 3)
    assert made["decisions"] == {"approve": 2, "remove": 2}
    bad = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    assert problem(api.client.get("/v1/reports/transparency", params=bad)) == (422, "invalid_request")


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["review", *words])


def test_by_command(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = past(database)
    monkeypatch.setenv("VIDLM_DATABASE_URL", database_url)
    monkeypatch.setenv("VIDLM_DATA", str(tmp_path))
    done = run("export", "--format", "json", "--output", str(tmp_path / "d.jsonl"))
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "d.jsonl").read_text().splitlines()) == len(counted)
    table = run("report").stdout
    assert "weapons.shown" in table
    assert "overturned" in table
    document = json.loads(run("report", "--format", "json").stdout)
    assert document["appeals_granted"] == 1
    rows = list(csv.reader(io.StringIO(run("report", "--format", "csv").stdout)))
    assert ["appeals", "granted", "1"] in rows
    assert run("report", "--format", "pdf").exit_code != 0


def test_videos_are_listed_by_what_people_made_of_them(api: Api) -> None:
    jobs = [analysed(api.database, flag(score=score)) for score in (0.9, 0.8)]
    cleared = analysed(api.database)
    decide(api.database, ANN, must_claim(api.database, ANN), Outcome.REMOVE)

    def listed(**params: Any) -> list[str]:
        return [video["id"] for video in api.client.get("/v1/videos", params=params).json()["items"]]

    gone = analysed(api.database, flag(score=0.95))
    decide(api.database, ANN, must_claim(api.database, ANN), Outcome.REMOVE)
    assert api.client.delete(f"/v1/videos/{gone.video_id}").status_code == 204
    assert listed(review="removed") == [jobs[0].video_id]
    assert listed(review="removed", state="deleted") == [gone.video_id]
    assert listed(review=["pending", "none"]) == [cleared.video_id, jobs[1].video_id]
    assert listed(review="pending", verdict="allow") == []
    with api.database.write() as session:
        session.exec(update(Job).where(col(Job.id) == jobs[1].id).values(review_state="escalated"))
    assert listed(review="escalated", verdict="review") == [jobs[1].video_id]
