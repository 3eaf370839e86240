"""From a Clip to frames: backgrounds, actors, words, light and the sensor's noise. Needs numpy and nothing else.

A frame is a function of the clip, its time and its size alone: the same time gives the same pixels whichever other
times are asked for with it. Knows how a frame is put together; how each kind of actor looks stands in ``actors`` and
``hazards``.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vidlm.toyworld.font import bitmap
from vidlm.toyworld.hazards import ANIMATED, HALF_WIDTH, OWN_COLOURS, PAINT
from vidlm.toyworld.pen import Pen, blank
from vidlm.toyworld.scene import COLOURS, Actor, Clip, Scene

Frames = npt.NDArray[np.uint8]
Planes = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

_BATCH_PIXELS = 400_000
"""Frames are drawn in batches of about so many pixels: few enough to stay in a processor's cache."""

_LAYER_PIXELS = 30_000
"""Layers of an actor are drawn for so many frames at once that they have about so many pixels, for the same reason."""

_NOISE_NUMBERS = 1 << 20
"""How many numbers the sensor's noise is taken from: those of 37 frames of 84x112."""

_TEXTURE_GREYS = 45.0
"""How far the strongest background texture departs from the gradient, in grey levels."""


def render(clip: Clip, times_s: Times, height: int, width: int) -> Frames:
    """Draw the clip at the given times.

    Args:
        clip: what to draw.
        times_s: float [T], seconds in any order; a time outside the clip shows its first or last scene.
        height, width: size of the frames in pixels.

    Returns:
        uint8 [T, height, width, 3], RGB.
    """
    times = np.asarray(times_s, np.float64)
    frames = np.empty((len(times), height, width, 3), np.uint8)
    starts = np.array([scene.start_s for scene in clip.scenes])
    of_scene = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(clip.scenes) - 1)
    room = max(1, _BATCH_PIXELS // (height * width))
    for index in np.unique(of_scene):
        scene = clip.scenes[index]
        backdrop = _backdrop(clip, scene, height, width)
        members = np.flatnonzero(of_scene == index)
        for first in range(0, len(members), room):
            batch = members[first : first + room]
            planes = _draw_scene(clip, scene, times[batch], backdrop, (height, width))
            _expose(clip, scene, times[batch], planes)
            for channel in range(3):
                frames[batch, :, :, channel] = planes[:, channel]
    return frames


def actor_box(actor: Actor, time_s: float, height: int, width: int) -> tuple[float, float, float, float] | None:
    """Where an actor is, as (left, top, right, bottom) in pixels before any shake, or None while it is not visible.

    The box may reach outside the frame.
    """
    if not actor.start_s <= time_s < actor.end_s:
        return None
    x, y = actor.place(time_s)
    half = float(_half_heights(actor, np.array([time_s]), height, width)[0])
    reach_x, reach_y = _reach(actor)
    return (
        x * width - half * reach_x,
        y * height - half * reach_y,
        x * width + half * reach_x,
        y * height + half * reach_y,
    )


def _draw_scene(clip: Clip, scene: Scene, times: Times, backdrop: Planes, size: tuple[int, int]) -> Planes:
    """Background, actors and words as float32 [n, 3, H, W], before light and noise."""
    height, width = size
    margin = _margin(clip, width)
    wander = _wander(clip, times, width)
    planes = np.empty((len(times), 3, height, width), np.float32)
    for plane, (dx, dy) in zip(planes, np.rint(wander).astype(int), strict=True):
        top, left = margin - dy, margin - dx
        plane[:] = backdrop[:, top : top + height, left : left + width]
    for actor in scene.actors:
        seen = np.flatnonzero((times >= actor.start_s) & (times < actor.end_s))
        if seen.size:
            _draw_actor(planes, actor, seen, times[seen], wander[seen])
    if scene.words is not None:
        _write(planes, *scene.words)
    return planes


def _expose(clip: Clip, scene: Scene, times: Times, planes: Planes) -> None:
    """Fade, brightness and noise, in place; afterwards every value is 0 to 255."""
    gain = np.interp(times, [0.0, clip.duration_s], clip.brightness)
    gain = gain * np.array([scene.light(time_s) for time_s in times.tolist()])
    if np.any(gain != 1):
        planes *= gain.astype(np.float32)[:, None, None, None]
    if clip.noise > 0:
        sigma = np.float32(clip.noise)
        for plane, time in zip(planes, times, strict=True):
            noise = _noise(clip.noise_seed, round(time * 1000), plane.size).reshape(plane.shape)
            np.add(plane, sigma * noise, out=plane)
    np.clip(planes, 0, 255, out=planes)


def _noise(seed: int, time_ms: int, count: int) -> Planes:
    """So many normal numbers of sigma 1, float32 [count]: a stretch of the bank that only seed and time choose.

    Neighbouring frames begin at unrelated places of it, so that no two show the same grain in the same pixels.
    """
    bank = _noise_bank(max(_NOISE_NUMBERS, 2 * count))
    first = zlib.crc32(b"%d %d" % (seed, time_ms)) * (len(bank) - count) >> 32
    return bank[first : first + count]


@functools.lru_cache(maxsize=2)
def _noise_bank(count: int) -> Planes:
    """Normal numbers of sigma 1, float32 [count], the same for all clips: drawing them is slower than all the rest."""
    return np.random.default_rng(0).standard_normal(count, np.float32)


def _margin(clip: Clip, width: int) -> int:
    return math.ceil(3 * clip.shake * width)


def _wander(clip: Clip, times: Times, width: int) -> Times:
    """How far the camera's shake moves the picture, float [n, 2] in pixels (x, y): two slow sines an axis."""
    if clip.shake == 0:
        return np.zeros((len(times), 2))
    phases = np.random.default_rng((clip.noise_seed, 1)).uniform(0, 2 * math.pi, 4)
    paces = 2 * math.pi * np.array([1.3, 2.9, 1.7, 2.3])
    waves = np.sin(times[:, None] * paces + phases)
    return np.asarray(clip.shake * width * (waves[:, :2] + waves[:, 2:]), np.float64)


def _backdrop(clip: Clip, scene: Scene, height: int, width: int) -> Planes:
    """The scene's background with a margin for the shake, float32 [3, H + 2 m, W + 2 m]."""
    margin = _margin(clip, width)
    down = (np.arange(-margin, height + margin) + 0.5) / height
    across = (np.arange(-margin, width + margin) + 0.5) / width
    share = np.clip(down, 0, 1)[None, :, None]
    top, bottom = (np.array(colour)[:, None, None] for colour in scene.background)
    planes = np.broadcast_to((top + share * (bottom - top)).astype(np.float32), (3, len(down), len(across)))
    if scene.texture > 0:
        rng = np.random.default_rng(scene.texture_seed)
        coarse = rng.uniform(-1, 1, (6, 8)) + 0.35 * rng.uniform(-1, 1, (3, 6, 8))
        knots = (scene.texture * _TEXTURE_GREYS * coarse).astype(np.float32)
        planes = planes + _spread(down, 6) @ knots @ _spread(across, 8).T
    return np.asarray(np.clip(planes, 0, 255), np.float32)


def _spread(places: Times, knots: int) -> Planes:
    """Weights [n, knots] that lead smoothly from each of ``knots`` values, spread over 0 to 1, to the next."""
    at = np.clip(places, 0, 1) * (knots - 1)
    distance = np.abs(at[:, None] - np.arange(knots))
    near = np.clip(1 - distance, 0, 1)
    return np.asarray(near * near * (3 - 2 * near), np.float32)


def _half_heights(actor: Actor, times: Times, height: int, width: int) -> Times:
    grown = np.interp(times, [actor.start_s, actor.end_s], [1.0, actor.grow])
    return np.asarray(0.5 * actor.size * min(height, width) * grown, np.float64)


def _reach(actor: Actor) -> tuple[float, float]:
    """Half width and half height of the upright box around the turned actor, in units of half its height."""
    wide, c, s = HALF_WIDTH[actor.kind], abs(math.cos(actor.angle)), abs(math.sin(actor.angle))
    return wide * c + s, wide * s + c


def _draw_actor(planes: Planes, actor: Actor, rows: npt.NDArray[np.intp], times: Times, wander: Times) -> None:
    """Lay one actor over the frames ``rows`` in which it is seen."""
    height, width = planes.shape[2:]
    halves = _half_heights(actor, times, height, width)
    keys = np.array(actor.path)
    places = np.stack([np.interp(times, keys[:, 0], keys[:, axis]) for axis in (1, 2)], axis=1)
    centres = places * (width, height) + wander
    still = bool((centres == centres[0]).all() and (halves == halves[0]).all())
    if still and actor.kind not in ANIMATED:
        times = times[:1]
    # the room a layer has depends on the whole life, not on which frames happen to be drawn together
    largest = _half_heights(actor, np.array([actor.start_s, actor.end_s]), height, width).max()
    reach_x, reach_y = (math.ceil(reach * largest + 1) for reach in _reach(actor))
    at_once = max(1, _LAYER_PIXELS // (4 * reach_x * reach_y))
    for first in range(0, len(times), at_once):
        batch = slice(first, first + at_once)
        grids = slice(1) if still else batch
        corners = np.floor(centres[grids]) - (reach_x, reach_y)
        layers = _layers(actor, times[batch], halves[grids], centres[grids] - corners, (reach_x, reach_y))
        places = corners.astype(int).tolist()
        for index, row in enumerate(rows if len(times) == 1 else rows[batch]):
            left, top = places[index % len(places)]  # a single one is that of all frames
            _lay(planes[row], layers[:, index % layers.shape[1]], left, top)


def _layers(actor: Actor, times: Times, halves: Times, middles: Times, reach: tuple[int, int]) -> Planes:
    """The actor alone on layers [4, F, h, w] that reach so far (x, y) to each side of ``middles``, F of them [x, y].

    Where all frames share size and middle, ``halves`` and ``middles`` have one row for all of the F times.
    """
    columns, lines = (np.arange(2 * pixels + 1) + 0.5 for pixels in reach)
    x = ((columns - middles[:, :1]) / halves[:, None]).astype(np.float32)[:, None, :]
    y = ((lines - middles[:, 1:]) / halves[:, None]).astype(np.float32)[:, :, None]
    layers = blank(len(times), len(lines), len(columns))
    if actor.angle:
        c, s = math.cos(actor.angle), math.sin(actor.angle)
        x, y = x * c + y * s, y * c - x * s
    if actor.path[-1][1] < actor.path[0][1]:
        x = -x  # what drives or looks to the right by itself turns round to go left
    scale, age = (of_frame.astype(np.float32)[:, None, None] for of_frame in (halves, times - actor.start_s))
    PAINT[actor.kind](Pen(x, y, scale, age, layers), COLOURS[actor.colour or _own_colour(actor)])
    return layers


def _own_colour(actor: Actor) -> str:
    """One of the colours the kind may have, chosen by the actor's size as if by chance."""
    colours = OWN_COLOURS.get(actor.kind, ("grey",))
    return colours[int(actor.size * 1e6) % len(colours)]


def _lay(plane: Planes, layer: Planes, left: int, top: int) -> None:
    """Compose one layer [4, h, w] over one frame [3, H, W], cut to what lies inside it."""
    height, width = plane.shape[1:]
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(height, top + layer.shape[1]), min(width, left + layer.shape[2])
    if y0 < y1 and x0 < x1:
        part = layer[:, y0 - top : y1 - top, x0 - left : x1 - left]
        under = plane[:, y0:y1, x0:x1]
        under *= part[3]
        under += part[:3]


def _write(planes: Planes, text: str, x: float, y: float) -> None:
    """Letters centred on (x, y) and as large as fits: dots of at most 1/50 of the height."""
    height, width = planes.shape[2:]
    layer = _lettering(text, max(1, min(height // 50, (width - 4) // bitmap(text).shape[1])))
    top, left = round(y * height - layer.shape[1] / 2), round(x * width - layer.shape[2] / 2)
    for plane in planes:
        _lay(plane, layer, left, top)


@functools.lru_cache(maxsize=32)
def _lettering(text: str, scale: int) -> Planes:
    """White letters of dots of ``scale`` pixels with a dark rim, as a layer [4, h, w]."""
    ink = np.pad(np.kron(bitmap(text), np.ones((scale, scale), bool)), 1)
    rim = ink.copy()
    for down, across in _around():
        rim |= np.roll(ink, (down, across), (0, 1))
    return np.stack([*(ink * np.float32(255),) * 3, ~rim]).astype(np.float32)


def _around() -> Iterator[tuple[int, int]]:
    return ((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1))
