"""How the hazards of the built-in policies are drawn: plainly, by procedure, nothing photographic or disturbing.

Flames, smoke, blows and blasts move: they are functions of the seconds since the actor appeared. Coordinates are those
of ``pen``. Knows looks only.
"""

from __future__ import annotations

import math

import numpy as np

from vidlm.toyworld import sdf
from vidlm.toyworld.actors import HALF_WIDTH as THING_WIDTH
from vidlm.toyworld.actors import OWN_COLOURS as THING_COLOURS
from vidlm.toyworld.actors import PAINT as THING_PAINT
from vidlm.toyworld.actors import SHIRTS, SKIN, Paint, figure
from vidlm.toyworld.pen import Pen
from vidlm.toyworld.scene import COLOURS, RGB

STEEL: RGB = (206.0, 212.0, 222.0)
GLEAM: RGB = (250.0, 252.0, 255.0)
HANDLE: RGB = (44.0, 26.0, 20.0)
GUNMETAL: RGB = (46.0, 48.0, 54.0)
EMBER: RGB = (255.0, 96.0, 20.0)
SMOKE: RGB = (168.0, 168.0, 172.0)
SOOT: RGB = (58.0, 54.0, 54.0)
GORE: RGB = (118.0, 6.0, 14.0)


def _held(pen: Pen, x: sdf.Number, y: sdf.Number, size: float, angle: float) -> Pen:
    """A pen for a thing of half height ``size`` around (x, y), turned clockwise by ``angle``, on the same layer."""
    c, s = math.cos(angle) / size, math.sin(angle) / size
    there = pen.moved(x, y)
    u, v = there.x * c + there.y * s, there.y * c - there.x * s
    return Pen(u, v, pen.scale * size, pen.time, pen.layers)


def knife(pen: Pen, _colour: RGB) -> None:
    """Point up, edge to the left."""
    blade = sdf.convex(pen.x, pen.y, [(0.2, -1.0), (0.2, 0.34), (-0.2, 0.34), (-0.2, -0.4)])
    pen.fill(blade, STEEL, outline=True)
    pen.fill(sdf.convex(pen.x, pen.y, [(0.02, -0.55), (0.02, 0.3), (-0.12, 0.3), (-0.12, -0.38)]), GLEAM)
    pen.fill(sdf.box(pen.x, pen.y, (-0.16, 0.38), (0.16, 0.98), 0.08), HANDLE)
    pen.fill(sdf.box(pen.x, pen.y, (-0.27, 0.3), (0.27, 0.42)), (70.0, 70.0, 74.0))
    for cy in (0.56, 0.8):
        pen.fill(sdf.circle(pen.x, pen.y, 0, cy, 0.05), STEEL)


def gun(pen: Pen, _colour: RGB) -> None:
    """A pistol, muzzle to the right."""
    x, y = pen.x, pen.y
    slide = sdf.box(x, y, (-1.2, -0.85), (1.35, -0.28), 0.05)
    sight = sdf.box(x, y, (1.1, -0.97), (1.26, -0.8))
    grip = sdf.convex(x, y, [(-1.05, -0.35), (-0.4, -0.35), (-0.62, 0.97), (-1.32, 0.97)])
    guard = np.abs(sdf.ellipse(x, y, (-0.12, -0.2), (0.4, 0.42))) - np.float32(0.07)
    trigger = sdf.capsule(x, y, (-0.12, -0.25), (-0.2, 0.02), 0.05)
    pen.fill(sdf.union(slide, sight, grip, guard, trigger), GUNMETAL, outline=True)
    pen.fill(sdf.box(x, y, (-1.1, -0.76), (1.2, -0.66)), (118.0, 122.0, 130.0))
    pen.fill(sdf.convex(x, y, [(-0.92, 0.0), (-0.6, 0.0), (-0.74, 0.8), (-1.12, 0.8)]), (84.0, 62.0, 46.0))


_TONGUES = ((-0.52, 0.5, 7.0, 0.3), (-0.2, 0.12, 9.1, 2.1), (0.12, -0.02, 6.3, 4.0), (0.42, 0.3, 8.2, 1.2))
"""Of a fire: where a tongue stands, how far below the top its tip is, how fast it flickers, and its phase."""


