"""Charades-STA (Gao et al. 2017, arXiv:1705.02101): when a sentence is true, in films of people at home.

charades_sta_test.txt           VIDEO start end##sentence      a line each; the training lines where no test is
Charades_v1_480/<VIDEO>.mp4     or Charades_v1/, videos/, or beside the text file
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

from vidlm.domain import Span
from vidlm.errors import DatasetError
from vidlm.evaluation.files import Place, read_text
from vidlm.evaluation.items import Grounding, Loaded

FILES: Final = ("charades_sta_test.txt", "charades_sta_train.txt")
PLACES: Final = ("Charades_v1_480", "Charades_v1", "videos", ".")
_LINE: Final = re.compile(r"(\w+)\s+(\S+)\s+(\S+?)\s*##\s*(\S.*)")


def load(folder: Path) -> Loaded:
    """Every sentence that has an interval; those whose end is not behind their start are counted. `DatasetError`."""
    name = next((name for name in FILES if (folder / name).is_file()), None)
    if name is None:
        raise DatasetError(f"no sentences: expected {FILES[0]}")
    items: list[Grounding] = []
    empty = 0
    for number, line in enumerate(read_text(folder, name).splitlines(), start=1):
        if line.strip():
            item = _grounding(folder, line.strip(), Place(f"{name}, line {number}"))
            items += [item] if item else []
            empty += item is None
    return Loaded(name, tuple(items), {"sentences without an interval": empty} if empty else {})


def _grounding(folder: Path, line: str, place: Place) -> Grounding | None:
    parts = _LINE.fullmatch(line)
    if not parts:
        raise place.error("expected VIDEO start end##sentence")
    try:
        start_s, end_s = float(parts[2]), float(parts[3])
    except ValueError as exc:
        raise place.error(f"start and end are seconds, not {parts[2]!r} and {parts[3]!r}") from exc
    if not 0 <= start_s < end_s < math.inf:
        return None
    places = [(Path(root) / f"{parts[1]}.mp4").as_posix() for root in PLACES]
    video = next((path for path in places if (folder / path).is_file()), places[0])
    return Grounding(video=video, sentence=parts[4], span=Span(start_s, end_s))
