"""Questions with known answers about what can be seen, or cannot, in plain words. Pure: facts in, questions out.

Every kind of question says who it may be asked of (only where the answer is unambiguous), so the same builders serve
training and evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vidlm import prompts
from vidlm.toyworld.scene import HAZARDS, SHAPES, THINGS
from vidlm.toyworld.truth import Fact, at_place
from vidlm.toyworld.world import PLACES, SHAPE_COLOURS, THING_COLOURS, Rng

KIND_ONLY: Final = frozenset({"colour", "count"})
"""Kinds of question that name a thing without its colour: the hardest to see whether they fit."""

NUMBERS: Final = ("None", "One", "Two", "Three", "Four")


@dataclass(frozen=True, slots=True)
class Question:
    """A question in plain words as a user would put it, before it is dressed as a prompt."""

    kind: str
    text: str
    answer: str
    about: tuple[Fact, ...] = ()


def random_name(rng: Rng) -> tuple[str | None, str]:
    """(colour, kind) of something that could be there."""
    roll = rng.random()
    if roll < 0.6:
        return str(rng.choice(SHAPE_COLOURS)), str(rng.choice(SHAPES))
    if roll < 0.85:
        kind = str(rng.choice(THINGS))
        colours = THING_COLOURS[kind]
        return colours[int(rng.integers(len(colours)))], kind
    return None, str(rng.choice(HAZARDS))


def absent_fact(rng: Rng, seen: Sequence[Fact]) -> Fact:
    """Something that is not there, half the time close to something that is: its kind or its colour changed."""
    present = {fact.name for fact in seen}
    nouns = {fact.noun for fact in seen}
    while True:
        colour, kind = random_name(rng)
        if seen and rng.random() < 0.5:
            near = seen[int(rng.integers(len(seen)))]
            if near.colour and colour and rng.random() < 0.5:
                kind = near.kind  # same kind, another colour
                colours = THING_COLOURS.get(kind, SHAPE_COLOURS)
                colour = colours[int(rng.integers(len(colours)))]
            elif near.colour and kind in SHAPES:
                colour = near.colour  # same colour, another shape
        fact = Fact(kind, colour, "still", "middle", 0.0, 1.0, 0.5)
        part_of_seen = any(kind in noun.split() for noun in nouns) or (kind == "person" and _people(seen))
        if (
            fact.name not in present
            and not (part_of_seen and colour is None)
            and not (kind == "person" and _people(seen))
        ):
            return fact


def _people(seen: Sequence[Fact]) -> bool:
    return any(fact.kind in ("fight", "person_with_knife", "person_with_gun", "person_smoking") for fact in seen)


def half_shown(rng: Rng, seen: Sequence[Fact]) -> Question:
    """Which of two things comes first, where only one of them is here: a part that is worth looking at."""
    here = seen[int(rng.integers(len(seen)))]
    names = [here.definite, absent_fact(rng, seen).definite]
    rng.shuffle(names)
    text = _pick(
        rng,
        f"Which appears first, {names[0]} or {names[1]}?",
        f"What comes first, {names[0]} or {names[1]}?",
    )
    return Question("order", text, "", namesakes(seen, here))


def absent_question(rng: Rng, seen: Sequence[Fact], *, kinds_only: bool = False) -> Question:
    """A sensible question about something that is not there, of any kind that is asked of things that are.

    With `kinds_only`, one that names no colour.
    """
    kinds = {fact.kind for fact in seen}
    motions = {fact.motion for fact in seen}
    while True:
        asked = [
            question
            for question in questions(rng, _elsewhere(rng, seen))
            if not (question.kind in KIND_ONLY and any(fact.kind in kinds for fact in question.about))
            and not (
                question.kind == "what" and (" moves " not in question.text or question.about[0].motion in motions)
            )
        ]
        if kinds_only:
            asked = [question for question in asked if question.kind in KIND_ONLY]
        if asked:
            return Question("absent", asked[int(rng.integers(len(asked)))].text, prompts.NOT_SHOWN)


def _elsewhere(rng: Rng, seen: Sequence[Fact]) -> list[Fact]:
    """One to three things that are not there, with all that could be asked of them."""
    found: list[Fact] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        absent = absent_fact(rng, [*seen, *found])
        motion = str(rng.choice(["left", "right", "up", "down", "still"]))
        place = str(rng.choice(list(PLACES))) if motion == "still" else None
        start_s = float(rng.integers(0, 10))
        found.append(replace(absent, motion=motion, place=place, start_s=start_s, end_s=start_s + 2.0))
    return found


def plural(noun: str) -> str:
    return f"{noun}es" if noun in ("cross",) else f"{noun}s"


def questions(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    """Every question whose answer is unambiguous here, one wording each."""
    asked: list[Question] = []
    for build in (_colour, _count, _direction, _place, _order, _when, _what, _present):
        asked += build(rng, seen)
    return asked


def _unique(seen: Sequence[Fact], key: Callable[[Fact], object]) -> list[Fact]:
    counts = Counter(key(fact) for fact in seen)
    return [fact for fact in seen if counts[key(fact)] == 1]


def _pick(rng: Rng, *texts: str) -> str:
    return texts[int(rng.integers(len(texts)))]


def _colour(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    single = [fact for fact in _unique(seen, lambda fact: fact.kind) if fact.colour]
    single = [fact for fact in single if not (fact.kind == "person" and _people(seen))]
    return [
        Question(
            "colour",
            _pick(rng, f"What colour is the {fact.noun}?", f"Which colour does the {fact.noun} have?"),
            f"{str(fact.colour).capitalize()}.",
            (fact,),
        )
        for fact in single
    ]


def _count(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    asked = []
    for kind, number in Counter(fact.kind for fact in seen if fact.kind in (*SHAPES, *THINGS)).items():
        if number < len(NUMBERS) and not (kind == "person" and _people(seen)):
            counted = tuple(fact for fact in seen if fact.kind == kind)
            asked.append(Question("count", f"How many {plural(kind)} are there?", f"{NUMBERS[number]}.", counted))
    return asked


def _named_once(seen: Sequence[Fact]) -> list[Fact]:
    return _unique(seen, lambda fact: fact.name)


def _direction(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    moving = [fact for fact in _named_once(seen) if fact.motion in ("left", "right", "up", "down")]
    return [
        Question(
            "direction",
            _pick(rng, f"Which way does {fact.definite} move?", f"In which direction does {fact.definite} go?"),
            f"{fact.motion.capitalize()}.",
            (fact,),
        )
        for fact in moving
    ]


def _place(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    still = [fact for fact in _named_once(seen) if fact.place and fact.motion == "still"]
    return [
        Question("place", f"Where is {fact.definite}?", f"{at_place(fact.place).capitalize()}.", (fact,))
        for fact in still
    ]


def _order(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    named = _named_once(seen)
    pairs = [(a, b) for a in named for b in named if b.start_s - a.start_s >= 1.0]
    if not pairs:
        return []
    first, second = pairs[int(rng.integers(len(pairs)))]
    one, other = (first, second) if rng.random() < 0.5 else (second, first)
    text = _pick(
        rng,
        f"Which appears first, {one.definite} or {other.definite}?",
        f"What comes first, {one.definite} or {other.definite}?",
    )
    return [Question("order", text, f"{first.definite.capitalize()}.", (first, second))]


def _when(rng: Rng, seen: Sequence[Fact]) -> list[Question]:
    return [
        Question(
            "when",
            _pick(rng, f"When does {fact.definite} appear?", f"When can {fact.definite} be seen?"),
            f"From {fact.start_s:.1f}s to {fact.end_s:.1f}s.",
            (fact,),
        )
        for fact in _named_once(seen)
    ]


def _what(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    asked = [
        Question("what", f"What moves {fact.motion}?", f"{fact.subject.capitalize()}.", (fact,))
        for fact in _unique(seen, lambda fact: fact.motion)
        if fact.motion in ("left", "right", "up", "down")
    ]
    still = [fact for fact in seen if fact.motion == "still"]
    if len(still) == len(seen):
        asked += [
            Question("what", f"What is {at_place(fact.place)}?", f"{fact.subject.capitalize()}.", (fact,))
            for fact in _unique(still, lambda fact: fact.place)
        ]
    if asked or not seen:
        return asked
    return [Question("what", "What can be seen?", ", ".join(fact.subject for fact in seen).capitalize() + ".")]


def _present(_: Rng, seen: Sequence[Fact]) -> list[Question]:
    return [Question("present", f"Is there {fact.subject}?", "Yes.", namesakes(seen, fact)) for fact in seen[:1]]


def namesakes(seen: Sequence[Fact], fact: Fact) -> tuple[Fact, ...]:
    return tuple(other for other in seen if other.name == fact.name)
