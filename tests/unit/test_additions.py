"""What later scores add to a video: never a weaker verdict, never a flag that is there already."""

from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Action, Flag, Severity
from vidlm.moderation.additions import Known, additions, strengthened
from vidlm.moderation.policies import custom_policy

POLICY = custom_policy("a laser gun")
ACTIONS = st.sampled_from([Action.REVIEW, Action.BLOCK])


def flag(start_s: float, end_s: float, action: Action = Action.REVIEW, score: float = 0.7) -> Flag:
    return Flag(POLICY.id, start_s, end_s, score, score, Severity.LOW, action, ())


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, int, Action]]:
    """Stretches that follow each other without overlap, as one policy's flags do, each with an action."""
    cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=12)))
    return [(a, b, draw(ACTIONS)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]


def test_a_new_flag_is_added_and_one_that_is_there_is_not() -> None:
    known = [Known("f1", 0.0, 5.0, Action.REVIEW)]
    added = additions([flag(0.0, 4.0), flag(5.0, 9.0)], known)
    assert (added.new, added.raised) == ((flag(5.0, 9.0),), ())


def test_a_stronger_flag_raises_the_one_it_begins_with_and_stands_beside_others() -> None:
    known = [Known("f1", 0.0, 5.0, Action.REVIEW), Known("f2", 10.0, 20.0, Action.REVIEW)]
    same, inside = flag(0.0, 3.0, Action.BLOCK), flag(12.0, 14.0, Action.BLOCK)
    added = additions([same, inside], known)
    assert (added.new, added.raised) == ((inside,), (("f1", same),))
    assert added.flags == (same, inside)


@given(runs(), runs())
def test_every_found_flag_is_answered_for_and_no_moment_begins_twice(
    found: list[tuple[int, int, Action]], known: list[tuple[int, int, Action]]
) -> None:
    flags = [flag(float(a), float(b), action) for a, b, action in found]
    rows = [Known(str(number), float(a), float(b), action) for number, (a, b, action) in enumerate(known)]
    added = additions(flags, rows)
    after = rows + [Known("new", one.start_s, one.end_s, one.action) for one in added.new]
    actions = {id_: one.action for id_, one in added.raised}
    after = [Known(one.id, one.start_s, one.end_s, actions.get(one.id, one.action)) for one in after]
    for one in flags:  # at every flag that was found something now asks for as much
        assert any(
            (row.start_s < one.end_s and one.start_s < row.end_s) and row.action.strength >= one.action.strength
            for row in after
        )
    starts = [row.start_s for row in after]
    assert len(set(starts)) == len(starts)
    assert all(actions[row.id].strength > row.action.strength for row in rows if row.id in actions)
    assert additions(flags, after).flags == ()  # once is enough


@given(st.sampled_from(Action), st.lists(ACTIONS, max_size=4))
def test_a_verdict_only_gets_stronger(before: Action, actions: list[Action]) -> None:
    verdict = strengthened(before, POLICY, [flag(float(n), n + 1.0, action) for n, action in enumerate(actions)])
    strongest = max([before, *actions], key=lambda action: action.strength)
    assert (verdict.action if verdict else before) == strongest
    assert (verdict is None) == (strongest == before)


def test_a_stronger_verdict_says_why() -> None:
    verdict = strengthened(Action.ALLOW, POLICY, [flag(0.0, 1.0, score=0.61), flag(2.0, 3.0, Action.BLOCK, 0.97)])
    assert verdict is not None
    assert verdict.action is Action.BLOCK
    assert verdict.reason == f"Flagged when the library was scored again: {POLICY.title} (0.97)."
