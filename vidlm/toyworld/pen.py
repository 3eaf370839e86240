"""A pen that fills outlines on a small transparent layer, for many frames at once.

A layer covers one actor's bounding box; its coordinates are the actor's own: the box's middle is (0, 0), y grows
downwards, and the actor's height runs from -1 to 1. Knows distances, colours and coverage; not what is being drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from vidlm.toyworld.scene import RGB
from vidlm.toyworld.sdf import Field, Number

OUTLINE = 0.06
"""Thickness of an outline in the actor's units; never thinner than a pixel."""


def shade(colour: RGB) -> RGB:
    """The colour of a thing's outline: its own, darker; what is too dark already gets a lighter one instead."""
    factor, lift = (0.55, 0.0) if max(colour) > 60 else (1.0, 55.0)
    red, green, blue = (channel * factor + lift for channel in colour)
    return red, green, blue


def blank(frames: int, height: int, width: int) -> Field:
    """Layers with nothing on them, float32 [4, F, h, w].

    The first three planes are red, green and blue, multiplied by how much the ink covers, 0 to 255; the last is the
    share of what lies under the layer that shows through, 1 where there is no ink.
    """
    layers = np.zeros((4, frames, height, width), np.float32)
    layers[3] = 1
    return layers


@dataclass
class Pen:
    """Where the ink goes, and for which frames.

    ``x`` and ``y`` are the actor's coordinates of the pixels' centres and broadcast to [F, h, w]; ``scale`` [F, 1, 1]
    is how many pixels one of those units has, ``time`` [F, 1, 1] the seconds since the actor appeared. Where all frames
    share a grid, the first three have 1 for F, and what does not depend on time is worked out once. ``layers``
    [4, F, h, w] are made by `blank`; filling changes them in place.
    """

    x: Field
    y: Field
    scale: Field
    time: Field
    layers: Field

    @cached_property
    def _span(self) -> tuple[Field, Field, Field, Field]:
        """The least and the greatest x of a column [w] and y of a row [h] in any frame."""
        x, y = self.x[:, 0], self.y[:, :, 0]
        return x.min(axis=0), x.max(axis=0), y.min(axis=0), y.max(axis=0)

    def within(self, left: float, top: float, right: float, bottom: float) -> Pen:
        """The same pen over only that part of the layer, for small details; the whole layer where it is turned."""
        if self.x.shape[1] != 1 or self.y.shape[2] != 1:
            return self
        margin = 1.5 / float(self.scale.min())
        least_x, most_x, least_y, most_y = self._span
        columns = _run((most_x > left - margin) & (least_x < right + margin))
        rows = _run((most_y > top - margin) & (least_y < bottom + margin))
        return Pen(self.x[:, :, columns], self.y[:, rows], self.scale, self.time, self.layers[:, :, rows, columns])

    def around(self, x: Number, y: Number, radius: float) -> Pen:
        """The same pen over only what a disc touches, the place of which may differ from frame to frame."""
        (left, right), (top, bottom) = ends(x), ends(y)
        return self.within(left - radius, top - radius, right + radius, bottom + radius)

    def moved(self, x: Number, y: Number) -> Pen:
        """The same pen with (x, y) as the middle of its coordinates."""
        return Pen(self.x - x, self.y - y, self.scale, self.time, self.layers)

    def fill(self, distance: Field, colour: RGB, *, outline: bool = False, alpha: float = 1.0) -> None:
        """Lay a colour over what is inside, antialiased over one pixel; an outline darkens its rim."""
        raw = distance * -self.scale
        raw += 0.5
        cover = raw.clip(0, 1)
        if alpha != 1:
            cover *= alpha
        if outline:
            ink = cover * _planes(shade(colour))
            raw -= np.maximum(OUTLINE * self.scale, 1)
            ink += raw.clip(0, 1, out=raw) * (_planes(colour) - _planes(shade(colour)))
        else:
            ink = cover * _planes(colour)
        self.layers *= 1 - cover
        self.layers[:3] += ink


def ends(number: Number) -> tuple[float, float]:
    """The least and the greatest of it."""
    return (number, number) if isinstance(number, float) else (float(number.min()), float(number.max()))


@lru_cache(maxsize=128)
def _planes(colour: RGB) -> Field:
    """A colour [3, 1, 1, 1] that broadcasts over layers."""
    return np.array(colour, np.float32)[:, None, None, None]


def _run(inside: npt.NDArray[np.bool_]) -> slice:
    """From the first to the last true of a row, as a slice."""
    where = np.flatnonzero(inside)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)
