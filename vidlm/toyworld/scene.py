"""What a toy clip is made of: plain values, and no opinion on how they look or what is true of them.

``draw`` turns these values into pixels, the sampler makes them up and the truth is read off them, so the three can
never disagree about what a clip holds. Times are seconds of the clip, places are fractions of the frame (0, 0 is the
top left corner), sizes are fractions of the frame's shorter side. Knows numbers and names; imports only the standard
library.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

RGB = tuple[float, float, float]
"""Red, green and blue, each 0 to 255."""

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
THINGS = ("car", "tree", "house", "ball", "person", "dog")
HAZARDS = (
    "knife",
    "gun",
    "fire",
    "explosion",
    "blood",
    "cigarette",
    "bottle",
    "fight",
    "person_with_knife",
    "person_with_gun",
    "person_smoking",
)
KINDS = SHAPES + THINGS + HAZARDS

COLOURS: dict[str, RGB] = {
    "red": (225.0, 35.0, 35.0),
    "green": (35.0, 165.0, 55.0),
    "blue": (40.0, 80.0, 225.0),
    "yellow": (250.0, 225.0, 40.0),
    "purple": (135.0, 45.0, 175.0),
    "orange": (250.0, 135.0, 15.0),
    "white": (248.0, 248.0, 248.0),
    "black": (18.0, 18.0, 20.0),
    "grey": (130.0, 132.0, 135.0),
    "brown": (120.0, 70.0, 30.0),
    "pink": (255.0, 140.0, 195.0),
}


@dataclass(frozen=True)
class Actor:
    """One thing on the screen.

    ``kind`` is one of KINDS and ``colour`` a name of COLOURS, or None for the kind's own look. ``size`` is the height
    as a fraction of the frame's shorter side; it changes linearly to ``size * grow`` over ``[start_s, end_s)``, the
    span in which the actor is visible. ``path`` holds at least one keyframe ``(time_s, x, y)`` of its centre, in order
    of time; ``angle`` turns it clockwise, in radians.
    """

    kind: str
    colour: str | None
    size: float
    start_s: float
    end_s: float
    path: tuple[tuple[float, float, float], ...]
    grow: float = 1.0
    angle: float = 0.0

    def height(self, time_s: float) -> float:
        """Its size at a time, as a fraction of the frame's shorter side."""
        share = (time_s - self.start_s) / max(self.end_s - self.start_s, 1e-6)
        return self.size * (1 + (self.grow - 1) * share)

    def place(self, time_s: float) -> tuple[float, float]:
        """Centre (x, y) at a time: straight lines between keyframes, the first or last keyframe outside them."""
        after = bisect_right(self.path, time_s, key=lambda key: key[0])
        if after in (0, len(self.path)):
            _, x, y = self.path[min(after, len(self.path) - 1)]
            return x, y
        (t0, x0, y0), (t1, x1, y1) = self.path[after - 1], self.path[after]
        share = (time_s - t0) / (t1 - t0)
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


@dataclass(frozen=True)
class Scene:
    """One continuous shot, shown in ``[start_s, end_s)``; its actors are drawn in order, the last one on top.

    ``background`` is a vertical gradient (colour at the top, at the bottom), roughened by a low-frequency texture of
    strength ``texture`` (0 to 1). The scene rises out of black over ``fade_in_s``. ``words`` are (text, x, y), x and y
    the centre of the text.
    """

    start_s: float
    end_s: float
    background: tuple[RGB, RGB]
    actors: tuple[Actor, ...]
    texture: float
    texture_seed: int
    fade_in_s: float = 0.0
    words: tuple[str, float, float] | None = None

    def light(self, time_s: float) -> float:
        """How much of its brightness the scene has at a time, 0 (black, as a fade begins) to 1."""
        if self.fade_in_s <= 0:
            return 1.0
        return min(max((time_s - self.start_s) / self.fade_in_s, 0.0), 1.0)


@dataclass(frozen=True)
class Clip:
    """Scenes that tile ``[0, duration_s)``, and what the camera does to all of them.

    ``noise`` is the sigma of the sensor's noise in grey levels, ``brightness`` the gain at the start and at the end
    (linear between), ``shake`` the sigma of the camera's wander as a fraction of the frame's width.
    """

    duration_s: float
    scenes: tuple[Scene, ...]
    noise: float
    noise_seed: int
    brightness: tuple[float, float]
    shake: float

    def cast(self) -> Iterator[tuple[Scene, Actor]]:
        """Every actor with its scene, in drawing order."""
        return ((scene, actor) for scene in self.scenes for actor in scene.actors)
