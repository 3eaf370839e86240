"""Which packets are dropped, and that ffmpeg's expression says the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.video import spare
from vidlm.video.source import Importance, Packets

LETTERS = {"s": Importance.SPARE, "r": Importance.REFERENCE, "I": Importance.IDR}


def dropped(pattern: str, order: list[int], wanted_s: list[float], unsure_s: float = 0.0) -> str:
    """The pattern with what is dropped as dots. `order`: when each is shown, one a second."""
    packets = Packets(
        times_s=np.asarray(order, np.float64),
        positions=np.arange(len(order)) * 100,
        importance=np.asarray([LETTERS[letter] for letter in pattern], np.uint8),
        unsure_s=unsure_s,
    )
    out = spare.unneeded(packets, np.asarray(wanted_s))
    return "".join("." if drop else letter for letter, drop in zip(pattern, out, strict=True))


@pytest.mark.parametrize(
    ("pattern", "order", "wanted_s", "left"),
    [
        ("Irrr", [0, 1, 2, 3], [0], "Irrr"),  # the last frame of all is kept, and what it needs
        ("IrrrI", [0, 1, 2, 3, 4], [0], "I...I"),
        ("IrrrI", [0, 1, 2, 3, 4], [1.5], "Ir..I"),
        ("IrssrssI", [0, 3, 1, 2, 6, 4, 5, 7], [0, 6], "Ir..r..I"),
        ("IrssrssI", [0, 3, 1, 2, 6, 4, 5, 7], [2.9], "Ir.s...I"),
        ("IrIrIr", [0, 1, 2, 3, 4, 5], [0, 4], "I...Ir"),  # a whole group that nobody looks at
        ("IrrI", [0, 1, 2, 3], [-5, 99], "I..I"),  # times before and after the film
        ("rrI", [0, 1, 2], [1], "rrI"),  # no IDR picture at the beginning
    ],
)
def test_what_is_dropped(pattern: str, order: list[int], wanted_s: list[float], left: str) -> None:
    assert dropped(pattern, order, wanted_s) == left


def test_where_the_clock_is_coarse_both_sides_are_kept() -> None:
    assert dropped("IrrrrI", [0, 1, 2, 3, 4, 5], [3 - 1e-6], unsure_s=2e-6) == "Irrr.I"
    assert dropped("IrrrrI", [0, 1, 2, 3, 4, 5], [3 - 1e-6]) == "Irr..I"
    assert dropped("IrrrrI", [0, 1, 2, 3, 4, 5], [3 - 1e-15]) == "Irrr.I"
    assert dropped("IrssI", [0, 3, 1, 2, 4], [2 - 1e-6], unsure_s=2e-6) == "IrssI"


def drops(expression: str | None, position: int) -> bool:
    """The expression, read by Python: `if(lt(pos,a),b,c)` is a plain function of numbers."""
    if expression is None:
        return False
    code = expression.removeprefix("noise=drop='").removesuffix("'").replace("if(", "choose(")
    names = {"pos": position, "lt": lambda a, b: a < b, "choose": lambda a, b, c: b if a else c}
    return bool(eval(code, names))


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=60))
def test_the_expression_drops_these_packets_and_no_others(packets: list[tuple[int, bool]]) -> None:
    positions: npt.NDArray[np.int64] = np.asarray([10 * position for position, _ in packets])
    expression = spare.drop_filter(positions, np.asarray([drop for _, drop in packets]))
    kept = {10 * position for position, drop in packets if not drop}
    for position in positions:
        assert drops(expression, int(position)) == (position not in kept)


def test_an_expression_that_would_be_endless_is_none() -> None:
    alternating = np.arange(2 * spare._MOST + 2)
    assert spare.drop_filter(alternating, alternating % 2 == 0) is None
    assert spare.drop_filter(alternating[:1000], alternating[:1000] % 2 == 0) is not None
