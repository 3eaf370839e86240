"""A pen that fills outlines on a small transparent layer, for many frames at once.

A layer covers one actor's bounding box; its coordinates are the actor's own: the box's middle is (0, 0), y grows
downwards, and the actor's height runs from -1 to 1. Knows distances, colours and coverage; not what is being drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidlm.toyworld.scene import RGB
from vidlm.toyworld.sdf import Field

OUTLINE = 0.06
"""Thickness of an outline in the actor's units; never thinner than a pixel."""


def shade(colour: RGB) -> RGB:
    """The colour of a thing's outline: its own, darker; what is too dark already gets a lighter one instead."""
    factor, lift = (0.55, 0.0) if max(colour) > 60 else (1.0, 55.0)
    red, green, blue = (channel * factor + lift for channel in colour)
    return red, green, blue


@dataclass
class Pen:
    """Where the ink goes, and for which frames.

    ``x`` and ``y`` are the actor's coordinates of the pixels' centres and broadcast to [F, h, w]; ``pixel`` [F, 1, 1]
    is a pixel's side in those units, ``time`` [F, 1, 1] the seconds since the actor appeared. ``rgba`` is float32
    [F, 4, h, w], colours multiplied by alpha, 0 to 255 and alpha 0 to 1; filling changes it in place.
    """

    x: Field
    y: Field
    pixel: Field
    time: Field
    rgba: Field

    def within(self, left: float, top: float, right: float, bottom: float) -> Pen:
        """The same pen over only that part of the layer, for small details; the whole layer where it is turned."""
        if self.x.shape[1] != 1 or self.y.shape[2] != 1:
            return self
        margin = 1.5 * float(self.pixel.max())
        columns = _run(np.any((self.x > left - margin) & (self.x < right + margin), axis=(0, 1)))
        rows = _run(np.any((self.y > top - margin) & (self.y < bottom + margin), axis=(0, 2)))
        return Pen(self.x[:, :, columns], self.y[:, rows], self.pixel, self.time, self.rgba[:, :, rows, columns])

    def fill(self, distance: Field, colour: RGB, *, outline: bool = False, alpha: float = 1.0) -> None:
        """Lay a colour over what is inside, antialiased over one pixel; an outline darkens its rim."""
        raw = distance * (-1 / self.pixel) + np.float32(0.5)
        cover = np.clip(raw, 0, 1)
        if alpha != 1:
            cover *= np.float32(alpha)
        self.rgba *= (1 - cover)[:, None]
        self.rgba[:, 3] += cover
        if not outline:
            for channel, level in enumerate(colour):
                if level:
                    self.rgba[:, channel] += cover * np.float32(level)
            return
        raw -= np.maximum(OUTLINE / self.pixel, 1)
        inner = np.clip(raw, 0, 1, out=raw)
        for channel, (level, rim) in enumerate(zip(colour, shade(colour), strict=True)):
            self.rgba[:, channel] += cover * np.float32(rim) + inner * np.float32(level - rim)


def _run(inside: npt.NDArray[np.bool_]) -> slice:
    """From the first to the last true of a row, as a slice."""
    where = np.flatnonzero(inside)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)
