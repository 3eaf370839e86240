"""Which decisions count for a policy, and for how much: what review itself wrote, read as arrays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from review_helpers import OWN, analysed, claim, decide, flag, must_claim, person
from simulated_review import POLICY, World, reviewed
from sqlmodel import col, select, update

from vidlm.domain import Role, Severity
from vidlm.jobs import control
from vidlm.moderation.decisions import FlagDecision, FlagVerdict, Missed, Occasion, Outcome, RejectReason, Submission
from vidlm.policy import policy_sets
from vidlm.review import appeals, deciding, golden, items, queues, settings
from vidlm.review.golden_looks import looks
from vidlm.review.judged import Judged, judged
from vidlm.review.reviewers import review_quality
from vidlm.review.standing import Window
from vidlm.store.engine import Database
from vidlm.store.queries import flags_of
from vidlm.store.review import ReviewDecision, ReviewItem
from vidlm.store.tables import DEFAULT_TENANT, FlagRow, Job, SegmentRow, Video

ANN, BOB, LEA, MAX = person("ann"), person("bob"), person("lea", Role.LEAD), person("max", Role.LEAD)
FIGHT, SHOWN = "violence.fight", "weapons.shown"


def read(database: Database, policy_id: str = FIGHT, window: Window | None = None) -> Judged:
    policy = OWN.get(policy_id)
    assert policy is not None
    with database.read() as session:
        return judged(session, DEFAULT_TENANT, policy, policy, window or Window())


def scored(database: Database, *flags: Any, **scores: float) -> Job:
    """A video that was analysed so, its first segment with these scores, by `__` for the dot of a policy's id."""
    job = analysed(database, *flags)
    given = {name.replace("__", "."): score for name, score in scores.items()}
    given |= {one.policy_id: one.score for one in flags}
    with database.write() as session:
        first = (col(SegmentRow.job_id) == job.id, col(SegmentRow.index) == 0)
        session.exec(update(SegmentRow).where(*first).values(scores={FIGHT: 0.1, SHOWN: 0.1} | given))
    return job


def say(database: Database, item: ReviewItem, outcome: Outcome, *flags: Any, missed: tuple[str, ...] = ()) -> None:
    """Decide with these verdicts, one for each flag in order of time, as keyword arguments of `FlagDecision`."""
    with database.write() as session:
        held = items.find(session, ANN, item.id, locked=True)
        assert held is not None
        told = tuple(
            FlagDecision(row.id, **one) for row, one in zip(flags_of(session, held.job_id), flags, strict=True)
        )
        said = Submission(outcome, told, tuple(Missed(one, 6.0, 8.0) for one in missed), note="because", watched_s=3.0)
        deciding.decide(session, ANN, held, token=item.token, said=said, own=OWN)


CONFIRM = {"verdict": FlagVerdict.CONFIRM}
REJECT = {"verdict": FlagVerdict.REJECT, "reason": RejectReason.NOT_THERE}


@pytest.mark.parametrize(
    ("verdict", "missed", "violates"),
    [
        (CONFIRM, (), True),
        ({"verdict": FlagVerdict.WRONG_TIME, "start_s": 6.0, "end_s": 7.0}, (), True),
        (REJECT, (), False),
        (REJECT, (FIGHT,), True),
        (REJECT, (SHOWN,), False),
        ({"verdict": FlagVerdict.WRONG_POLICY, "policy_id": SHOWN}, (), False),
    ],
)
def test_a_video_violates_a_policy_where_its_decision_says_so(
    database: Database, verdict: dict[str, Any], missed: tuple[str, ...], violates: bool
) -> None:
    scored(database, flag(FIGHT, 0.8))
    say(database, must_claim(database, ANN), Outcome.REMOVE, verdict, missed=missed)
    found = read(database)
    assert found.decisions.violations.tolist() == [violates]
    assert found.decisions.scores.tolist() == [0.8]
    assert found.decisions.weights.tolist() == [1.0]
    assert found.flagged_from.tolist() == [POLICY.review_threshold]


def test_a_flag_that_is_another_policys_is_a_violation_of_that_one(database: Database) -> None:
    scored(database, flag(FIGHT, 0.8), weapons__shown=0.4)
    say(database, must_claim(database, ANN), Outcome.REMOVE, {"verdict": FlagVerdict.WRONG_POLICY, "policy_id": SHOWN})
    found = read(database, SHOWN)
    assert (found.decisions.scores.tolist(), found.decisions.violations.tolist()) == ([0.4], [True])


