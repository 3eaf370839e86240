"""From a flagged video to a decision that counts: nobody gets what another has, nothing is lost, all of it is kept."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from review_helpers import OWN, analysed, claim, decide, flag, job_now, must_claim, person
from sqlmodel import col, select, update

from vidlm.domain import Action, Role
from vidlm.errors import ConflictError, InputError
from vidlm.jobs import control
from vidlm.jobs.intake import Wishes
from vidlm.known import banks
from vidlm.moderation.decisions import ItemState, Occasion, Outcome, ReviewState, Submission
from vidlm.review import appeals, deciding, filing, golden, items, queues, serving, settings
from vidlm.store.engine import Database
from vidlm.store.ledger import Audit, Event
from vidlm.store.likeness import BankEntry, MatchRow
from vidlm.store.queries import flags_of
from vidlm.store.review import FlagDecision, ReviewDecision, ReviewItem, ReviewLook
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

ANN, BOB, LEA = person("ann"), person("bob"), person("lea", Role.LEAD)


def review_of(database: Database, job: Job) -> ReviewState:
    return ReviewState(job_now(database, job).review_state)


def items_of(database: Database, job: Job) -> list[ReviewItem]:
    with database.read() as session:
        query = select(ReviewItem).where(ReviewItem.job_id == job.id).order_by(col(ReviewItem.id))
        return list(session.exec(query).all())


def lock_ended(database: Database, item: ReviewItem) -> None:
    ago = datetime.now(UTC) - timedelta(seconds=1)
    with database.write() as session:
        session.exec(update(ReviewItem).where(col(ReviewItem.id) == item.id).values(claimed_until=ago))


def set_up(database: Database, **changes: Any) -> None:
    with database.write() as session:
        settings.change(session, LEA, changes)


def queue(database: Database, name: str, **more: Any) -> None:
    with database.write() as session:
        queues.create(session, LEA, name=name, title=name, **more)


def test_what_is_flagged_waits_for_people_and_what_is_cleared_does_not(database: Database) -> None:
    flagged, cleared = analysed(database, flag()), analysed(database)
    unseen = analysed(database, verdict=Action.REVIEW)  # nothing was found, and not all was looked at
    assert [review_of(database, job) for job in (flagged, cleared, unseen)] == ["pending", "none", "pending"]
    (item,) = items_of(database, flagged)
    assert (item.occasion, item.state, item.severity, item.score) == ("flagged", "waiting", "low", 0.75)
    assert items_of(database, cleared) == []


def test_the_worst_and_the_surest_come_first(database: Database) -> None:
    low, unseen = analysed(database, flag()), analysed(database, verdict=Action.REVIEW)
    sure, unsure = analysed(database, flag("violence.fight", 0.9)), analysed(database, flag("violence.fight", 0.6))
    severe = analysed(database, flag(score=0.99), flag("violence.armed_attack", 0.5))
    order = [must_claim(database, ANN).job_id for _ in range(5)]
    assert order == [severe.id, sure.id, unsure.id, unseen.id, low.id]


def test_an_item_is_nobody_elses_until_its_lock_runs_out(database: Database) -> None:
    job = analysed(database, flag())
    item = must_claim(database, ANN)
    assert (item.job_id, review_of(database, job)) == (job.id, "in_review")
    assert claim(database, BOB) is None
    lock_ended(database, item)
    again = must_claim(database, BOB)
    assert (again.id, again.token) == (item.id, item.token + 1)
    with pytest.raises(ConflictError, match="not yours"):
        decide(database, ANN, item, Outcome.REMOVE)
    assert decide(database, BOB, again, Outcome.REMOVE).state is ReviewState.REMOVED


def test_a_late_decision_counts_when_nobody_else_took_the_item(database: Database) -> None:
    job = analysed(database, flag())
    item = must_claim(database, ANN)
    lock_ended(database, item)
    decide(database, ANN, item, Outcome.APPROVE)
    assert review_of(database, job) == "approved"


def test_a_sign_of_life_pushes_the_lock_on(database: Database) -> None:
    analysed(database, flag())
    item = must_claim(database, ANN)
    lock_ended(database, item)
    with database.write() as session:
        held = items.find(session, ANN, item.id, locked=True)
        assert held is not None
        items.keep(session, held, ANN, item.token)
    assert claim(database, BOB) is None


def test_what_is_released_waits_again_at_its_place(database: Database) -> None:
    job = analysed(database, flag())
    item = must_claim(database, ANN)
    with database.write() as session:
        held = items.find(session, ANN, item.id, locked=True)
        assert held is not None
        items.release(session, held, ANN, item.token)
    assert review_of(database, job) == "pending"
    assert must_claim(database, BOB).id == item.id


def test_nobody_hoards(database: Database) -> None:
    for _ in range(items.MOST_HELD + 1):
        analysed(database, flag())
    held = [must_claim(database, ANN) for _ in range(items.MOST_HELD)]
    with pytest.raises(ConflictError, match="decide or release one"):
        claim(database, ANN)
    decide(database, ANN, held[0], Outcome.APPROVE)
    assert claim(database, ANN) is not None


def test_many_at_once_never_get_the_same(database: Database) -> None:
    jobs = {analysed(database, flag(score=random.random())).id for _ in range(12)}
    people = [person(f"p{number}") for number in range(24)]
    with ThreadPoolExecutor(24) as pool:
        got = list(pool.map(lambda one: claim(database, one), people))
    assert sorted(item.job_id for item in got if item) == sorted(jobs)


def test_a_decision_keeps_all_it_rested_on(database: Database) -> None:
    job = analysed(database, flag(), flag("violence.fight", start_s=5.0))
    done = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE, note="\0 both")
    decision = done.decision
    assert (done.state, done.next, review_of(database, job)) == ("removed", None, "removed")
    with database.read() as session:
        ((kept, about),) = deciding.of_video(session, ANN, job.video_id)
        looks = session.exec(select(ReviewLook)).all()
        audited = session.exec(select(Audit).where(Audit.event == "review.decided")).one()
        told = session.exec(select(Event).where(Event.kind == "review.decided")).one()
    assert (kept.id, kept.actor, kept.outcome, kept.note) == (decision.id, ANN.id, "remove", "\ufffd both")
    assert kept.pinned["provenance"]["model_revision"] == "r"
    assert kept.pinned["verdict"]["reason"] == "because"
    knife, fight = about
    assert (knife.policy_id, knife.verdict, knife.score, knife.evidence_s) == ("weapons.shown", "confirm", 0.75, [1.0])
    assert (fight.policy_id, fight.start_s, fight.evidence_s) == ("violence.fight", 5.0, [6.0])
    assert knife.review_threshold == next(one.review_threshold for one in OWN.policies if one.id == knife.policy_id)
    (look,) = looks
    assert (look.actor, look.severity) == (ANN.id, "medium")
    assert look.seconds < 3.0  # nobody looks for longer than they hold it
    assert (audited.actor, audited.target_id) == (ANN.id, decision.id)
    assert audited.details["model"] == "r"
    assert "both" not in str(audited.details)
    assert told.document["review"] == "removed"
    assert told.document["final"] is True


def test_a_decision_is_made_once(database: Database) -> None:
    analysed(database, flag())
    item = must_claim(database, ANN)
    decide(database, ANN, item, Outcome.APPROVE)
    with pytest.raises(ConflictError, match="decided already") as refused:
        decide(database, ANN, item, Outcome.REMOVE)
    assert refused.value.code == "already_decided"


def test_half_a_decision_leaves_nothing_behind(database: Database) -> None:
    analysed(database, flag())
    item = must_claim(database, ANN)
    nothing = Submission(Outcome.APPROVE)
    with database.write() as session:
        held = items.find(session, ANN, item.id, locked=True)
        assert held is not None
        with pytest.raises(InputError, match="1 of 1 flags"):
            deciding.decide(session, ANN, held, token=item.token, said=nothing, own=OWN)
    with database.read() as session:
        assert session.exec(select(ReviewDecision)).all() == []
    decide(database, ANN, item, Outcome.APPROVE)


def test_what_is_undone_is_what_it_was_and_the_audit_keeps_both(database: Database) -> None:
    job = analysed(database, flag())
    decision = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE).decision
    with database.write() as session:
        with pytest.raises(ConflictError, match="somebody else's"):
            deciding.undo(session, BOB, session.get_one(ReviewDecision, decision.id))
        item = deciding.undo(session, ANN, session.get_one(ReviewDecision, decision.id))
    assert (item.state, item.claimed_by, review_of(database, job)) == ("claimed", ANN.id, "in_review")
    with database.write() as session, pytest.raises(ConflictError, match="already"):
        deciding.undo(session, ANN, session.get_one(ReviewDecision, decision.id))
    decide(database, ANN, item, Outcome.APPROVE)
    with database.read() as session:
        events = session.exec(select(Audit.event).where(col(Audit.event).startswith("review.")).order_by(col(Audit.id)))
        assert events.all() == ["review.decided", "review.undone", "review.decided"]
        told = session.exec(select(Event).where(Event.kind == "review.decided").order_by(col(Event.id))).all()
    assert [one.document["final"] for one in told] == [True, False, True]


def test_undoing_has_its_time(database: Database) -> None:
    set_up(database, undo_s=0)
    analysed(database, flag())
    decision = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE).decision
    with database.write() as session, pytest.raises(ConflictError, match="too late"):
        deciding.undo(session, ANN, session.get_one(ReviewDecision, decision.id))


def test_two_have_to_agree_where_a_queue_says_so(database: Database) -> None:
    queue(database, "weapons", rule={"policies": ["weapons"]}, opinions=2)
    job = analysed(database, flag())
    first = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    assert (first.state, first.next) == (ReviewState.IN_REVIEW, Occasion.SECOND)
    assert claim(database, ANN) is None  # it is another person's
    second = must_claim(database, BOB)
    assert (second.occasion, second.job_id) == ("second", job.id)
    with database.write() as session, pytest.raises(ConflictError, match="looking at it again"):
        deciding.undo(session, ANN, session.get_one(ReviewDecision, first.decision.id))
    assert decide(database, BOB, second, Outcome.REMOVE).state is ReviewState.REMOVED


def test_who_disagree_go_to_a_lead(database: Database) -> None:
    queue(database, "weapons", rule={"policies": ["weapons"]}, opinions=2)
    job = analysed(database, flag())
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    decided = decide(database, BOB, must_claim(database, BOB), Outcome.APPROVE)
    assert (decided.state, decided.next) == (ReviewState.ESCALATED, Occasion.ESCALATED)
    assert claim(database, person("cat")) is None  # it needs a lead
    item = must_claim(database, LEA)
    with database.read() as session:
        assert session.get_one(queues.ReviewQueue, item.queue_id).name == "escalated"
    assert decide(database, LEA, item, Outcome.APPROVE).state is ReviewState.APPROVED
    assert review_of(database, job) == "approved"


def test_what_is_escalated_and_undone_is_not_escalated(database: Database) -> None:
    job = analysed(database, flag())
    decided = decide(database, ANN, must_claim(database, ANN), Outcome.ESCALATE, "help")
    assert review_of(database, job) == "escalated"
    with database.write() as session:
        deciding.undo(session, ANN, session.get_one(ReviewDecision, decided.decision.id))
    assert claim(database, LEA) is None
    assert [item.state for item in items_of(database, job)] == ["claimed", "withdrawn"]


def test_some_decisions_are_made_twice_for_quality_and_count_at_once(database: Database) -> None:
    set_up(database, doubled_share=1.0)
    job = analysed(database, flag())
    decided = decide(database, ANN, must_claim(database, ANN), Outcome.APPROVE)
    assert (decided.state, decided.next) == (ReviewState.APPROVED, Occasion.SECOND)
    decide(database, BOB, must_claim(database, BOB), Outcome.APPROVE)
    assert review_of(database, job) == "approved"
    assert claim(database, LEA) is None


def test_an_appeal_is_heard_by_somebody_else(database: Database) -> None:
    job = analysed(database, flag())
    with database.write() as session, pytest.raises(ConflictError, match="no decision"):
        appeals.appeal(session, LEA, session.get_one(Job, job.id), note="unfair")
    decide(database, LEA, must_claim(database, LEA), Outcome.REMOVE)
    with database.write() as session:
        made = appeals.appeal(session, ANN, session.get_one(Job, job.id), note="unfair")
    with database.write() as session, pytest.raises(ConflictError, match="already"):
        appeals.appeal(session, ANN, session.get_one(Job, job.id), note="unfair!")
    assert claim(database, LEA) is None
    assert claim(database, ANN) is None  # appeals are for leads
    max_ = person("max", Role.LEAD)
    decide(database, max_, must_claim(database, max_, "appeals"), Outcome.APPROVE)
    assert review_of(database, job) == "approved"
    with database.read() as session:
        ((row, outcome),) = appeals.of_video(session, DEFAULT_TENANT, job.video_id)
    assert (row.id, outcome) == (made.id, Outcome.APPROVE)


def test_appeals_come_to_an_end(database: Database) -> None:
    set_up(database, appeals_most=1)
    job = analysed(database, flag())
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    with database.write() as session:
        appeals.appeal(session, ANN, session.get_one(Job, job.id), note="unfair")
    decide(database, LEA, must_claim(database, LEA), Outcome.REMOVE)
    with database.write() as session, pytest.raises(ConflictError, match="no more"):
        appeals.appeal(session, ANN, session.get_one(Job, job.id), note="unfair!")


def test_child_safety_is_seen_by_those_who_may_alone(database: Database) -> None:
    job = analysed(database, flag(), flag("child_safety.child_endangerment", start_s=5.0))
    (item,) = items_of(database, job)
    with database.read() as session:
        assert session.get_one(queues.ReviewQueue, item.queue_id).name == "child_safety"
        assert items.find(session, LEA, item.id) is None
        assert queues.waiting(session, DEFAULT_TENANT, restricted=False) == {}
        waits = queues.waiting(session, DEFAULT_TENANT, restricted=True)[item.queue_id]
    assert sum(waits.waiting.values()) == 1
    assert claim(database, LEA) is None
    may = person("may", restricted=True)
    decided = decide(database, may, must_claim(database, may), Outcome.ESCALATE, "look")
    assert claim(database, LEA) is None  # a lead without the grant neither
    with database.read() as session:
        assert deciding.of_video(session, LEA, job.video_id) == []
        assert deciding.find(session, LEA, decided.decision.id) is None
        assert len(deciding.of_video(session, may, job.video_id)) == 1


def test_a_sample_of_what_is_cleared_is_looked_at_and_knows_its_chance(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(database, "quality", rule={"verdicts": ["allow"], "share": 0.25})
    monkeypatch.setattr("vidlm.review.filing.random.random", lambda: 0.3)
    assert items_of(database, analysed(database)) == []
    monkeypatch.setattr("vidlm.review.filing.random.random", lambda: 0.2)
    job = analysed(database)
    (item,) = items_of(database, job)
    assert (item.occasion, item.inclusion, review_of(database, job)) == ("sampled", 0.25, "none")
    decided = decide(database, ANN, must_claim(database, ANN), Outcome.APPROVE)
    assert (decided.state, decided.decision.inclusion) == (ReviewState.APPROVED, 0.25)


def test_queues_route_by_language_and_in_their_order(database: Database) -> None:
    queue(database, "spanish", rule={"languages": ["es"]})
    queue(database, "weapons", rule={"policies": ["weapons"]}, position=1)
    spanish = Wishes(language="es-MX")
    got = [analysed(database, flag("violence.fight"), wishes=spanish), analysed(database, flag(), wishes=spanish)]
    assert must_claim(database, ANN, "spanish").job_id == got[0].id
    assert must_claim(database, ANN, "weapons").job_id == got[1].id
    with database.write() as session:
        weapons = queues.by_name(session, DEFAULT_TENANT, "weapons")
        assert weapons is not None
        queues.remove(session, LEA, weapons)
        assert [one.name for one in queues.all_of(session, DEFAULT_TENANT)] == [
            "child_safety", "spanish", "everything", "escalated", "appeals",
        ]  # fmt: skip
    (item,) = items_of(database, got[1])
    lock_ended(database, item)
    assert must_claim(database, BOB, "everything").id == item.id  # what waited there still waits


def test_queues_that_are_always_there_stay(database: Database) -> None:
    with database.write() as session:
        built_in = queues.all_of(session, DEFAULT_TENANT)[0]
        with pytest.raises(ConflictError, match="always there"):
            queues.remove(session, LEA, built_in)
        with pytest.raises(ConflictError, match="its rule and its place"):
            queues.change(session, LEA, built_in, rule={})
        queues.change(session, LEA, built_in, opinions=2)
    assert built_in.opinions == 2


def test_golden_items_look_like_any_other_and_change_nothing(database: Database) -> None:
    job = analysed(database, flag())
    decide(database, LEA, must_claim(database, LEA), Outcome.REMOVE)
    with database.write() as session:
        (violated,) = flags_of(session, job.id)
        answer = golden.add(
            session, LEA, session.get_one(Job, job.id), outcome=Outcome.REMOVE, violated=[violated.id], note="a knife"
        )
    set_up(database, golden_share=0.5)
    got = [item for item in (claim(database, ANN) for _ in range(30)) if item is not None]
    (item,) = got  # once, and nothing else waits
    assert (item.golden_id, item.occasion) == (answer.id, "golden")
    with database.read() as session:
        assert items.find(session, BOB, item.id) is None
    decided = decide(database, ANN, item, Outcome.APPROVE)
    assert (decided.next, review_of(database, job)) == (None, "removed")
    with database.read() as session:
        assert len(session.exec(select(Event).where(Event.kind == "review.decided")).all()) == 1
        assert len(deciding.of_video(session, LEA, job.video_id)) == 1


def test_a_golden_item_left_behind_is_nobody_elses(database: Database) -> None:
    job = analysed(database, flag())
    decide(database, LEA, must_claim(database, LEA), Outcome.REMOVE)
    with database.write() as session:
        golden.add(session, LEA, session.get_one(Job, job.id), outcome=Outcome.REMOVE, violated=[])
    set_up(database, golden_share=0.5)
    item = next(item for item in (claim(database, ANN) for _ in range(60)) if item is not None)
    lock_ended(database, item)
    set_up(database, golden_share=0.0)
    assert claim(database, BOB) is None


def test_what_an_older_version_left_is_filed(database: Database) -> None:
    job = analysed(database, flag())
    cleared = analysed(database)
    with database.write() as session:
        (item,) = session.exec(select(ReviewItem)).all()
        session.delete(item)
        session.exec(update(Job).values(review_state="none"))
    with database.write() as session:
        assert filing.any_missing(session)
        assert filing.file_missing(session) == 1
        assert not filing.any_missing(session)
    assert (len(items_of(database, job)), items_of(database, cleared)) == (1, [])


def test_of_a_deleted_video_nobody_has_to_look_at_anything(database: Database) -> None:
    job, other = analysed(database, flag()), analysed(database, flag())
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE, "secret words")
    held = must_claim(database, ANN)
    assert held.job_id == other.id
    with database.write() as session:
        for one in (job, other):
            control.deleted(session, session.get_one(Video, one.video_id), actor="key_x")
    with pytest.raises(ConflictError, match="nobody has to look"):
        decide(database, ANN, held, Outcome.REMOVE)
    with database.read() as session:
        ((decision, about),) = deciding.of_video(session, LEA, job.video_id)
        assert (decision.note, decision.outcome, len(about)) == ("", "remove", 1)
        states = session.exec(select(ReviewItem.state).order_by(col(ReviewItem.id))).all()
    assert states == [ItemState.DECIDED, ItemState.WITHDRAWN]


def test_exposure_is_what_one_decided_about(database: Database) -> None:
    analysed(database, flag("violence.armed_attack"))
    item = must_claim(database, ANN)
    with database.write() as session:
        begun = datetime.now(UTC) - timedelta(minutes=31)
        session.exec(update(ReviewItem).where(col(ReviewItem.id) == item.id).values(claimed_at=begun))
    with database.write() as session:
        held = items.find(session, ANN, item.id, locked=True)
        assert held is not None
        (one,) = flags_of(session, held.job_id)
        said = Submission(
            Outcome.REMOVE, (deciding.rules.FlagDecision(one.id, deciding.rules.FlagVerdict.CONFIRM),), watched_s=1830
        )
        deciding.decide(session, ANN, held, token=item.token, said=said, own=OWN)
    with database.read() as session:
        seen = serving.exposure_of(session, DEFAULT_TENANT, ANN.id)
        assert serving.exposure_of(session, DEFAULT_TENANT, BOB.id).minutes == 0
    assert (seen.minutes, seen.weighted_minutes, seen.break_because) == (30.5, 122, "budget")


def test_what_was_missed_is_written_down(database: Database) -> None:
    job = analysed(database, flag())
    item = must_claim(database, ANN)
    with database.write() as session:
        held = items.find(session, ANN, item.id, locked=True)
        assert held is not None
        (one,) = flags_of(session, job.id)
        rules = deciding.rules
        said = Submission(
            Outcome.REMOVE,
            (rules.FlagDecision(one.id, rules.FlagVerdict.REJECT, rules.RejectReason.LOOKALIKE),),
            (rules.Missed("violence.fight", 6.0, 8.0),),
        )
        deciding.decide(session, ANN, held, token=item.token, said=said, own=OWN)
    with database.read() as session:
        query = select(FlagDecision).order_by(col(FlagDecision.start_s))
        rejected, missed = session.exec(query).all()
    assert (rejected.verdict, rejected.reason) == ("reject", "lookalike")
    assert (missed.verdict, missed.flag_id, missed.score, missed.severity) == ("missed", None, None, "medium")


def banked(database: Database) -> list[tuple[str, str | None, bool]]:
    """(bank, the decision that it is for, restricted) of what is known now."""
    with database.read() as session:
        query = select(BankEntry).where(col(BankEntry.removed_at).is_(None)).order_by(col(BankEntry.id))
        return [(entry.bank, entry.decision_id, entry.restricted) for entry in session.exec(query).all()]


def test_copies_of_what_is_decided_are_known(database: Database) -> None:
    analysed(database, flag())
    removed = decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE).decision
    assert banked(database) == [("known_bad", removed.id, False)]
    with database.write() as session:
        item = deciding.undo(session, ANN, session.get_one(ReviewDecision, removed.id))
    assert banked(database) == []
    approved = decide(database, ANN, item, Outcome.APPROVE).decision
    assert banked(database) == [("known_ok", approved.id, False)]
    with database.write() as session:
        appeals.appeal(session, ANN, session.get_one(Job, approved.job_id), note="it is one")
    overturned = decide(database, LEA, must_claim(database, LEA), Outcome.REMOVE).decision
    assert banked(database) == [("known_bad", overturned.id, False)]
    with database.write() as session:
        deciding.undo(session, LEA, session.get_one(ReviewDecision, overturned.id))
    assert [bank for bank, *_ in banked(database)] == ["known_ok"]


def test_what_is_not_decided_yet_or_was_never_in_doubt_is_in_no_bank(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(database, "quality", rule={"verdicts": ["allow"], "share": 0.5})
    queue(database, "weapons", rule={"policies": ["weapons"]}, opinions=2)
    monkeypatch.setattr("vidlm.review.filing.random.random", lambda: 0.2)
    analysed(database)
    decide(database, ANN, must_claim(database, ANN, "quality"), Outcome.APPROVE)
    analysed(database, flag())
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    assert banked(database) == []
    decide(database, BOB, must_claim(database, BOB), Outcome.REMOVE)
    assert [bank for bank, *_ in banked(database)] == ["known_bad"]


def test_a_full_bank_keeps_nobody_from_deciding(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "MOST_ENTRIES", 0)
    job = analysed(database, flag())
    decide(database, ANN, must_claim(database, ANN), Outcome.REMOVE)
    assert (review_of(database, job), banked(database)) == ("removed", [])


def test_what_looks_like_a_restricted_video_is_restricted(database: Database) -> None:
    analysed(database, flag("child_safety.child_endangerment"))
    may = person("may", restricted=True)
    decide(database, may, must_claim(database, may), Outcome.REMOVE)
    ((_, _, restricted),) = banked(database)
    assert restricted
    job = analysed(database)
    with database.write() as session:
        (entry,) = session.exec(select(BankEntry)).all()
        session.add(
            MatchRow(tenant_id=DEFAULT_TENANT, video_id=job.video_id, entry_id=entry.id, exact=False, similarity=0.9,
                     mirrored=False, start_s=0, end_s=5, known_start_s=0, known_end_s=5, share=0.5, known_share=0.5)
        )  # fmt: skip
        row = session.get_one(Job, job.id)
        row.verdict_action = "review"
        filing.file(session, row)
    assert claim(database, LEA) is None
    assert must_claim(database, may, "child_safety").job_id == job.id
    with database.write() as session:
        assert not golden.may_see(session, LEA, job.video_id)
        held = session.get_one(Job, job.id)
        assert golden.add(session, may, held, outcome=Outcome.APPROVE, violated=[]).restricted


def test_a_decision_that_was_carried_over_may_be_appealed_against(database: Database) -> None:
    job = analysed(database)
    with database.write() as session:
        row = session.get_one(Job, job.id)
        row.verdict_action = "block"
        filing.carried(row)
    assert review_of(database, job) == "removed"
    with database.write() as session:
        assert not filing.any_missing(session)
        made = appeals.appeal(session, ANN, session.get_one(Job, job.id), note="mine is another one")
    assert made.decision_id is None
    decide(database, LEA, must_claim(database, LEA, "appeals"), Outcome.APPROVE)
    assert review_of(database, job) == "approved"
