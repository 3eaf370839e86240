"""What public benchmarks ask, whatever their files look like: choices, yes or no, and when. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from vidlm.domain import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question about one video.

    `video` is the file's path inside the benchmark's folder; `groups` are the names it is counted under besides the
    whole, such as its task.
    """

    video: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Item):
    """`options[answer]` is right. Only `span` of the video is shown, all of it where that is None."""

    question: str
    options: tuple[str, ...]
    answer: int
    span: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class YesNo(Item):
    """`answer` is True for yes. Two questions with the same `pair` belong together, one of each answer; "" has none."""

    question: str
    answer: bool
    pair: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding(Item):
    """`sentence` is true in `span` of the video."""

    sentence: str
    span: Span


@dataclass(frozen=True, slots=True)
class Loaded:
    """A benchmark as its files say. `source` names them; `left_out` counts entries no question can be made of."""

    source: str
    items: tuple[Item, ...]
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What was made of one item.

    Choice: for every rotation, beginning with none, the option it chose, in the item's own order. YesNo:
    one entry, 1 for yes and 0 for no. None is what could not be read. Grounding: `found` is the best interval. `words`
    are the replies that choices were read from.
    """

    item: Item
    chosen: tuple[int | None, ...] = ()
    found: Span | None = None
    words: tuple[str, ...] = ()