def test_the_last_decision_counts_once_the_video_is_settled(database: Database) -> None:
    with database.write() as session:
        queues.create(session, LEA, name="two", title="two", rule={"policies": [FIGHT]}, opinions=2)
    job = scored(database, flag(FIGHT, 0.8))
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    assert (len(read(database).ids), read(database).left_out.waiting) == (0, 1)  # another one is asked
    decide(database, BOB, must_claim(database, BOB), Outcome.APPROVE)
    assert read(database).left_out.waiting == 1  # they disagree
    decide(database, LEA, must_claim(database, LEA, "escalated"), Outcome.APPROVE)
    assert read(database).decisions.violations.tolist() == [False]
    with database.write() as session:
        appeals.appeal(session, ANN, session.get_one(Job, job.id), note="really?")
    assert read(database).decisions.violations.tolist() == [False]  # as long as nobody decided otherwise
    done = decide(database, MAX, must_claim(database, MAX, "appeals"), Outcome.REMOVE)
    assert read(database).decisions.violations.tolist() == [True]
    with database.write() as session:
        deciding.undo(session, MAX, session.get_one(ReviewDecision, done.decision.id))
    assert read(database).decisions.violations.tolist() == [False]


def test_golden_and_restricted_videos_do_not_count(database: Database) -> None:
    job = scored(database, flag(FIGHT, 0.8))
    decide(database, LEA, must_claim(database, LEA), Outcome.REMOVE)
    with database.write() as session:
        (right,) = flags_of(session, job.id)
        held = session.get_one(Job, job.id)
        golden.add(session, LEA, held, outcome=Outcome.REMOVE, violated=[right.id])
        settings.change(session, LEA, {"golden_share": 0.5})
    shown = next(item for item in (claim(database, ANN) for _ in range(60)) if item is not None)
    decide(database, ANN, shown, Outcome.APPROVE)
    with database.write() as session:
        settings.change(session, LEA, {"golden_share": 0.0})
    may = person("may", restricted=True)
    scored(database, flag("child_safety.child_endangerment"), flag(FIGHT, 0.9, 5.0))
    decide(database, may, must_claim(database, may, "child_safety"), Outcome.REMOVE)
    found = read(database)
    assert (found.decisions.violations.tolist(), found.left_out.waiting) == ([True], 0)
    with database.read() as session:
        golden_ = looks(session, DEFAULT_TENANT, FIGHT)
        other = looks(session, DEFAULT_TENANT, SHOWN)
        people = {one.actor: one for one in review_quality(session, DEFAULT_TENANT).reviewers}
    assert (golden_.flagged.seen, golden_.flagged.violations, golden_.flagged.clean) == (0, 1, 0)
    assert (other.flagged.violations, other.unflagged.passed, other.unflagged.clean) == (0, 1, 1)
    assert people.keys() == {ANN.id, LEA.id}  # nothing is told of restricted videos
    assert people[ANN.id].golden.sensitivity.value == 0
    assert people[LEA.id].golden.accuracy.value is None


def test_what_was_missed_keeps_its_score_when_the_video_is_gone(database: Database) -> None:
    job = scored(database, flag(FIGHT, 0.8))
    with database.write() as session:  # what the model said of weapons stands in the analysis, too
        row = session.get_one(FlagRow, flags_of(session, job.id)[0].id)
        assert row.severity == Severity.MEDIUM
        document = session.get_one(deciding.AnalysisRow, job.id)
        parts = [part | {"scores": {SHOWN: 0.1 * (1 + part["index"])}} for part in document.document["segments"]]
        document.document = document.document | {"segments": parts}
    say(database, must_claim(database, ANN), Outcome.REMOVE, REJECT, missed=(SHOWN,))
    with database.write() as session:
        control.deleted(session, session.get_one(Video, job.video_id), actor="key_x")
    assert read(database, SHOWN).decisions.scores.tolist() == [0.2]
    assert read(database).decisions.scores.tolist() == [0.8]
    assert read(database, "violence.assault_abuse").left_out.unscored == 1


def test_scores_of_another_question_or_another_model_do_not_count(database: Database) -> None:
    scored(database, flag(FIGHT, 0.8))
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    words = [POLICY, *(one for one in OWN.policies if one.id != FIGHT)]
    for changed, left_out in (
        ({"review_threshold": 0.7, "keep_threshold": 0.5}, 0),
        ({"blocked": "two people who hit each other"}, 1),
    ):
        with database.write() as session:
            policies = (replace(POLICY, **changed), *words[1:])
            row = policy_sets.create(session, tenant_id=DEFAULT_TENANT, actor="key_x", name="x", policies=policies)
            session.flush()
            policy_sets.activate(session, row, actor="key_x", reason="x", before=words)
        with database.read() as session:
            found = judged(session, DEFAULT_TENANT, policies[0], POLICY)
        assert (len(found.ids), found.left_out.question) == (1 - left_out, left_out)
    scored(database, flag(FIGHT, 0.9))
    newer = decide(database, ANN, must_claim(database, ANN), Outcome.APPROVE).decision
    with database.write() as session:
        pinned = {"provenance": {"model_revision": "r2", "prompt_version": "1"}}
        session.exec(update(ReviewDecision).where(col(ReviewDecision.id) == newer.id).values(pinned=pinned))
    found = read(database)
    assert (found.ids, found.left_out.source) == ((newer.id,), 1)
    assert found.source is not None
    assert found.source.model == "r2"


