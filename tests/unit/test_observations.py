"""The table of an evaluation says what was seen."""

import pytest

from vidlm.toyworld.observations import Observations, abstaining, table

ABSENT = [(0, 0.0), (0, 0.3), (1, 0.62), (1, 0.0)]
PRESENT = [(0, 0.9), (0, 0.45), (1, 0.0), (1, 0.97), (1, 0.62)]


def test_an_answer_that_is_not_given_is_as_sure_as_nothing() -> None:
    rows = {row["name"]: row for row in table(Observations(absent=ABSENT, present=PRESENT), [1.0, 2.0, 4.0])}
    assert (rows["absent_abstains"]["value"], rows["absent_abstains"]["n"]) == (0.5, 4)
    assert rows["wrong_abstentions"]["value"] == 0.2
    assert rows["seconds_for_10s_clip"]["value"] == 2.0
    assert rows["policy_auroc"]["value"] is None  # nothing was scored


@pytest.mark.parametrize(
    ("least", "absent", "wrong"),
    [(0.0, 0.5, 0.2), (0.3, 0.5, 0.2), (0.35, 0.75, 0.2), (0.5, 0.75, 0.4), (0.65, 1, 0.6)],
)
def test_what_each_confidence_would_make_of_the_answers(least: float, absent: float, wrong: float) -> None:
    """Answers just as sure as is asked for are given."""
    found = {row["answer_confidence"]: row for row in abstaining(Observations(absent=ABSENT, present=PRESENT))}
    assert (found[least]["absent_abstains"], found[least]["wrong_abstentions"]) == (absent, wrong)


def test_of_no_question_nothing_is_said() -> None:
    assert all(row["absent_abstains"] is row["wrong_abstentions"] is None for row in abstaining(Observations()))
