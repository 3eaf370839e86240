"""Questions with known answers about what can be seen, in plain words. Pure: facts in, questions out.

Every kind of question says who it may be asked of (only where the answer is unambiguous), so the same builders serve
training and evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from vidlm.toyworld.scene import SHAPES, THINGS
from vidlm.toyworld.truth import WAYS, Fact, at_place, some_people, with_article
from vidlm.toyworld.wordings import phrase
from vidlm.toyworld.world import HELD_OUT, PLACES, SHAPE_COLOURS, THING_COLOURS, Rng

NUMBERS: Final = ("None", "One", "Two", "Three", "Four")
MOST_NAMED: Final = 6
"""Things that are listed in one answer, at most."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question:
    """A question in plain words as a user would put it, before it is dressed as a prompt."""

    kind: str
    text: str
    answer: str
    about: tuple[Fact, ...] = ()
    of_motion: bool = False  # asks what it is that moves or grows so
    of_two: bool = False  # names two answers, of which one is true: half of all guesses are right
    by_kind: bool = False  # names a thing without its colour: the hardest to see whether it fits


def plural(noun: str) -> str:
    return f"{noun}es" if noun in ("cross",) else f"{noun}s"


def questions(rng: Rng, seen: Sequence[Fact], *, unseen: bool = False) -> list[Question]:
    """Every question whose answer is unambiguous here, one wording each; `unseen` ones are never trained on."""
    ask = Asking(rng, unseen)
    asked: list[Question] = []
    for build in (_colour, _count, _direction, _place, _order, _when, _what, _present, _choice, _check):
        asked += build(ask, seen)
    return asked


@dataclass(frozen=True, slots=True)
class Asking:
    """Who chooses among wordings, and from which."""

    rng: Rng
    unseen: bool

    def phrase(self, kind: str, **names: str) -> str:
        return phrase(self.rng, kind, unseen=self.unseen, **names)

    def one_of(self, found: Sequence[_T]) -> _T:
        return found[int(self.rng.integers(len(found)))]


def _unique(seen: Sequence[Fact], key: Callable[[Fact], object]) -> list[Fact]:
    counts = Counter(key(fact) for fact in seen)
    return [fact for fact in seen if counts[key(fact)] == 1]


def _named_once(seen: Sequence[Fact]) -> list[Fact]:
    """What its name alone points to: no namesake, and a person only where no other is about."""
    once = _unique(seen, lambda fact: fact.name)
    return [fact for fact in once if not (fact.kind == "person" and some_people(seen))]


