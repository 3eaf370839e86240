"""Figures of the pages Quality and Operations: what is counted is what is there, and nobody sees another tenant's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from conftest import Api
from jobs_helpers import accepted
from review_helpers import OWN, analysed, decide, flag, must_claim, person
from simulated_review import POLICY, World, reviewed
from sqlmodel import Session, col, select, update
from test_dashboard_access import browser

from vidlm import overview, throughput
from vidlm.domain import JobState, Priority, Role
from vidlm.jobs.intake import Wishes
from vidlm.moderation.decisions import Outcome
from vidlm.queue import Queue
from vidlm.review import golden, workload
from vidlm.review.by_policy import policy_lines
from vidlm.review.golden_looks import Tried, tried
from vidlm.review.judged import judged
from vidlm.review.standing import Window
from vidlm.store.engine import Database, clock
from vidlm.store.ledger import Outbox
from vidlm.store.review import ReviewItem
from vidlm.store.tables import DEFAULT_TENANT, Job, Tenant

PAGES = ("/quality", "/quality/policies", "/quality/golden", "/quality/rules", "/quality/report", "/operations")
HOSTILE = "<script>alert(1)</script>{{7*7}}"


def timed(session: Session, job: Job, now: datetime, *seconds: float) -> None:
    """The job became ready just now; so many seconds from each of its five moments to the next."""
    moments = [now - timedelta(seconds=sum(seconds[place:])) for place in range(5)]
    names = ("created_at", "started_at", "prepared_at", "analyzed_at", "finished_at")
    values = dict(zip(names, moments, strict=True))
    session.exec(update(Job).where(col(Job.id) == job.id).values(**values, duration_s=90.0))


def test_stages_are_timed_and_hours_counted_of_what_is_ones_own(database: Database) -> None:
    jobs = [analysed(database) for _ in range(3)]
    with database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
        now = clock(session)
        for place, job in enumerate(jobs):
            timed(session, job, now, 10.0, 20.0 + place, 30.0, 4.0)
    with database.read() as session:
        found = {one.stage: one for one in throughput.stage_times(session, DEFAULT_TENANT, now - timedelta(days=1))}
        hours = throughput.hours(session, DEFAULT_TENANT, now)
        assert throughput.stage_times(session, "ten_other", now - timedelta(days=1))[0].count == 0
        assert sum(hour.videos for hour in throughput.hours(session, "ten_other", now)) == 0
    assert [(one.count, one.median_s, one.p90_s) for one in found.values()] == [
        (3, pytest.approx(10.0), pytest.approx(10.0)),
        (3, pytest.approx(21.0), pytest.approx(22.0)),
        (3, pytest.approx(30.0), pytest.approx(30.0)),
        (3, pytest.approx(4.0), pytest.approx(4.0)),
        (3, pytest.approx(65.0), pytest.approx(66.0)),
    ]
    assert len(hours) == 24
    assert (hours[-1].videos, hours[-1].minutes) == (3, pytest.approx(4.5))
    assert all(later.begin - hour.begin == timedelta(hours=1) for hour, later in pairwise(hours))


def test_what_became_ready_is_counted_in_its_hour(database: Database) -> None:
    job = analysed(database)
    now = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    at = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    with database.write() as session:
        session.exec(update(Job).where(col(Job.id) == job.id).values(finished_at=at, duration_s=60.0))
    with database.read() as session:
        hours = {hour.begin: hour.videos for hour in throughput.hours(session, DEFAULT_TENANT, now)}
        assert [begin for begin, videos in hours.items() if videos] == [at]
        assert sum(hour.videos for hour in throughput.hours(session, DEFAULT_TENANT, at + timedelta(hours=24))) == 0


def test_what_waits_is_told_by_queue_and_urgency(database: Database) -> None:
    first = accepted(database, wishes=Wishes(priority=Priority.BULK))
    accepted(database, wishes=Wishes(priority=Priority.BULK))
    accepted(database, wishes=Wishes(priority=Priority.INTERACTIVE))
    with database.write() as session:
        at = clock(session) - timedelta(seconds=500)
        session.exec(update(Outbox).where(col(Outbox.target_id) == first.id).values(due_at=at))
    with database.read() as session:
        found = throughput.turns(session, clock(session) + timedelta(seconds=1))
    assert [(one.queue, one.priority, one.waiting) for one in found] == [
        (Queue.CPU, Priority.INTERACTIVE, 1),
        (Queue.CPU, Priority.BULK, 2),
    ]
    assert found[1].oldest_s >= 500 > found[0].oldest_s


def test_an_overview_for_a_tenant_holds_nothing_of_others_but_what_waits(database: Database) -> None:
    with database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    accepted(database)
    theirs = accepted(database, "ten_other")
    with database.write() as session:
        ended = {"state": JobState.FAILED.value, "error_code": "worker_lost", "finished_at": clock(session)}
        session.exec(update(Job).where(col(Job.id) == theirs.id).values(**ended))
    ours = overview.survey(database, None, None, tenant_id=DEFAULT_TENANT)
    other = overview.survey(database, None, None, tenant_id="ten_other")
    everybody = overview.survey(database, None, None)
    assert (ours.jobs, other.jobs, everybody.jobs) == ({"queued": 1}, {"failed": 1}, {"queued": 1, "failed": 1})
    assert ([len(one.failures) for one in (ours, other, everybody)]) == [0, 1, 1]
    assert [one.waiting for one in ours.queues] == [one.waiting for one in other.queues] == [0, 0, 2, 0]


def test_load_is_counted_by_person_and_timed_from_claim_to_decision(database: Database) -> None:
    ann, bob = person("ann"), person("bob", restricted=True)
    for _ in range(3):
        analysed(database, flag("violence.assault_abuse", 0.9))
    analysed(database, flag("child_safety.suspected_exploitation", 0.9))
    for _ in range(3):
        item = must_claim(database, ann)
        with database.write() as session:
            before = clock(session) - timedelta(seconds=40)
            session.exec(update(ReviewItem).where(col(ReviewItem.id) == item.id).values(claimed_at=before))
        decide(database, ann, item, Outcome.REMOVE)
    decide(database, bob, must_claim(database, bob), Outcome.REMOVE)
    with database.read() as session:
        found = workload.loads(session, DEFAULT_TENANT)
        none = workload.loads(session, DEFAULT_TENANT, Window(None, clock(session) - timedelta(days=1)))
    assert none == {}
    assert found["key_ann"].decisions == 3
    assert found["key_ann"].median_s == pytest.approx(40, abs=5)
    assert found["key_ann"].minutes == pytest.approx(9 / 60)
    assert found["key_ann"].weighted_minutes == pytest.approx(18 / 60)
    assert found["key_ann"].today.severe_in_a_row == 3
    assert (found["key_bob"].decisions, found["key_bob"].median_s) == (0, None)
    assert found["key_bob"].minutes > 0


def test_policies_are_told_of_as_each_alone_would_be(database: Database) -> None:
    world = World(videos=1500, sampled=0.3)
    tenant_id = reviewed(database, np.random.default_rng(5), world)
    with database.read() as session:
        until = clock(session)
        found = policy_lines(session, tenant_id, OWN, until=until, days=30)
        alone = judged(session, tenant_id, POLICY, POLICY, Window(until - timedelta(days=30), until))
        later = policy_lines(session, tenant_id, OWN, until=until - timedelta(days=20), days=7)
    assert found.sampled
    line = next(one for one in found.lines if one.policy_id == POLICY.id)
    assert found.lines[0] == line
    assert line.prevalence is not None
    assert line.prevalence.n == int(alone.drawn.sum())
    said, seen = world.reviewers, world.rate
    word = seen * said.sensitivity + (1 - seen) * (1 - said.specificity)
    assert line.prevalence.low <= word <= line.prevalence.high
    assert line.overturned.n > 50
    assert [one.policy_id for one in found.lines if one.prevalence is not None] == [POLICY.id]
    assert not any(one.policy_id.startswith("child_safety") for one in found.lines)
    assert (later.sampled, [one for one in later.lines if one.is_told]) == (False, [])


def test_golden_items_say_how_often_they_were_got_right(database: Database) -> None:
    lead = person("lead", Role.LEAD)
    job = analysed(database, flag())
    with database.write() as session:
        answer = golden.add(session, lead, session.get_one(Job, job.id), outcome=Outcome.APPROVE, violated=[])
        review = session.exec(select(ReviewItem)).one()
        review.state = "withdrawn"
        settings = workload.settings_of(session, DEFAULT_TENANT)
        settings.golden_share = 0.5
        session.add(settings)
    said = []
    for name, outcome in (("ann", Outcome.APPROVE), ("bob", Outcome.REMOVE)):
        item = None
        while item is None:
            with database.write() as session:
                item = golden.maybe(session, person(name), list(golden.queues.all_of(session, DEFAULT_TENANT)))
        said.append(decide(database, person(name), item, outcome))
    with database.read() as session:
        assert tried(session, DEFAULT_TENANT, [answer.id]) == {answer.id: Tried(2, 1)}
        assert tried(session, DEFAULT_TENANT, []) == {}


def test_the_pages_are_leads(api: Api) -> None:
    for role in (Role.VIEWER, Role.REVIEWER):
        with browser(api, role) as client:
            assert [client.get(page).status_code for page in PAGES] == [403] * len(PAGES)
    with browser(api, Role.LEAD) as lead:
        assert [lead.get(page).status_code for page in PAGES] == [200] * len(PAGES)
        assert [lead.get("/quality", params={"days": days}).status_code for days in (7, 30, 90, 8)] == [200] * 3 + [422]
        backwards = lead.get("/quality/report", params={"first": "2026-02-01", "last": "2026-01-01"})
        assert (backwards.status_code, "before the first" in backwards.text) == (422, True)
        edges = ({"last": "0001-01-05"}, {"first": "9999-12-31"}, {"first": "0001-01-01", "last": "9999-12-31"})
        assert [lead.get("/quality/report", params=one).status_code for one in edges] == [200] * 3


def test_words_of_people_and_files_are_text(api: Api) -> None:
    job = analysed(api.database, flag(), wishes=Wishes(filename=HOSTILE))
    with browser(api, Role.LEAD) as lead:
        queue = {"name": "ours", "title": HOSTILE, "rule": {"languages": [HOSTILE]}}
        assert lead.post("/v1/review/queues", json=queue).status_code == 201
        before = lead.get("/quality/golden", params={"video": job.video_id}).text
        asked = {"video_id": job.video_id, "outcome": "approve", "violated": [], "note": HOSTILE}
        assert lead.post("/v1/review/golden", json=asked).status_code == 201
        pages = [before, *(lead.get(page).text for page in PAGES), lead.get("/quality/golden?video=" + HOSTILE).text]
    assert all("<script>alert" not in page and "49" not in page.split("alert(1)")[-1][:30] for page in pages)
    assert sum("&lt;script&gt;alert(1)" in page for page in pages) >= 4


def test_a_video_becomes_golden_with_what_was_decided_last(api: Api) -> None:
    job = analysed(api.database, flag("weapons.shown"), flag("weapons.in_hand", start_s=2.0))
    secret = analysed(api.database, flag("child_safety.suspected_exploitation"))
    unready = accepted(api.database)
    decide(api.database, person("ann"), must_claim(api.database, person("ann")), Outcome.REMOVE)
    with browser(api, Role.LEAD) as lead:

        def asked(video_id: str) -> str:
            return lead.get("/quality/golden", params={"video": video_id}).text

        page = asked(job.video_id)
        assert 'value="remove" checked' in page
        assert page.count('name="violated"') == page.count('" checked><span>Weapon') == 2
        assert "There is no such video" in asked("vid_nothing")
        assert "There is no such video" in asked(secret.video_id)
        assert "not ready yet" in asked(unready.video_id)
    with browser(api, Role.ADMIN, restricted=True) as admin:
        assert secret.video_id in admin.get("/quality/golden", params={"video": secret.video_id}).text
        assert 'id="add"' in admin.get("/quality/golden", params={"video": secret.video_id}).text
