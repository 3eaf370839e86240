"""Policies nobody wrote into the taxonomy, in the words of the world, and whether they hold. Pure.

"a green star", "a red car moving left", "a shape that grows", "a dog or a house", "a ball, but not a red one": each is
a text and a rule over facts, so the truth needs no drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vidlm.domain import Policy, Severity
from vidlm.toyworld.absent import absent_fact
from vidlm.toyworld.questions import plural
from vidlm.toyworld.scene import SHAPES, THINGS
from vidlm.toyworld.truth import WAYS, Fact, at_place, some_people
from vidlm.toyworld.world import HELD_OUT, PLACES, SHAPE_COLOURS, Rng

MOTIONS: Final = (*WAYS, "grows")
TRIES: Final = 20
FORMS_TRIED: Final = 30
CLOSE: Final = 0.8
"""Of things that are not there, those of the kind or the colour of something that is: "a red car" is to be more than
something red."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of a policy, and which facts all that is said up to their end fits: of "a red car moving left", "red car"
    fits the red cars and "moving left" those of them that move left."""

    words: str
    fits: Callable[[Fact], bool]


@dataclass(frozen=True, slots=True)
class Composed:
    """A policy in words, with `allowed` as its exception, and its truth: it holds where enough facts bear it out.

    `phrases`: what has to be looked for to know that, in the order of its words.
    """

    blocked: str
    allowed: str
    bears_out: Callable[[Fact], bool]
    enough: Callable[[Sequence[Fact]], bool] = bool
    phrases: tuple[Phrase, ...] = ()

    @property
    def policy(self) -> Policy:
        return composed_policy(self.blocked, self.allowed)

    @property
    def words(self) -> str:
        """What it says, with what it excepts: "a ring, but not a red ring"."""
        return f"{self.blocked}, but not {self.allowed}" if self.allowed else self.blocked

    def about(self, seen: Sequence[Fact]) -> tuple[Fact, ...]:
        """The facts that bear it out, whether or not they are enough."""
        return tuple(fact for fact in seen if self.bears_out(fact))

    def holds(self, seen: Sequence[Fact]) -> bool:
        return self.enough(self.about(seen))

    def mentions(self, seen: Sequence[Fact]) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
        """Each phrase with the facts it fits; with none where it speaks of what is not there."""
        return tuple((phrase.words, tuple(filter(phrase.fits, seen))) for phrase in self.phrases)


def composed_policy(blocked: str, allowed: str = "") -> Policy:
    """A custom policy with this text: "a green star"."""
    name = f"custom.{blocked.replace(' ', '_')}"
    return Policy(name, blocked, "custom", blocked, allowed, Severity.LOW, 0.5, 1.01, 0.5)


def in_other_words(rng: Rng, text: str) -> str:
    """The same policy as people write them: "a green star" as "green star", "any green star", "A green star"."""
    article, _, rest = text.partition(" ")
    if article not in ("a", "an"):
        return text.capitalize()
    return str(rng.choice([rest, f"any {rest}", f"{article.capitalize()} {rest}"]))


def sample_composed(rng: Rng, seen: Sequence[Fact], *, plain: bool = True) -> Composed:
    """A policy about what can be seen or something near it, never one of the held-out pairs. Each form of policy is as
    often true as not, as far as that can be: a form that is seldom true would be answered by its form. Unless `plain`,
    one that says more than which thing: where it is, how many, what else."""
    shares = np.asarray(_SHARES) * [plain or form not in _PLAIN for form in _FORMS]
    for _ in range(FORMS_TRIED):
        form = _FORMS[int(rng.choice(len(_FORMS), p=shares / shares.sum()))]
        wanted = rng.random() < 0.5
        if not wanted and rng.random() > _DENIED.get(form, 1.0):
            continue
        for _ in range(TRIES):
            near = _near(rng, seen, there=wanted or rng.random() < 0.4)
            made = None if (near.colour, near.kind) in HELD_OUT else form(rng, near, seen)
            if made is not None and made.holds(seen) == wanted:
                return made
    return Composed("fire", "", lambda fact: fact.kind == "fire")


def sample_contrast(rng: Rng, seen: Sequence[Fact]) -> list[Composed]:
    """Two policies that differ in little but what has to be read, never with one of the held-out pairs: "a dog and a
    house" and "a dog or a house"; "a ball" and "a ball, but not a red one"; something moving left and something that
    grows. None where what was drawn cannot be put so."""
    roll = rng.random()
    made: Sequence[Composed | None]
    if roll < 0.4:
        made = _and_or(rng, seen)
    elif roll < 0.7:
        made = _with_and_without_exception(rng, seen)
    else:
        made = _other_ways(rng, seen)
    return [policy for policy in made if policy is not None]


def _near(rng: Rng, seen: Sequence[Fact], *, there: bool) -> Fact:
    """One of those that can be seen, if that is wanted and there are any, or something that is not there."""
    return seen[int(rng.integers(len(seen)))] if seen and there else absent_fact(rng, seen, close=CLOSE)


def _and_or(rng: Rng, seen: Sequence[Fact]) -> list[Composed | None]:
    """Of both things, of one of them, of neither: "and" is true of the first only, "or" of the first two."""
    first, second = ((True, True), (True, False), (False, False))[int(rng.choice(3, p=[0.42, 0.34, 0.24]))]
    for _ in range(TRIES):
        near, other = _near(rng, seen, there=first), _near(rng, seen, there=second)
        names = {fact.name for fact in seen}
        fits = near.name != other.name and (near.name in names, other.name in names) == (first, second)
        if fits and not HELD_OUT & {(near.colour, near.kind), (other.colour, other.kind)}:
            pair = (near, other) if rng.random() < 0.5 else (other, near)
            return [_two(*pair, "and"), _two(*pair, "or")]
    return []


def _with_and_without_exception(rng: Rng, seen: Sequence[Fact]) -> list[Composed | None]:
    """Of a kind that is there in the colour that is not counted, or in another, or is not there."""
    excepted, there = ((True, True), (False, True), (False, False))[int(rng.choice(3, p=[0.35, 0.45, 0.2]))]
    kinds = {fact.kind for fact in seen}
    for _ in range(TRIES):
        near = _near(rng, seen, there=there)
        policy = _except(rng, near, seen)
        if policy is None or (near.kind in kinds) != there or (there and policy.holds(seen) == excepted):
            continue
        return [policy, _kind(rng, near, seen)] if excepted or rng.random() < 0.4 else [policy]
    return []


def _other_ways(rng: Rng, seen: Sequence[Fact]) -> list[Composed | None]:
    """Something that moves as one thing does, and as nothing does."""
    seen_ways = [fact.motion for fact in seen if fact.motion in MOTIONS]
    others = [motion for motion in MOTIONS if motion not in seen_ways]
    if not others or not (seen_ways or rng.random() < 0.2):
        return []
    ways = [_some_motion(rng, others), *([str(rng.choice(seen_ways))] if seen_ways else [])]
    return [_something_that(way) for way in ways]


def _thing(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    text = f"{near.subject} anywhere" if near.colour and rng.random() < 0.15 else near.subject
    return _of_one(text, _name_of(near))


def _kind(_: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    if near.kind not in (*SHAPES, *THINGS) or (near.kind == "person" and some_people(seen)):
        return None
    return _of_one(f"a {near.kind}", _kind_of(near))


def _moving(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    motion = _motion(rng, near)
    moving = Phrase(_does(motion), lambda fact: (fact.name, fact.motion) == (near.name, motion))
    return _of_one(f"{near.subject} {_does(motion)}", _name_of(near), moving)


def _placed(rng: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    if any(fact.name == near.name and fact.motion != "still" for fact in seen):
        return None
    place = near.place if near.place and rng.random() < 0.6 else str(rng.choice(list(PLACES)))
    placed = Phrase(at_place(place), lambda fact: (fact.name, fact.place) == (near.name, place))
    return _of_one(f"{near.subject} {at_place(place)}", _name_of(near), placed)


def _something(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    return _something_that(_motion(rng, near))


def _motion(rng: Rng, near: Fact) -> str:
    """How it moves, more often than not, if it does."""
    return near.motion if near.motion in MOTIONS and rng.random() < 0.6 else _some_motion(rng, MOTIONS)


def _some_motion(rng: Rng, motions: Sequence[str]) -> str:
    """One of these, growing half as readily as the others, as seldom as things grow."""
    weights = np.asarray([0.5 if motion == "grows" else 1.0 for motion in motions])
    return str(rng.choice(list(motions), p=weights / weights.sum()))


def _something_that(motion: str) -> Composed:
    return _of_one(f"something {_does(motion)}", Phrase(_does(motion), lambda fact: fact.motion == motion))


def _coloured_shape(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    colour = near.colour if near.is_shape and near.colour else str(rng.choice(SHAPE_COLOURS))
    article = "an" if colour == "orange" else "a"
    shape = Phrase(f"{colour} shape", lambda fact: fact.is_shape and fact.colour == colour)
    return _of_one(f"{article} {shape.words}", shape)


def _several(_: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    if near.kind not in (*SHAPES, *THINGS) or (near.kind == "person" and some_people(seen)):
        return None
    kind, several = _kind_of(near), plural(near.kind)
    phrases = (Phrase(several, kind.fits),)
    return Composed(f"two or more {several}", "", kind.fits, lambda same: len(same) >= 2, phrases)


def _both(rng: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    return _two(near, _another(rng, seen), "and")


def _either(rng: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    return _two(near, _another(rng, seen), "or")


def _another(rng: Rng, seen: Sequence[Fact]) -> Fact:
    return seen[int(rng.integers(len(seen)))] if seen and rng.random() < 0.6 else absent_fact(rng, seen)


def _two(near: Fact, other: Fact, joint: str) -> Composed | None:
    if other.name == near.name or (other.colour, other.kind) in HELD_OUT:
        return None
    names, needed = (near.name, other.name), 2 if joint == "and" else 1
    return Composed(
        f"{near.subject} {joint} {other.subject}",
        "",
        lambda fact: fact.name in names,
        lambda about: len({fact.name for fact in about}) >= needed,
        phrases=(_name_of(near), _name_of(other)),
    )


def _except(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed | None:
    """A kind of thing, but not in one colour."""
    if near.kind not in SHAPES:
        return None
    colour = near.colour if near.colour and rng.random() < 0.6 else str(rng.choice(SHAPE_COLOURS))
    if (colour, near.kind) in HELD_OUT:
        return None
    article = "an" if colour == "orange" else "a"
    excepted = Phrase(f"{colour} {near.kind}", lambda fact: (fact.colour, fact.kind) == (colour, near.kind))
    return Composed(
        f"a {near.kind}",
        f"{article} {excepted.words}",
        lambda fact: fact.kind == near.kind and fact.colour != colour,
        phrases=(_kind_of(near), excepted),
    )


def _of_one(text: str, *phrases: Phrase) -> Composed:
    """A policy that holds where anything fits it, to the end of its last phrase."""
    return Composed(text, "", phrases[-1].fits, phrases=phrases)


def _name_of(near: Fact) -> Phrase:
    return Phrase(near.name, lambda fact: fact.name == near.name)


def _kind_of(near: Fact) -> Phrase:
    return Phrase(near.kind, lambda fact: fact.kind == near.kind)


def _does(motion: str) -> str:
    return "that grows" if motion == "grows" else f"moving {motion}"


_FORMS: Final = (_thing, _kind, _moving, _placed, _something, _coloured_shape, _several, _both, _either, _except)
_PLAIN: Final = (_thing, _kind)
_SHARES: Final = (0.38, 0.12, 0.11, 0.11, 0.05, 0.05, 0.05, 0.05, 0.04, 0.04)
_DENIED: Final = {_several: 0.3, _coloured_shape: 0.5, _except: 0.5, _moving: 0.6, _something: 0.8}
"""How readily those that seldom hold are drawn as ones that do not; others always are."""
