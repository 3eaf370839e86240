"""Random clips of the toy world, deterministic by seed. Knows what may happen; not how it is drawn or asked about.

The sampler keeps truth unambiguous: still actors stand well inside one named place, movers cover a visible distance,
whatever grows at least doubles, and colours stand out from the background.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.toyworld.scene import COLOURS, HAZARDS, SHAPES, THINGS, Actor, Clip, Scene
from vidlm.toyworld.truth import has_clear_place

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]

TRAIN_SEEDS: Final = range(0, 1 << 40)
EVAL_SEEDS: Final = range(1 << 40, 1 << 41)
"""Clips for evaluation come from here and are never trained on."""

SHAPE_COLOURS: Final = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
THING_COLOURS: Final[dict[str, tuple[str | None, ...]]] = {
    "car": ("red", "green", "blue", "yellow", "white", "black"),
    "house": ("red", "blue", "yellow", "white"),
    "ball": ("red", "green", "blue", "yellow", "orange"),
    "person": ("red", "green", "blue", "yellow", "purple"),
    "dog": ("brown", "black", "white"),
    "tree": (None,),
}
LOOK_ALIKES: Final = (("triangle", "grey"), ("star", "orange"), ("star", "yellow"), ("circle", "red"), ("cross", "red"))
"""Harmless things that share a hazard's shape or colour."""

HELD_OUT: Final = frozenset(
    {("green", "star"), ("purple", "cross"), ("yellow", "triangle"), ("blue", "ring"), ("red", "car")}
)
"""Pairs that are drawn and captioned, but of which training never asks by name whether one is there: policies "composed
of known words"."""

MEETINGS: Final = 0.2
"""Of scenes with different actors, how many try to let one run into another."""

PLACES: Final[dict[str, tuple[float, float]]] = {
    "left": (0.2, 0.5),
    "right": (0.8, 0.5),
    "top": (0.5, 0.22),
    "bottom": (0.5, 0.78),
    "middle": (0.5, 0.5),
}
WORDS: Final = ("SAFE", "NO WEAPONS", "ALLOWED", "OK", "HELLO", "NEWS", "LIVE", "KNIFE", "FIRE", "GUN", "STOP", "PLAY")

SCENES_S: Final = (3.0, 8.0)
"""How long scenes are."""


def sample_clip(rng: Rng, *, duration_s: float, words: float = 0.15) -> Clip:
    """A clip of several scenes of 3 to 8 s with hard cuts and fades. `words` is the share of scenes with lettering."""
    scenes: list[Scene] = []
    start_s = 0.0
    while start_s < duration_s - 1e-6:
        length_s = min(round(float(rng.uniform(*SCENES_S)) * 2) / 2, duration_s - start_s)
        if duration_s - start_s - length_s < 2.5:
            length_s = duration_s - start_s
        scene = sample_scene(rng, start_s, start_s + length_s, words=words)
        if scenes and rng.random() < 0.25:
            scene = dataclasses.replace(scene, fade_in_s=0.5)
        scenes.append(scene)
        start_s += length_s
    return with_camera(rng, duration_s, tuple(scenes))


def with_camera(rng: Rng, duration_s: float, scenes: tuple[Scene, ...]) -> Clip:
    """The scenes as a camera of some quality sees them."""
    drift = rng.uniform(0.85, 1.1, size=2) if rng.random() < 0.4 else np.ones(2)
    return Clip(
        duration_s=duration_s,
        scenes=scenes,
        noise=float(rng.uniform(0, 9)),
        noise_seed=int(rng.integers(1 << 31)),
        brightness=(float(drift[0]), float(drift[1])),
        shake=float(rng.uniform(0, 0.012)) if rng.random() < 0.3 else 0.0,
    )


def sample_scene(rng: Rng, start_s: float, end_s: float, *, words: float = 0.15) -> Scene:
    """One scene on `[start_s, end_s)` with nought to four actors."""
    background = _background(rng)
    if rng.random() < 0.16:
        actors = _crowd(rng, start_s, end_s, background)
    else:
        actors = _company(rng, start_s, end_s, background)
    lettering = None
    if rng.random() < words:
        lettering = (str(rng.choice(WORDS)), float(rng.uniform(0.25, 0.75)), float(rng.choice([0.1, 0.9])))
    return Scene(
        start_s=start_s,
        end_s=end_s,
        background=background,
        actors=tuple(actors),
        texture=float(rng.uniform(0, 0.5)) if rng.random() < 0.5 else 0.0,
        texture_seed=int(rng.integers(1 << 31)),
        fade_in_s=0.0,
        words=lettering,
    )


