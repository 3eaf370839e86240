"""What reviewers are told of decisions about flags like those before them."""

from __future__ import annotations

from review_helpers import analysed, decide, flag, must_claim, person

from vidlm.domain import Role
from vidlm.jobs import control
from vidlm.moderation.decisions import Outcome
from vidlm.review import appeals, deciding
from vidlm.review.precedents import EACH, precedents
from vidlm.store.engine import Database
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import ReviewDecision
from vidlm.store.tables import Job, Video

ANN, LEA, MAY = person("ann"), person("lea", Role.LEAD), person("may", restricted=True)
CHILD = "child_safety.child_endangerment"


def told(database: Database, job: Job, caller: Caller = ANN) -> list[tuple[float, str]]:
    with database.read() as session:
        found = precedents(session, caller, job.video_id, flags_of(session, job.id))
    return [(one.score, one.verdict) for one in found]


def decided(database: Database, score: float, outcome: Outcome) -> Job:
    job = analysed(database, flag(score=score))
    decide(database, ANN, must_claim(database, ANN), outcome)
    return job


def test_the_nearest_of_the_same_policy_are_told(database: Database) -> None:
    for score, outcome in (
        (0.95, Outcome.REMOVE),
        (0.72, Outcome.APPROVE),
        (0.7, Outcome.REMOVE),
        (0.6, Outcome.REMOVE),
    ):
        decided(database, score, outcome)
    analysed(database, flag("violence.fight", score=0.71))
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    job = analysed(database, flag(score=0.71), flag(score=0.5, start_s=5.0))
    found = told(database, job)
    assert len(found) == EACH
    assert found[:2] in ([(0.72, "reject"), (0.7, "confirm")], [(0.7, "confirm"), (0.72, "reject")])
    assert found[2] == (0.6, "confirm")


def test_the_last_word_counts_and_none_of_the_same_video(database: Database) -> None:
    job = decided(database, 0.8, Outcome.REMOVE)
    assert told(database, job) == []
    other = analysed(database, flag(score=0.7))
    assert told(database, other) == [(0.8, "confirm")]
    with database.write() as session:
        appeals.appeal(session, ANN, session.get_one(Job, job.id), note="unfair")
    decide(database, LEA, must_claim(database, LEA, "appeals"), Outcome.APPROVE)
    assert told(database, other) == [(0.8, "reject")]


def test_what_was_undone_deleted_or_is_restricted_is_not_told(database: Database) -> None:
    job = analysed(database, flag(score=0.8))
    done = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    gone = decided(database, 0.7, Outcome.REMOVE)
    analysed(database, flag(CHILD), flag(score=0.77))
    decide(database, MAY, must_claim(database, MAY), Outcome.REMOVE)
    other = analysed(database, flag(score=0.75))
    assert len(told(database, other)) == 2
    with database.write() as session:
        deciding.undo(session, ANN, session.get_one(ReviewDecision, done.decision.id))
        control.deleted(session, session.get_one(Video, gone.video_id), actor="key_ann")
    assert told(database, other) == []
    assert told(database, other, MAY) == [(0.77, "confirm")]
    assert told(database, job) == []


def test_a_policy_that_nobody_decided_about_has_none(database: Database) -> None:
    decided(database, 0.8, Outcome.REMOVE)
    assert told(database, analysed(database, flag("violence.fight"))) == []
