"""What likeness means for a verdict, and when an earlier decision holds again. It never makes a verdict weaker."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import Action, Bank, Coverage, Gap, Known, Verdict
from vidlm.moderation.known import carried_over, weighed

SEEN = Coverage(8.0, 8.0)
CUT = Coverage(6.0, 8.0, (Gap(6.0, 8.0, "truncated"),))
BAD = Known(
    entry_id="bke_bad",
    bank=Bank.BAD,
    exact=False,
    similarity=0.9,
    mirrored=False,
    start_s=0.0,
    end_s=8.0,
    known_start_s=0.0,
    known_end_s=8.0,
    share=1.0,
    known_share=1.0,
    decided=True,
    restricted=False,
)
OK = replace(BAD, entry_id="bke_ok", bank=Bank.OK)

KNOWN = st.builds(
    replace,
    st.sampled_from([BAD, OK]),
    share=st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]),
    known_share=st.sampled_from([0.0, 0.9, 0.95, 1.0]),
    decided=st.booleans(),
    restricted=st.booleans(),
)


@given(st.sampled_from(Action), st.lists(KNOWN, max_size=4), st.booleans())
def test_likeness_never_weakens_a_verdict(action: Action, known: list[Known], compared: bool) -> None:
    before = Verdict(action, "Because.")
    after = weighed(before, known, compared=compared)
    doubtful = not compared or any(one.bank is Bank.BAD for one in known)
    least = Action.REVIEW if doubtful else Action.ALLOW
    assert after.action.strength == max(action.strength, least.strength)
    assert after.reason.endswith("Because.")
    assert (after == before) == (not doubtful)


def test_a_verdict_names_what_it_rests_on() -> None:
    bad = [replace(BAD, entry_id=f"bke_{n}", start_s=n) for n in range(5)]
    reason = weighed(Verdict(Action.ALLOW, "Nothing was flagged."), [OK, *bad], compared=True).reason
    assert reason == (
        "Shows what is known as bad: bke_0 from 0.0 s to 8.0 s, bke_1 from 1.0 s to 8.0 s, bke_2 from 2.0 s to 8.0 s"
        " and 2 more. Nothing was flagged."
    )


def test_the_same_video_is_decided_about_in_the_same_way() -> None:
    for one, action in ((BAD, Action.BLOCK), (OK, Action.ALLOW)):
        carried = carried_over([one], SEEN)
        assert carried is not None
        verdict, source = carried
        assert (verdict.action, source) == (action, one)
        assert one.entry_id in verdict.reason
    assert carried_over([], SEEN) is None


@pytest.mark.parametrize(
    "known",
    [
        [replace(OK, share=0.99)],  # something in it that nobody has seen
        [replace(OK, known_share=0.9)],
        [replace(OK, decided=False)],  # somebody else's list
        [OK, replace(BAD, share=0.1)],  # a stretch of it is known as bad
        [replace(BAD, share=0.94)],
        [replace(BAD, decided=False)],
        [replace(BAD, restricted=True)],
        [BAD, replace(BAD, restricted=True, share=0.1)],
    ],
)
def test_whatever_is_not_the_same_from_end_to_end_is_looked_at(known: list[Known]) -> None:
    assert carried_over(known, SEEN) is None


def test_what_could_not_be_read_is_not_allowed_and_may_be_blocked() -> None:
    assert carried_over([OK], CUT) is None
    carried = carried_over([BAD], CUT)
    assert carried is not None
    assert carried[0].action is Action.BLOCK


@given(st.lists(KNOWN, max_size=5), st.sampled_from([SEEN, CUT]))
def test_nothing_is_allowed_unless_all_of_it_was_decided_about(known: list[Known], coverage: Coverage) -> None:
    carried = carried_over(known, coverage)
    if carried is None or carried[0].action is not Action.ALLOW:
        return
    assert coverage is SEEN
    assert all(one.bank is Bank.OK for one in known)
    assert (carried[1].share, carried[1].decided) == (1.0, True)