Background = tuple[tuple[float, float, float], tuple[float, float, float]]


def _background(rng: Rng) -> Background:
    """A vertical gradient between two muted neighbouring colours."""
    level = float(rng.choice([70.0, 110.0, 150.0, 190.0]))
    top = np.clip(level + rng.uniform(-35, 35, 3), 30, 230)
    bottom = np.clip(top + rng.uniform(-25, 25, 3), 30, 230)
    return (float(top[0]), float(top[1]), float(top[2])), (float(bottom[0]), float(bottom[1]), float(bottom[2]))


def _stands_out(colour: str | None, background: Background) -> bool:
    if colour is None:
        return True
    rgb = np.asarray(COLOURS[colour], dtype=float)
    return all(float(np.abs(rgb - np.asarray(side)).max()) > 60 for side in background)


def _kind_and_colour(rng: Rng, background: Background, category: str) -> tuple[str, str | None]:
    while True:
        colour: str | None
        if category == "hazard":
            return str(rng.choice(HAZARDS)), None
        if category == "look-alike":
            kind, colour = LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))]
        elif category == "shape":
            kind, colour = str(rng.choice(SHAPES)), str(rng.choice(SHAPE_COLOURS))
        else:
            kind = str(rng.choice(THINGS))
            colours = THING_COLOURS[kind]
            colour = colours[int(rng.integers(len(colours)))]
        if _stands_out(colour, background):
            return kind, colour


def _category(rng: Rng) -> str:
    return str(rng.choice(["shape", "thing", "hazard", "look-alike"], p=[0.36, 0.24, 0.32, 0.08]))


def _company(rng: Rng, start_s: float, end_s: float, background: Background) -> list[Actor]:
    """Different actors that come and go."""
    count = int(rng.choice([0, 1, 2, 3, 4], p=[0.05, 0.27, 0.36, 0.22, 0.1]))
    actors: list[Actor] = []
    names: set[tuple[str, str | None]] = set()
    for _ in range(count):
        kind, colour = _kind_and_colour(rng, background, _category(rng))
        if (kind, colour) in names:
            continue
        size = float(rng.uniform(0.42, 0.62) if kind in HAZARDS else rng.uniform(0.26, 0.48))
        for _ in range(8):
            actor = _actor(rng, kind, colour, size, _stay(rng, start_s, end_s))
            if all(_apart(actor, other) for other in actors):
                names.add((kind, colour))
                actors.append(actor)
                break
    if rng.random() < MEETINGS:
        actors += _visitor(rng, actors, names, background)
    return actors


def _visitor(rng: Rng, actors: list[Actor], names: set[tuple[str, str | None]], background: Background) -> list[Actor]:
    """Something that comes along, runs into one that stands and stays there; nothing where there is no room."""
    standing = [actor for actor in actors if len(actor.path) == 1 and actor.grow == 1 and _lasts(actor) >= 3]
    if not standing:
        return []
    host = standing[int(rng.integers(len(standing)))]
    kind, colour = _kind_and_colour(rng, background, "thing" if rng.random() < 0.5 else "shape")
    size = float(rng.uniform(0.24, 0.34))
    if (kind, colour) in names:
        return []
    _, x, y = host.path[0]
    gap, travel = 0.47 * (size + host.size), float(rng.uniform(0.2, 0.3))
    meets_s = host.start_s + round(_lasts(host) * float(rng.uniform(0.5, 0.8)) * 2) / 2
    for across, along in rng.permutation([(-1, 0), (1, 0), (0, -1), (0, 1)]):
        touch = (x + float(across) * gap, y + float(along) * gap)
        begin = (touch[0] + float(across) * travel, touch[1] + float(along) * travel)
        path = ((host.start_s, *begin), (meets_s, *touch), (host.end_s, *touch))
        visitor = Actor(kind, colour, size, host.start_s, host.end_s, path)
        if all(0.08 <= part <= 0.92 for part in begin) and all(_apart(visitor, other) for other in actors):
            return [visitor]
    return []


def _lasts(actor: Actor) -> float:
    return actor.end_s - actor.start_s


def _crowd(rng: Rng, start_s: float, end_s: float, background: Background) -> list[Actor]:
    """Two to four of a kind, all there for the whole scene, each in a place that has one name: something to count."""
    category = "shape" if rng.random() < 0.7 else "thing"
    kind, colour = _kind_and_colour(rng, background, category)
    size = float(rng.uniform(0.22, 0.32))
    actors: list[Actor] = []
    for _ in range(int(rng.integers(2, 5))):
        for _ in range(24):
            place = (float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.18, 0.82)))
            actor = Actor(kind, colour, size, start_s, end_s, ((start_s, *place),))
            if has_clear_place(*place) and all(_apart(actor, other) for other in actors):
                actors.append(actor)
                break
    return actors


