"""The words by which videos are found: how a text is taken apart, and the table that says which videos have a word.

    "IMG_0042 Red Car.mp4"  ->  img 0042 red car mp4
    "街道 at night"          ->  街 道 at night

An inverted index in one plain table, so that it is the same on every database: its primary key holds the videos of a
word in the order of their ids, which is that of their birth. Knows texts and rows; which texts a video has is told by
`vidlm.jobs.wording`, and pages are found by `vidlm.store.listing`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from sqlalchemy import ColumnElement, Index, String, and_
from sqlalchemy.orm import Mapped
from sqlmodel import Field, SQLModel

MOST_WORDS: Final = 400
"""Of one video: what it is called and its summary come first, then what its captions say until there are so many."""
MOST_CHARS: Final = 40
"""Longer words are known by their beginning."""
_LAST: Final = chr(0x10FFFF)
"""Sorts behind every character there is in a word."""
_ALONE: Final = "\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Chinese and Japanese characters. Nothing parts their words, so each stands for itself."""
_WORD: Final = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}_])\w)+")
_BY_BYTES: Final = String().with_variant(String(collation="C"), "postgresql")
"""In the order of code points on every database, so that the words that begin alike stand together."""


class VideoWord(SQLModel, table=True):
    """A word of a video that is ready."""

    __tablename__: ClassVar[Any] = "video_word"
    __table_args__ = (Index(None, "video_id", "word"), {"sqlite_with_rowid": False})

    tenant_id: str = Field(foreign_key="tenant.id", primary_key=True)
    word: str = Field(sa_type=_BY_BYTES, primary_key=True)
    video_id: str = Field(foreign_key="video.id", primary_key=True)


def words_in(text: str) -> list[str]:
    """The words of a text, in its order, each as often as it stands there. Case and width make no difference."""
    return [word[:MOST_CHARS] for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())]


def distinct_words(texts: Iterable[str], most: int = MOST_WORDS) -> list[str]:
    """The first `most` different words of several texts, in the order they come."""
    found: dict[str, None] = {}
    for text in texts:
        for word in words_in(text):
            found[word] = None
            if len(found) == most:
                return list(found)
    return list(found)


@dataclass(frozen=True, slots=True)
class Term:
    """A word that a video must have. `open`: it may go on, as one that is still being typed."""

    word: str
    open: bool = False

    def fits(self, column: Mapped[str]) -> ColumnElement[bool]:
        """The column holds such a word. Those that an open one fits are one stretch of the primary key."""
        return and_(column >= self.word, column < self.word + _LAST) if self.open else column == self.word


def terms_of(query: str) -> tuple[Term, ...]:
    """What somebody typed: all its words, the last one open. Empty where nothing in it is a word."""
    *whole, last = words_in(query) or [""]
    if not last:
        return ()
    return (*map(Term, dict.fromkeys(whole)), Term(last, open=True))
