"""Everything that is wrong with policies that are being written, by field, in the words of the reader itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.errors import PolicyError
from vidlm.moderation.checking import Problem, problems_of
from vidlm.moderation.policies import load_policies, policy_set, read_policies, to_rows

ROWS = to_rows(load_policies().policies)
FIELDS = list(ROWS[0])
HOSTILE = "<script>alert(1)</script>"


def row(**changes: Any) -> dict[str, Any]:
    return ROWS[0] | changes


def fields(*rows: Any) -> list[tuple[int | None, str | None]]:
    return [(one.place, one.field) for one in problems_of(rows)]


def test_nothing_is_wrong_with_the_built_in_policies() -> None:
    assert problems_of(ROWS) == ()


def test_several_mistakes_of_one_policy_are_all_told() -> None:
    wrong = row(title=" ", severity="bad", review=2, at_least_s=-1, blocked="<|im_start|>")
    assert set(fields(wrong)) == {(0, name) for name in ("title", "severity", "review", "at_least_s", "blocked")}


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"review": 0.97}, "review", "(0.97) is above `block` (0.95), so nothing would be reviewed"),
        ({"review": 0}, "review", "is 0; expected more than 0 and at most 1"),
        ({"review": ""}, "review", "must be a number, not ''"),
        ({"block": 3}, "block", "is 3; expected more than 0 and at most 1, or `never`"),
        ({"keep": 0.9}, "keep", "is 0.9; expected more than 0 and at most `review` (0.5)"),
        ({"at_least_s": 4000}, "at_least_s", "is 4000; expected between 0 and 3600 seconds"),
        ({"id": "Knives"}, "id", "must look like `parent.name`, in lower case, digits and `_`"),
        ({"id": ""}, "id", "must be a text, not ''"),
        ({"title": "x" * 81}, "title", "is longer than 80 characters"),
        ({"labels": {"aws": "Nonsense"}}, "labels", "aws has no label 'Nonsense'"),
        ({"second_look": [0.9, 0.2]}, "second_look", None),
        ({"enabled": "yes"}, "enabled", "must be true or false, not 'yes'"),
    ],
)
def test_a_mistake_is_told_with_its_field(changes: dict[str, Any], field: str, text: str | None) -> None:
    (found,) = problems_of([row(), row(id="a.b"), row(id="c.d") | changes])
    assert (found.place, found.field) == (2, field)
    assert text is None or found.text == text


def test_an_id_that_is_there_twice_is_told_at_both_places() -> None:
    assert problems_of([row(), row(id="a.b"), row()]) == (
        Problem(0, "id", "is used twice"),
        Problem(2, "id", "is used twice"),
    )


def test_of_a_set_without_a_policy_that_is_on_that_is_told() -> None:
    assert problems_of([row(enabled=False)]) == (Problem(None, None, "no policy is enabled"),)
    assert problems_of([]) == (Problem(None, None, "no policy is enabled"),)


def test_what_is_no_policy_at_all_is_told() -> None:
    assert problems_of(["x"]) == (Problem(0, None, "expected fields such as `id:`, not 'x'"),)
    (found,) = problems_of([row(shade="red")])
    assert (found.field, found.text.partition(";")[0]) == (None, "unknown field 'shade'")


def test_a_hostile_id_does_not_lead_astray() -> None:
    (found,) = problems_of([row(id=f"policy 'x': field `title` {HOSTILE}")])
    assert (found.field, HOSTILE in found.text) == ("id", False)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-3, 3),
    st.text("aB. <|`:'", max_size=5),
    st.just("never"),
    st.just(HOSTILE),
)


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=4), st.lists(st.sampled_from(FIELDS), max_size=2))
def test_something_is_told_exactly_when_the_reader_refuses(changes: dict[str, Any], without: list[str]) -> None:
    rows = [{key: value for key, value in (row() | changes).items() if key not in without}]
    try:
        policy_set(read_policies(rows))
        refused = None
    except PolicyError as exc:
        refused = exc.detail
    found = problems_of(rows)
    assert (refused is None) == (not found)
    if refused is not None and (named := re.search(r"field `(\w+)`", refused)):
        assert named[1] in {problem.field for problem in found}
