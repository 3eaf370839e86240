"""A turn as token ids, and what is known of every token in it: where to look, and what to look for.

A turn's request may name a thing; the token that ends its name is to look at that thing's cells, and so is every token
of an answer that rests on it. Whole seconds in an answer are read off the times before frame pairs, digit by digit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vidlm import prompts
from vidlm.toyworld.tasks import Turn
from vidlm.toyworld.tokens import Prefix, Vocabulary, clock_of
from vidlm.toyworld.truth import Fact

FACTS_MOST: Final = 60
"""Facts a window has at most, one bit each: more are left out of what is known of tokens."""
SOUGHT: Final = ("nothing", "earlier", "later")
"""Which of two things an order asks for."""
NOWHERE: Final = 1 << FACTS_MOST
"""The bit of what is not there: a name without its thing, a "No" that rests on nothing."""

TURN_WEIGHTS: Final = {
    "policy": 2.0,
    "composed": 1.5,
    "relevance": 2.0,
    # what is read off positions and motion comes last by itself: these answers weigh more
    "caption": 2.5,
    "direction": 3.0,
    "place": 3.0,
    "count": 3.0,
    "order": 4.0,
    "colour": 3.0,
    "what": 2.5,
    "title": 0.7,
}
"""Weight of a turn by its kind; 1 where none is given."""

RESTS_ON_NOTHING: Final = frozenset({prompts.NOT_SHOWN, "No"})
"""Answers that say of what is asked about that it is not there."""
CHOSEN: Final = frozenset({"colour", "direction", "place"})
"""Kinds of question that may name what there is to choose from."""
TELLS, HAS_NAMED = 1, 2
"""That a token of an answer tells one thing after another, and that it has just named one of them."""
_TIME: Final = re.compile(r"(\d+\.\d)s")


@dataclass(frozen=True, slots=True)
class TurnTokens:
    """A turn's tokens, and for each of them what `Rows` says of it."""

    kind: str
    ids: list[int]
    targets: list[int]
    weights: list[float]
    about: list[int]
    tells: list[int]
    when: list[int]
    copied: list[int]
    sought: list[int]


def tokens_of(words: Vocabulary, turn: Turn, seen: Sequence[Fact], prefix: Prefix) -> TurnTokens:
    """A turn behind a prefix, where `seen` can be seen."""
    request = words.encode(turn.text)
    answer = [*words.encode(turn.answer), words.end]
    asked = len(request) - 1
    # by the square root of its length: a caption says more than a Yes, but not thirty times more
    weight = TURN_WEIGHTS.get(turn.kind, 1.0) / len(answer) ** 0.5
    return TurnTokens(
        kind=turn.kind,
        ids=request + answer[:-1],
        targets=[-100] * asked + answer,
        weights=[0.0] * asked + [weight] * len(answer),
        about=_named(words, turn, seen, asked) + _rested_on(words, turn, answer, seen),
        tells=[0] * asked + _told(words, turn, len(answer)),
        when=[0] * asked + _times(words, turn, answer, prefix),
        copied=[0] * asked + _copied(words, turn, len(answer)),
        sought=[0] * asked + _sought(turn, len(answer)),
    )


def bits_of(about: Sequence[Fact], seen: Sequence[Fact]) -> int:
    """The facts of `about` as bits, numbered as in `seen`."""
    known = enumerate(seen[:FACTS_MOST])
    return sum(1 << number for number, fact in known if any(fact.same_actor(other) for other in about))


def _named(words: Vocabulary, turn: Turn, seen: Sequence[Fact], length: int) -> list[int]:
    """For each of a request's first `length` tokens, the facts (as bits) that what ends there names, or `NOWHERE`."""
    bits, text = [0] * length, turn.text
    for fact in turn.about if turn.kind != "caption" else ():
        place = _last_token(words, text, _called(fact, text))
        if place:
            bits[place - 1] |= bits_of([fact], seen)
    for fact in turn.named:
        name = _called(fact, text)
        place = _last_token(words, text, name)
        if place and not bits[place - 1]:
            bits[place - 1] = bits_of([other for other in seen if name in (other.name, other.noun)], seen) or NOWHERE
    for said, fitting in turn.mentions:
        bits[_last_token(words, text, said) - 1] = bits_of(fitting, seen) or NOWHERE
    return bits


