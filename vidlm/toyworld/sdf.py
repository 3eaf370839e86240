"""Signed distances to simple outlines: negative inside, positive outside, in the units of the coordinates given.

Coordinates are float arrays that broadcast against each other, so a grid may come as a row of x and a column of y and a
term in x alone costs a row. Distances are exact near the outline, which is where antialiasing looks; corners outside
may be sharper than a true distance would draw them. Knows geometry only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Number = float | Field
Point = tuple[Number, Number]


def union(*fields: Field) -> Field:
    """Inside where any is inside."""
    whole = fields[0]
    for field in fields[1:]:
        whole = np.minimum(whole, field)
    return whole


def both(*fields: Field) -> Field:
    """Inside where all are inside."""
    whole = fields[0]
    for field in fields[1:]:
        whole = np.maximum(whole, field)
    return whole


def circle(x: Field, y: Field, cx: Number, cy: Number, radius: Number) -> Field:
    """A disc."""
    return np.asarray(_length(x - cx, y - cy) - radius, np.float32)


def ellipse(x: Field, y: Field, centre: Point, radii: tuple[float, float]) -> Field:
    """An ellipse, to first order: the implicit function over its gradient at the ends of the shorter axis."""
    (cx, cy), (rx, ry) = centre, radii
    shorter = min(rx, ry)
    return _length((x - cx) * (shorter / rx), (y - cy) * (shorter / ry)) - shorter


def box(x: Field, y: Field, top_left: Point, bottom_right: Point, corner: float = 0.0) -> Field:
    """A rectangle between two corners, all four rounded by ``corner``."""
    (left, top), (right, bottom) = top_left, bottom_right
    dx = np.maximum(left - x, x - right) + corner
    dy = np.maximum(top - y, y - bottom) + corner
    if corner == 0:
        return np.asarray(np.maximum(dx, dy), np.float32)
    ax, ay = np.maximum(dx, 0), np.maximum(dy, 0)
    return np.asarray(_length(ax, ay) + np.minimum(np.maximum(dx, dy), 0) - corner, np.float32)


def capsule(x: Field, y: Field, start: Point, end: Point, radius: Number) -> Field:
    """A line from one point to another with round ends, ``radius`` to each side."""
    (x0, y0), (x1, y1) = start, end
    px, py, ex, ey = x - x0, y - y0, x1 - x0, y1 - y0
    inverse = 1 / (ex * ex + ey * ey)
    along = np.clip(px * (ex * inverse) + py * (ey * inverse), 0, 1)
    return np.asarray(_length(px - along * ex, py - along * ey) - radius, np.float32)


def convex(x: Field, y: Field, corners: Sequence[tuple[float, float]]) -> Field:
    """A convex polygon, its corners given clockwise as seen on the screen (y grows downwards)."""
    edges = []
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        nx, ny = (y1 - y0) / length, -(x1 - x0) / length
        edges.append(x * nx + (y * ny - (x0 * nx + y0 * ny)))
    return both(*edges)


def star(x: Field, y: Field, outer: float, inner: float, points: int = 5) -> Field:
    """A star around (0, 0), one point upwards: every point is folded onto one, half of which is a straight edge."""
    distance, angle = polar(x, y)
    wedge = math.pi / points
    folded = np.abs(angle - np.rint(angle * (0.5 / wedge)) * (2 * wedge))
    u, v = distance * np.cos(folded), distance * np.sin(folded)
    ix, iy = inner * math.cos(wedge), inner * math.sin(wedge)
    length = math.hypot(outer - ix, iy)
    nx, ny = iy / length, (outer - ix) / length
    return np.asarray((u - outer) * nx + v * ny, np.float32)


def polar(x: Field, y: Field) -> tuple[Field, Field]:
    """Distance from (0, 0), and angle clockwise from straight up in radians, -pi to pi."""
    return _length(x, y), np.arctan2(x, -y)


def _length(x: Field, y: Field) -> Field:
    """Of the vectors (x, y)."""
    squares = x * x + y * y
    return np.sqrt(squares, out=squares)
