"""What changed between two sets of policies, in words, and which questions were never asked."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Band, Policy, Severity
from vidlm.moderation.policies import NEVER, load_policies
from vidlm.moderation.revisions import MAY_FOLLOW, SetState, changes, unscored

BUILT_IN = load_policies().policies
FIGHT = next(policy for policy in BUILT_IN if policy.id == "violence.fight")
KNIFE = next(policy for policy in BUILT_IN if policy.id == "weapons.shown")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"review_threshold": 0.45}, "violence.fight: review 0.5 -> 0.45"),
        ({"block_threshold": NEVER}, "violence.fight: block 0.95 -> never"),
        ({"keep_threshold": 0.3}, "violence.fight: keep 0.4 -> 0.3"),
        ({"min_duration_s": 2.0}, "violence.fight: at_least_s 0 -> 2"),
        ({"severity": Severity.HIGH}, "violence.fight: severity 'medium' -> 'high'"),
        ({"second_look": Band(0.1, 0.9)}, "violence.fight: second_look as usual -> 0.1 to 0.9"),
        ({"second_look": Band(0.0, 0.0)}, "violence.fight: second_look as usual -> never"),
        ({"enabled": False}, "violence.fight: enabled yes -> no"),
        ({"title": "Brawl"}, f"violence.fight: title {FIGHT.title!r} -> 'Brawl'"),
        (
            {"labels": {"aws": "Violence"}},
            "violence.fight: labels aws: Physical Violence, llama_guard: S1, llava_guard: O2, safewatch: C3 -> "
            "aws: Violence",
        ),
    ],
)
def test_a_change_is_said_in_the_words_of_the_file(change: dict[str, object], said: str) -> None:
    (told,) = changes([FIGHT, KNIFE], [dataclasses.replace(FIGHT, **change), KNIFE])  # type: ignore[arg-type]
    assert str(told) == said


def test_what_came_and_went_is_told_whole() -> None:
    came, went = changes([FIGHT], [KNIFE])
    assert (str(came), str(went)) == ("weapons.shown: added", "violence.fight: removed")
    assert came.after["blocked"] == KNIFE.blocked
    assert went.before["review_threshold"] == FIGHT.review_threshold


def test_order_alone_is_no_change() -> None:
    assert changes(BUILT_IN, BUILT_IN[::-1]) == ()


EDITS = st.fixed_dictionaries(
    {},
    optional={
        "blocked": st.sampled_from(["a fight", "a brawl"]),
        "allowed": st.sampled_from(["", "sport"]),
        "review_threshold": st.sampled_from([0.4, 0.5]),
        "enabled": st.booleans(),
    },
)


@given(st.lists(EDITS, min_size=len(BUILT_IN[:6]), max_size=6), st.sets(st.integers(0, 5)))
def test_what_was_not_asked_before_is_what_needs_scores(edits: list[dict[str, object]], removed: set[int]) -> None:
    before: list[Policy] = [policy for number, policy in enumerate(BUILT_IN[:6]) if number not in removed]
    after = [dataclasses.replace(policy, **edit) for policy, edit in zip(BUILT_IN, edits, strict=False)]  # type: ignore[arg-type]
    questions = {(policy.id, policy.blocked, policy.allowed) for policy in before if policy.enabled}
    needs = [p.id for p in after if p.enabled and (p.id, p.blocked, p.allowed) not in questions]
    assert list(unscored(before, after)) == needs
    told = changes(before, after)
    assert {change.policy_id for change in told} == {
        p.id for p in after if p not in before
    }  # every policy that differs is told of, and no other


def test_only_a_draft_can_become_active() -> None:
    assert {state for state, after in MAY_FOLLOW.items() if SetState.ACTIVE in after} == {SetState.DRAFT}
    assert MAY_FOLLOW[SetState.RETIRED] == frozenset()
    assert set(MAY_FOLLOW) == set(SetState)
