"""What is not there: things that could be, and questions about them that make sense. Pure: facts in, questions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vidlm import prompts
from vidlm.toyworld.questions import Question, namesakes, questions
from vidlm.toyworld.scene import HAZARDS, SHAPES, THINGS
from vidlm.toyworld.truth import WAYS, Fact, some_people
from vidlm.toyworld.wordings import phrase
from vidlm.toyworld.world import PLACES, SHAPE_COLOURS, THING_COLOURS, Rng


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


def absent_fact(rng: Rng, seen: Sequence[Fact], *, close: float = 0.5) -> Fact:
    """Something that is not there, in a share of `close` near to something that is: its kind or its colour changed."""
    present = {fact.name for fact in seen}
    nouns = {fact.noun for fact in seen}
    while True:
        colour, kind = random_name(rng)
        if seen and rng.random() < close:
            near = seen[int(rng.integers(len(seen)))]
            if near.colour and colour and rng.random() < 0.5:
                kind = near.kind  # same kind, another colour
                colours = THING_COLOURS.get(kind, SHAPE_COLOURS)
                colour = colours[int(rng.integers(len(colours)))]
            elif colour and near.colour in THING_COLOURS.get(kind, SHAPE_COLOURS):
                colour = near.colour  # same colour, another kind
        fact = Fact(kind, colour, "still", "middle", 0.0, 1.0, 0.5)
        part_of_seen = any(kind in noun.split() for noun in nouns) or (kind == "person" and some_people(seen))
        if (
            fact.name not in present
            and not (part_of_seen and colour is None)
            and not (kind == "person" and some_people(seen))
        ):
            return fact


def half_shown(rng: Rng, seen: Sequence[Fact]) -> Question:
    """Which of two things comes first, where only one of them is here: a part that is worth looking at."""
    here = seen[int(rng.integers(len(seen)))]
    names = [here.definite, absent_fact(rng, seen).definite]
    rng.shuffle(names)
    text = phrase(rng, "order", one=names[0], other=names[1])
    return Question("order", text, "", namesakes(seen, here))


def absent_question(rng: Rng, seen: Sequence[Fact], *, by_kind: bool = False, of_motion: bool = False) -> Question:
    """A sensible question about something that is not there, of any kind that is asked of things that are.

    Its `about` is what it would rest on if that were there. With `by_kind`, one that names no colour; with
    `of_motion`, one that asks what it is that moves so, as long as there is a way that nothing here goes.
    """
    kinds = {fact.kind for fact in seen}
    motions = {fact.motion for fact in seen}
    of_motion = of_motion and not motions.issuperset(WAYS)
    while True:
        asked = [
            question
            for question in questions(rng, _elsewhere(rng, seen))
            if not (question.by_kind and any(fact.kind in kinds for fact in question.about))
            and not (question.kind == "what" and (not question.of_motion or question.about[0].motion in motions))
        ]
        if by_kind:
            asked = [question for question in asked if question.by_kind]
        elif of_motion:
            asked = [question for question in asked if question.of_motion]
        if asked:
            chosen = asked[int(rng.integers(len(asked)))]
            return Question("absent", chosen.text, prompts.NOT_SHOWN, chosen.about)


def _elsewhere(rng: Rng, seen: Sequence[Fact]) -> list[Fact]:
    """One to three things that are not there, with all that could be asked of them."""
    found: list[Fact] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        absent = absent_fact(rng, [*seen, *found])
        motion = str(rng.choice([*WAYS, "still"]))
        place = str(rng.choice(list(PLACES))) if motion == "still" else None
        start_s = float(rng.integers(0, 10))
        found.append(replace(absent, motion=motion, place=place, start_s=start_s, end_s=start_s + 2.0))
    return found
