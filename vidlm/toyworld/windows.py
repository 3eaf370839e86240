"""Windows of random scenes as a model meets them: frames at its size, softened as video is, and a label for every cell.

Renders in memory; knows numpy and the world, not tokens or tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from vidlm.domain import Span
from vidlm.toyworld import draw
from vidlm.toyworld.scene import COLOURS, KINDS, Clip
from vidlm.toyworld.truth import WAYS, Fact, fact_of, is_shown, place_of
from vidlm.toyworld.world import SCENES_S, Rng, sample_scene, with_camera, with_odd_one, with_other_words
from vidlm.video.sampling import plan_windows

CUT_SHARE: Final = 0.4
"""Of windows that hold several scenes: answers are read from several windows at once, and cuts can be missed."""
GAP_SHARE: Final = 0.3
"""Of those, windows with time missing between scenes: what an answer is read from need not be in one piece."""
ODD_SHARE: Final = 0.5
"""Of windows that end in an odd frame: it is shown twice, and nothing in that pair moves."""
WINDOWS_S: Final = (3.0, 5.0, 10.0)
WINDOW_SHARES: Final = (0.7, 0.15, 0.15)
"""How long windows are at most, and how often: what the model itself asks for, and what somebody may set."""
FADE_SHARE: Final = 0.15
"""Of scenes that are faded in."""
ODD_ONES: Final = 0.4
"""Of crowds, those with one among them that is no such thing: a crowd must not stand for all that it surrounds."""
OTHER_WORDS: Final = 0.6
"""Of scenes with lettering, those whose words mean nothing: no word on the screen is to say what it shows."""
CELL: Final = 28
"""Side of the square of pixels that one visual token stands for."""
KIND_NAMES: Final = ("nothing", *KINDS)
COLOUR_NAMES: Final = ("none", *COLOURS)
MOTION_NAMES: Final = ("none", *WAYS, "still", "grows")
PLACE_NAMES: Final = ("none", "left", "right", "top", "bottom", "middle")
NUMBERS_MOST: Final = 4
"""Of so many things of a kind it is known how many they are; more count as so many."""
CELL_FACTS: Final = {
    "kind": KIND_NAMES,
    "colour": COLOUR_NAMES,
    "motion": MOTION_NAMES,
    "number": tuple(range(NUMBERS_MOST + 1)),
}
"""What is known of what stands in a cell, in the order of `cell_labels`; 0 where there is nothing to know. "number" is
how many things of its kind there are: on screen then, or in all of a window."""
PAIRS_MOST: Final = 32
"""Frame pairs a window has at most."""
FACT_LABELS: Final = {**CELL_FACTS, "place": PLACE_NAMES, "first": tuple(range(PAIRS_MOST))}
"""What is known of a fact, in the order of `fact_labels`; "first" is the frame pair it is first seen in."""


def sample_window(rng: Rng, pairs: int, *, words: float = 0.15) -> tuple[Clip, npt.NDArray[np.float64], float]:
    """A clip, the times of 2 * `pairs` frames in it, and the sampling rate they came from.

    The frames are those that the product would show (`_as_shown`). `words` is the share of scenes with lettering.
    """
    fps = float(rng.choice([2.0, 1.0, 4.0], p=[0.84, 0.08, 0.08]))
    start_s = float(rng.integers(0, 240)) / 2 if rng.random() < 0.7 else 0.0
    length_s = max(2.0, 2 * pairs / fps)
    begin = start_s + (float(rng.uniform(0, 0.5)) if rng.random() < 0.3 else 0.0)
    frames = 2 * pairs - int(pairs > 1 and rng.random() < ODD_SHARE)
    times_s = np.ceil(begin * fps) / fps + np.arange(frames) / fps
    ends = [start_s + length_s + 0.5]
    if length_s > SCENES_S[1] or (pairs >= 3 and rng.random() < CUT_SHARE):
        ends = _cuts(rng, start_s, length_s)
    max_s = float(rng.choice(WINDOWS_S, p=WINDOW_SHARES))
    times_s = _as_shown(times_s, [start_s, *ends], fps, max_s)[: 2 * pairs]
    if len(ends) > 1 and rng.random() < GAP_SHARE:
        times_s = _with_gap(rng, times_s, ends)
    edges = _beyond(rng, [start_s, *ends])
    scenes = [sample_scene(rng, scene_start_s, end_s, words=words) for scene_start_s, end_s in pairwise(edges)]
    scenes = [with_odd_one(rng, scene) if rng.random() < ODD_ONES else scene for scene in scenes]
    scenes = [with_other_words(rng, scene) if rng.random() < OTHER_WORDS else scene for scene in scenes]
    scenes = [replace(scene, fade_in_s=0.5) if rng.random() < FADE_SHARE else scene for scene in scenes]
    return with_camera(rng, edges[-1], tuple(scenes)), times_s, fps


def _beyond(rng: Rng, edges: Sequence[float]) -> list[float]:
    """Where scenes begin and end, the first and the last one also where they are not seen, on half seconds: a window
    shows a part of a scene, and what moves slowly goes only a part of its way there."""
    before_s, after_s = _unseen_s(rng, edges[1] - edges[0]), _unseen_s(rng, edges[-1] - edges[-2])
    if len(edges) == 2:  # one scene, which is no longer than any
        before_s = round(after_s * float(rng.random()) * 2) / 2
        after_s -= before_s
    return [max(0.0, edges[0] - before_s), *edges[1:-1], edges[-1] + after_s]


def _unseen_s(rng: Rng, length_s: float) -> float:
    """How much of a scene lies outside of `length_s` of it."""
    return max(0.0, round((float(rng.uniform(*SCENES_S)) - length_s) * 2) / 2)


def _as_shown(
    times_s: npt.NDArray[np.float64], edges: Sequence[float], fps: float, max_s: float
) -> npt.NDArray[np.float64]:
    """The times as the product shows them: windows within shots, each in frame pairs, an odd one's last frame twice."""
    begin_s, end_s = edges[0], max(edges[-1], float(times_s[-1]) + 1 / fps)
    shots = [Span(one - begin_s, other - begin_s) for one, other in pairwise([*edges[:-1], end_s])]
    shown: list[float] = []
    for window in plan_windows(shots, [float(time_s) - begin_s for time_s in times_s], end_s - begin_s, max_s=max_s):
        shown += times_s[window.first_frame : window.last_frame].tolist()
        shown += shown[-1:] if len(shown) % 2 else []
    return np.asarray(shown)


