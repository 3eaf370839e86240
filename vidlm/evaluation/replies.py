"""What a model's words choose. Text in, a choice or None out: what cannot be read is never guessed at."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final

from vidlm.prompts import LETTERS

_LEAD: Final = r"(?:(?:the )?(?:best |correct |right )?(?:answer|option)(?: is)?:? *)?"
_LETTER: Final = re.compile(rf"{_LEAD}(?:\(([a-z])\)|([a-z])(?=[.):,]|$)).*", re.IGNORECASE | re.DOTALL | re.ASCII)
_BEFORE_TEXT: Final = re.compile(r"([a-z])\s+(.*)", re.IGNORECASE | re.DOTALL | re.ASCII)
_DRESS: Final = "*\"'` "  # what replies are set off with: "**B**"
_YES_NO: Final = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def read_choice(text: str, options: Sequence[str]) -> int | None:
    """Which option a reply names: "B", "(B)", "B. a red car", "The answer is B" or the option's own text.

    None where it names none, or none of these. "A red car" is no letter: it chooses A only where that is option A's
    text.
    """
    said = " ".join(text.split()).strip(_DRESS)
    same = [number for number, option in enumerate(options) if _bare(option) == _bare(said)]
    if len(same) == 1:
        return same[0]
    if named := _LETTER.fullmatch(said):
        return _number(named[1] or named[2], options)
    if (spelt := _BEFORE_TEXT.fullmatch(said)) and (number := _number(spelt[1], options)) is not None:
        return number if _bare(options[number]) == _bare(spelt[2]) else None
    return None


def read_yes_no(text: str) -> bool | None:
    """True for a reply that begins with yes, False for no, None for anything else."""
    found = _YES_NO.match(text)
    return None if found is None else found[1].lower() == "yes"


def _number(letter: str, options: Sequence[str]) -> int | None:
    number = LETTERS.index(letter.upper())
    return number if number < len(options) else None


def _bare(text: str) -> str:
    return " ".join(text.lower().split()).strip(string.punctuation + " ")
