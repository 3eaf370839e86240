"""Finding videos by their words: what is found, in which order, page by page, and when words come and go."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Api
from jobs_helpers import accepted, analysis, must_take, prepared
from sqlalchemy import delete, insert, update
from sqlmodel import Session, col, select
from test_api_list import BEGIN, Listed, fill
from test_api_videos import finish as finish_upload
from test_api_videos import problem, upload
from test_jobs_life import span_ids

from vidlm.config import Settings
from vidlm.domain import Action, Chapter, JobState, Priority, Segment, Summary
from vidlm.jobs import control, life, reuse, wording
from vidlm.jobs.claims import Claim, claim
from vidlm.jobs.intake import Wishes
from vidlm.queue import Task
from vidlm.store import word_search
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from vidlm.store.listing import Filters, Page, list_videos, measure
from vidlm.store.tables import DEFAULT_TENANT, Job, Video
from vidlm.store.words import VideoWord, words_in
from workers import sweeper

WORDS = ("red", "redder", "reddest", "car", "cart", "dog", "街", "道", "ab12", "ab13")
QUERIES = (
    "red",
    "re",
    "car",
    "red car",
    "car red",
    "dog ca",
    "街道",
    "ab1",
    "ab12 red",
    "d",
    "zebra",
    "red zebra",
    "a b",
)


def told(database: Database, *captions: str, summary: str = "", **wishes: Any) -> Job:
    """A ready video that says this."""
    job = accepted(database, wishes=replace(Wishes(), **wishes))
    prepared(database, job, document={"info": {"filename": job.id}})
    for span in span_ids(database, job.id):
        held = must_take(database, Task.ANALYZE_SPAN, span)
        with database.write() as session:
            life.span_analyzed(session, held, [])
    segments = tuple(
        Segment(index, 5.0 * index, 5.0 * (index + 1), (5.0 * index,), caption, {})
        for index, caption in enumerate(captions)
    )
    found = replace(analysis(), segments=segments, summary=Summary(summary, (Chapter(0.0, 5.0, "Opening"),), ()))
    held = must_take(database, Task.FINISH, job.id)
    with database.write() as session:
        life.finished(session, held, found)
    return job


def found(database: Database, text: str, tenant_id: str = DEFAULT_TENANT, **filters: Any) -> list[str]:
    with database.read() as session:
        listed = list_videos(session, tenant_id, Filters(text=text, **filters), Page(50))
    return [one.id for one in listed]


def test_a_video_is_found_by_its_names_its_summary_its_chapters_and_its_captions(database: Database) -> None:
    first = told(database, "A red car turns.", summary="Street at night", filename="IMG_01.mp4", client_id="cam-7")
    second = told(database, "A dog.", "The dog sits by a RED door.", filename="街道.mov")
    both = [second.video_id, first.video_id]
    assert found(database, "red") == found(database, "a re") == found(database, "opening") == both  # newest first
    assert found(database, "night car red") == found(database, "cam 7") == found(database, "img") == both[1:]
    assert found(database, "道") == found(database, "Dog, door!") == found(database, "ｍｏｖ") == both[:1]
    assert found(database, "red cat") == found(database, "ar") == found(database, "do red") == []
    assert found(database, "?!") == []
    assert found(database, "red", tenant_id="ten_other") == []


def test_only_ready_videos_have_words_and_deleted_ones_have_none_left(database: Database) -> None:
    accepted(database, wishes=Wishes(filename="secret.mp4"))
    gone = told(database, "A secret thing.")
    assert found(database, "secret") == [gone.video_id]
    with database.write() as session:
        control.deleted(session, session.get_one(Video, gone.video_id), actor="key_test")
    with database.read() as session:
        assert session.exec(select(VideoWord)).all() == []
    assert found(database, "secret") == []


def test_what_is_taken_over_from_a_twin_is_found_by_its_own_name(database: Database) -> None:
    twin = told(database, "A dog.", filename="first.mp4")
    job = accepted(database, wishes=Wishes(filename="second.mp4"))
    with database.write() as session:
        session.get_one(Job, twin.id).recipe = "r"
        held = must_claim(session, job)
        reuse.reused(session, held, twin.id, work_folder="work/x")
    assert found(database, "dog") == [job.video_id, twin.video_id]
    assert (found(database, "second"), found(database, "first")) == ([job.video_id], [twin.video_id])


def must_claim(session: Session, job: Job) -> Claim:
    held = claim(session, Task.PREPARE, job.id, lease_s=30.0, max_attempts=3)
    assert held is not None
    return held


def test_the_sweeper_finds_words_for_what_was_analysed_before_a_batch_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wording, "BATCH", 1)
    monkeypatch.setattr(sweeper, "WORD_BATCHES", 2)
    jobs = [told(database, "A dog.") for _ in range(5)]
    with database.write() as session:  # as an older version left them
        session.exec(delete(VideoWord))
        session.exec(update(Job).where(col(Job.id) == col(Job.id)).values(worded=False))
    settings, blobs = Settings(data=tmp_path), BlobStore(tmp_path)
    for expected in (0, 2, 4, 5, 5):
        assert len(found(database, "dog")) == expected
        sweeper.sweep_once(database, blobs, None, settings)
    assert found(database, "dog") == [job.video_id for job in reversed(jobs)]
    with database.read() as session:
        assert not wording.any_missing(session)


@dataclass(frozen=True)
class Worded:
    listed: Listed
    words: frozenset[str]

    def fits(self, query: str, filters: Filters) -> bool:
        *whole, last = words_in(query)
        return (
            set(whole) <= self.words
            and any(word.startswith(last) for word in self.words)
            and (not filters.verdicts or self.listed.verdict in filters.verdicts)
            and (filters.policy is None or filters.policy in self.listed.policies)
            and (filters.priority is None or self.listed.priority is filters.priority)
            and (filters.created_from is None or self.listed.created_at >= filters.created_from)
        )


ASIDE = (
    Filters(),
    Filters(verdicts=frozenset({Action.BLOCK, Action.REVIEW})),
    Filters(policy="weapons.shown"),
    Filters(priority=Priority.HIGH, created_from=BEGIN + timedelta(hours=2)),
)


@pytest.mark.parametrize(("few", "many"), [(2_000, 20_000), (1, 1), (30, 60)], ids=["read", "walked", "either"])
def test_every_search_finds_what_looking_at_each_video_finds(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, many: int
) -> None:
    """Whichever word, or other filter, leads to the page; page by page, in both orders."""
    monkeypatch.setattr(word_search, "FEW", few)
    monkeypatch.setattr(word_search, "MANY", many)
    rng = random.Random(7)
    every = [one for one in fill(database, 120) if one.state is JobState.READY]
    videos = [Worded(one, frozenset(word for word in WORDS if rng.random() < 0.3)) for one in every]
    rows = [
        {"tenant_id": DEFAULT_TENANT, "video_id": one.listed.id, "word": word} for one in videos for word in one.words
    ]
    with database.write() as session:
        session.execute(insert(VideoWord), rows)
    for query in QUERIES:
        for aside in ASIDE:
            filters = replace(aside, text=query)
            expected = [one.listed.id for one in videos if one.fits(query, aside)]
            assert pages(database, filters, newest_first=False) == expected, (query, aside)
            assert pages(database, filters, newest_first=True) == expected[::-1], (query, aside)
            with database.read() as session:
                assert measure(session, DEFAULT_TENANT, filters)[0] == len(expected)


def pages(database: Database, filters: Filters, *, newest_first: bool) -> list[str]:
    """All that is found, a few at a time."""
    found: list[str] = []
    while True:
        with database.read() as session:
            page = list_videos(session, DEFAULT_TENANT, filters, Page(13, newest_first, found[-1] if found else None))
        found += [one.id for one in page]
        if len(page) < 13:
            return found


def test_the_api_searches_too(api: Api) -> None:
    video_id = upload(api, name="Wide Street.mp4").json()["id"]
    other = upload(api, name="narrow.mp4").json()["id"]
    finish_upload(api, video_id)
    finish_upload(api, other)
    assert ids(api, "?q=street+wi") == [video_id]
    assert ids(api, "?q=mp4&state=ready") == [other, video_id]
    assert ids(api, "?q=part&verdict=allow") == ids(api, "?q=...") == []
    cursor = api.client.get("/v1/videos?q=mp4&limit=1").json()["next_cursor"]
    assert ids(api, f"?q=mp4&limit=1&cursor={cursor}") == [video_id]
    for query in ("", "x" * 201):
        assert problem(api.client.get(f"/v1/videos?q={query}")) == (422, "invalid_request")


def ids(api: Api, query: str) -> list[str]:
    answer = api.client.get(f"/v1/videos{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]