def test_a_sample_of_what_is_cleared_stands_for_all_of_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(database, flag(FIGHT, 0.8))
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    with database.write() as session:
        queues.create(session, LEA, name="quality", title="q", rule={"verdicts": ["allow"], "share": 0.25})
    monkeypatch.setattr("vidlm.review.filing.random.random", lambda: 0.2)
    scored(database)
    scored(database, flag(FIGHT, 0.7))
    before = read(database)
    assert (len(before.at_random()), before.performance(0.5).recall.value) == (0, None)  # nobody has looked yet
    decide(database, ANN, must_claim(database, ANN, "quality"), Outcome.APPROVE)
    decide(database, ANN, must_claim(database, ANN, "everything"), Outcome.REMOVE)
    found = read(database)
    assert found.drawn.tolist() == [False, True, True]  # the first one came before anything was drawn
    assert found.decisions.weights.tolist() == [1.0, 4.0, 1.0]
    assert found.at_random().scores.tolist() == [0.1, 0.7]
    assert found.performance(0.5).flagged.value == pytest.approx(1 / 5)
    assert found.performance(0.5).precision.n == 2


def test_what_waits_is_stood_for_by_what_is_as_urgent(database: Database) -> None:
    world = World(videos=3000, decided=0.6)
    owner = reviewed(database, np.random.default_rng(50), world)
    policy = OWN.get(FIGHT)
    assert policy is not None
    with database.read() as session:
        found = judged(session, owner, policy, policy)
        states = session.exec(select(ReviewItem.state, ReviewItem.occasion).where(ReviewItem.tenant_id == owner)).all()
    waiting = sum(state == "waiting" for state, _ in states)
    assert found.left_out.waiting == waiting > 50
    flagged = [1 for _, occasion in states if occasion == Occasion.FLAGGED]
    stood_for = found.decisions.weights[found.decisions.scores >= POLICY.review_threshold].sum()
    assert stood_for + found.left_out.unreached == pytest.approx(len(flagged))


def test_a_window_is_of_the_times_when_videos_were_filed(database: Database) -> None:
    scored(database, flag(FIGHT, 0.8))
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    now = datetime.now(UTC)
    assert len(read(database, window=Window(now - timedelta(hours=1), now + timedelta(hours=1))).ids) == 1
    assert len(read(database, window=Window(until=now - timedelta(hours=1))).ids) == 0
    assert len(read(database, window=Window(since=now + timedelta(hours=1))).ids) == 0


def test_reviewers_are_measured_by_those_who_looked_after_them(database: Database) -> None:
    with database.write() as session:
        settings.change(session, LEA, {"doubled_share": 1.0})
    for outcome in (Outcome.REMOVE, Outcome.REMOVE, Outcome.APPROVE):
        scored(database, flag(FIGHT, 0.8))
        decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
        decide(database, BOB, must_claim(database, BOB), outcome)
    with database.read() as session:
        found = review_quality(session, DEFAULT_TENANT)
        people = {one.actor: one for one in found.reviewers}
    assert people[ANN.id].outcomes[Outcome.REMOVE] == 3
    assert (people[ANN.id].overturned.value, people[ANN.id].overturned.n) == (0, 2)  # the third is disputed
    assert people[BOB.id].overturned.n == 0
    assert (found.agreement.items, found.agreement.observed) == (3, pytest.approx(2 / 3))  # disputes count at once
    decide(database, LEA, must_claim(database, LEA, "escalated"), Outcome.APPROVE)
    with database.read() as session:
        found = review_quality(session, DEFAULT_TENANT)
        people = {one.actor: one for one in found.reviewers}
    assert people[ANN.id].overturned.value == pytest.approx(1 / 3)
    assert (people[BOB.id].overturned.value, people[BOB.id].overturned.n) == (0, 1)
    assert (found.agreement.items, found.agreement.observed) == (3, pytest.approx(2 / 3))
    assert found.pairs == ()  # three videos say nothing about two people
