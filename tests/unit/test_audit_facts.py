"""Details of the audit as names and values: all of them, in order, whatever JSON they are, or are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.audit.listing import facts

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ("{}", []),
        ('{"role":"lead","restricted":true}', [("role", "lead"), ("restricted", "true")]),
        ('{"threshold":{"after":0.25,"before":null}}', [("threshold.after", "0.25"), ("threshold.before", "–")]),
        ('{"frames":[1.0,2.5],"none":[]}', [("frames", "1.0, 2.5"), ("none", "–")]),
        ('{"flags":[{"id":"flg_1"}],"empty":{}}', [("flags", '[{"id": "flg_1"}]'), ("empty", "{}")]),
        ("no json", [("", "no json")]),
        ("[1]", [("", "[1]")]),
    ],
)
def test_what_is_inside_others_has_both_names(details: str, shown: list[tuple[str, str]]) -> None:
    assert facts(details) == shown


@given(st.dictionaries(st.text(min_size=1), values, max_size=4))
def test_every_document_is_shown_and_nothing_is_left_out(document: dict[str, Any]) -> None:
    shown = facts(json.dumps(document))
    assert len(shown) == sum(map(leaves, document.values()))
    assert all(isinstance(part, str) for fact in shown for part in fact)


@given(st.text())
def test_any_text_is_shown(text: str) -> None:
    assert all(isinstance(part, str) for fact in facts(text) for part in fact)


def leaves(value: Any) -> int:
    return sum(map(leaves, value.values())) if isinstance(value, dict) and value else 1