def _colour(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    single = [fact for fact in _unique(seen, lambda fact: fact.kind) if fact.colour]
    return [
        Question(
            "colour", ask.phrase("colour", noun=fact.noun), f"{str(fact.colour).capitalize()}.", (fact,), by_kind=True
        )
        for fact in single
        if not (fact.kind == "person" and some_people(seen))
    ]


def _count(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    asked = []
    for kind, number in Counter(fact.kind for fact in seen if fact.kind in (*SHAPES, *THINGS)).items():
        if number < len(NUMBERS) and not (kind == "person" and some_people(seen)):
            counted = tuple(fact for fact in seen if fact.kind == kind)
            text = ask.phrase("count", nouns=plural(kind))
            asked.append(Question("count", text, f"{NUMBERS[number]}.", counted, by_kind=True))
    return asked


def _moving(seen: Sequence[Fact]) -> list[Fact]:
    return [fact for fact in _named_once(seen) if fact.motion in WAYS]


def _standing(seen: Sequence[Fact]) -> list[Fact]:
    return [fact for fact in _named_once(seen) if fact.place and fact.motion == "still"]


def _direction(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    return [
        Question("direction", ask.phrase("direction", the=fact.definite), f"{fact.motion.capitalize()}.", (fact,))
        for fact in _moving(seen)
    ]


def _place(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    return [
        Question("place", ask.phrase("place", the=fact.definite), f"{at_place(fact.place).capitalize()}.", (fact,))
        for fact in _standing(seen)
    ]


def _order(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    found = _both_orders(ask, seen)
    return [found[0] if ask.rng.random() < 0.75 else found[1]] if found else []


def _both_orders(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    """Which of two things comes first, and which of the same two comes last."""
    named = _named_once(seen)
    pairs = [(a, b) for a in named for b in named if b.start_s - a.start_s >= 1.0]
    if not pairs:
        return []
    first, second = ask.one_of(pairs)
    one, other = (first, second) if ask.rng.random() < 0.5 else (second, first)
    return [
        Question(
            "order",
            ask.phrase(kind, one=one.definite, other=other.definite),
            f"{true[0].definite.capitalize()}.",
            true,
        )
        for kind, true in (("order", (first, second)), ("later", (second, first)))
    ]


def _when(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    asked = []
    for fact in _named_once(seen):
        kind = str(ask.rng.choice(["when", "from", "until"], p=[0.7, 0.15, 0.15]))
        start, end = f"{fact.start_s:.1f}s", f"{fact.end_s:.1f}s"
        said = {"when": f"From {start} to {end}.", "from": f"At {start}.", "until": f"At {end}."}[kind]
        skill = "when" if kind == "when" else "moment"
        asked.append(Question(skill, ask.phrase(kind, the=fact.definite), said, (fact,)))
    return asked


def _what(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    asked = []
    for fact in _unique(seen, lambda fact: fact.motion):
        if fact.motion in WAYS:
            text = ask.phrase("moves", way=fact.motion)
        elif fact.motion == "grows":
            text = ask.phrase("grows")
        else:
            continue
        asked.append(Question("what", text, f"{fact.subject.capitalize()}.", (fact,), of_motion=True))
    still = [fact for fact in seen if fact.motion == "still"]
    if len(still) == len(seen):
        asked += [
            Question("what", ask.phrase("stands", at=at_place(fact.place)), f"{fact.subject.capitalize()}.", (fact,))
            for fact in _unique(still, lambda fact: fact.place)
        ]
    if asked or not 0 < len(seen) <= MOST_NAMED:
        return asked
    return [Question("what", ask.phrase("all"), ", ".join(fact.subject for fact in seen).capitalize() + ".")]


def _present(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    """Whether something is there: the first thing that training may ask for by its name, and a coloured one by its
    kind alone."""
    asked = [
        Question("present", ask.phrase("present", a=fact.subject), "Yes.", namesakes(seen, fact))
        for fact in [fact for fact in seen if (fact.colour, fact.kind) not in HELD_OUT][:1]
    ]
    coloured = [fact for fact in seen if fact.colour and not (fact.kind == "person" and some_people(seen))]
    if coloured:
        kind = ask.one_of(coloured).kind
        same = tuple(fact for fact in coloured if fact.kind == kind)
        text = ask.phrase("present", a=with_article(same[0].noun))
        asked.append(Question("present", text, "Yes.", same, by_kind=True))
    return asked


def _choice(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    """One of two: "Is the star red or blue?", "Does the red car move left or right?" """
    put = _put_to_one(ask, seen)
    if put is None:
        return []
    kind, fact, text, true = put
    options = [true, _other_value(ask, kind, fact, true)]
    ask.rng.shuffle(options)
    text = text.format(" or ".join(options))
    return [Question(kind, text, f"{true.capitalize()}.", (fact,), of_two=True, by_kind=kind == "colour")]


def _check(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    """Yes or no: "Is the star red?", "Does the red car move left?", "Is the dog on the right?" """
    found = _both_checks(ask, seen)
    return [ask.one_of(found)] if found else []


def _both_checks(ask: Asking, seen: Sequence[Fact]) -> list[Question]:
    """Whether something is as it is, and whether it is as it is not."""
    put = _put_to_one(ask, seen)
    if put is None:
        return []
    kind, fact, text, true = put
    by_kind = kind == "colour"
    return [
        Question("check", text.format(true), "Yes.", (fact,), by_kind=by_kind),
        Question("check", text.format(_other_value(ask, kind, fact, true)), "No.", (fact,), by_kind=by_kind),
    ]


def both_ways(rng: Rng, seen: Sequence[Fact]) -> list[tuple[Question, Question]]:
    """Pairs of questions that differ in a word and in their answer: first or last, as it is or as it is not."""
    ask = Asking(rng, unseen=False)
    found = (_both_orders(ask, seen), _both_checks(ask, seen))
    return [(pair[0], pair[1]) for pair in found if pair]


def _put_to_one(ask: Asking, seen: Sequence[Fact]) -> tuple[str, Fact, str, str] | None:
    """An attribute of one thing that its name alone points to: (kind, the thing, "Is the star {}?", the true value)."""
    put: list[tuple[str, Fact, str]] = []
    for fact in _unique(seen, lambda fact: fact.kind):
        if fact.colour and not (fact.kind == "person" and some_people(seen)):
            put.append(("colour", fact, fact.colour))
    put += [("direction", fact, fact.motion) for fact in _moving(seen)]
    put += [("place", fact, at_place(fact.place)) for fact in _standing(seen)]
    if not put:
        return None
    kind, fact, true = ask.one_of(put)
    names = {"noun": fact.noun} if kind == "colour" else {"the": fact.definite}
    return kind, fact, ask.phrase(f"is_{kind}", said="{}", **names), true


def _other_value(ask: Asking, kind: str, fact: Fact, true: str) -> str:
    return ask.one_of([value for value in _values(kind, fact) if value != true])


def _values(kind: str, fact: Fact) -> list[str]:
    """What an attribute of a thing may be, as a question says it."""
    if kind == "colour":
        return [colour for colour in THING_COLOURS.get(fact.kind, SHAPE_COLOURS) if colour]
    return list(WAYS) if kind == "direction" else [at_place(place) for place in PLACES]


def options_of(rng: Rng, question: Question, *, most: int = 4) -> list[str] | None:
    """The answer and wrong ones of its kind, in any order, for a choice by letter; None for kinds that have no list."""
    if question.kind == "count":
        others = list(NUMBERS)
    elif question.kind in ("colour", "direction", "place"):
        others = [value.capitalize() for value in _values(question.kind, question.about[0])]
    else:
        return None
    true = question.answer.rstrip(".")
    wrong = [str(value) for value in rng.permutation([value for value in others if value != true])][: most - 1]
    return [str(value) for value in rng.permutation([true, *wrong])]


def follow_ups(rng: Rng, seen: Sequence[Fact]) -> list[tuple[Question, Question]]:
    """(question, the one that follows it): the second says "it" of what the first was about."""
    ask = Asking(rng, unseen=False)
    first = [question for build in (_direction, _place, _what, _when) for question in build(ask, seen)]
    pairs = []
    for question in first:
        if len(question.about) != 1 or question.kind == "moment":
            continue
        (fact,) = question.about
        then = {"when": f"From {fact.start_s:.1f}s to {fact.end_s:.1f}s."}
        if question.kind == "what" and fact.colour:
            then["colour"] = f"{fact.colour.capitalize()}."
        if fact.motion in WAYS:
            then["direction"] = f"{fact.motion.capitalize()}."
        elif fact.motion == "still" and fact.place:
            then["place"] = f"{at_place(fact.place).capitalize()}."
        kinds = [kind for kind in then if kind != question.kind and not (kind == "direction" and question.of_motion)]
        if kinds and fact in _named_once(seen):
            kind = ask.one_of(kinds)
            pairs.append((question, Question("follow_up", ask.phrase(f"then_{kind}"), then[kind], (fact,))))
    return pairs


def namesakes(seen: Sequence[Fact], fact: Fact) -> tuple[Fact, ...]:
    return tuple(other for other in seen if other.name == fact.name)
