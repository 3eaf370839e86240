"""What is true of a clip, derived from its scenes alone: names, motion, place, policies, captions.

A `Fact` is one actor as a person would speak of it. `facts_between` gives the facts of what can be seen at a set of
sampled times, which is all that a model that sees those frames could know. Pure; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vidlm.toyworld.scene import HAZARDS, SHAPES, Actor, Clip, Scene

POLICIES_OF: Final[dict[str, tuple[str, ...]]] = {
    "knife": ("weapons.shown",),
    "gun": ("weapons.shown",),
    "person_with_knife": ("weapons.shown", "weapons.in_hand"),
    "person_with_gun": ("weapons.shown", "weapons.in_hand"),
    "fire": ("violence.explosion_fire",),
    "explosion": ("violence.explosion_fire",),
    "blood": ("graphic.blood_gore",),
    "fight": ("violence.fight",),
    "cigarette": ("regulated.tobacco",),
    "person_smoking": ("regulated.tobacco",),
    "bottle": ("regulated.alcohol",),
}
"""Hazard -> the policies of the built-in taxonomy that hold while it can be seen."""

KNOWN_POLICIES: Final = tuple(dict.fromkeys(policy for policies in POLICIES_OF.values() for policy in policies))

_HAZARD_NAMES: Final[dict[str, str]] = {
    "person_with_knife": "person with a knife",
    "person_with_gun": "person with a gun",
    "person_smoking": "person smoking",
}

WAYS: Final = ("left", "right", "up", "down")
MOVES: Final = 0.06
"""An actor whose path ends so far from where it began "moves"; samplers stay well away from the bound."""
GROWS: Final = 1.5
"""A still actor that becomes this much larger or more "grows"; samplers stay well away from the bound."""
SEEN_TO_MOVE: Final = 0.04
SEEN_TO_GROW: Final = 1.1
"""How much of either has to be seen to be known: some five pixels of a frame of 112."""
DARK: Final = 0.2
"""A scene with less of its light than this shows nothing: a frame at which a fade begins is black."""
COLUMNS: Final = (0.35, 0.65)
"""Where the frame's three columns meet: what is first seen together is told column by column, from the top."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One actor: what, which colour, how it moves, where (still ones), and when, `[start_s, end_s)`."""

    kind: str
    colour: str | None
    motion: str  # "left", "right", "up", "down", "still", "grows"
    place: str | None  # "left", "right", "top", "bottom", "middle"; None while it moves
    start_s: float
    end_s: float
    x: float  # where its path begins, 0..1; what tells it from its namesakes

    @property
    def noun(self) -> str:
        """ "circle", "person with a knife" """
        return _HAZARD_NAMES.get(self.kind, self.kind)

    @property
    def name(self) -> str:
        """ "red circle", "fire" """
        return f"{self.colour} {self.noun}" if self.colour else self.noun

    @property
    def subject(self) -> str:
        """The name with its article: "a red circle", "blood"."""
        if self.kind in ("blood", "fire"):
            return self.name
        return with_article(self.name)

    @property
    def definite(self) -> str:
        return f"the {self.name}"

    @property
    def policies(self) -> tuple[str, ...]:
        return POLICIES_OF.get(self.kind, ())

    @property
    def is_shape(self) -> bool:
        return self.kind in SHAPES

    @property
    def is_hazard(self) -> bool:
        return self.kind in HAZARDS

    def same_actor(self, other: Fact) -> bool:
        """Whether both speak of one actor, whatever was seen of it."""
        return (self.kind, self.colour, self.x) == (other.kind, other.colour, other.x)

    def sentence(self) -> str:
        """One sentence of a caption."""
        subject = self.subject[0].upper() + self.subject[1:]
        if self.motion == "grows":
            return f"{subject} grows."
        if self.motion == "still":
            return f"{subject} is {at_place(self.place)}."
        return f"{subject} moves {self.motion}."


def with_article(name: str) -> str:
    """ "a red circle", "an orange star" """
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def at_place(place: str | None) -> str:
    """ "on the left", "at the top", "in the middle" """
    if place in ("left", "right"):
        return f"on the {place}"
    return "in the middle" if place == "middle" else f"at the {place}"


def place_of(x: float, y: float) -> str:
    """The named place of a point in the unit frame: the nearest edge, or the middle."""
    dx, dy = x - 0.5, y - 0.5
    if max(abs(dx), abs(dy)) < 0.13:
        return "middle"
    if abs(dx) >= abs(dy):
        return "left" if dx < 0 else "right"
    return "top" if dy < 0 else "bottom"


CLEAR: Final = 0.05
"""How far from where a place's name changes nobody doubts it, as a share of the frame."""


