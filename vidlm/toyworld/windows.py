"""Windows of random scenes as a model meets them: frames at its size, softened as video is, and a label for every cell.

Renders in memory; knows numpy and the world, not tokens or tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.toyworld import draw
from vidlm.toyworld.scene import COLOURS, KINDS, Clip, Scene
from vidlm.toyworld.truth import Fact, fact_of, place_of
from vidlm.toyworld.world import Rng, sample_scene, with_camera

CUT_SHARE: Final = 0.2
"""Of windows that hold several scenes: answers are read from several windows at once, and cuts can be missed."""
CELL: Final = 28
"""Side of the square of pixels that one visual token stands for."""
KIND_NAMES: Final = ("nothing", *KINDS)
COLOUR_NAMES: Final = ("none", *COLOURS)
MOTION_NAMES: Final = ("none", "left", "right", "up", "down", "still", "grows")
PLACE_NAMES: Final = ("none", "left", "right", "top", "bottom", "middle")
CELL_FACTS: Final = {"kind": KIND_NAMES, "colour": COLOUR_NAMES, "motion": MOTION_NAMES}
"""What is known of what stands in a cell, in the order of `cell_labels`; 0 where there is nothing to know."""
PAIRS_MOST: Final = 10
"""Frame pairs a window has at most."""
FACT_LABELS: Final = {**CELL_FACTS, "place": PLACE_NAMES, "first": tuple(range(PAIRS_MOST))}
"""What is known of a fact, in the order of `fact_labels`; "first" is the frame pair it is first seen in."""


def sample_window(rng: Rng, pairs: int) -> tuple[Clip, npt.NDArray[np.float64], float]:
    """A clip, the times of 2 * `pairs` frames in it, and the sampling rate they came from."""
    fps = float(rng.choice([2.0, 1.0, 4.0], p=[0.84, 0.08, 0.08]))
    start_s = float(rng.integers(0, 240)) / 2 if rng.random() < 0.7 else 0.0
    length_s = max(2.0, 2 * pairs / fps)
    begin = start_s + (float(rng.uniform(0, 0.5)) if rng.random() < 0.3 else 0.0)
    scene = sample_scene(rng, start_s, start_s + length_s + 0.5)
    if rng.random() < 0.1:
        scene = dataclasses.replace(scene, fade_in_s=0.5)
    scenes: tuple[Scene, ...] = (scene,)
    if pairs >= 3 and rng.random() < CUT_SHARE:
        scenes = _cut_up(rng, start_s, length_s)
    frames = 2 * pairs - (1 if pairs > 1 and rng.random() < 0.15 else 0)
    clip = with_camera(rng, start_s + length_s + 0.5, scenes)
    return clip, np.round(begin * fps) / fps + np.arange(frames) / fps, fps


def _cut_up(rng: Rng, start_s: float, length_s: float) -> tuple[Scene, ...]:
    """Two scenes, or three where there is time for them."""
    shares = [float(rng.uniform(0.3, 0.7))]
    if length_s >= 6 and rng.random() < 0.4:
        shares = [float(rng.uniform(0.25, 0.4)), float(rng.uniform(0.6, 0.75))]
    cuts = [start_s, *(start_s + round(length_s * share * 2) / 2 for share in shares), start_s + length_s + 0.5]
    return tuple(sample_scene(rng, begin, end) for begin, end in pairwise(cuts))


def render_window(
    rng: Rng, clip: Clip, times_s: npt.NDArray[np.float64], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Frames [2 * pairs, H, W, 3] as a decoder would give them; an odd count repeats the last frame."""
    frames = soften(rng, draw.render(clip, times_s, *size))
    return np.concatenate([frames, frames[-1:]]) if len(frames) % 2 else frames


def soften(rng: Rng, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What 4:2:0 video does to a picture: colour at half resolution and, at low bitrates, a slight blur."""
    wide = frames.astype(np.float32)
    luma = wide @ np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
    count, height, width, _ = frames.shape
    chroma = (wide - luma[..., None]).reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    if rng.random() < 0.5:
        share = np.float32(rng.uniform(0, 0.5))
        for axis in (1, 2):
            luma = (1 - share) * luma + share * 0.5 * (np.roll(luma, 1, axis) + np.roll(luma, -1, axis))
    wide = luma[..., None] + chroma.repeat(2, axis=1).repeat(2, axis=2)
    return np.asarray(np.clip(wide + 0.5, 0, 255), dtype=np.uint8)


def shown_at(clip: Clip, time_s: float) -> list[tuple[Fact, float, float, float]]:
    """(fact, x, y, size) of what is on screen at a time, in drawing order."""
    found = []
    for scene in clip.scenes:
        for actor in scene.actors:
            if actor.start_s <= time_s < actor.end_s:
                share = (time_s - actor.start_s) / max(actor.end_s - actor.start_s, 1e-6)
                size = actor.size * (1 + (actor.grow - 1) * share)
                found.append((fact_of(actor), *actor.place(time_s), size))
    return found


def describe(fact: Fact, x: float, y: float) -> str:
    moving = f"moves {fact.motion}" if fact.motion in ("left", "right", "up", "down") else fact.motion
    return f"{fact.subject} {moving} {place_of(x, y)}"


def cell_labels(shown: Sequence[tuple[Fact, float, float, float]], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """int64 [3, cells]: the `CELL_FACTS` of what covers each cell's middle, the last drawn on top."""
    owners = cell_owners(shown, size)
    labels = np.zeros((len(CELL_FACTS), len(owners)), dtype=np.int64)
    for number, (fact, *_) in enumerate(shown):
        values = (
            KIND_NAMES.index(fact.kind),
            COLOUR_NAMES.index(fact.colour) if fact.colour else 0,
            MOTION_NAMES.index(fact.motion),
        )
        labels[:, owners == number] = np.asarray(values)[:, None]
    return labels


def fact_labels(seen: Sequence[Fact], pair_times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """int64 [facts, 5]: the `FACT_LABELS` of facts cut to a window (`facts_between`)."""
    labels = [
        (
            KIND_NAMES.index(fact.kind),
            COLOUR_NAMES.index(fact.colour) if fact.colour else 0,
            MOTION_NAMES.index(fact.motion),
            PLACE_NAMES.index(fact.place) if fact.place else 0,
            max(0, int(np.searchsorted(pair_times_s, fact.start_s + 1e-6, side="right")) - 1),
        )
        for fact in seen
    ]
    return np.asarray(labels, dtype=np.int64).reshape(-1, len(FACT_LABELS))


def cell_places(shown: Sequence[tuple[Fact, float, float, float]], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """int64 [cells]: in `PLACE_NAMES`, where the thing in each cell stands; 0 where there is none or it moves."""
    names = [PLACE_NAMES.index(fact.place) if fact.place else 0 for fact, *_ in shown]
    return np.asarray([*names, 0], dtype=np.int64)[cell_owners(shown, size)]


def cell_owners(shown: Sequence[tuple[Fact, float, float, float]], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """int64 [cells]: which of `shown` covers each cell's middle, the last drawn on top; -1 where nothing does."""
    height, width = size
    y = (np.arange(height // CELL) + 0.5)[:, None] * CELL
    x = (np.arange(width // CELL) + 0.5)[None, :] * CELL
    owners = np.full((height // CELL, width // CELL), -1, dtype=np.int64)
    for number, (_, at_x, at_y, share) in enumerate(shown):
        reach = max(share * min(height, width) * 0.5, CELL * 0.55)
        owners[(np.abs(y - at_y * height) <= reach) & (np.abs(x - at_x * width) <= reach)] = number
    return owners.reshape(-1)
