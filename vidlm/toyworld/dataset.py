"""Endless training batches, drawn in memory by worker processes: single frame pairs, and rows of windows with turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlm.toyworld import draw
from vidlm.toyworld.rows import PLAIN, Roughness, Rows, sample_rows, sample_text_rows
from vidlm.toyworld.tokens import Vocabulary
from vidlm.toyworld.truth import at_place, place_of
from vidlm.toyworld.windows import cell_labels, describe, sample_window, shown_at, soften
from vidlm.toyworld.world import Rng

SIZES: Final = ((112, 168), (112, 196), (140, 140), (168, 112), (196, 112))
SIZE_SHARES: Final = (0.34, 0.26, 0.16, 0.12, 0.12)
"""(height, width) of frames as the model sees them, for 4:3, 16:9, square and portrait sources."""
SMALLER: Final = ((84, 112), (84, 140), (112, 112), (112, 84), (140, 84))
"""The same where frames have about half the pixels, so that steps take less time: stage 1, and how stage 2 begins."""

PAIRS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32)
"""Frame pairs of a window: what a segment, a closer look or an answer from several segments may show."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What a stage's batches are made of.

    text_share: batches of summaries and titles.  pair_counts: how readily a window has each number of `PAIRS`.
    sizes: of frames, as readily as `SIZE_SHARES` says.
    """

    text_share: float
    pair_counts: tuple[float, ...]
    rough: Roughness = PLAIN
    sizes: tuple[tuple[int, int], ...] = SIZES


TASKS: Final = Mix(0.05, (8, 14, 16, 12, 8, 8, 8, 8, 8, 8, 7, 5, 2, 0, 0, 0))
"""Stage 2: windows as the product cuts them, and the parts of them that it looks at closer."""
SIMPLER: Final = (
    TASKS,
    replace(TASKS, sizes=SMALLER),
    Mix(0.02, (10, 10, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), sizes=SMALLER),
)
"""That, and what is simpler, which it begins with from nothing: where little is shown, where to look is soon found."""
ROUGH: Final = Mix(0.1, (10, 14, 16, 10, 8, 8, 8, 8, 7, 7, 6, 5, 2, 1, 1, 1), Roughness(words=0.4, codec=0.4))
"""Stage 3: long parts, more words on the screen, pictures that a frugal encoder went over."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Single frame pairs with what they show.

    pixels: uint8 [N, 2, H, W, 3].  texts: per pair, one sentence per actor.
    cells: int64 [N, 4, cells], `CELL_FACTS` of what stands in each visual token's cell.
    """

    pixels: Tensor
    texts: list[list[str]]
    cells: Tensor


PAIR_WORDS: Final = 0.35
"""The share of single pairs' scenes with lettering: what stands behind words is seen no worse."""


def sample_pairs(rng: Rng, *, size: tuple[int, int], count: int, per_scene: int = 2) -> Pairs:
    """`count` frame pairs, `per_scene` of them from each scene, with a description and a label for every cell."""
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[npt.NDArray[np.int64]] = []
    texts: list[list[str]] = []
    while len(texts) < count:
        clip, times_s, fps = sample_window(rng, int(rng.integers(2, 6)), words=PAIR_WORDS)
        starts = rng.permutation(np.unique(times_s)[:-1])[:per_scene]
        moments = np.sort(np.concatenate([starts, starts + 1 / fps]))
        unique = np.unique(np.round(moments, 6))
        frames = soften(rng, draw.render(clip, unique, *size))
        for start_s in starts[: count - len(texts)]:
            first, second = np.searchsorted(unique, [start_s - 1e-5, start_s + 1 / fps - 1e-5])
            pixels.append(frames[[first, second]])
            shown = shown_at(clip, float(start_s), float(start_s) + 1 / fps)
            texts.append([describe(fact, x, y) for fact, x, y, _ in shown] or ["nothing happens"])
            labels.append(cell_labels(shown, size))
    return Pairs(torch.from_numpy(np.stack(pixels)), texts, torch.from_numpy(np.stack(labels)))


TURNS_TOKENS: Final = 560
PAIR_TOKENS: Final = 33
TOKENS_A_PAIR_COSTS: Final = 90
"""Tokens of a window's turns and of one of its frame pairs, about, and of turns and pairs together by the pair."""