def fire(pen: Pen, _colour: RGB) -> None:
    """Tongues of flame in red, orange and yellow, each flickering at its own pace."""
    t = pen.time
    for colour, scale, lift in (
        ((215.0, 38.0, 12.0), 1.0, 0.0),
        ((255.0, 132.0, 12.0), 0.76, 0.34),
        ((255.0, 232.0, 70.0), 0.48, 0.78),
    ):
        part = pen.within(-0.84 * scale - 0.11, -1.02 + lift, 0.84 * scale + 0.11, 1.0)
        height = np.clip((1 - part.y) * 0.5, 0, 1)
        swayed, y = part.x + np.sin(4 * part.y + 8 * t) * (0.11 * height), part.y
        tops = []
        for at, tip, pace, phase in _TONGUES:
            peak = -0.84 + tip + lift + 0.16 * np.sin(pace * t + phase)
            reach = np.abs(swayed - at * scale) * (2.6 / scale)
            tops.append(peak + reach * (1 + 0.35 * reach))
        flame = (sdf.union(*tops) - y) * 0.4
        bowl = sdf.ellipse(swayed, y, (0, 0.45 + 0.12 * lift), (0.84 * scale, 0.55 - 0.12 * lift))
        upper = sdf.both(flame, sdf.box(swayed, y, (-0.84 * scale, -1.2), (0.84 * scale, 0.45)))
        part.fill(sdf.both(sdf.union(upper, bowl), flame), colour)


def explosion(pen: Pen, _colour: RGB) -> None:
    """A burst that rushes out in half a second and keeps heaving, white hot in the middle, ringed with soot."""
    t = pen.time
    size = 0.5 + 0.42 * (1 - np.exp(-5 * t)) + 0.05 * np.sin(11 * t)
    distance, angle = sdf.polar(pen.x, pen.y)
    puffs = size * (1 + np.float32(0.07) * np.sin(7 * angle + 2 * t))
    pen.fill(np.asarray(distance - puffs, np.float32), SOOT, alpha=0.9)
    turned = angle + np.float32(0.3) * np.sin(3 * t)
    for colour, reach, points, depth in (
        ((238.0, 92.0, 16.0), 0.98, 12, 0.36),
        ((255.0, 196.0, 36.0), 0.72, 10, 0.36),
        ((255.0, 252.0, 226.0), 0.4, 8, 0.3),
    ):
        turns = turned * (points / (2 * math.pi))
        teeth = 1 - 2 * np.abs(turns - np.rint(turns))
        uneven = 1 + np.float32(0.1) * np.sin(3 * angle + points)
        rim = (size * reach) * uneven * (1 - depth * teeth)
        pen.fill(np.asarray((distance - rim) * 0.6, np.float32), colour)


_DROPS = ((-0.82, -0.6, 0.1), (0.78, -0.72, 0.13), (0.92, 0.2, 0.08), (-0.9, 0.3, 0.12), (0.55, 0.82, 0.1))


def blood(pen: Pen, _colour: RGB) -> None:
    """A dark splat with fingers, drips and drops."""
    x, y = pen.x, pen.y + np.float32(0.12)
    distance, angle = sdf.polar(x, y)
    fingers = 0.6 + 0.12 * np.sin(5 * angle + 0.6) + 0.09 * np.sin(8 * angle + 2.2) + 0.06 * np.sin(13 * angle)
    parts = [np.asarray((distance - fingers) * np.float32(0.6), np.float32)]
    for cx, cy, radius in _DROPS:
        parts.append(sdf.circle(pen.x, pen.y, cx, cy, radius))
    for cx, end, radius in ((-0.28, 0.86, 0.1), (0.16, 0.72, 0.09)):
        parts.append(sdf.capsule(pen.x, pen.y, (cx, 0.1), (cx, end), radius))
    pen.fill(sdf.union(*parts), GORE, outline=True)
    pen.fill(sdf.ellipse(x, y, (-0.14, -0.16), (0.16, 0.07)), (196.0, 60.0, 66.0))


def _stick(pen: Pen, start: tuple[float, float], end: tuple[float, float], radius: float) -> None:
    """A cigarette from its filter to its glowing end."""
    (x0, y0), (x1, y1) = start, end
    filter_end = (x0 + 0.22 * (x1 - x0), y0 + 0.22 * (y1 - y0))
    pen.fill(sdf.capsule(pen.x, pen.y, start, end, radius), (250.0, 250.0, 246.0), outline=radius > 0.1)
    pen.fill(sdf.capsule(pen.x, pen.y, start, filter_end, radius), (214.0, 140.0, 62.0))
    pen.fill(sdf.circle(pen.x, pen.y, x1, y1, radius * 1.15), EMBER)


def _smoke(pen: Pen, x: float, bottom: float, top: float, width: float) -> None:
    """Wisps that rise from a place, widen, wave and thin out."""
    height = np.clip((np.float32(bottom) - pen.y) * np.float32(1 / (bottom - top)), 0, 1)
    for phase, alpha in ((0.0, 0.75), (2.4, 0.55)):
        waver = np.sin(7 * height - 5 * pen.time + phase) * (np.float32(1.6 * width) * height)
        thread = np.abs(pen.x - x - waver) - width * (0.35 + 0.65 * height)
        ends = np.maximum(top - pen.y, pen.y - bottom)
        pen.fill(np.asarray(sdf.both(thread, ends), np.float32), SMOKE, alpha=alpha)