def with_odd_one(rng: Rng, scene: Scene) -> Scene:
    """A scene in which one of a crowd is another shape or thing; any other scene as it is."""
    first, *others = scene.actors or (None,)
    if first is None or not any((first.kind, first.colour) == (other.kind, other.colour) for other in others):
        return scene
    kind, colour = _kind_and_colour(rng, scene.background, "shape" if rng.random() < 0.7 else "thing")
    number = int(rng.integers(len(scene.actors)))
    odd = dataclasses.replace(scene.actors[number], kind=kind, colour=colour)
    return dataclasses.replace(scene, actors=(*scene.actors[:number], odd, *scene.actors[number + 1 :]))


def with_other_words(rng: Rng, scene: Scene) -> Scene:
    """A scene whose lettering says something else, of one or two words that mean nothing; one without as it is."""
    if scene.words is None:
        return scene
    letters = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!?.")
    words = ["".join(rng.choice(letters, size=int(rng.integers(2, 7)))) for _ in range(int(rng.integers(1, 3)))]
    return dataclasses.replace(scene, words=(" ".join(words), *scene.words[1:]))


def _stay(rng: Rng, start_s: float, end_s: float) -> tuple[float, float]:
    """When an actor is there: half of them all the time, the rest for a part of at least 1.5 s, on half seconds."""
    length_s = end_s - start_s
    if rng.random() < 0.5 or length_s < 2.5:
        return start_s, end_s
    first, last = 0.0, length_s
    if rng.random() < 0.6:
        first = round(float(rng.uniform(0.5, length_s - 1.5)) * 2) / 2
    if rng.random() < 0.6:
        last = round(float(rng.uniform(first + 1.5, length_s)) * 2) / 2
    return start_s + first, min(end_s, start_s + last)


def _actor(rng: Rng, kind: str, colour: str | None, size: float, stay: tuple[float, float]) -> Actor:
    """An actor that moves, grows or stands while it is there, on `[stay[0], stay[1])`."""
    start_s, end_s = stay
    motion = str(rng.choice(["left", "right", "up", "down", "still", "grows"], p=[0.14, 0.14, 0.14, 0.14, 0.36, 0.08]))
    if kind in ("tree", "house", "fire", "explosion", "fight", "blood") and rng.random() < 0.7:
        motion = "still"
    angle = float(rng.uniform(-0.5, 0.5)) if kind in (*SHAPES, "knife", "gun", "cigarette", "bottle") else 0.0
    if motion in ("still", "grows"):
        x, y = PLACES[str(rng.choice(list(PLACES)))]
        x, y = x + float(rng.uniform(-0.05, 0.05)), y + float(rng.uniform(-0.05, 0.05))
        grow = float(rng.uniform(1.9, 2.4)) if motion == "grows" else 1.0
        return Actor(
            kind, colour, size * (0.62 if grow > 1 else 1.0), start_s, end_s, ((start_s, x, y),), grow=grow, angle=angle
        )
    length_s = end_s - start_s
    travel = min(0.6, length_s * float(rng.uniform(0.13, 0.3)))
    near = float(rng.uniform(0.18, 0.84 - travel))
    across = float(rng.uniform(0.25, 0.75))
    begin, finish = (near, near + travel) if motion in ("right", "down") else (near + travel, near)
    here, there = (
        ((begin, across), (finish, across)) if motion in ("left", "right") else ((across, begin), (across, finish))
    )
    return Actor(kind, colour, size, start_s, end_s, ((start_s, *here), (end_s, *there)), angle=angle)


def _apart(one: Actor, other: Actor) -> bool:
    """Whether two actors never hide one another while both are there."""
    begin, end = max(one.start_s, other.start_s), min(one.end_s, other.end_s)
    if begin >= end:
        return True
    times = np.linspace(begin, end, 7)
    gap = np.hypot(_along(one, times, 1) - _along(other, times, 1), _along(one, times, 2) - _along(other, times, 2))
    reach = 0.45 * (one.size * one.grow + other.size * other.grow)
    return bool((gap > reach).all())


def _along(actor: Actor, times: Floats, axis: int) -> Floats:
    """One coordinate of an actor's path at some times."""
    return np.asarray(np.interp(times, [key[0] for key in actor.path], [key[axis] for key in actor.path]))