def _cuts(rng: Rng, start_s: float, length_s: float) -> list[float]:
    """Where scenes end: two of them, or as many as a long window takes."""
    count = max(2, round(length_s / float(rng.uniform(*SCENES_S))))
    shares = (np.arange(1, count) + rng.uniform(-0.2, 0.2, count - 1)) / count
    return [*(start_s + np.round(shares * length_s * 2) / 2), start_s + length_s + 0.5]


def _with_gap(rng: Rng, times_s: npt.NDArray[np.float64], ends: list[float]) -> npt.NDArray[np.float64]:
    """The times of frame pairs after one of the cuts, some seconds later: a scene that nobody sees goes between."""
    at = int(rng.integers(len(ends) - 1))
    later = int(np.searchsorted(times_s, ends[at] - 1e-6))
    later += later % 2  # a pair is not torn
    if later >= len(times_s):
        return times_s
    by_s = float(rng.integers(4, 80)) / 2
    cut_s = float(times_s[later])
    ends[at:] = [cut_s, cut_s + by_s, *(end_s + by_s for end_s in ends[at + 1 :])]
    return np.concatenate([times_s[:later], times_s[later:] + by_s])


def render_window(
    rng: Rng, clip: Clip, times_s: npt.NDArray[np.float64], size: tuple[int, int], *, codec: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Frames [2 * pairs, H, W, 3] as a decoder would give them: a frame that is shown twice is the same twice.

    `codec` is the share of windows that look like the output of a frugal encoder.
    """
    unique, shown = np.unique(times_s, return_inverse=True)
    frames = soften(rng, draw.render(clip, unique, *size))
    if rng.random() < codec:
        frames = crush(frames, float(rng.uniform(8, 40)))
    return frames[shown]


def crush(frames: npt.NDArray[np.uint8], step: float) -> npt.NDArray[np.uint8]:
    """What coarse quantisation leaves: the coefficients of 8 x 8 blocks rounded to multiples of about `step`.

    A type-II discrete cosine transform with JPEG's habit of coarser steps for finer detail (Wallace 1992); blocks are
    of the picture at the model's size, where a real encoder's are of the larger source, so this is somewhat harsher.
    """
    count, height, width, _ = frames.shape
    tall, wide = -(-height // 8) * 8, -(-width // 8) * 8
    padded = np.pad(frames, ((0, 0), (0, tall - height), (0, wide - width), (0, 0)), mode="edge").astype(np.float32)
    blocks = padded.reshape(count, tall // 8, 8, wide // 8, 8, 3)
    coefficients = np.einsum("ky,naybxc,lx->nakblc", _DCT, blocks, _DCT, optimize=True)
    steps = step * (1 + 0.25 * (np.arange(8)[:, None] + np.arange(8)))[None, None, :, None, :, None]
    coarse = np.round(coefficients / steps) * steps
    back = np.einsum("ky,nakblc,lx->naybxc", _DCT, coarse, _DCT, optimize=True)
    return np.asarray(np.clip(back.reshape(padded.shape)[:, :height, :width] + 0.5, 0, 255), dtype=np.uint8)


_DCT: Final = (
    np.cos(np.pi * np.outer(np.arange(8), np.arange(8) + 0.5) / 8).astype(np.float32)
    * np.sqrt(np.where(np.arange(8) == 0, 1 / 8, 2 / 8)).astype(np.float32)[:, None]
)
"""The orthonormal type-II transform of eight values."""


def soften(rng: Rng, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What 4:2:0 video does to a picture: colour at half resolution and, at low bitrates, a slight blur."""
    planes = frames.transpose(3, 0, 1, 2).astype(np.float32, order="C")
    count, height, width = planes.shape[1:]
    luma = 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    planes -= luma
    lines = planes[:, :, 0::2] + planes[:, :, 1::2]
    chroma = (lines[..., 0::2] + lines[..., 1::2]) * 0.25
    lines[..., 0::2] = lines[..., 1::2] = chroma
    if rng.random() < 0.5:
        share = np.float32(rng.uniform(0, 0.5))
        for axis in (1, 2):
            luma = (1 - share) * luma + share * 0.5 * (np.roll(luma, 1, axis) + np.roll(luma, -1, axis))
    by_two = (count, height // 2, 2, width)
    np.add(lines[:, :, :, None], (luma + 0.5).reshape(by_two), out=planes.reshape(3, *by_two))
    planes.clip(0, 255, out=planes)
    soft = np.empty_like(frames)
    for channel, plane in enumerate(planes):
        soft[..., channel] = plane
    return soft


def shown_at(clip: Clip, time_s: float, later_s: float | None = None) -> list[tuple[Fact, float, float, float]]:
    """(fact, x, y, size) of what is on screen at a time, in drawing order.

    A fact says how its thing moves just then: who has arrived stands. `later_s` is when the other frame of a pair is
    shown: then it is what either frame shows, where it is first seen, and the motion of what is not in two frames is
    "none", for how that moves cannot be known.
    """
    found = []
    moments_s = list(dict.fromkeys([time_s] if later_s is None else [time_s, later_s]))
    for scene, actor in clip.cast():
        seen_s = [moment_s for moment_s in moments_s if is_shown(scene, actor, moment_s)]
        if not seen_s:
            continue
        fact, place = fact_of(actor), actor.place(seen_s[0])
        if fact.place is None and place == actor.place(actor.end_s):
            fact = replace(fact, motion="still", place=place_of(*place))
        if later_s is not None and len(seen_s) < 2:
            fact = replace(fact, motion=MOTION_NAMES[0])
        found.append((fact, *place, actor.height(seen_s[0])))
    return found


def describe(fact: Fact, x: float, y: float) -> str:
    """What a pair shows of a thing: "a red circle moves left right", when it goes to the left on the right."""
    moving = {"none": ""} | {way: f"moves {way} " for way in WAYS}
    return f"{fact.subject} {moving.get(fact.motion, f'{fact.motion} ')}{place_of(x, y)}"


def cell_labels(shown: Sequence[tuple[Fact, float, float, float]], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """int64 [4, cells]: the `CELL_FACTS` of what covers each cell's middle, the last drawn on top."""
    owners = cell_owners(shown, size)
    count = Counter(fact.kind for fact, *_ in shown)
    labels = np.zeros((len(CELL_FACTS), len(owners)), dtype=np.int64)
    for number, (fact, *_) in enumerate(shown):
        values = (
            KIND_NAMES.index(fact.kind),
            COLOUR_NAMES.index(fact.colour) if fact.colour else 0,
            MOTION_NAMES.index(fact.motion),
            min(count[fact.kind], NUMBERS_MOST),
        )
        labels[:, owners == number] = np.asarray(values)[:, None]
    return labels


def fact_labels(seen: Sequence[Fact], pair_times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """int64 [facts, 6]: the `FACT_LABELS` of facts cut to a window (`facts_between`)."""
    count = Counter(fact.kind for fact in seen)
    labels = [
        (
            KIND_NAMES.index(fact.kind),
            COLOUR_NAMES.index(fact.colour) if fact.colour else 0,
            MOTION_NAMES.index(fact.motion),
            min(count[fact.kind], NUMBERS_MOST),
            PLACE_NAMES.index(fact.place) if fact.place else 0,
            max(0, int(np.searchsorted(pair_times_s, fact.start_s + 1e-6, side="right")) - 1),
        )
        for fact in seen
    ]
    return np.asarray(labels, dtype=np.int64).reshape(-1, len(FACT_LABELS))


def cell_places(
    shown: Sequence[tuple[Fact, float, float, float]], seen: Sequence[Fact], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """int64 [cells]: in `PLACE_NAMES`, where the thing in each cell stands; 0 where there is none, or where it moves
    in the window that shows `seen`."""
    places = [next((other.place for other in seen if fact.same_actor(other)), None) for fact, *_ in shown]
    names = [PLACE_NAMES.index(place) if place else 0 for place in places]
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
