"""A video's own page over a real socket: every state it can be in, who may see it, and what it hands out."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from conftest import Api
from jobs_helpers import accepted, prepared
from review_helpers import analysed, decide, flag, must_claim, person
from sqlmodel import Session

from api.dashboard.pages.video import MOST_QUESTIONS
from vidlm.domain import Action, JobState, Role
from vidlm.jobs import control, events, life
from vidlm.jobs.intake import Wishes
from vidlm.moderation.decisions import Outcome
from vidlm.people import accounts
from vidlm.store.queries import questions_of
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

PASSWORD = "a-Long-enough-one-7"
HOSTILE = "</script><script>alert(1)</script>"


@contextmanager
def signed_in(api: Api, role: Role = Role.VIEWER, *, restricted: bool = False) -> Iterator[httpx.Client]:
    name = f"{role}{'-r' if restricted else ''}"
    with api.database.write() as session:
        if accounts.by_name(session, name) is None:
            accounts.create(session, name, PASSWORD, role=role, restricted=restricted)
    with httpx.Client(base_url=api.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30) as client:
        assert client.post("/sign-in", data={"name": name, "password": PASSWORD}).status_code == 303
        yield client


def data_of(page: httpx.Response) -> dict[str, Any]:
    """What the page hands to its scripts."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.text, re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document


def ended(api: Api, state: JobState, code: str | None = None, detail: str | None = None) -> Job:
    job = accepted(api.database)
    with api.database.write() as session:
        row = session.get_one(Job, job.id)
        row.error_code, row.error_detail = code, detail
        events.moved(session, row, state)
    return job


def test_a_ready_video_shows_what_was_seen_in_it(api: Api) -> None:
    job = analysed(api.database, flag(score=0.8))
    with signed_in(api) as client:
        page = client.get(f"/videos/{job.video_id}")
    assert page.status_code == 200
    data = data_of(page)
    assert [one["policy_id"] for one in data["flags"]] == ["weapons.shown"]
    assert data["flags"][0]["evidence_s"] == [1.0]
    assert data["segments"] == [[0.0, 5.0, "part 0"], [5.0, 10.0, "part 1"]]
    assert (data["verdict"]["action"], data["veiled"], data["preview"]) == ("review", True, False)
    assert "all of it" in page.text
    assert f"/videos/{job.video_id}/captions.vtt" in page.text


def test_what_was_cleared_is_not_veiled_and_what_nobody_saw_is(api: Api) -> None:
    clear = analysed(api.database, verdict=Action.ALLOW)
    partly = analysed(api.database, verdict=Action.REVIEW)
    with signed_in(api) as client:
        assert data_of(client.get(f"/videos/{clear.video_id}"))["veiled"] is False
        assert data_of(client.get(f"/videos/{partly.video_id}"))["veiled"] is True
        assert data_of(client.get(f"/videos/{accepted(api.database).video_id}"))["veiled"] is True


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        (JobState.REJECTED, "truncated", "its index is missing"),
        (JobState.FAILED, "worker_lost", "died over it"),
        (JobState.EXPIRED, "deadline_exceeded", "deadline that was set"),
        (JobState.CANCELLED, None, "called it off"),
        (JobState.FAILED, "never_heard_of", "finds the reason in the logs"),
    ],
)
def test_a_job_that_ended_explains_itself(api: Api, state: JobState, code: str | None, says: str) -> None:
    job = ended(api, state, code, "the <b>file</b> breaks off")
    with signed_in(api, Role.ADMIN) as client:
        page = client.get(f"/videos/{job.video_id}")
    assert page.status_code == 200
    assert says in page.text
    assert "<b>file</b>" not in page.text
    assert (f"{job.video_id}/retry" in page.text) is (state is not JobState.REJECTED)
    assert f"{job.video_id}/cancel" not in page.text


def test_a_job_on_its_way_says_how_far_it_is_and_what_it_went_through(api: Api) -> None:
    queued, half = accepted(api.database), accepted(api.database)
    prepared(api.database, half)
    with signed_in(api) as client:
        first, second = (client.get(f"/videos/{job.video_id}") for job in (queued, half))
    assert 'data-stage="queued" aria-current="step"' in first.text
    assert 'data-stage="analyzing" aria-current="step"' in second.text
    assert data_of(second)["told"] > data_of(first)["told"] > 0
    assert "/cancel" not in first.text  # a viewer's page offers nothing that a viewer may not do


def test_what_is_not_there_and_what_was_deleted_is_said(api: Api) -> None:
    job = analysed(api.database, flag())
    with api.database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_x")
    with signed_in(api) as client:
        for path in ("", "/captions.vtt", "/segments.csv"):
            assert client.get(f"/videos/{job.video_id}{path}").status_code == 410
            missing = client.get(f"/videos/vid_0{path}")
            assert (missing.status_code, "text/html" in missing.headers["content-type"]) == (404, True)
            assert client.get(f"/videos/%00{path}").status_code == 404