def cigarette(pen: Pen, _colour: RGB) -> None:
    _smoke(pen.within(0.2, -1, 1.05, 0.6), 0.72, 0.5, -1.0, 0.1)
    _stick(pen, (-0.95, 0.84), (0.72, 0.52), 0.145)


def bottle(pen: Pen, colour: RGB) -> None:
    """Glass in the actor's colour, with a neck, a cap and a label."""
    x, y = pen.x, pen.y
    body = sdf.box(x, y, (-0.36, -0.1), (0.36, 0.98), 0.08)
    shoulder = sdf.convex(x, y, [(-0.14, -0.5), (0.14, -0.5), (0.36, 0.0), (-0.36, 0.0)])
    neck = sdf.box(x, y, (-0.14, -0.96), (0.14, -0.4))
    pen.fill(sdf.union(body, shoulder, neck), colour, outline=True)
    pen.fill(sdf.box(x, y, (-0.17, -1.0), (0.17, -0.82)), (222.0, 186.0, 70.0))
    pen.fill(sdf.box(x, y, (-0.3, 0.22), (0.3, 0.68)), (240.0, 232.0, 208.0))
    pen.fill(sdf.box(x, y, (-0.26, -0.02), (-0.16, 0.16)), (190.0, 226.0, 200.0))


def fight(pen: Pen, colour: RGB) -> None:
    """Two figures at arm's length hitting at each other, jerking back when hit."""
    t = pen.time
    blow, other_blow = np.sin(9.5 * t), np.sin(8.1 * t + 1.9)
    other = COLOURS["blue"] if colour != COLOURS["blue"] else COLOURS["red"]
    for side, mine, theirs, shirt in ((-1.0, blow, other_blow, colour), (1.0, other_blow, blow, other)):
        recoil = np.maximum(theirs, 0) * -0.1
        hitting = (-side * (0.54 + 0.2 * mine), -0.62 + 0.14 * mine)
        cocked = (side * (0.36 + 0.14 * mine), -0.5 - 0.2 * mine)
        hands = (cocked, hitting) if side < 0 else (hitting, cocked)
        centre = side * (0.52 - 0.05 * mine)
        figure(pen, shirt, centre, hands, lean=-side * (0.12 + recoil), stride=0.38)


def person_with_knife(pen: Pen, colour: RGB) -> None:
    figure(pen, colour, -0.42, ((-0.43, 0.14), (0.66, -0.34)))
    knife(_held(pen.within(0.1, -1, 1, 0), 0.42, -0.6, 0.45, 0.45), colour)
    pen.fill(sdf.circle(pen.x, pen.y, 0.26, -0.3, 0.11), SKIN)


def person_with_gun(pen: Pen, colour: RGB) -> None:
    figure(pen, colour, -0.46, ((-0.43, 0.14), (0.62, -0.34)))
    hand = pen.within(0, -0.8, 1.1, 0.1)
    gun(_held(hand, 0.5, -0.36, 0.3, 0.0), colour)
    hand.fill(sdf.circle(hand.x, hand.y, 0.22, -0.3, 0.1), SKIN)


def person_smoking(pen: Pen, colour: RGB) -> None:
    figure(pen, colour, -0.24, ((-0.43, 0.14), (0.4, -0.46)))
    mouth = pen.within(-0.2, -1, 0.8, -0.4)
    _smoke(mouth, 0.56, -0.72, -1.0, 0.09)
    _stick(mouth, (-0.08, -0.62), (0.54, -0.7), 0.07)


PAINT: dict[str, Paint] = THING_PAINT | {
    "knife": knife,
    "gun": gun,
    "fire": fire,
    "explosion": explosion,
    "blood": blood,
    "cigarette": cigarette,
    "bottle": bottle,
    "fight": fight,
    "person_with_knife": person_with_knife,
    "person_with_gun": person_with_gun,
    "person_smoking": person_smoking,
}

HALF_WIDTH: dict[str, float] = THING_WIDTH | {
    "knife": 0.3,
    "gun": 1.42,
    "fire": 0.98,
    "explosion": 1.08,
    "blood": 1.05,
    "cigarette": 1.12,
    "bottle": 0.42,
    "fight": 1.14,
    "person_with_knife": 0.98,
    "person_with_gun": 1.02,
    "person_smoking": 0.82,
}
"""Half the width of every kind's box in units of half its height."""

OWN_COLOURS: dict[str, tuple[str, ...]] = THING_COLOURS | {
    "bottle": ("green", "brown"),
    "fight": SHIRTS,
    "person_with_knife": SHIRTS,
    "person_with_gun": SHIRTS,
    "person_smoking": SHIRTS,
}
"""What a kind may wear when its actor names no colour; what is not named here wears grey."""

ANIMATED = frozenset({"fire", "explosion", "cigarette", "fight", "person_smoking"})
"""Kinds that look different from moment to moment even where they stand still."""
