"""Other policies over stored scores: what is in force gives the stored verdicts, and nothing missing is ever "safe"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from conftest import Api
from jobs_helpers import accepted, analysis, must_take
from review_helpers import decide as decided
from review_helpers import must_claim, person
from sqlmodel import col, select, update
from test_api_videos import problem

from api.routes import what_if as routes
from vidlm.domain import Coverage, Gap, Policy, Role, Segment, to_document
from vidlm.errors import ConflictError, PolicyError
from vidlm.jobs import life
from vidlm.moderation.decisions import Outcome
from vidlm.moderation.flags import decide, flags_from_scores
from vidlm.moderation.policies import NEVER, PolicySet, load_policies, policy_set
from vidlm.moderation.revisions import with_thresholds
from vidlm.moderation.whatif import Decisions
from vidlm.policy import backfills, decided_flags, stored_scores, trials
from vidlm.queue import Task
from vidlm.review import appeals, filing
from vidlm.store.backfill import BackfilledScore
from vidlm.store.engine import Database
from vidlm.store.tables import DEFAULT_TENANT, Job, SegmentRow, SpanWork, Tenant, Video

OWN = load_policies()
FIGHT, GUN = (next(p for p in OWN.policies if p.id == name) for name in ("violence.fight", "weapons.shown"))
TWO = policy_set((FIGHT, GUN))
NEW = replace(FIGHT, id="violence.duel", blocked="a duel")


def stored(
    database: Database,
    scores: Sequence[dict[str, float]],
    *,
    policies: PolicySet = TWO,
    seen_s: float | None = None,
    tenant_id: str = DEFAULT_TENANT,
) -> Job:
    """A ready video with one segment of five seconds for each of the scores, judged as the pipeline judges."""
    total_s = 5.0 * len(scores)
    gaps = (Gap(seen_s, total_s, "decode_failed"),) if seen_s is not None else ()
    coverage = Coverage(total_s if seen_s is None else seen_s, total_s, gaps)
    segments = tuple(Segment(n, 5.0 * n, 5.0 * n + 5, (5.0 * n,), "", one) for n, one in enumerate(scores))
    flags = flags_from_scores(segments, policies)
    verdict = decide(flags, coverage, segments, policies)
    job = accepted(database, tenant_id)
    held = must_take(database, Task.PREPARE, job.id)
    document: dict[str, Any] = {"coverage": {"seconds_seen": coverage.seconds_seen, "seconds_total": total_s,
                                             "gaps": [to_document(gap) for gap in gaps]}}  # fmt: skip
    with database.write() as session:
        life.prepared(session, held, document=document, recipe="r", work_folder="w", duration_s=total_s, spans=[(0, 9)])
        span_id = session.exec(select(SpanWork.id).where(SpanWork.job_id == job.id)).one()
    held = must_take(database, Task.ANALYZE_SPAN, span_id)
    with database.write() as session:
        life.span_analyzed(session, held, segments)
    held = must_take(database, Task.FINISH, job.id)
    with database.write() as session:
        made = replace(analysis(), coverage=coverage, segments=segments, flags=flags, verdict=verdict)
        life.finished(session, held, made)
    return job


def both(fight: float, gun: float) -> dict[str, float]:
    return {FIGHT.id: fight, GUN.id: gun}


def nobody(_jobs: Sequence[str], _policies: Sequence[Policy]) -> Decisions:
    """No decisions of people."""
    whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
    return Decisions(whole, whole, real, real, np.zeros(0, np.bool_))


def trial(database: Database, after: PolicySet, **more: Any) -> trials.Trial:
    more.setdefault("decisions_of", nobody)
    with database.read() as session:
        return trials.run(session, more.pop("tenant_id", DEFAULT_TENANT), TWO, after, TWO, **more)


def moves(found: trials.Trial) -> dict[tuple[str, str], int]:
    return {(before, after): videos for before, after, videos in found.moved if videos}


def test_the_same_policies_give_the_stored_verdicts(database: Database) -> None:
    jobs = [
        stored(database, [both(0.1, 0.1), both(0.0, 0.2)]),
        stored(database, [both(0.1, 0.1), both(0.6, 0.2)]),
        stored(database, [both(0.96, 0.1)]),
        stored(database, [both(0.1, 0.1), both(0.1, 0.1)], seen_s=8.0),
        stored(database, [both(0.1, 0.1), {FIGHT.id: 0.1}]),  # a score that should be there is not
    ]
    found = trial(database, TWO)
    with database.read() as session:
        verdicts = [session.get_one(Job, job.id).verdict_action for job in jobs]
    assert verdicts == ["allow", "review", "block", "review", "review"]
    assert moves(found) == {("allow", "allow"): 1, ("review", "review"): 3, ("block", "block"): 1}
    assert (found.videos, found.segments, found.queue_before, found.queue_after) == (5, 9, 4, 4)
    assert found.flags == ((FIGHT.id, 2, 2), (GUN.id, 0, 0))
    assert (found.missing, found.missing_s, found.gpu_s, found.overturned) == ((), 0.0, None, trials.Overturned(0, 0))


def test_another_threshold_moves_verdicts_and_the_queue(database: Database) -> None:
    stored(database, [both(0.1, 0.4)])
    stored(database, [both(0.1, 0.7)])
    stored(database, [both(0.1, 0.1)])
    after = policy_set(with_thresholds(TWO.policies, {GUN.id: {"review": 0.3, "block": 0.65, "at_least_s": 0}}))
    found = trial(database, after)
    assert moves(found) == {("allow", "allow"): 1, ("allow", "review"): 1, ("review", "block"): 1}
    assert (found.queue_before, found.queue_after) == (1, 2)
    assert found.flags == ((FIGHT.id, 0, 0), (GUN.id, 1, 2))


def test_a_question_that_nobody_asked_is_told_and_changes_no_verdict(database: Database) -> None:
    stored(database, [both(0.1, 0.1)])
    stored(database, [both(0.6, 0.1), both(0.6, 0.1)])
    found = trial(database, policy_set((FIGHT, GUN, NEW)))
    assert moves(found) == {("allow", "allow"): 1, ("review", "review"): 1}
    assert found.missing == (trials.Missing(NEW.id, 2, 15.0),)
    assert found.missing_s == 15.0
    assert found.flags == ((FIGHT.id, 1, 1), (GUN.id, 0, 0))
    assert found.gpu_s is not None  # what analysing these two took is the only thing known
    assert found.gpu_s >= 0


def test_other_words_under_the_same_id_are_another_question(database: Database) -> None:
    stored(database, [both(0.6, 0.1)])
    found = trial(database, policy_set((replace(FIGHT, blocked="a chess match"), GUN)))
    assert moves(found) == {("review", "allow"): 1}
    assert [one.policy_id for one in found.missing] == [FIGHT.id]
    assert found.flags == ((FIGHT.id, 1, None), (GUN.id, 0, 0))


def test_a_video_that_was_asked_nothing_is_for_review(database: Database) -> None:
    stored(database, [both(0.1, 0.1)])
    assert moves(trial(database, policy_set((NEW,)))) == {("allow", "review"): 1}


def test_only_the_tenants_own_ready_videos_of_that_time_count(database: Database) -> None:
    with database.write() as session:
        session.add(Tenant(id="ten_other", name="other"))
    old, _ = stored(database, [both(0.6, 0.1)]), stored(database, [both(0.1, 0.1)])
    stored(database, [both(0.6, 0.1), both(0.6, 0.1)], tenant_id="ten_other")
    accepted(database)  # still on its way
    now = datetime.now(UTC)
    with database.write() as session:
        long_ago = now - timedelta(days=9)
        session.exec(update(Video).where(col(Video.id) == old.video_id).values(created_at=long_ago))
    assert (trial(database, TWO).videos, trial(database, TWO, tenant_id="ten_other").segments) == (2, 2)
    assert trial(database, TWO, created_from=now - timedelta(days=1)).queue_before == 0
    assert trial(database, TWO, created_until=now - timedelta(days=1)).queue_before == 1
    assert trial(database, TWO, tenant_id="ten_nobody").videos == 0


def test_past_decisions_that_would_not_be_made_again_are_counted(database: Database) -> None:
    stored(database, [both(0.6, 0.1)])
    stored(database, [both(0.9, 0.1)])

    def decisions_of(jobs: Sequence[str], policies: Sequence[Policy]) -> Decisions:
        assert (len(jobs), [policy.id for policy in policies]) == (2, [FIGHT.id, GUN.id])
        times_s = np.zeros(3), np.full(3, 5.0)
        return Decisions(np.array([0, 1, 0]), np.array([0, 0, 0]), *times_s, np.array([True, True, False]))

    stricter = policy_set(with_thresholds(TWO.policies, {FIGHT.id: {"review": 0.8}}))
    assert trial(database, stricter, decisions_of=decisions_of).overturned == trials.Overturned(missed=1, spared=1)


def test_a_library_that_is_too_large_is_refused_before_it_is_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(database, [both(0.1, 0.1), both(0.1, 0.1)])
    monkeypatch.setattr(stored_scores, "MAX_SEGMENTS", 1)
    with pytest.raises(ConflictError, match="narrow it") as refused:
        trial(database, TWO)
    assert refused.value.code == "library_too_large"


def test_a_segment_without_a_frame_proves_nothing(database: Database) -> None:
    job = stored(database, [both(0.1, 0.1)])
    with database.write() as session:
        session.exec(update(SegmentRow).where(col(SegmentRow.job_id) == job.id).values(frame_times_s=[]))
    assert moves(trial(database, TWO)) == {("review", "review"): 1}


def test_thresholds_are_changed_by_the_names_of_a_file() -> None:
    (changed, same) = with_thresholds(TWO.policies, {FIGHT.id: {"review": 0.3, "block": "never"}})
    assert (changed.review_threshold, changed.block_threshold, changed.keep_threshold) == (0.3, NEVER, 0.8 * 0.3)
    assert same == GUN
    kept = with_thresholds((replace(FIGHT, keep_threshold=0.1),), {FIGHT.id: {"review": 0.3}})
    assert kept[0].keep_threshold == 0.1
    with pytest.raises(PolicyError, match=r"nothing\.known"):
        with_thresholds(TWO.policies, {"nothing.known": {}})


# ---- over REST


def ask(api: Api, **body: Any) -> Any:
    return api.client.post("/v1/policy-sets/what-if", json=body)


def test_over_rest_nothing_is_changed_and_everything_said(api: Api) -> None:
    low = dict.fromkeys((policy.id for policy in OWN.policies), 0.05)
    stored(api.database, [low], policies=OWN)
    stored(api.database, [low | {GUN.id: 0.55}], policies=OWN)
    answer = ask(api, thresholds={GUN.id: {"review": 0.5, "at_least_s": 0}})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["videos"], told["segments"], told["queue_before"], told["queue_after"]) == (2, 2, 0, 1)
    assert {"policy_id": GUN.id, "before": 0, "after": 1} in told["flags"]
    assert {"before": "allow", "after": "review", "videos": 1} in told["verdicts"]
    assert len(told["verdicts"]) == 9
    assert [one["field"] for one in told["changes"]][:1] == ["review_threshold"]
    assert (told["missing"], told["missing_cost"], told["overturned"]) == ([], None, {"missed": 0, "spared": 0})
    assert told["before_version"] == OWN.version != told["after_version"]
    assert api.client.get("/v1/policies").json()["version"] == OWN.version
    same = ask(api).json()
    assert (same["changes"], same["before_version"]) == ([], same["after_version"])


def test_flags_of_restricted_policies_are_told_to_those_with_the_grant(api: Api) -> None:
    stored(api.database, [dict.fromkeys((policy.id for policy in OWN.policies), 0.99)], policies=OWN)
    told = {one["policy_id"] for one in ask(api).json()["flags"]}
    secret = {"child_safety.child_endangerment", "child_safety.suspected_exploitation"}
    headers = api.key(DEFAULT_TENANT, Role.LEAD, restricted=True)
    granted = api.client.post("/v1/policy-sets/what-if", json={}, headers=headers).json()["flags"]
    assert {one["policy_id"] for one in granted} - told == secret


def test_over_rest_a_draft_is_tried_and_what_it_lacks_is_priced(api: Api) -> None:
    low = dict.fromkeys((policy.id for policy in OWN.policies), 0.05)
    stored(api.database, [low], policies=OWN)
    row = {"id": NEW.id, "title": "Duel", "blocked": "a duel", "severity": "low", "review": 0.5, "block": "never"}
    made = api.client.post("/v1/policy-sets", json={"name": "duels", "policies": [row]}).json()
    for body in ({"policy_set_id": made["id"]}, {"policies": [row]}):
        told = ask(api, **body).json()
        assert told["missing"] == [{"policy_id": NEW.id, "videos": 1, "duration_s": 5.0}]
        assert told["missing_cost"]["duration_s"] == 5.0
        assert told["missing_cost"]["gpu_minutes"] >= 0
        assert {"before": "allow", "after": "review", "videos": 1} in told["verdicts"]


def test_over_rest_what_cannot_be_tried_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem(ask(api, policy_set_id="pst_nobodys")) == (404, "not_found")
    assert problem(ask(api, yaml="x", policies=[])) == (422, "invalid_request")
    assert problem(ask(api, yaml="x")) == (422, "invalid_policy")
    assert problem(ask(api, thresholds={"no.such": {}})) == (422, "invalid_policy")
    assert problem(ask(api, thresholds={GUN.id: {"keep": 0.9}})) == (422, "invalid_policy")
    assert problem(ask(api, thresholds={GUN.id: {"revew": 0.9}})) == (422, "invalid_request")
    assert problem(ask(api, created_from="2026-01-01T00:00:00")) == (422, "invalid_request")
    with routes._one_at_a_time:
        busy = ask(api)
    assert problem(busy) == (503, "busy")
    assert int(busy.headers["retry-after"]) > 0
    stored(api.database, [both(0.1, 0.1)])
    monkeypatch.setattr(stored_scores, "MAX_SEGMENTS", 0)
    assert problem(ask(api)) == (409, "library_too_large")


def test_what_people_decided_is_held_against_the_trial(database: Database) -> None:
    """What was confirmed and would be no flag is missed, what was rejected is spared; the last word on each counts."""
    stored(database, [both(0.0, 0.7)])
    stored(database, [both(0.0, 0.75)])
    stored(database, [both(0.0, 0.99)])
    with database.write() as session:
        filing.file_missing(session)
    ann, lea = person("ann"), person("lea", Role.LEAD)
    for outcome in (Outcome.APPROVE, Outcome.REMOVE, Outcome.APPROVE):  # the surest score first
        last = decided(database, ann, must_claim(database, ann), outcome)
    with database.write() as session:
        appeals.appeal(session, ann, session.get_one(Job, last.decision.job_id), note="it is one")
    stricter = with_thresholds(TWO.policies, {GUN.id: {"review": 0.9, "block": "never"}})

    def told() -> trials.Overturned | None:
        with database.read() as session:
            known = decided_flags.of_tenant(session, DEFAULT_TENANT)
            return trials.run(session, DEFAULT_TENANT, TWO, policy_set(stricter), TWO, decisions_of=known).overturned

    assert told() == trials.Overturned(missed=1, spared=1)
    decided(database, lea, must_claim(database, lea, "appeals"), Outcome.REMOVE)
    assert told() == trials.Overturned(missed=2, spared=0)


def test_what_a_backfill_scored_is_asked(database: Database) -> None:
    """A new policy is tried on later scores; a video that has them in part only still misses it."""
    whole, part = stored(database, [both(0.0, 0.0)] * 2), stored(database, [both(0.0, 0.0)] * 2)
    with database.write() as session:
        chosen = backfills.Chosen(NEW, None, False)
        row = backfills.ask(session, tenant_id=DEFAULT_TENANT, actor="key_x", chosen=chosen, filters={})
        for job, values in ((whole, (0.1, 0.9)), (part, (0.9,))):
            query = select(SegmentRow).where(SegmentRow.job_id == job.id).order_by(col(SegmentRow.index))
            for one, score in zip(session.exec(query).all(), values, strict=False):
                session.add(
                    BackfilledScore(
                        segment_id=one.id,
                        policy_id=NEW.id,
                        question_version=row.question_version,
                        tenant_id=DEFAULT_TENANT,
                        job_id=job.id,
                        backfill_id=row.id,
                        model_revision="r",
                        score=score,
                    )
                )
    found = trial(database, policy_set((FIGHT, GUN, NEW)))
    assert found.missing == (trials.Missing(NEW.id, videos=1, duration_s=10.0),)
    assert found.flags[-1] == (NEW.id, None, 1)
    assert moves(found) == {("allow", "allow"): 1, ("allow", "review"): 1}
    reworded = replace(NEW, blocked="two people with pistols at dawn")
    assert trial(database, policy_set((FIGHT, GUN, reworded))).missing[0].videos == 2
