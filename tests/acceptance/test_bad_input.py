"""Bad and odd files by category: each ends with a code that fits it or with frames, quickly, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus import CATEGORIES, violations


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_file_gets_what_is_right_for_it(category: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    names: list[str] = []
    wrong: list[str] = []
    for case in CATEGORIES[category](folder):
        names.append(case.name)
        wrong += violations(case, tmp_path / "work")
    assert not wrong, f"{len(wrong)} faults in {len(names)} files:\n" + "\n".join(wrong)
    assert len(set(names)) == len(names) >= 10