class RowStream(torch.utils.data.IterableDataset[Any]):
    """Endless batches of a mix: rows of windows, of text alone, and single pairs.

    `pair_share`: of batches that are single pairs: stage 1's game goes on, cheaply, so that seeing keeps improving, and
    always in frames as large as they will be.
    `pairs_per_batch` says how much work a batch is, in frame pairs of windows of five: all batches take about as long,
    as processes wait for each other. Every worker has seeds of its own.
    """

    def __init__(self, words: Vocabulary, seed: Sequence[int], mix: Mix, *, pair_share: float, pairs_per_batch: int):
        self._words, self._seed, self._mix = words, seed, mix
        self._pair_share, self._budget = pair_share, pairs_per_batch

    def __iter__(self) -> Iterator[Rows | Pairs]:
        rng, mix = _worker_rng(self._seed), self._mix
        shares = np.asarray(mix.pair_counts) / sum(mix.pair_counts)
        while True:
            shape = int(rng.choice(len(SIZES), p=SIZE_SHARES))
            roll = rng.random()
            if roll < mix.text_share:
                yield sample_text_rows(rng, self._words, max(4, self._budget // 3))
            elif roll < mix.text_share + self._pair_share:
                yield sample_pairs(rng, size=SIZES[shape], count=2 * self._budget)
            else:
                pairs = int(rng.choice(PAIRS, p=shares))
                count = max(1, round(self._budget * TOKENS_A_PAIR_COSTS / (TURNS_TOKENS + PAIR_TOKENS * pairs)))
                size = mix.sizes[shape]
                yield sample_rows(rng, self._words, size=size, pairs=pairs, count=count, rough=mix.rough)


class PairStream(torch.utils.data.IterableDataset[Any]):
    """Endless stage-1 batches."""

    def __init__(self, seed: Sequence[int], *, count: int):
        self._seed, self._count = seed, count

    def __iter__(self) -> Iterator[Pairs]:
        rng = _worker_rng(self._seed)
        while True:
            size = SMALLER[int(rng.choice(len(SMALLER), p=SIZE_SHARES))]
            yield sample_pairs(rng, size=size, count=self._count)


@dataclass(frozen=True, slots=True)
class Images:
    """Single frames with the statements that are true of them, e.g. "a red circle on the left".

    pixels: uint8 [N, 112, 112, 3].  shown: per frame, all statements.  said: per frame, those its text makes.
    texts: per frame, what somebody who looks for it may write.
    """

    pixels: Tensor
    shown: list[frozenset[str]]
    said: list[tuple[str, ...]]
    texts: list[str]


IMAGE_SIDE: Final = 112


def sample_images(rng: Rng, count: int, *, per_scene: int = 2) -> Images:
    """`count` frames, squashed to a square as the encoder's processor does, each with a text about some of it."""
    pixels: list[npt.NDArray[np.uint8]] = []
    shown: list[frozenset[str]] = []
    said: list[tuple[str, ...]] = []
    while len(said) < count:
        clip, times_s, _ = sample_window(rng, int(rng.integers(2, 6)))
        moments = np.sort(rng.permutation(times_s)[:per_scene])
        frames = soften(rng, draw.render(clip, moments, IMAGE_SIDE, IMAGE_SIDE))
        for frame, moment in zip(frames[: count - len(said)], moments, strict=False):
            found = {fact.subject: place_of(x, y) for fact, x, y, _ in shown_at(clip, float(moment))}
            placed = {subject: f"{subject} {at_place(place)}" for subject, place in found.items()}
            some = [str(subject) for subject in rng.permutation(list(found))][: int(rng.integers(1, 4))]
            pixels.append(frame)
            shown.append(frozenset([*found, *placed.values()]) or NOTHING)
            said.append(tuple(placed[name] if rng.random() < 0.4 else name for name in some) or tuple(NOTHING))
    return Images(torch.from_numpy(np.stack(pixels)), shown, said, [_searched(rng, statements) for statements in said])


def _searched(rng: Rng, said: tuple[str, ...]) -> str:
    """Statements as somebody looking for a picture may put them: "red car and a dog", "a photo of fire"."""
    roll = rng.random()
    if roll < 0.25 and len(said) == 1:
        return said[0].removeprefix("a ").removeprefix("an ")
    joined = " and ".join(said) if roll < 0.7 else ", ".join(said)
    return f"a picture of {joined}" if roll > 0.9 else joined


NOTHING: Final = frozenset({"an empty scene"})


class ImageStream(torch.utils.data.IterableDataset[Any]):
    """Endless batches of single frames."""

    def __init__(self, seed: Sequence[int], *, count: int):
        self._seed, self._count = seed, count

    def __iter__(self) -> Iterator[Images]:
        rng = _worker_rng(self._seed)
        while True:
            yield sample_images(rng, self._count)


def _worker_rng(seed: Sequence[int]) -> Rng:
    worker = torch.utils.data.get_worker_info()
    return np.random.default_rng([*seed, worker.id if worker else 0])