def _called(fact: Fact, text: str) -> str:
    """What a text calls a thing: by its name with the colour, or by its noun alone."""
    return fact.name if _end_of(fact.name, text) else fact.noun


def _last_token(words: Vocabulary, text: str, name: str) -> int:
    """The number, from 1, of the token that ends a name in a text; 0 where it is not in there."""
    return len(words.encode(text[: _end_of(name, text)]))


def _end_of(name: str, text: str) -> int:
    """Where a name first ends in a text, its plural's ending included; 0 where it is not in there. Only as a word of
    its own: "<|im_start|>" names no star."""
    found = re.search(rf"(?<!\w){re.escape(name)}(?:e?s)?(?!\w)", text, re.IGNORECASE)
    return found.end() if found else 0


def _copied(words: Vocabulary, turn: Turn, length: int) -> list[int]:
    """For each of an answer's `length` tokens, the token of the request (its number there, from 1) that it repeats,
    where the request names what there is to choose from: which of two came first, "is it red or blue?". A letter is
    repeated from the end of its option, where both are known.

    Only the token that decides has one: an order's answer begins with "The" whatever it is.
    """
    said = turn.answer.rstrip(".").lower()
    first = 0
    if turn.kind == "choice":
        said = turn.text[turn.text.index(f"\n{turn.answer}. ") :].splitlines()[1]
    elif turn.kind == "order":
        said, first = turn.about[0].name, 1
    elif turn.kind not in CHOSEN or f" {said}" not in turn.text:
        return [0] * length
    place = _last_token(words, turn.text, said)
    return [place if index == first else 0 for index in range(length)]


def _sought(turn: Turn, length: int) -> list[int]:
    """For each of an answer's `length` tokens, which of `SOUGHT` the request wants, where that decides what is said."""
    if turn.kind != "order":
        return [0] * length
    chosen, other = turn.about
    return [
        SOUGHT.index("earlier" if chosen.start_s < other.start_s else "later") if index == 1 else 0
        for index in range(length)
    ]


def _rested_on(words: Vocabulary, turn: Turn, answer: Sequence[int], seen: Sequence[Fact]) -> list[int]:
    """For each token of an answer, the facts (as bits) it rests on: in a caption, its sentence's.

    Which of two came first takes both to decide ("The ..."), and from then on only that one to name. That something is
    not there rests on nothing.
    """
    if not turn.about and turn.answer in RESTS_ON_NOTHING:
        return [NOWHERE] * len(answer)
    if turn.kind == "order":
        return [bits_of(turn.about, seen)] * 2 + [bits_of(turn.about[:1], seen)] * (len(answer) - 2)
    if turn.kind != "caption":
        return [bits_of(turn.about, seen)] * len(answer)
    bits, sentence = [], 0
    for token in answer:
        bits.append(bits_of(turn.about[sentence : sentence + 1], seen))
        sentence += token == words.full_stop
    return bits


def _told(words: Vocabulary, turn: Turn, length: int) -> list[int]:
    """For each of an answer's `length` tokens, whether it tells one thing after another (`TELLS`), and has just named
    one of them (`HAS_NAMED`); 0 in answers that do not."""
    if turn.kind != "caption":
        return [0] * length
    told, before = [TELLS] * length, ""
    for fact in turn.about:
        told[len(words.encode(before + fact.sentence()[: len(fact.subject)]))] = HAS_NAMED
        before += f"{fact.sentence()} "
    return told


def _times(words: Vocabulary, turn: Turn, answer: Sequence[int], prefix: Prefix) -> list[int]:
    """For each token of an answer that spells whole seconds, the token of the prefix that spells the same.

    Tokens are digits. A time that no pair before it is written with (the end of the last pair) has none.
    """
    read_off = [0] * len(answer)
    for match in _TIME.finditer(turn.answer):
        pair = prefix.pair_at(float(match[1]))
        seconds = match[1].split(".")[0]
        if pair == 0 or f"{prefix.times_s[pair - 1]:.1f}".split(".")[0] != seconds:
            continue
        begin = len(words.encode(turn.answer[: match.start()]))
        before = len(words.encode("<"))
        for index in range(len(words.encode(seconds))):
            read_off[begin + index] = clock_of(pair, before + index)
    return read_off
