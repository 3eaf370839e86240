"""Which scores are looked at again, and what such a look may change: never a severe flag, never without a look."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Band, LookOutcome, Policy, SecondLook, Segment, Severity
from vidlm.errors import PolicyError
from vidlm.moderation.flags import flags_from_scores
from vidlm.moderation.policies import (
    NEVER,
    PolicySet,
    load_policies,
    parse_policies,
    policy_set,
    read_policies,
    to_rows,
)
from vidlm.moderation.second_looks import (
    BUDGET_SPENT,
    Doubt,
    applied,
    band_of,
    doubts,
    looked,
    may_clear,
    neighbours,
    score_after,
    unverified,
    within_budget,
)

FIGHT = Policy("violence.fight", "Fight", "violence", "a fight", "", Severity.MEDIUM, 0.5, 0.95, 0.4)
ATTACK = Policy("violence.attack", "Attack", "violence", "an attack", "", Severity.SEVERE, 0.5, 0.95, 0.4)
CHILD = Policy("child_safety.harm", "Harm", "child_safety", "a hurt child", "", Severity.HIGH, 0.5, NEVER, 0.4)
POLICIES = PolicySet("three", (FIGHT, ATTACK, CHILD))

SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.94, 0.95, 1.0])


def segment(index: int, *scores: float, length_s: float = 2.0) -> Segment:
    """Segment `index` with the scores of (fight, attack, child) and a frame each half second."""
    begin_s = index * length_s
    times_s = tuple(begin_s + 0.5 * n for n in range(round(2 * length_s)))
    named = dict(zip([policy.id for policy in POLICIES.policies], scores, strict=False))
    return Segment(index, begin_s, begin_s + length_s, times_s, "", named)


def doubt(policy: Policy, first: float) -> Doubt:
    return Doubt(dataclasses.replace(segment(0), scores={policy.id: first}), (policy,))


def look(policy: Policy, first: float, whole: float, peak: float) -> SecondLook:
    (found,) = looked(doubt(policy, first), [whole], [(0.0, 1.0, [0.0]), (1.0, 2.0, [peak])])
    return found


def test_what_lies_in_the_band_is_in_doubt_and_nothing_else() -> None:
    segments = [segment(0, 0.19), segment(1, 0.2, 0.1), segment(2, 0.949, 0.3), segment(3, 0.95), segment(4)]
    assert [(one.segment.index, [p.id for p in one.policies]) for one in doubts(segments, POLICIES)] == [
        (1, ["violence.fight"]),
        (2, ["violence.fight", "violence.attack"]),
    ]
    assert not doubts([segment(0, float("nan"))], POLICIES)


def test_a_policy_names_its_own_band_or_none_at_all() -> None:
    wide = dataclasses.replace(FIGHT, second_look=Band(0.05, 0.3))
    off = dataclasses.replace(FIGHT, second_look=Band(0.0, 0.0))
    at = [segment(0, 0.1), segment(1, 0.3), segment(2, 0.0)]
    assert [one.segment.index for one in doubts(at, PolicySet("w", (wide,)))] == [0]
    assert doubts(at, PolicySet("o", (off,))) == []
    assert band_of(CHILD) == Band(0.2, NEVER)


def test_the_worst_comes_first_where_there_is_no_time_for_all() -> None:
    found = doubts([segment(0, 0.9), segment(1, 0.3, 0.5), segment(2, 0.5), segment(3, 0.2)], POLICIES)
    chosen, left = within_budget(found, 4.0)
    assert [one.segment.index for one in chosen] == [0, 1]
    assert [one.segment.index for one in left] == [2, 3]
    # of what nobody could look at, only what is flagged as it is, is told
    assert [one.segment for doubt in left for one in unverified(doubt, BUDGET_SPENT)] == [2]


@given(st.lists(st.floats(0.1, 5.0), max_size=12), st.floats(0.0, 20.0))
def test_no_more_is_looked_at_than_is_allowed(lengths_s: list[float], budget_s: float) -> None:
    at_s, found = 0.0, []
    for index, length_s in enumerate(lengths_s):
        one = dataclasses.replace(segment(index, 0.5), start_s=at_s, end_s=at_s + length_s)
        found.append(Doubt(one, (FIGHT,)))
        at_s += length_s
    chosen, left = within_budget(found, budget_s)
    assert sum(one.duration_s for one in chosen) <= budget_s + 0.002 * (len(chosen) + 1)
    assert sorted([*chosen, *left], key=lambda one: one.segment.index) == found
    spare_s = budget_s - sum(one.duration_s for one in chosen)
    assert all(one.duration_s > spare_s for one in left)


@given(st.sets(st.integers(0, 12)), st.floats(2.0, 9.0))
def test_runs_hold_neighbours_only_and_are_short_enough(indices: set[int], most_s: float) -> None:
    chosen = [Doubt(segment(index, 0.5), (FIGHT,)) for index in sorted(indices)]
    runs = neighbours(chosen, most_s)
    assert [one for run in runs for one in run] == chosen
    for run in runs:
        numbers = [one.segment.index for one in run]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert run[-1].segment.end_s - run[0].segment.start_s <= most_s


def test_both_have_to_be_low_to_clear() -> None:
    cleared = look(FIGHT, 0.6, 0.1, 0.3)
    assert (cleared.outcome, cleared.second_score) == (LookOutcome.REJECTED, 0.2)
    assert score_after(cleared, FIGHT) == 0.2
    brief = look(FIGHT, 0.6, 0.1, 0.4)  # one second of ten: little in the whole, plain in its part
    assert (brief.outcome, brief.peak_start_s, brief.peak_end_s) == (LookOutcome.CONFIRMED, 1.0, 2.0)
    assert score_after(brief, FIGHT) == 0.6


def test_what_was_missed_at_first_is_flagged_by_the_mean() -> None:
    raised = look(FIGHT, 0.25, 0.4, 0.8)
    assert score_after(raised, FIGHT) == pytest.approx(0.6)
    assert score_after(look(FIGHT, 0.25, 0.2, 0.7), FIGHT) == pytest.approx(0.45)  # high by one part alone: not yet


@pytest.mark.parametrize("policy", [ATTACK, CHILD])
def test_a_severe_flag_or_one_about_children_is_never_cleared(policy: Policy) -> None:
    assert not may_clear(policy)
    rejected = look(policy, 0.6, 0.0, 0.0)
    assert rejected.outcome is LookOutcome.REJECTED
    assert score_after(rejected, policy) == 0.6


@given(st.sampled_from(POLICIES.policies), SCORES, SCORES, SCORES)
def test_a_flag_goes_only_where_nothing_speaks_for_it_and_a_machine_may(
    policy: Policy, first: float, whole: float, peak: float
) -> None:
    found = look(policy, first, whole, peak)
    after = score_after(found, policy)
    if after < first:
        assert may_clear(policy)
        assert max(whole, peak) < policy.keep_threshold
        assert found.outcome is LookOutcome.REJECTED
    assert 0 <= after <= max(first, whole, peak)
    assert score_after(unseen(policy, first), policy) == first


def unseen(policy: Policy, first: float) -> SecondLook:
    return SecondLook(policy.id, 0, 0.0, 2.0, first, LookOutcome.UNVERIFIED, reason="source_gone")


def test_flags_say_what_became_of_them_and_point_at_the_part_that_was_seen() -> None:
    segments = (segment(0, 0.6, length_s=4.0), segment(1, 0.1, length_s=4.0), segment(2, 0.7, length_s=4.0))
    seen = looked(Doubt(segments[0], (FIGHT,)), [0.5], [(0.0, 1.0, [0.1]), (1.0, 2.0, [0.9])])
    gone = unverified(Doubt(segments[2], (FIGHT,)), "source_gone")
    only_fight = PolicySet("f", (FIGHT,))
    first, second = flags_from_scores(applied(segments, [*seen, *gone], only_fight), only_fight, [*seen, *gone])
    assert (first.second_look, first.score) == (LookOutcome.CONFIRMED, pytest.approx(0.7))
    assert [evidence.time_s for evidence in first.evidence] == [1.0, 1.5]
    assert (second.second_look, second.score, len(second.evidence)) == (LookOutcome.UNVERIFIED, 0.7, 4)
    plain = flags_from_scores(segments, only_fight)
    assert [flag.second_look for flag in plain] == [None, None]


def test_other_scores_of_a_segment_stay() -> None:
    before = segment(0, 0.6, 0.3)
    (after,) = applied([before], [look(FIGHT, 0.6, 0.0, 0.0)], POLICIES)
    assert after.scores == {FIGHT.id: 0.0, ATTACK.id: 0.3}
    assert before.scores[FIGHT.id] == 0.6


# ---- as policies say it

ROW = "{id: a.b, title: T, blocked: x, severity: low, review: 0.5, block: 0.9%s}"


def parsed(more: str) -> Policy:
    return parse_policies("policies: [" + ROW % more + "]").policies[0]


def test_a_file_says_the_band_or_never() -> None:
    assert parsed("").second_look is None
    assert parsed(", second_look: [0.1, 0.9]").second_look == Band(0.1, 0.9)
    never = parsed(", second_look: never")
    assert not any(score in band_of(never) for score in (0.0, 0.5, 1.0))
    for policy in (parsed(""), parsed(", second_look: [0.1, 0.9]"), never):
        assert read_policies(to_rows([policy])) == (policy,)


@pytest.mark.parametrize("band", ["[0.5]", "[0.9, 0.1]", "[0, 0.5]", "[0.1, 2]", "always", "[a, b]", "[.nan, 0.5]"])
def test_a_band_that_makes_no_sense_is_explained(band: str) -> None:
    with pytest.raises(PolicyError, match="`second_look`"):
        parsed(f", second_look: {band}")


def test_sets_that_say_nothing_of_it_keep_their_version() -> None:
    assert load_policies().version == BEFORE_THERE_WERE_SECOND_LOOKS
    plain, named = policy_set((FIGHT,)), policy_set((dataclasses.replace(FIGHT, second_look=Band(0.1, 0.9)),))
    assert plain.version != named.version


BEFORE_THERE_WERE_SECOND_LOOKS = "1ef44ec7a794"
