"""Known videos through the real stages: uploaded again in other forms, decoded, compared, judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from known_helpers import AGAIN, again, film, with_a_second_put_in
from sqlmodel import col, select
from worker_helpers import accept, fresh_runtime, owed, run_all

from vidlm.domain import Bank, Known
from vidlm.jobs import control, disposal
from vidlm.known import banks, matches
from vidlm.likeness.hashlists import entries_of, videos_of
from vidlm.likeness.packing import unpack
from vidlm.queue import Task
from vidlm.store.ledger import Audit, Event
from vidlm.store.likeness import BankEntry, FingerprintRow, MatchRow
from vidlm.store.queries import find_document
from vidlm.store.tables import DEFAULT_TENANT, FlagRow, Job, Tenant, Video
from workers.runtime import Runtime
from workers.tasks import work

BAD, OK = Bank.BAD, Bank.OK
LENGTH_S = 8.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return film(folder / "known.mp4", 1, LENGTH_S)


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Path:
    return film(folder / "stranger.mp4", 2, LENGTH_S)


@pytest.fixture
def runtime(tmp_path: Path, tiny_random_checkpoint: Path, few_policies: Path) -> Iterator[Runtime]:
    with fresh_runtime(tmp_path / "data", tiny_random_checkpoint, few_policies, span_s=8.0) as runtime:
        yield runtime


def deciding(runtime: Runtime) -> None:
    runtime.settings = runtime.settings.model_copy(update={"carry_over": "decide"})


def prepared(runtime: Runtime, clip: Path) -> Job:
    """An upload of the clip that has been prepared."""
    job = accept(runtime, clip.read_bytes(), clip.name)
    assert work(runtime, Task.PREPARE, job.id) == "done"
    return job


def entered(runtime: Runtime, job: Job, bank: Bank = BAD, **more: Any) -> BankEntry:
    with runtime.database.write() as session:
        return banks.enter(
            session,
            tenant_id=DEFAULT_TENANT,
            video_id=job.video_id,
            bank=bank,
            actor="key_test",
            reason="seen before",
            **more,
        )


def known_of(runtime: Runtime, job: Job) -> tuple[Known, ...]:
    with runtime.database.read() as session:
        found = matches.comparison_of(session, job.video_id)
    assert found.bank_version is not None
    return found.known


def job_now(runtime: Runtime, job: Job) -> Job:
    with runtime.database.read() as session:
        return session.get_one(Job, job.id)


def document(runtime: Runtime, job: Job) -> dict[str, Any]:
    with runtime.database.read() as session:
        found = find_document(session, DEFAULT_TENANT, job.video_id)
    assert found is not None
    return found


@pytest.mark.parametrize("way", AGAIN)
def test_a_known_film_is_known_again(runtime: Runtime, folder: Path, clip: Path, way: str) -> None:
    entry = entered(runtime, prepared(runtime, clip), decision_id="dec_1")
    (known,) = known_of(runtime, prepared(runtime, again(clip, folder / f"{way}.mp4", *AGAIN[way])))
    assert (known.entry_id, known.bank, known.exact, known.decision_id) == (entry.id, BAD, False, "dec_1")
    assert known.mirrored == (way == "mirrored")
    assert known.similarity > 0.4
    lasts_s, starts_s = (4.0, 2.0) if way == "trimmed" else (LENGTH_S, 0.0)
    assert (known.start_s, known.end_s) == pytest.approx((0, lasts_s), abs=1.0)
    assert (known.known_start_s, known.known_end_s) == pytest.approx((starts_s, starts_s + lasts_s), abs=1.0)


def test_another_film_is_not_known(runtime: Runtime, clip: Path, stranger: Path) -> None:
    entered(runtime, prepared(runtime, clip))
    assert known_of(runtime, prepared(runtime, stranger)) == ()


def test_a_mirror_is_an_option(runtime: Runtime, folder: Path, clip: Path) -> None:
    runtime.settings = runtime.settings.model_copy(update={"match_mirrored": False})
    entered(runtime, prepared(runtime, clip))
    assert known_of(runtime, prepared(runtime, again(clip, folder / "turned.mp4", *AGAIN["mirrored"]))) == ()


def test_what_is_known_as_bad_is_never_allowed_and_says_why(runtime: Runtime, folder: Path, clip: Path) -> None:
    first = prepared(runtime, clip)
    run_all(runtime)
    entry = entered(runtime, first, decision_id="dec_7")
    job = accept(runtime, again(clip, folder / "smaller.mp4", *AGAIN["resized"]).read_bytes())
    run_all(runtime)
    row, found = job_now(runtime, job), document(runtime, job)
    assert row.state == "ready"
    assert row.verdict_action in ("review", "block")
    assert (row.verdict_reason or "").startswith(f"Shows what is known as bad: {entry.id} from 0.0 s to ")
    (known,) = found["known"]
    assert (known["entry_id"], known["bank"], known["decision_id"]) == (entry.id, "known_bad", "dec_7")
    assert found["segments"]  # it was looked at all the same
    with runtime.database.read() as session:
        (told,) = session.exec(select(Event).where(Event.kind == "known.matched")).all()
    assert (told.video_id, told.document["entry_id"]) == (job.video_id, entry.id)


def test_the_same_bytes_are_known_first_and_without_looking(runtime: Runtime, clip: Path) -> None:
    entry = entered(runtime, prepared(runtime, clip))
    with runtime.database.write() as session:
        session.get_one(BankEntry, entry.id).frames = None  # as of a video that was never prepared
    (known,) = known_of(runtime, prepared(runtime, clip))
    assert (known.exact, known.similarity, known.share, known.known_share) == (True, 1, 1, 1)
    assert (known.start_s, known.end_s) == (0, pytest.approx(LENGTH_S, abs=0.2))


def test_what_becomes_known_while_a_video_waits_for_the_model_counts(
    runtime: Runtime, folder: Path, clip: Path
) -> None:
    first = prepared(runtime, clip)
    ok = entered(runtime, first, OK)
    job = prepared(runtime, again(clip, folder / "waits.mp4", *AGAIN["resized"]))
    assert [one.bank for one in known_of(runtime, job)] == [OK]
    bad = entered(runtime, first, BAD)
    run_all(runtime)
    assert {one.entry_id for one in known_of(runtime, job)} == {ok.id, bad.id}
    assert bad.id in (job_now(runtime, job).verdict_reason or "")
    with runtime.database.read() as session:
        told = session.exec(
            select(Event).where(Event.kind == "known.matched", Event.video_id == job.video_id).order_by(col(Event.id))
        ).all()
    assert [one.document["entry_id"] for one in told] == [ok.id, bad.id]  # each once


@pytest.mark.parametrize("fails", ["the index", "the frames"])
def test_what_cannot_be_compared_is_looked_at_by_people(
    runtime: Runtime, clip: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """The model finds nothing here, so that without the failure the verdict is `allow`."""
    monkeypatch.setattr("vidlm.pipeline.flags_from_scores", lambda *_: ())
    deciding(runtime)
    entered(runtime, prepared(runtime, clip), OK)
    run_all(runtime)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    broken_part = "LikenessIndex.search" if fails == "the index" else "Fingerprinter.add"
    monkeypatch.setattr(f"vidlm.known.recognition.{broken_part}", broken)
    job = accept(runtime, clip.read_bytes())
    run_all(runtime)
    row = job_now(runtime, job)
    assert (row.state, row.verdict_action) == ("ready", "review")
    assert (row.verdict_reason or "").startswith("The video could not be compared with known ones.")
    with runtime.database.read() as session:
        made = session.get_one(FingerprintRow, job.video_id)
        assert (made.bank_version, made.frames is None) == (None, fails == "the frames")


@pytest.mark.parametrize(("bank", "verdict"), [(BAD, "block"), (OK, "allow")])
def test_a_decision_is_carried_over_only_where_the_setting_says_so(
    runtime: Runtime, folder: Path, clip: Path, bank: Bank, verdict: str
) -> None:
    entry = entered(runtime, prepared(runtime, clip), bank)
    run_all(runtime)
    copy = again(clip, folder / f"copy_{bank}.mp4", *AGAIN["resized"])
    prepared(runtime, copy)
    assert [task for task, _ in owed(runtime)] == [Task.ANALYZE_SPAN]  # evidence, and looked at
    run_all(runtime)
    deciding(runtime)
    job = prepared(runtime, copy)
    assert owed(runtime) == []
    row, found = job_now(runtime, job), document(runtime, job)
    assert (row.state, row.verdict_action, row.spans_total) == ("ready", verdict, 0)
    assert entry.id in (row.verdict_reason or "")
    assert found["segments"] == found["flags"] == []
    assert found["provenance"]["model_id"] == "none"
    (gap,) = found["coverage"]["gaps"]
    assert (found["coverage"]["seconds_seen"], gap["reason"]) == (0, f"carried over from {entry.id}")
    assert gap["end_s"] == found["video"]["duration_s"]


def test_half_a_second_that_nobody_decided_about_is_looked_at(
    runtime: Runtime, folder: Path, clip: Path, stranger: Path
) -> None:
    deciding(runtime)
    entered(runtime, prepared(runtime, clip), OK)
    run_all(runtime)
    more = with_a_second_put_in(clip, stranger, folder / "more.mp4", 4)
    part = again(clip, folder / "part.mp4", *AGAIN["trimmed"])
    marked = again(clip, folder / "marked.mp4", *AGAIN["with a logo"])
    turned = again(clip, folder / "turned_ok.mp4", *AGAIN["mirrored"])
    for other in (more, part, marked, turned):
        job = prepared(runtime, other)
        assert job_now(runtime, job).state == "analyzing", other.name
        assert [one.bank for one in known_of(runtime, job)] == [OK]


def test_child_safety_always_goes_to_people(runtime: Runtime, clip: Path) -> None:
    deciding(runtime)
    first = prepared(runtime, clip)
    with runtime.database.write() as session:
        session.add(
            FlagRow(
                tenant_id=DEFAULT_TENANT,
                job_id=first.id,
                policy_id="child_safety.child_endangerment",
                start_s=0,
                end_s=1,
                score=0.5,
                severity="high",
                action="review",
            )
        )
    assert entered(runtime, first).restricted
    assert job_now(runtime, prepared(runtime, clip)).state == "analyzing"


def test_a_list_from_elsewhere_is_evidence_and_decides_nothing(runtime: Runtime, clip: Path) -> None:
    deciding(runtime)
    first = prepared(runtime, clip)
    with runtime.database.read() as session:
        frames = session.get_one(FingerprintRow, first.video_id).frames
    assert frames is not None
    listed = videos_of(entries_of(unpack(frames), "case-17", "hashes.example"))
    with runtime.database.write() as session:
        done = banks.take_in(session, listed, tenant_id=DEFAULT_TENANT, bank=BAD, actor="key_test", reason="a list")
    assert (done.added, done.unchanged, done.replaced) == (1, 0, 0)
    job = prepared(runtime, clip)
    (known,) = known_of(runtime, job)
    assert (known.decided, known.exact, known.share, known.known_share) == (False, False, 1, 1)
    assert job_now(runtime, job).state == "analyzing"


def test_tenants_know_nothing_of_each_others_banks(runtime: Runtime, clip: Path) -> None:
    first = prepared(runtime, clip)
    entered(runtime, first)
    with runtime.database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    job = accept(runtime, clip.read_bytes())
    with runtime.database.write() as session:
        session.get_one(Job, job.id).tenant_id = session.get_one(Video, job.video_id).tenant_id = "ten_other"
    assert work(runtime, Task.PREPARE, job.id) == "done"
    assert known_of(runtime, job) == ()


def test_what_is_withdrawn_is_known_no_more_and_what_matched_stays(runtime: Runtime, clip: Path) -> None:
    entry = entered(runtime, prepared(runtime, clip))
    before = prepared(runtime, clip)
    with runtime.database.write() as session:
        (gone,) = banks.withdraw_video(
            session, tenant_id=DEFAULT_TENANT, video_id=entry.video_id or "", actor="key_test", reason="a mistake"
        )
    assert (gone.id, gone.removed_reason) == (entry.id, "a mistake")
    assert known_of(runtime, prepared(runtime, clip)) == ()
    assert [one.entry_id for one in known_of(runtime, before)] == [entry.id]
    with runtime.database.read() as session:
        told = session.exec(select(Audit).where(col(Audit.event).startswith("bank."))).all()
    assert [(row.event, row.target_id) for row in told] == [("bank.entered", entry.id), ("bank.withdrawn", entry.id)]


def test_the_last_decision_about_a_video_counts(runtime: Runtime, clip: Path) -> None:
    first = prepared(runtime, clip)
    bad = entered(runtime, first)
    assert entered(runtime, first).id == bad.id  # once is enough
    fine = entered(runtime, first, OK)
    assert [one.entry_id for one in known_of(runtime, prepared(runtime, clip))] == [fine.id]


def test_an_entry_outlives_its_video_and_keeps_only_hashes(runtime: Runtime, clip: Path) -> None:
    first = prepared(runtime, clip)
    run_all(runtime)
    entry = entered(runtime, first)
    second = prepared(runtime, clip)
    for job in (first, second):
        with runtime.database.write() as session:
            control.deleted(session, session.get_one(Video, job.video_id), actor="key_test")
        disposal.dispose(runtime.database, runtime.blobs, job.video_id, final=True)
    with runtime.database.read() as session:
        assert session.exec(select(FingerprintRow)).all() == []
        assert session.exec(select(MatchRow)).all() == []
        kept = session.get_one(BankEntry, entry.id)
        assert (kept.frames, kept.sha256) == (entry.frames, entry.sha256)
        assert clip.name not in str(kept.model_dump())
    (known,) = known_of(runtime, prepared(runtime, clip))
    assert known.exact


def test_results_are_not_reused_once_the_banks_are_others(runtime: Runtime, clip: Path) -> None:
    runtime.settings = runtime.settings.model_copy(update={"reuse_results": True})
    first = accept(runtime, clip.read_bytes())
    run_all(runtime)
    second = accept(runtime, clip.read_bytes())
    assert run_all(runtime) == ["done"]
    entered(runtime, first)
    third = accept(runtime, clip.read_bytes())
    assert len(run_all(runtime)) >= 3  # looked at anew
    assert job_now(runtime, third).verdict_action != "allow"
    fourth = accept(runtime, clip.read_bytes())
    assert run_all(runtime) == ["done"]
    assert known_of(runtime, second) == ()
    assert known_of(runtime, fourth) == known_of(runtime, third) != ()