def has_clear_place(x: float, y: float) -> bool:
    """Whether a point's place has one name: the same a little to every side. A corner is both "left" and "top"."""
    return len({place_of(x + dx, y + dy) for dx, dy in ((0, 0), (CLEAR, 0), (-CLEAR, 0), (0, CLEAR), (0, -CLEAR))}) == 1


def is_shown(scene: Scene, actor: Actor, time_s: float) -> bool:
    """Whether a frame at a time shows one of the scene's actors."""
    return actor.start_s <= time_s < actor.end_s and scene.light(time_s) >= DARK


def fact_of(actor: Actor) -> Fact:
    """The truth about one actor."""
    (_, x0, y0), (_, x1, y1) = actor.path[0], actor.path[-1]
    dx, dy = x1 - x0, y1 - y0
    place: str | None = None
    if max(abs(dx), abs(dy)) < MOVES:
        motion = "grows" if actor.grow >= GROWS else "still"
        place = place_of(x0, y0)
    elif abs(dx) >= abs(dy):
        motion = "left" if dx < 0 else "right"
    else:
        motion = "up" if dy < 0 else "down"
    return Fact(actor.kind, actor.colour, motion, place, actor.start_s, actor.end_s, x0)


def fact_seen(actor: Actor, first_s: float, last_s: float) -> Fact:
    """What is known of an actor by who sees it from `first_s` to `last_s`: that it stands there, where it is seen once
    or has arrived before."""
    whole = fact_of(actor)
    x, y = actor.place(first_s)
    later_x, later_y = actor.place(last_s)
    if whole.motion == "grows":
        known = actor.height(last_s) >= SEEN_TO_GROW * actor.height(first_s)
    else:
        known = max(abs(later_x - x), abs(later_y - y)) >= SEEN_TO_MOVE
    return whole if known or whole.motion == "still" else replace(whole, motion="still", place=place_of(x, y))


def facts_of(actors: Iterable[Actor]) -> list[Fact]:
    """The truth about actors: by time of entry, then column by column."""
    found = [(actor.start_s, *actor.place(actor.start_s), fact_of(actor)) for actor in actors]
    return _in_order(found)


def facts(clip: Clip) -> list[Fact]:
    """Everything in the clip, by time of entry, then column by column."""
    return facts_of(actor for _, actor in clip.cast())


def _in_order(found: Iterable[tuple[float, float, float, Fact]]) -> list[Fact]:
    """Facts by when and where (x, y) they are first seen. From left to right alone would be a guess wherever one thing
    stands above another."""

    def key(item: tuple[float, float, float, Fact]) -> tuple[float, int, float]:
        first_s, x, y, _ = item
        return first_s, sum(x > edge for edge in COLUMNS), y

    return [fact for *_, fact in sorted(found, key=key)]


def facts_between(clip: Clip, times_s: Sequence[float] | npt.NDArray[np.float64]) -> list[Fact]:
    """What can be seen at `times_s`, in the order it is first seen (then column by column).

    An actor's interval is cut to the sampled times: it starts at the first of them that shows it. So is its motion
    (`fact_seen`): whoever sees somebody stand, or sees them once, says where. A time that comes twice counts once.
    """
    times = np.unique(np.asarray(times_s, dtype=np.float64))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.5
    seen: list[tuple[float, float, float, Fact]] = []
    for scene, actor in clip.cast():
        visible = [time_s for time_s in times.tolist() if is_shown(scene, actor, time_s)]
        if visible:
            first_s, last_s = visible[0], visible[-1]
            fact = replace(fact_seen(actor, first_s, last_s), start_s=first_s, end_s=last_s + step)
            seen.append((first_s, *actor.place(first_s), fact))
    return _in_order(seen)


def caption(seen: Sequence[Fact]) -> str:
    """The caption of a part in which `seen` can be seen."""
    return " ".join(fact.sentence() for fact in seen) if seen else "Nothing happens."


def to_document(clip: Clip) -> dict[str, Any]:
    """The clip's truth as plain JSON types."""
    return {
        "duration_s": round(clip.duration_s, 3),
        "scenes": [
            {
                "start_s": round(scene.start_s, 3),
                "end_s": round(scene.end_s, 3),
                "words": scene.words[0] if scene.words else None,
            }
            for scene in clip.scenes
        ],
        "facts": [
            {
                "name": fact.name,
                "kind": fact.kind,
                "colour": fact.colour,
                "motion": fact.motion,
                "place": fact.place,
                "start_s": round(fact.start_s, 3),
                "end_s": round(fact.end_s, 3),
                "policies": list(fact.policies),
            }
            for fact in facts(clip)
        ],
    }


def some_people(seen: Sequence[Fact]) -> bool:
    """Whether hazards show people, whom "the person" might mean."""
    return any(fact.kind in ("fight", "person_with_knife", "person_with_gun", "person_smoking") for fact in seen)
