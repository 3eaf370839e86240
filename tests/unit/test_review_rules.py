"""Where videos go, what may be decided, what follows from it, and when a break is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Action, Flag, Severity
from vidlm.errors import InputError
from vidlm.moderation import routing
from vidlm.moderation.decisions import (
    FINAL,
    FlagDecision,
    FlagVerdict,
    KnownFlag,
    Missed,
    Occasion,
    Outcome,
    RejectReason,
    ReviewState,
    Submission,
    check,
    follows,
)
from vidlm.moderation.exposure import Budget, Look, exposure
from vidlm.moderation.routing import ANYTHING_FLAGGED, Facts, Rule, chance, first_met, is_restricted, meets, rule_of


def flag(policy_id: str = "weapons.shown", score: float = 0.7, severity: Severity = Severity.LOW) -> Flag:
    return Flag(policy_id, 1.0, 2.0, score, score, severity, Action.REVIEW, ())


def facts(*flags: Flag, verdict: Action = Action.REVIEW, language: str | None = None, draw: float = 0.5) -> Facts:
    return Facts(flags, verdict, language, draw)


@pytest.mark.parametrize(
    ("rule", "of", "met"),
    [
        (Rule(), facts(verdict=Action.ALLOW), True),
        (Rule(policies=("weapons",)), facts(flag()), True),
        (Rule(policies=("weapons.shown",)), facts(flag()), True),
        (Rule(policies=("weapon",)), facts(flag()), False),  # no parent of it
        (Rule(policies=("violence", "weapons")), facts(flag()), True),
        (Rule(severities=(Severity.HIGH,)), facts(flag()), False),
        (Rule(severities=(Severity.HIGH,)), facts(flag(), flag("x.y", severity=Severity.HIGH)), True),
        (Rule(score_from=0.7, score_to=0.8), facts(flag()), True),
        (Rule(score_from=0.71), facts(flag()), False),
        (Rule(score_from=0.1), facts(verdict=Action.REVIEW), False),  # nothing was flagged: there is no score
        (Rule(verdicts=(Action.BLOCK,)), facts(flag()), False),
        (Rule(languages=("es",)), facts(flag(), language="es-MX"), True),
        (Rule(languages=("es",)), facts(flag(), language="est"), False),
        (Rule(languages=("ES",)), facts(flag(), language="es"), True),
        (Rule(languages=("es",)), facts(flag()), False),
        (Rule(share=0.5), facts(draw=0.499), True),
        (Rule(share=0.5), facts(draw=0.5), False),
    ],
)
def test_a_rule_lets_through_what_meets_all_its_parts(rule: Rule, of: Facts, met: bool) -> None:
    assert meets(rule, of) is met


def test_parts_about_flags_are_met_by_one_flag_together() -> None:
    rule = Rule(policies=("weapons",), severities=(Severity.HIGH,))
    assert not meets(rule, facts(flag(), flag("violence.fight", severity=Severity.HIGH)))
    assert meets(rule, facts(flag(severity=Severity.HIGH)))


def test_the_first_rule_that_is_met_takes_the_video() -> None:
    rules = [Rule(policies=("child_safety",)), Rule(severities=(Severity.LOW,)), ANYTHING_FLAGGED]
    assert first_met(rules, facts(flag())) == 1
    assert first_met(rules, facts(flag("x.y", severity=Severity.HIGH))) == 2
    assert first_met(rules, facts(flag(), flag("child_safety.other", severity=Severity.SEVERE))) == 0
    assert first_met(rules, facts(verdict=Action.ALLOW)) is None


def test_who_samples_knows_how_probable_each_look_was() -> None:
    rules = [Rule(verdicts=(Action.ALLOW,), share=0.02), Rule(languages=("es",), share=0.5), ANYTHING_FLAGGED]
    assert chance(rules, facts(flag())) == 1.0
    assert chance(rules, facts(verdict=Action.ALLOW, draw=0.9)) == 0.02  # also where it was not drawn
    assert chance(rules, facts(verdict=Action.ALLOW, language="es")) == 0.5
    assert chance(rules[:1], facts(flag())) == 0.0


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4), st.floats(0, 1, exclude_max=True))
def test_a_video_is_taken_when_its_draw_is_below_its_chance(shares: list[float], draw: float) -> None:
    rules = [Rule(share=share) for share in shares]
    one = facts(draw=draw)
    assert (first_met(rules, one) is not None) == (draw < chance(rules, one))


def test_child_safety_is_restricted() -> None:
    assert is_restricted("child_safety.child_endangerment")
    assert not is_restricted("child_safety_adverts.shown")
    assert not is_restricted("weapons.shown")


def test_a_rule_comes_back_from_its_document() -> None:
    rule = Rule(("weapons",), (Severity.HIGH,), 0.2, 0.9, (Action.BLOCK,), ("es",), 0.5)
    assert rule_of(routing.to_document(rule)) == rule
    assert routing.to_document(Rule()) == {}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"policy": ["x"]}, "'policy' is no part of a rule"),
        ({"policies": "weapons"}, "policies: a list of texts"),
        ({"policies": [1]}, "policies: a list of texts"),
        ({"severities": ["awful"]}, "severities: 'awful' is none of none, low, medium, high, severe"),
        ({"score_from": "high"}, "score_from: a number"),
        ({"score_from": True}, "score_from: a number"),
        ({"score_from": 0.8, "score_to": 0.7}, "0 <= score_from <= score_to <= 1"),
        ({"share": 0}, "share: more than 0"),
        ({"share": float("nan")}, "share: more than 0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(document: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refused:
        rule_of(document)
    assert says in refused.value.detail
    assert refused.value.code == "invalid_rule"


FLAG = KnownFlag("flg_1", "weapons.shown", 1.0, 2.0)
POLICIES = {"weapons.shown": None, "violence.fight": None}
CONFIRM = FlagDecision("flg_1", FlagVerdict.CONFIRM)
REJECT = FlagDecision("flg_1", FlagVerdict.REJECT, RejectReason.LOOKALIKE)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (Submission(Outcome.APPROVE), "1 of 1 flags are not decided: flg_1"),
        (Submission(Outcome.APPROVE, (REJECT, REJECT)), "flag flg_1 is decided twice"),
        (Submission(Outcome.APPROVE, (replace(REJECT, flag_id="flg_2"),)), "'flg_2' is no flag of this video"),
        (Submission(Outcome.APPROVE, (replace(REJECT, reason=None),)), "reject needs a reason"),
        (Submission(Outcome.APPROVE, (CONFIRM,)), "why the video may stay"),
        (Submission(Outcome.REMOVE, (REJECT,)), "say what was missed, or say in a note"),
        (Submission(Outcome.ESCALATE), "a note is needed"),
        (Submission(Outcome.ESCALATE, note="  "), "a note is needed"),
        (Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_POLICY),)), "needs policy_id"),
        (
            Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_POLICY, policy_id="no.such"),)),
            "there is no policy 'no.such'",
        ),
        (
            Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_POLICY, policy_id="weapons.shown"),)),
            "is the policy that it has",
        ),
        (Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_TIME),)), "needs start_s and end_s"),
        (
            Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_TIME, start_s=3.0, end_s=2.0),)),
            "[3, 2) is no part of a video of 6.000 s",
        ),
        (Submission(Outcome.REMOVE, (REJECT,), (Missed("violence.fight", 5.0, 6.5),)), "[5, 6.5) is no part"),
        (Submission(Outcome.REMOVE, (REJECT,), (Missed("no.such", 5.0, 6.0),)), "there is no policy"),
        (Submission(Outcome.REMOVE, (REJECT,), (Missed("violence.fight", 0.0, 1.0),) * 51), "at most 50"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_said(said: Submission, says: str) -> None:
    with pytest.raises(InputError) as refused:
        check(said, [FLAG], POLICIES, 6.0)
    assert says in refused.value.detail
    assert refused.value.code == "invalid_decision"


@pytest.mark.parametrize(
    "said",
    [
        Submission(Outcome.APPROVE, (REJECT,)),
        Submission(Outcome.APPROVE, (CONFIRM,), note="a news report"),
        Submission(Outcome.REMOVE, (CONFIRM,)),
        Submission(Outcome.REMOVE, (REJECT,), note="stolen"),
        Submission(Outcome.REMOVE, (REJECT,), (Missed("violence.fight", 5.0, 6.0),)),
        Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_POLICY, policy_id="violence.fight"),)),
        Submission(Outcome.REMOVE, (FlagDecision("flg_1", FlagVerdict.WRONG_TIME, start_s=2.0, end_s=6.0),)),
        Submission(Outcome.ESCALATE, note="is this a weapon?"),
        Submission(Outcome.SECOND_OPINION),
    ],
)
def test_what_makes_sense_is_taken(said: Submission) -> None:
    check(said, [FLAG], POLICIES, 6.0)


@given(
    st.sampled_from(Occasion),
    st.sampled_from(Outcome),
    st.sampled_from([1, 2]),
    st.sampled_from([None, *Outcome]),
    st.booleans(),
)
def test_every_decision_leads_somewhere(
    occasion: Occasion, outcome: Outcome, opinions: int, before: Outcome | None, doubled: bool
) -> None:
    try:
        follow = follows(occasion, outcome, opinions=opinions, before=before, doubled=doubled)
    except InputError:
        assert occasion is Occasion.ESCALATED
        assert outcome not in FINAL
        return
    if occasion is Occasion.GOLDEN:
        assert (follow.state, follow.next) == (None, None)
        return
    assert follow.state in (*FINAL.values(), ReviewState.IN_REVIEW, ReviewState.ESCALATED)
    settled = follow.state in FINAL.values()
    assert settled or follow.next is not None  # nothing is left lying
    if settled:
        assert follow.state is FINAL[outcome]
    if follow.next is Occasion.ESCALATED:
        assert occasion is not Occasion.ESCALATED
    if follow.next is Occasion.SECOND:
        assert occasion is not Occasion.SECOND  # a third person is a lead


def test_two_who_disagree_go_to_a_lead() -> None:
    first = follows(Occasion.FLAGGED, Outcome.REMOVE, opinions=2)
    assert (first.state, first.next) == (ReviewState.IN_REVIEW, Occasion.SECOND)
    same = follows(Occasion.SECOND, Outcome.REMOVE, opinions=2, before=Outcome.REMOVE)
    assert (same.state, same.next) == (ReviewState.REMOVED, None)
    other = follows(Occasion.SECOND, Outcome.APPROVE, opinions=2, before=Outcome.REMOVE)
    assert (other.state, other.next) == (ReviewState.ESCALATED, Occasion.ESCALATED)
    lead = follows(Occasion.ESCALATED, Outcome.APPROVE)
    assert (lead.state, lead.next) == (ReviewState.APPROVED, None)
    asked = follows(Occasion.SECOND, Outcome.APPROVE, before=Outcome.SECOND_OPINION)
    assert (asked.state, asked.next) == (ReviewState.APPROVED, None)


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def looks(*told: tuple[float, float, Severity]) -> list[Look]:
    """(minutes ago that it ended, minutes it lasted, severity)."""
    return [Look(NOW - timedelta(minutes=ago), 60 * minutes, severity) for ago, minutes, severity in told]


def test_exposure_weighs_minutes_by_what_was_there() -> None:
    seen = exposure(
        looks((25 * 60, 60, Severity.SEVERE), (120, 10, Severity.LOW), (60, 4, Severity.SEVERE)), NOW, Budget()
    )
    assert (seen.minutes, seen.weighted_minutes, seen.stretch_minutes) == (14, 10 * 0.5 + 4 * 4, 0)
    assert seen.break_because is None


def test_a_break_is_due_when_a_budget_is_used_up() -> None:
    assert exposure(looks((300, 30, Severity.SEVERE)), NOW, Budget()).break_because == "budget"
    assert exposure(looks((300, 29, Severity.SEVERE)), NOW, Budget()).break_because is None


def test_a_stretch_of_work_ends_with_a_pause() -> None:
    working = looks(*((ago, 5.0, Severity.NONE) for ago in range(50, -1, -5)))
    assert exposure(working, NOW, Budget()).break_because == "stretch"
    assert exposure(working, NOW, Budget()).stretch_minutes == 55
    paused = [look for look in working if not timedelta(minutes=20) <= NOW - look.at <= timedelta(minutes=30)]
    assert exposure(paused, NOW, Budget()).stretch_minutes == 20


def test_severe_videos_in_a_row_ask_for_a_break() -> None:
    row = looks(*((ago, 0.5, Severity.HIGH) for ago in (5, 4, 3, 2, 1)))
    assert exposure(row, NOW, Budget()).break_because == "severe"
    assert exposure([*row, *looks((0, 0.5, Severity.LOW))], NOW, Budget()).break_because is None
    assert exposure([], NOW, Budget()).severe_in_a_row == 0
