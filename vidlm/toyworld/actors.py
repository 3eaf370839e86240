"""How shapes and everyday things are drawn, and how wide everything is. Coordinates are those of ``pen``.

Each kind is a function of a pen and a colour. Knows looks; not places, times of appearance or scenes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vidlm.toyworld import sdf
from vidlm.toyworld.pen import Pen, ends
from vidlm.toyworld.scene import COLOURS, RGB

Paint = Callable[[Pen, RGB], None]

SKIN: RGB = (232.0, 184.0, 145.0)
HAIR: RGB = (62.0, 40.0, 26.0)
TROUSERS: RGB = (52.0, 58.0, 84.0)
TYRE: RGB = (24.0, 24.0, 27.0)
GLASS: RGB = (178.0, 216.0, 240.0)
TRUNK: RGB = (112.0, 70.0, 34.0)


def darker(colour: RGB, factor: float = 0.62) -> RGB:
    """The same colour in shadow."""
    red, green, blue = (channel * factor for channel in colour)
    return red, green, blue


def circle(pen: Pen, colour: RGB) -> None:
    pen.fill(sdf.circle(pen.x, pen.y, 0, 0, 0.97), colour, outline=True)


def square(pen: Pen, colour: RGB) -> None:
    pen.fill(sdf.box(pen.x, pen.y, (-0.95, -0.95), (0.95, 0.95)), colour, outline=True)


def triangle(pen: Pen, colour: RGB) -> None:
    pen.fill(sdf.convex(pen.x, pen.y, [(0, -1), (1.1, 0.95), (-1.1, 0.95)]), colour, outline=True)


def star(pen: Pen, colour: RGB) -> None:
    pen.fill(sdf.star(pen.x, pen.y + np.float32(-0.08), 1.08, 0.46), colour, outline=True)


def ring(pen: Pen, colour: RGB) -> None:
    pen.fill(np.abs(sdf.circle(pen.x, pen.y, 0, 0, 0.75)) - np.float32(0.22), colour, outline=True)


def cross(pen: Pen, colour: RGB) -> None:
    x, y = pen.x, pen.y
    bars = sdf.union(sdf.box(x, y, (-0.32, -0.97), (0.32, 0.97)), sdf.box(x, y, (-0.97, -0.32), (0.97, 0.32)))
    pen.fill(bars, colour, outline=True)


def car(pen: Pen, colour: RGB) -> None:
    """Seen from the side, driving to the right."""
    x, y = pen.x, pen.y
    cabin = sdf.convex(x, y, [(-0.75, -0.92), (0.35, -0.92), (0.9, 0.0), (-1.1, 0.0)])
    body = sdf.box(x, y, (-1.55, -0.14), (1.55, 0.62), 0.22)
    pen.fill(sdf.union(cabin, body), colour, outline=True)
    glass = pen.within(-1.0, -0.8, 0.8, 0)
    windows = sdf.convex(glass.x, glass.y, [(-0.66, -0.76), (0.28, -0.76), (0.66, -0.1), (-0.88, -0.1)])
    glass.fill(sdf.both(windows, 0.07 - np.abs(glass.x + np.float32(0.16))), GLASS)
    lamp = pen.within(1.3, 0.0, 1.6, 0.3)
    lamp.fill(sdf.box(lamp.x, lamp.y, (1.32, 0.02), (1.52, 0.24)), (255.0, 244.0, 190.0))
    for cx in (-0.88, 0.88):
        wheel = pen.within(cx - 0.42, 0.15, cx + 0.42, 1)
        around = sdf.circle(wheel.x, wheel.y, cx, 0.58, 0.0)
        wheel.fill(around - np.float32(0.41), TYRE)
        wheel.fill(around - np.float32(0.18), (190.0, 192.0, 196.0))


def tree(pen: Pen, colour: RGB) -> None:
    x, y = pen.x, pen.y
    trunk = pen.within(-0.2, 0.1, 0.2, 1)
    trunk.fill(sdf.box(trunk.x, trunk.y, (-0.16, 0.1), (0.16, 0.98)), TRUNK, outline=True)
    crown = sdf.union(
        sdf.circle(x, y, 0, -0.5, 0.48), sdf.circle(x, y, -0.36, -0.08, 0.42), sdf.circle(x, y, 0.36, -0.08, 0.42)
    )
    pen.fill(crown, colour, outline=True)


def house(pen: Pen, colour: RGB) -> None:
    wall = pen.within(-0.9, -0.2, 0.9, 1)
    wall.fill(sdf.box(wall.x, wall.y, (-0.82, -0.2), (0.82, 0.97)), colour, outline=True)
    door = pen.within(-0.5, 0.2, 0.7, 1)
    door.fill(sdf.box(door.x, door.y, (-0.46, 0.3), (-0.06, 0.95)), (84.0, 50.0, 26.0))
    door.fill(sdf.box(door.x, door.y, (0.2, 0.2), (0.62, 0.6)), GLASS)
    roof = pen.within(-1.1, -1, 1.1, 0)
    pitch = sdf.convex(roof.x, roof.y, [(0, -1), (1.08, -0.1), (-1.08, -0.1)])
    roof.fill(pitch, darker(COLOURS["brown"], 0.8) if colour != COLOURS["brown"] else (70.0, 70.0, 76.0), outline=True)


def ball(pen: Pen, colour: RGB) -> None:
    """A beach ball: white panels between coloured ones."""
    x, y = pen.x, pen.y
    whole = sdf.circle(x, y, 0, 0, 0.96)
    pen.fill(whole, colour, outline=True)
    panel = COLOURS["white"] if min(colour) < 200 else COLOURS["grey"]
    inside = whole + np.float32(0.08)
    pen.fill(sdf.both(inside, sdf.ellipse(x, y, (0, 0), (0.3, 1.05))), panel)
    for side in (-1.0, 1.0):
        pen.fill(sdf.both(inside, -sdf.circle(x, y, -side * 0.35, 0, 1.05), side * -x), panel)
    knob = pen.within(-0.2, -1, 0.2, -0.6)
    knob.fill(sdf.circle(knob.x, knob.y, 0, -0.78, 0.15), darker(colour))


def dog(pen: Pen, colour: RGB) -> None:
    """Seen from the side, looking to the right."""
    x, y = pen.x, pen.y
    body = sdf.capsule(x, y, (-0.6, 0.08), (0.45, 0.0), 0.32)
    head = sdf.union(sdf.circle(x, y, 0.84, -0.48, 0.33), sdf.capsule(x, y, (0.9, -0.4), (1.18, -0.34), 0.17))
    legs = [sdf.capsule(x, y, (foot * 0.95, 0.2), (foot, 0.86), 0.12) for foot in (-0.78, -0.42, 0.28, 0.6)]
    tail = sdf.capsule(x, y, (-0.85, -0.05), (-1.22, -0.58), 0.1)
    neck = sdf.capsule(x, y, (0.42, -0.08), (0.76, -0.42), 0.22)
    pen.fill(sdf.union(body, head, tail, neck, *legs), colour, outline=True)
    face = pen.within(0.4, -1, 1.4, 0)
    face.fill(sdf.ellipse(face.x, face.y, (0.66, -0.46), (0.13, 0.32)), darker(colour, 0.5))
    face.fill(sdf.circle(face.x, face.y, 0.95, -0.56, 0.07), TYRE)
    face.fill(sdf.circle(face.x, face.y, 1.3, -0.38, 0.1), TYRE)


def figure(
    pen: Pen,
    shirt: RGB,
    cx: sdf.Number = 0.0,
    hands: tuple[tuple[sdf.Number, sdf.Number], tuple[sdf.Number, sdf.Number]] = ((-0.43, 0.14), (0.43, 0.14)),
    *,
    lean: sdf.Number = 0.0,
    stride: float = 0.2,
) -> None:
    """A person seen from the front around x = ``cx``; hands are places relative to it.

    ``lean`` shifts the head to the right, ``stride`` sets the feet apart.
    """
    body = pen.moved(cx, 0.0)
    lower = body.within(-stride - 0.11, 0.09, stride + 0.11, 0.98)
    legs = [sdf.capsule(lower.x, lower.y, (side * 0.11, 0.2), (side * stride, 0.87), 0.11) for side in (-1, 1)]
    lower.fill(sdf.union(*legs), TROUSERS, outline=True)
    reach = max(0.34, *(abs(end) for hand_x, _ in hands for end in ends(hand_x))) + 0.09
    upper = body.within(-reach, -1.0, reach, 0.41)
    x, y = upper.x, upper.y
    arms = [
        sdf.capsule(x, y, (side * 0.22 + 0.6 * lean, -0.36), (hand_x, hand_y), 0.09)
        for side, (hand_x, hand_y) in zip((-1.0, 1.0), hands, strict=True)
    ]
    torso = sdf.capsule(x, y, (0.6 * lean, -0.26), (0.0, 0.16), 0.25)
    upper.fill(sdf.union(torso, *arms), shirt, outline=True)
    for hand_x, hand_y in hands:
        hand = body.around(hand_x, hand_y, 0.11)
        hand.fill(sdf.circle(hand.x, hand.y, hand_x, hand_y, 0.11), SKIN)
    top = body.around(lean, -0.74, 0.24)
    head = sdf.circle(top.x, top.y, lean, -0.74, 0.24)
    top.fill(head, SKIN, outline=True)
    top.fill(sdf.both(head, top.y + np.float32(0.8)), HAIR)


def person(pen: Pen, colour: RGB) -> None:
    figure(pen, colour)


PAINT: dict[str, Paint] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
    "car": car,
    "tree": tree,
    "house": house,
    "ball": ball,
    "person": person,
    "dog": dog,
}

HALF_WIDTH: dict[str, float] = {
    "circle": 1.0,
    "square": 1.0,
    "triangle": math.sqrt(1.3),
    "star": 1.08,
    "ring": 1.0,
    "cross": 1.0,
    "car": 1.6,
    "tree": 0.82,
    "house": 1.15,
    "ball": 1.0,
    "person": 0.58,
    "dog": 1.42,
}
"""Half the width of each kind's box in units of half its height."""

SHIRTS = ("red", "green", "blue", "yellow", "purple")
"""What people wear when their actor names no colour, so that a shirt never tells what is in a hand."""

OWN_COLOURS: dict[str, tuple[str, ...]] = {
    "car": ("red",),
    "tree": ("green",),
    "house": ("yellow",),
    "ball": ("red",),
    "dog": ("brown",),
    "person": SHIRTS,
}
"""What a kind may wear when its actor names no colour."""
