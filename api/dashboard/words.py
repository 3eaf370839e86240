"""What the dashboard says, in the reader's language. English is the source; `words/LANGUAGE/*.json` hold the others.

A text that nobody translated shows in English; a test sees to it that there is none.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "words"
SCRIPTS: Final = "scripts*.json"
"""The files of texts that scripts say, which pages hand to them."""


@cache
def known(language: str) -> dict[str, str]:
    """English text -> the same in `language`; empty for English."""
    found: dict[str, str] = {}
    for file in sorted((FOLDER / language).glob("*.json")) if language != "en" else ():
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


@cache
def for_scripts(language: str) -> dict[str, str]:
    """What scripts need of it."""
    found: dict[str, str] = {}
    for file in sorted((FOLDER / language).glob(SCRIPTS)) if language != "en" else ():
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def problem(language: str, code: str, detail: str) -> str:
    """Why something was refused: by its code where that says all, else as the service put it, in English."""
    return known(language).get(f"problem:{code}", detail)


def said(language: str, text: str, **values: object) -> str:
    """`text` in `language`, with `{name}` replaced by the values."""
    found = known(language).get(text, text)
    return found.format(**values) if values else found
