"""`vidlm audit ...` on real databases: proven, anchored and handed out, as an operator does it."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select
from structlog.testing import capture_logs
from tampering import unguarded
from test_webhooks import serving

from vidlm import cli
from vidlm.audit import anchors
from vidlm.audit.export import Format, Wanted, export, guarded
from vidlm.audit.reading import Entry
from vidlm.audit.verifying import verify
from vidlm.config import Settings
from vidlm.store.blobs import BlobStore
from vidlm.store.chain import audit, digest
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit
from vidlm.store.tables import DEFAULT_TENANT, Tenant
from workers.sweeper import sweep_once

ROOT = Path(__file__).parents[2]
OTHER = "ten_other"
NASTY = ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "'=1", "'", '"', ",", "a\nb", "＝1", "é", "")
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def vidlm(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`vidlm ...` in this process, on the database under test; `env` adds to its environment."""
    for name in [name for name in os.environ if name.startswith("VIDLM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "data").mkdir()
    ours = {"VIDLM_DATABASE_URL": database_url, "VIDLM_DATA": str(tmp_path / "data"), "COLUMNS": "80"}

    def run(*arguments: object, env: dict[str, str] | None = None) -> Done:
        with monkeypatch.context() as patch:
            for name, value in (ours | (env or {})).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["vidlm", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        shown = capsys.readouterr()
        return Done(arguments, int(ended.value.code or 0), shown.out, shown.err)

    return run


@pytest.fixture
def noted(database: Database) -> Database:
    """Fifteen rows of one tenant, whose targets are what nobody should put there, and two of another."""
    with database.write() as session:
        session.add(Tenant(id=OTHER, name="other"))
        for target_id in NASTY:
            audit(session, tenant_id=DEFAULT_TENANT, actor="key_1", event="e", target_id=target_id, details={"p": 0.1})
    add(database, OTHER, 2)
    return database


def add(database: Database, tenant_id: str, count: int) -> None:
    with database.write() as session:
        for number in range(count):
            audit(session, tenant_id=tenant_id, actor="key_1", event="e", target_id=f"vid_{number}")


def tamper(database: Database, *statements: str) -> None:
    with database.write() as session, unguarded(session):
        for statement in statements:
            session.connection().execute(text(statement))


def test_verifying_says_what_was_verified_and_what_is_wrong(vidlm: Run, noted: Database) -> None:
    done = vidlm("audit", "verify")
    assert done.returncode == 0
    assert re.fullmatch(r"17 rows of 2 tenants verified in \d+\.\d\d s\n", done.stdout)
    assert vidlm("audit", "verify", "--tenant", OTHER).stdout.startswith("2 rows of 1 tenant verified")
    tamper(noted, f"UPDATE audit SET actor = 'x' WHERE tenant_id = '{DEFAULT_TENANT}' AND number IN (3, 9)")
    bad = vidlm("audit", "verify")
    assert bad.returncode == 1
    assert (
        bad.stdout.splitlines()[0] == "number 3 (id 3) of ten_default was altered: its hash does not fit what it says"
    )
    assert "1 of them with a bad row" in bad.stdout
    assert vidlm("audit", "verify", "--tenant", OTHER).returncode == 0
    unknown = vidlm("audit", "verify", "--tenant", "ten_typo")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("unknown_tenant: ")


def test_anchors_prove_that_what_was_there_is_still_there(vidlm: Run, noted: Database, tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    assert vidlm("audit", "anchor", "--to", file).stdout == "2 of 2 chains had moved on and were anchored\n"
    assert vidlm("audit", "anchor", env={"VIDLM_AUDIT_ANCHOR": str(file)}).stdout.startswith("0 of 2 chains")
    add(noted, OTHER, 1)
    assert vidlm("audit", "anchor", "--to", file).stdout.startswith("1 of 2 chains")
    assert [(one.tenant_id, one.number) for one in anchors.read(file)] == [(DEFAULT_TENANT, 15), (OTHER, 2), (OTHER, 3)]
    assert vidlm("audit", "verify", "--anchor", file).returncode == 0
    tamper(
        noted, f"DELETE FROM audit WHERE tenant_id = '{OTHER}'", f"DELETE FROM audit_head WHERE tenant_id = '{OTHER}'"
    )
    assert vidlm("audit", "verify").returncode == 0
    cut = vidlm("audit", "verify", "--anchor", file)
    assert cut.returncode == 1
    assert re.match(r"number 1 of ten_other is missing: the anchor of \S+ vouches for 3 rows\n", cut.stdout)
    behind = vidlm("audit", "anchor", "--to", file)
    assert behind.returncode == 1
    assert behind.stdout.startswith("the chain of ten_other is not what it was when last anchored\n")
    assert len(anchors.read(file)) == 3


@pytest.mark.usefixtures("noted")
def test_the_ends_of_chains_are_sent_to_an_address(vidlm: Run, tmp_path: Path) -> None:
    with serving() as receiver:
        private = {"VIDLM_WEBHOOK_PRIVATE": "true"}
        assert "is not one of the public internet" in vidlm("audit", "anchor", "--post", receiver.url).stderr
        sent = vidlm("audit", "anchor", "--post", receiver.url, env=private)
        assert sent.stdout == "the ends of 2 chains were sent\n"
        (tmp_path / "kept.jsonl").write_bytes(receiver.got[0].body)  # what is received is a file to verify with
        assert vidlm("audit", "verify", "--anchor", tmp_path / "kept.jsonl").returncode == 0
        receiver.answers.append(500)
        assert "answered 500" in vidlm("audit", "anchor", "--post", receiver.url, env=private).stderr


def test_the_sweeper_sends_them_once_an_hour(noted: Database, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving() as receiver:
        settings = Settings(data=data, audit_anchor_url=receiver.url, webhook_private=True)
        receiver.answers.append(503)
        for _ in range(3):  # refused, taken, not due
            sweep_once(noted, BlobStore(data), None, settings)
        assert len(receiver.got) == 2
        assert len(receiver.got[1].body.splitlines()) == 2
        os.utime(data / "run" / "anchors-sent", (1, 1))
        sweep_once(noted, BlobStore(data), None, settings)
        assert len(receiver.got) == 3


def test_an_anchor_that_a_crash_cut_off_is_written_again(noted: Database, tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    anchors.write(noted, file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert [one.tenant_id for one in anchors.read(file)] == [DEFAULT_TENANT]
    assert anchors.write(noted, file).written == 1
    assert [(one.tenant_id, one.number) for one in anchors.read(file)] == [(DEFAULT_TENANT, 15), (OTHER, 2)]


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"at": "x"}', '{"at": "", "tenant_id": "", "number": "1", "hash": ""}']
)
def test_a_file_of_something_else_is_refused(vidlm: Run, noted: Database, tmp_path: Path, line: str) -> None:
    file = tmp_path / "anchors.jsonl"
    anchors.write(noted, file)
    with file.open("a") as more:
        more.write(line + "\n")
    held = file.read_bytes()
    for command in (("verify", "--anchor"), ("anchor", "--to")):
        done = vidlm("audit", *command, file)
        assert (done.returncode, done.stderr) == (2, "invalid_anchor: line 3 of the anchor file is not an anchor\n")
    assert file.read_bytes() == held


def test_anchors_that_cannot_be_read_or_written_are_said(vidlm: Run, noted: Database, tmp_path: Path) -> None:
    assert noted.is_migrated()
    nowhere = tmp_path / "nowhere" / "anchors.jsonl"
    assert vidlm("audit", "verify", "--anchor", nowhere).stderr.startswith("invalid_anchor: ")
    done = vidlm("audit", "anchor", "--to", nowhere)
    assert (done.returncode, done.stderr) == (
        1,
        "anchor_unwritable: the anchor file cannot be written: No such file or directory\n",
    )
    assert vidlm("audit", "anchor").returncode == 2


def test_the_sweeper_anchors_once_an_hour(noted: Database, tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    settings = Settings(data=tmp_path, audit_anchor=file)

    def sweep() -> int:
        sweep_once(noted, BlobStore(tmp_path), None, settings)
        return len(anchors.read(file))

    assert sweep() == 2
    add(noted, OTHER, 1)
    assert sweep() == 2
    for expected in (3, 3):
        os.utime(file, (0, time.time() - 3601))
        assert sweep() == expected
        assert not anchors.is_due(file)  # also where nothing had moved on
    tamper(noted, f"DELETE FROM audit_head WHERE tenant_id = '{OTHER}'")
    os.utime(file, (0, 0))
    with capture_logs() as logs:
        sweep()
    assert [(line["event"], line["tenants"]) for line in logs] == [("sweep.audit_went_back", (OTHER,))]
    file.write_text("nonsense\n")
    os.utime(file, (0, 0))
    with capture_logs() as logs:
        sweep_once(noted, BlobStore(tmp_path), None, settings)
    assert [(line["event"], line["code"]) for line in logs] == [("sweep.audit_not_anchored", "invalid_anchor")]


def exported(vidlm: Run, form: str, *options: object) -> list[dict[str, Any]]:
    done = vidlm("audit", "export", "--format", form, *options)
    assert done.returncode == 0, done.stderr
    if form == "json":
        return [json.loads(line) for line in done.stdout.splitlines()]
    rows = [[cell.removeprefix("'") for cell in row] for row in csv.reader(io.StringIO(done.stdout, newline=""))]
    names, *values = rows
    return [dict(zip(names, row, strict=True)) | {"number": int(row[1]), "id": int(row[2])} for row in values]


@pytest.mark.parametrize("form", list(Format))
def test_what_is_exported_is_what_is_there(vidlm: Run, noted: Database, form: str) -> None:
    rows = [Entry(**row) for row in exported(vidlm, form)]
    assert [row.target_id for row in rows] == [*NASTY, DEFAULT_TENANT, "vid_0", "vid_1", OTHER]
    assert all(digest(row[:-1]) == row.hash for row in rows)
    with noted.read() as session:
        there = session.exec(select(Audit).order_by(col(Audit.tenant_id), col(Audit.number))).all()
    assert [(row.tenant_id, row.number, row.id, datetime.fromisoformat(row.at), row.hash) for row in rows] == [
        (row.tenant_id, row.number, row.id, row.at, row.hash) for row in there
    ]
    assert [json.loads(row.details) for row in rows] == [row.details for row in there]
    assert verify(noted).faults == ()


def test_an_export_is_a_deed_of_its_own_in_the_audit_of_whoever_it_was_of(vidlm: Run, noted: Database) -> None:
    exported(vidlm, "json", "--tenant", OTHER, "--from", "2026-01-01")
    with noted.read() as session:
        (row,) = session.exec(select(Audit).where(Audit.event == "audit.exported")).all()
    assert (row.tenant_id, row.actor, row.target_id) == (OTHER, "cli", OTHER)
    assert row.details == {"format": "json", "from": "2026-01-01T00:00:00.000000Z", "until": None}


def test_times_are_half_open(vidlm: Run, noted: Database) -> None:
    with noted.read() as session:
        (at,) = set(session.exec(select(Audit.at).where(Audit.tenant_id == DEFAULT_TENANT, Audit.number == 5)).all())
        count = len(session.exec(select(Audit.id).where(Audit.tenant_id == DEFAULT_TENANT, Audit.at >= at)).all())
    mine = ("json", "--tenant", DEFAULT_TENANT)
    assert len(exported(vidlm, *mine, "--from", at.isoformat())) == count + 1  # and this export's own row
    elsewhere = at.astimezone(UTC) + timedelta(microseconds=1)
    assert [
        row["number"] for row in exported(vidlm, *mine, "--from", at.isoformat(), "--until", elsewhere.isoformat())
    ] == [5]
    assert exported(vidlm, *mine, "--until", "2000-01-01") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "yesterday"), "--from takes an ISO time"),
        (("--format", "xml"), "known are csv, json"),
        (("--tenant", "ten_typo"), "there is no tenant"),
    ],
)
def test_an_export_of_nonsense_is_refused(vidlm: Run, noted: Database, options: tuple[str, ...], said: str) -> None:
    done = vidlm("audit", "export", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert verify(noted).rows == 17  # nothing was exported, so nothing is said to have been


def test_a_chain_without_its_head_takes_no_more_rows(vidlm: Run, noted: Database) -> None:
    tamper(noted, f"DELETE FROM audit_head WHERE tenant_id = '{OTHER}'")
    done = vidlm("audit", "export")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("audit_broken: ")
    assert "number 3 of ten_other may be missing: the chain's head is gone" in vidlm("audit", "verify").stdout


def test_a_file_is_there_when_it_is_whole(vidlm: Run, noted: Database, tmp_path: Path) -> None:
    file = tmp_path / "out" / "audit.jsonl"
    file.parent.mkdir()
    assert vidlm("audit", "export", "--tenant", "ten_typo", "--output", file).returncode == 2
    assert list(file.parent.iterdir()) == []
    assert vidlm("audit", "export", "--format", "json", "--output", file).stderr == "19 rows\n"
    assert list(file.parent.iterdir()) == [file]
    assert len(file.read_text().splitlines()) == verify(noted).rows == 19
    assert vidlm("audit", "export", "--output", tmp_path / "nowhere" / "a.csv").returncode == 1


@pytest.mark.parametrize("cell", NASTY)
def test_no_cell_is_a_formula(cell: str) -> None:
    assert guarded(cell).lstrip()[:1] not in tuple("=+-@＝＋－＠")
    assert guarded(cell).removeprefix("'") == cell


def test_the_page_verifies_an_export_by_itself(vidlm: Run, noted: Database, tmp_path: Path) -> None:
    """Its Python stands for itself: run as it is, in a process that knows nothing of vidlm."""
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/audit.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(snippet.splitlines()) <= 20
    file = tmp_path / "audit.jsonl"
    vidlm("audit", "export", "--format", "json", "--output", file)

    def verified() -> Done:
        command = [sys.executable, "-I", "-c", snippet, str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = verified()
    assert done.returncode == 0, done.stderr
    anchors.write(noted, tmp_path / "anchors.jsonl")
    ends = [f"{one.tenant_id} {one.number} {one.hash}" for one in anchors.read(tmp_path / "anchors.jsonl")]
    assert done.stdout.splitlines() == ends
    whole = file.read_text().splitlines(keepends=True)
    for bad in ([*whole[:4], whole[4].replace("key_1", "key_2"), *whole[5:]], [*whole[:4], *whole[5:]]):
        file.write_text("".join(bad))
        assert verified().stderr.endswith("of ten_default is not as it was written\n")


@pytest.mark.parametrize("form", list(Format))
def test_rows_are_written_without_being_held(database: Database, form: Format) -> None:
    """Many batches long; the most that is ever held grows with a batch, not with the audit."""
    with database.write() as session:
        for number in range(30_000):
            audit(session, tenant_id=DEFAULT_TENANT, actor="key_1", event="e", target_id=f"vid_{number}")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  its own buffer is all it keeps
        tracemalloc.start()
        count = export(database, nowhere, form, Wanted(), actor="key_1")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 30_001
    assert peak_bytes < 30_001 * 400  # a row takes about a kilobyte
