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
TRIES: Final = 30


@dataclass(frozen=True, slots=True)
class Composed:
    """A policy in words, with `allowed` as its exception, and its truth: it holds where enough facts bear it out.

    `named`: the things it names, there or not.
    """

    blocked: str
    allowed: str
    bears_out: Callable[[Fact], bool]
    enough: Callable[[Sequence[Fact]], bool] = bool
    named: tuple[Fact, ...] = ()

    @property
    def policy(self) -> Policy:
        return composed_policy(self.blocked, self.allowed)

    def about(self, seen: Sequence[Fact]) -> tuple[Fact, ...]:
        """The facts that bear it out, whether or not they are enough."""
        return tuple(fact for fact in seen if self.bears_out(fact))

    def holds(self, seen: Sequence[Fact]) -> bool:
        return self.enough(self.about(seen))


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
    """A policy about what can be seen or something near it, as often true as not where that can be, never one of the
    held-out pairs. Unless `plain`, one that says more than which thing: where it is, how many, what else."""
    shares = np.asarray(_SHARES) * [plain or form not in _PLAIN for form in _FORMS]
    wanted = rng.random() < 0.5
    found = None
    for _ in range(TRIES):
        near = seen[int(rng.integers(len(seen)))] if seen and rng.random() < 0.6 else absent_fact(rng, seen)
        form = _FORMS[int(rng.choice(len(_FORMS), p=shares / shares.sum()))]
        made = None if (near.colour, near.kind) in HELD_OUT else form(rng, near, seen)
        found = made or found
        if made is not None and made.holds(seen) == wanted:
            return made
    return found or Composed("fire", "", lambda fact: fact.kind == "fire")


def sample_contrast(rng: Rng, seen: Sequence[Fact]) -> list[Composed]:
    """Two policies that differ in little but what has to be read, never with one of the held-out pairs: "a dog and a
    house" and "a dog or a house"; "a ball" and "a ball, but not a red one"; something moving left and something that
    grows. None where what was drawn cannot be put so."""
    near = seen[int(rng.integers(len(seen)))] if seen and rng.random() < 0.7 else absent_fact(rng, seen)
    if (near.colour, near.kind) in HELD_OUT:
        return []
    roll = rng.random()
    made: list[Composed | None]
    if roll < 0.5:
        other = _another(rng, seen)
        made = [_two(near, other, "and"), _two(near, other, "or")]
    elif roll < 0.75:
        made = [_except(rng, near, seen), _kind(rng, near, seen)]
    else:
        one = near.motion if near.motion in MOTIONS else str(rng.choice(MOTIONS))
        other_way = str(rng.choice([motion for motion in MOTIONS if motion != one]))
        made = [_something_that(one), _something_that(other_way)]
    return [policy for policy in made if policy is not None]


def _thing(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    text = f"{near.subject} anywhere" if near.colour and rng.random() < 0.15 else near.subject
    return Composed(text, "", lambda fact: fact.name == near.name, named=(near,))


def _kind(_: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    if near.kind not in (*SHAPES, *THINGS) or (near.kind == "person" and some_people(seen)):
        return None
    return Composed(f"a {near.kind}", "", lambda fact: fact.kind == near.kind)


def _moving(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    motion = _motion(rng, near)
    text = f"{near.subject} {_does(motion)}"
    return Composed(text, "", lambda fact: (fact.name, fact.motion) == (near.name, motion), named=(near,))


def _placed(rng: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    if any(fact.name == near.name and fact.motion != "still" for fact in seen):
        return None
    place = near.place if near.place and rng.random() < 0.6 else str(rng.choice(list(PLACES)))
    text = f"{near.subject} {at_place(place)}"
    return Composed(text, "", lambda fact: (fact.name, fact.place) == (near.name, place), named=(near,))


def _something(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    return _something_that(_motion(rng, near))


def _motion(rng: Rng, near: Fact) -> str:
    """How it moves, more often than not, if it does."""
    return near.motion if near.motion in MOTIONS and rng.random() < 0.6 else str(rng.choice(MOTIONS))


def _something_that(motion: str) -> Composed:
    return Composed(f"something {_does(motion)}", "", lambda fact: fact.motion == motion)


def _coloured_shape(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed:
    colour = near.colour if near.is_shape and near.colour else str(rng.choice(SHAPE_COLOURS))
    article = "an" if colour == "orange" else "a"
    return Composed(f"{article} {colour} shape", "", lambda fact: fact.is_shape and fact.colour == colour)


def _several(_: Rng, near: Fact, seen: Sequence[Fact]) -> Composed | None:
    if near.kind not in (*SHAPES, *THINGS) or (near.kind == "person" and some_people(seen)):
        return None
    return Composed(
        f"two or more {plural(near.kind)}", "", lambda fact: fact.kind == near.kind, lambda same: len(same) >= 2
    )


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
        named=(near, other),
    )


def _except(rng: Rng, near: Fact, _: Sequence[Fact]) -> Composed | None:
    """A kind of thing, but not in one colour."""
    if near.kind not in SHAPES:
        return None
    colour = near.colour if near.colour and rng.random() < 0.6 else str(rng.choice(SHAPE_COLOURS))
    if (colour, near.kind) in HELD_OUT:
        return None
    article = "an" if colour == "orange" else "a"
    return Composed(
        f"a {near.kind}",
        f"{article} {colour} {near.kind}",
        lambda fact: fact.kind == near.kind and fact.colour != colour,
    )


def _does(motion: str) -> str:
    return "that grows" if motion == "grows" else f"moving {motion}"


_FORMS: Final = (_thing, _kind, _moving, _placed, _something, _coloured_shape, _several, _both, _either, _except)
_PLAIN: Final = (_thing, _kind)
_SHARES: Final = (0.38, 0.12, 0.11, 0.11, 0.05, 0.05, 0.05, 0.05, 0.04, 0.04)