def test_only_people_with_the_grant_see_a_restricted_video(api: Api) -> None:
    job = analysed(api.database, flag("child_safety.child_endangerment"))
    with signed_in(api, Role.ADMIN) as client:
        for path in ("", "/captions.vtt", "/segments.csv"):
            assert client.get(f"/videos/{job.video_id}{path}").status_code == 404
    with signed_in(api, Role.VIEWER, restricted=True) as client:
        assert client.get(f"/videos/{job.video_id}").status_code == 200
        assert client.get(f"/videos/{job.video_id}/segments.csv").status_code == 200


def test_captions_and_scores_are_handed_out_as_files(api: Api) -> None:
    job = analysed(api.database, flag())
    with signed_in(api) as client:
        captions = client.get(f"/videos/{job.video_id}/captions.vtt")
        scores = client.get(f"/videos/{job.video_id}/segments.csv")
        early = client.get(f"/videos/{accepted(api.database).video_id}/captions.vtt")
    assert captions.headers["content-type"] == "text/vtt; charset=utf-8"
    assert captions.headers["content-disposition"] == f'attachment; filename="{job.video_id}.vtt"'
    assert "00:00:05.000 --> 00:00:10.000\npart 1\n" in captions.text
    assert scores.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(scores.text, newline="")))
    assert [(row["start_s"], row["caption"], row["a.b"]) for row in rows] == [
        ("0.0", "part 0", "0.25"),
        ("5.0", "part 1", "0.25"),
    ]
    assert early.status_code == 409


def test_what_people_decided_is_for_reviewers(api: Api) -> None:
    job = analysed(api.database, flag())
    ann = person("ann")
    decide(api.database, ann, must_claim(api.database, ann), Outcome.REMOVE, note="plainly there")
    path = f"/videos/{job.video_id}"
    with (
        signed_in(api, Role.VIEWER) as viewer,
        signed_in(api, Role.REVIEWER) as reviewer,
        signed_in(api, Role.LEAD) as lead,
    ):
        assert data_of(viewer.get(path))["history"] == []
        told = data_of(reviewer.get(path))["history"]
        assert [(one["outcome"], one["note"], one["undone_at"]) for one in told] == [("remove", "plainly there", None)]
        assert 'id="appeal-form"' not in reviewer.get(path).text
        assert 'id="appeal-form"' in lead.get(path).text
        assert lead.post(f"/v1{path}/appeals", json={"note": "it was a toy"}).status_code == 201
        after = lead.get(path).text
    assert "it was a toy" in after
    assert 'id="appeal-form"' not in after  # somebody is to look at it already


def test_an_item_that_waits_is_a_click_away_for_those_who_review(api: Api) -> None:
    job = analysed(api.database, flag())
    with signed_in(api, Role.REVIEWER) as reviewer, signed_in(api, Role.VIEWER) as viewer:
        assert "/review/rvi_" in reviewer.get(f"/videos/{job.video_id}").text
        assert "/review/rvi_" not in viewer.get(f"/videos/{job.video_id}").text


def test_a_hold_is_explained_and_nothing_offers_to_delete(api: Api) -> None:
    job = analysed(api.database, flag())
    with signed_in(api, Role.ADMIN) as client:
        assert 'data-act="DELETE"' in client.get(f"/videos/{job.video_id}").text
        assert client.put(f"/v1/videos/{job.video_id}/hold").status_code == 204
        held = client.get(f"/videos/{job.video_id}").text
    assert "under a legal hold" in held
    assert "Delete this video" not in held
    assert f'data-act="DELETE" data-path="/v1/videos/{job.video_id}/hold"' in held


def test_names_are_text_whatever_is_in_them(api: Api) -> None:
    job = analysed(api.database, flag(), wishes=Wishes(filename="<img src=x onerror=alert(1)>", client_id=HOSTILE))
    with signed_in(api) as client:
        page = client.get(f"/videos/{job.video_id}")
    assert HOSTILE not in page.text
    assert "<img src=x" not in page.text
    assert data_of(page)["video"]["client_id"] == HOSTILE


def ask(session: Session, video_id: str, text: str) -> None:
    life.ask(session, tenant_id=DEFAULT_TENANT, video_id=video_id, text=text, conversation_id=None)


def test_earlier_questions_come_newest_first_and_bounded(api: Api) -> None:
    job = analysed(api.database, flag())
    for number in range(4):
        with api.database.write() as session:
            ask(session, job.video_id, f"what is in part {number}?")
    with signed_in(api) as client:
        asked = data_of(client.get(f"/videos/{job.video_id}"))["questions"]
    assert [one["question"] for one in asked] == [f"what is in part {number}?" for number in (3, 2, 1, 0)]
    with api.database.read() as session:
        found = questions_of(session, DEFAULT_TENANT, job.video_id, 2)
        assert [row.text for row in found] == ["what is in part 3?", "what is in part 2?"]
        assert questions_of(session, "ten_other", job.video_id, MOST_QUESTIONS) == []


def test_bands_keep_their_order_on_the_way_to_scripts(api: Api) -> None:
    """What was flagged comes first, whatever it is called."""
    job = analysed(api.database, flag("weapons.shown"))
    with signed_in(api) as client:
        policies = list(data_of(client.get(f"/videos/{job.video_id}"))["policies"])
    assert policies != sorted(policies)
