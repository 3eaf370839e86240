"""The demo's eight clips, written out by hand: what each shows and what kind of file it becomes.

Descriptions only; ``files`` writes them to disk. Actors keep to what the embedded model was trained on: 0.26 to 0.6
of the frame's shorter side, still ones well inside a named place, movers that cover a visible distance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vidlm.toyworld.encode import Form
from vidlm.toyworld.scene import RGB, Actor, Clip, Scene

_SKY: tuple[RGB, RGB] = ((150.0, 178.0, 205.0), (128.0, 150.0, 140.0))
_SAND: tuple[RGB, RGB] = ((190.0, 180.0, 160.0), (170.0, 158.0, 136.0))
_DUSK: tuple[RGB, RGB] = ((96.0, 92.0, 122.0), (116.0, 102.0, 112.0))
_MEADOW: tuple[RGB, RGB] = ((160.0, 186.0, 172.0), (140.0, 160.0, 132.0))
_BACKDROPS = (_SKY, _SAND, _DUSK, _MEADOW)

_LEFT, _RIGHT, _MIDDLE, _BOTTOM = (0.22, 0.5), (0.78, 0.5), (0.5, 0.5), (0.5, 0.76)
_Point = tuple[float, float]


@dataclass(frozen=True)
class Demo:
    """One clip of the demo and the file it is to become; ``question`` is one that its frames can answer."""

    name: str
    form: Form
    clip: Clip
    question: str


def demos() -> tuple[Demo, ...]:
    """All eight: an ordinary one, three with hazards, a silent, a portrait, a variable frame rate, and a minute."""
    wide = Form(".mp4", "h264", 240, 320, 15)
    old, web = replace(wide, codec="mpeg4"), Form(".webm", "vp9", 240, 320, 12)
    silent, tall = Form(".mp4", "h264", 180, 320, 10, audio=False), Form(".mp4", "h264", 320, 240, 24)
    varying, long = replace(wide, fps=30, variable_fps=True), replace(wide, fps=12)
    return (
        Demo("street", wide, _street(), "Which way does the red car move?"),
        Demo("kitchen-knife", wide, _kitchen(), "When does the person with a knife appear?"),
        Demo("campfire", web, _campfire(), "When can the fire be seen?"),
        Demo("brawl", old, _brawl(), "When can the fight be seen?"),
        Demo("silent-shapes", silent, _shapes(), "What colour is the star?"),
        Demo("portrait", tall, _portrait(), "Where is the black dog?"),
        Demo("stutter", varying, _stutter(), "Which way does the yellow ball move?"),
        Demo("minute", long, _minute(), "When does the person with a gun appear?"),
    )


def _still(kind: str, colour: str | None, place: _Point, span: tuple[float, float], size: float = 0.45) -> Actor:
    return Actor(kind, colour, size, *span, ((span[0], *place),))


def _mover(kind: str, colour: str | None, way: tuple[_Point, _Point], start_s: float, end_s: float) -> Actor:
    return Actor(kind, colour, 0.4, start_s, end_s, ((start_s, *way[0]), (end_s, *way[1])))


def _clip(*scenes: Scene, noise: float = 3.0, shake: float = 0.0, brightness: tuple[float, float] = (1.0, 1.0)) -> Clip:
    return Clip(scenes[-1].end_s, scenes, noise, noise_seed=len(scenes), brightness=brightness, shake=shake)


def _scene(start_s: float, end_s: float, look: int, *actors: Actor, words: str | None = None, fade: float = 0) -> Scene:
    lettering = (words, 0.5, 0.1) if words else None
    return Scene(start_s, end_s, _BACKDROPS[look], actors, 0.2, texture_seed=look, fade_in_s=fade, words=lettering)


def _street() -> Clip:
    car = _mover("car", "red", ((0.2, 0.7), (0.8, 0.7)), 0, 6)
    return _clip(_scene(0, 6, 0, _still("tree", None, (0.5, 0.24), (0, 6), 0.36), car))


def _kitchen() -> Clip:
    calm = _scene(0, 4, 1, _still("house", "blue", _LEFT, (0, 4)), _still("ball", "green", _RIGHT, (0, 4), 0.36))
    armed = _still("person_with_knife", None, _MIDDLE, (5, 8), 0.6)
    return _clip(calm, _scene(4, 8, 3, armed, words="SAFE"), _scene(8, 11, 0, _still("dog", "brown", _MIDDLE, (8, 11))))


def _campfire() -> Clip:
    burning = _still("fire", None, _LEFT, (2, 8), 0.55)
    return _clip(_scene(0, 8, 2, burning, _still("star", "white", _RIGHT, (0, 8), 0.36)), noise=5.0)


def _brawl() -> Clip:
    first = _scene(0, 4, 3, _still("tree", None, _MIDDLE, (0, 4)))
    return _clip(first, _scene(4, 9, 1, _still("fight", None, _MIDDLE, (4, 9), 0.6)), shake=0.006)


def _shapes() -> Clip:
    star = _mover("star", "orange", ((0.5, 0.25), (0.5, 0.75)), 1, 5)
    return _clip(_scene(0, 6, 2, _still("square", "green", _LEFT, (0, 6), 0.36), star), noise=0.0)


def _portrait() -> Clip:
    climbing = _mover("person", "red", ((0.5, 0.76), (0.5, 0.24)), 0, 4)
    return _clip(_scene(0, 4, 0, climbing), _scene(4, 8, 3, _still("dog", "black", _BOTTOM, (4, 8)), fade=0.5))


def _stutter() -> Clip:
    rolling = _mover("ball", "yellow", ((0.8, 0.6), (0.2, 0.6)), 0, 6)
    return _clip(_scene(0, 6, 2, rolling), brightness=(0.9, 1.05))


def _minute() -> Clip:
    """Ten scenes; two of them hold a hazard, and one is lettered with the name of a hazard that is not there."""
    scenes = (
        _scene(0, 6, 0, _still("house", "red", _MIDDLE, (0, 6)), words="NEWS"),
        _scene(6, 12, 1, _mover("car", "blue", ((0.78, 0.6), (0.22, 0.6)), 6, 12)),
        _scene(
            12,
            18,
            2,
            _still("circle", "yellow", _LEFT, (12, 18), 0.36),
            _still("ring", "white", _RIGHT, (14, 18), 0.36),
        ),
        _scene(18, 24, 3, _mover("person", "purple", ((0.25, 0.5), (0.75, 0.5)), 18, 24), fade=0.5),
        _scene(24, 30, 0, _still("person_with_gun", None, _MIDDLE, (25, 29), 0.6)),
        _scene(30, 36, 1, _still("tree", None, _LEFT, (30, 36)), _still("dog", "black", _RIGHT, (30, 36), 0.36)),
        _scene(36, 42, 2, _mover("triangle", "orange", ((0.5, 0.75), (0.5, 0.25)), 36, 42), words="FIRE"),
        _scene(42, 48, 3, _still("explosion", None, _MIDDLE, (43, 46), 0.55)),
        _scene(48, 54, 0, _mover("ball", "green", ((0.2, 0.5), (0.8, 0.5)), 48, 54), fade=0.5),
        _scene(54, 60, 1, _still("cross", "blue", _MIDDLE, (54, 60), 0.4)),
    )
    return _clip(*scenes, noise=2.5)
