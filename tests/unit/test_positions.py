"""Rotary positions: equal to the reference library's, and to the rule said in words."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidlm.model.positions import prompt_positions

CASES = json.loads((Path(__file__).parents[1] / "data" / "mrope_positions.json").read_text())["cases"]
GRIDS = st.tuples(st.integers(1, 6), st.integers(1, 4).map(lambda n: 2 * n), st.integers(1, 4).map(lambda n: 2 * n))
PARTS = st.lists(st.integers(0, 9) | GRIDS, max_size=6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_positions_equal_the_reference(case):
    parts = [part if isinstance(part, int) else tuple(part["grid_thw"]) for part in case["parts"]]
    positions, following = prompt_positions(parts)
    assert positions.dtype == torch.int64
    assert positions.tolist() == case["position_ids"]
    assert following == case["next_position"]


@given(parts=PARTS, start=st.integers(0, 1000))
def test_positions_follow_the_rule(parts, start):
    expected: list[tuple[int, int, int]] = []
    position = start
    for part in parts:
        cells = [] if isinstance(part, int) else [(t, y, x) for t in range(part[0]) for y in range(part[1] // 2)
                                                  for x in range(part[2] // 2)]  # fmt: skip
        for kind in ["text"] * part if isinstance(part, int) else ["text", *cells, "text"]:
            if kind == "text":
                position = max((max(p) for p in expected), default=start - 1) + 1
                expected.append((position,) * 3)
            else:
                expected.append(tuple(position + 1 + step for step in kind))
    positions, following = prompt_positions(parts, start=start)
    assert positions.T.tolist() == [list(p) for p in expected]
    assert following == max((max(p) for p in expected), default=start - 1) + 1


@given(first=PARTS, second=PARTS)
def test_a_prompt_can_be_continued(first, second):
    whole, end = prompt_positions(first + second)
    head, middle = prompt_positions(first)
    tail, also_end = prompt_positions(second, start=middle)
    assert torch.equal(torch.cat([head, tail], dim=1), whole)
    assert also_end == end


@pytest.mark.parametrize("grid", [(1, 3, 4), (1, 4, 5), (0, 4, 4)])
def test_grids_that_do_not_divide_are_refused(grid):
    with pytest.raises(ValueError, match="divide"):
        prompt_positions([grid])
