"""What a lead may wish for, what decisions suggest for it, and what is said where they do not suffice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.errors import ConflictError, InputError
from vidlm.moderation import promises
from vidlm.moderation.estimates import Decisions
from vidlm.moderation.proposals import Goal, Wish, suggest
from vidlm.moderation.thresholds import Traffic

NOTHING = Decisions.of([], [])


def perfect(violations: int, clean: int = 200, inclusion: float = 1.0) -> Decisions:
    """Violations score 0.9, clean items, of which this share was looked at, 0.1."""
    return Decisions.of(
        [0.9] * violations + [0.1] * clean,
        [True] * violations + [False] * clean,
        [1.0] * violations + [inclusion] * clean,
    )


WISHES = [Wish(Goal.PRECISION, 0.9), Wish(Goal.RECALL, 0.9), Wish(Goal.RECALL, 0.9, confidence=0.9)]


@pytest.mark.parametrize("wish", WISHES, ids=["precision", "recall", "sure recall"])
@pytest.mark.parametrize("inclusion", [1.0, 0.1])
def test_the_number_that_is_needed_is_the_number_that_suffices(wish: Wish, inclusion: float) -> None:
    with pytest.raises(ConflictError, match=r"decided videos with a violation are needed, there are 0") as refused:
        suggest(wish, perfect(0, inclusion=inclusion), None)
    assert refused.value.code == "too_few_decisions"
    needed = int(str(refused.value.detail).split()[0])
    assert suggest(wish, perfect(needed, inclusion=inclusion), None).threshold == 0.9
    with pytest.raises(ConflictError, match=f"^{needed} decided .* there are {needed - 1}$"):
        suggest(wish, perfect(needed - 1, inclusion=inclusion), None)


def test_enough_that_say_nothing_get_another_reason() -> None:
    mixed = Decisions.of(np.linspace(0, 1, 400), [True, False] * 200)
    with pytest.raises(ConflictError, match="nowhere do enough") as refused:
        suggest(Wish(Goal.PRECISION, 0.9), mixed, None)
    assert refused.value.code == "no_threshold"


def test_a_queue_needs_scores_and_no_decisions() -> None:
    wish = Wish(Goal.QUEUE, 5.0)
    with pytest.raises(ConflictError, match="nobody knows how many come in"):
        suggest(wish, NOTHING, None)
    with pytest.raises(ConflictError, match="19 analysed videos are needed, there are 18"):
        suggest(wish, NOTHING, Traffic.of(np.linspace(0, 0.9, 18), 100))
    assert suggest(wish, NOTHING, Traffic.of(np.linspace(0, 0.9, 19), 100)).threshold is not None
    with pytest.raises(ConflictError, match="flags every video"):
        suggest(wish, NOTHING, Traffic.of([0.0, 0.5], 4))


@pytest.mark.parametrize(
    ("goal", "value", "confidence"),
    [
        (Goal.PRECISION, 1.0, None),
        (Goal.PRECISION, 0.0, None),
        (Goal.RECALL, float("nan"), None),
        (Goal.RECALL, 0.9, 0.4),
        (Goal.PRECISION, 0.9, 1.0),
        (Goal.QUEUE, 0.0, None),
        (Goal.QUEUE, float("inf"), None),
        (Goal.QUEUE, 10.0, 0.9),
    ],
)
def test_what_nobody_can_wish_for_is_refused(goal: Goal, value: float, confidence: float | None) -> None:
    with pytest.raises(InputError) as refused:
        Wish(goal, value, confidence)
    assert refused.value.code == "invalid_proposal"


def test_a_wish_knows_its_method() -> None:
    assert [wish.method for wish in WISHES] == [
        "learn then test",
        "conformal risk control",
        "risk-controlling prediction sets",
    ]
    assert [wish.delta for wish in WISHES] == [pytest.approx(0.1), None, pytest.approx(0.1)]


@settings(deadline=None)
@given(st.floats(0.05, 0.98), st.sampled_from([None, 0.3, 0.05]), st.sampled_from([1.0, 7.5, 100.0]))
def test_more_recall_or_a_heavier_sample_need_more_violations(
    wanted: float, delta: float | None, heaviest: float
) -> None:
    needed = promises.least_recalled(wanted, delta, heaviest)
    assert needed >= 1
    assert promises.least_recalled(min(0.99, wanted * 1.1), delta, heaviest) >= needed
    assert promises.least_recalled(wanted, delta, heaviest * 2) >= needed
