"""Good films with some bytes changed: whatever comes of them comes quickly and cleanly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import Fuzz


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(4))
def test_no_mutation_breaks_anything(part: int, tmp_path: Path) -> None:
    fuzz = Fuzz(seed=0, folder=tmp_path)
    for number in range(50 * part, 50 * part + 50):
        fuzz.step(number)
    assert not fuzz.wrong, f"{fuzz}\n" + "\n".join(fuzz.wrong)
    assert {"frames", "partial"} <= set(fuzz.outcomes), f"nothing can be read any more: {fuzz}"
