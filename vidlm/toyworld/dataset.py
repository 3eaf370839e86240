"""Endless training batches, drawn in memory by worker processes: single frame pairs, and rows of windows with turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidlm.toyworld import draw
from vidlm.toyworld.rows import Rows, Vocabulary, sample_rows, sample_text_rows
from vidlm.toyworld.windows import PAIRS_MOST, cell_labels, describe, sample_window, shown_at, soften
from vidlm.toyworld.world import Rng

SIZES: Final = ((84, 112), (84, 140), (112, 112), (112, 84), (140, 84))
SIZE_SHARES: Final = (0.34, 0.26, 0.16, 0.12, 0.12)
"""(height, width) of frames as the model sees them, for 4:3, 16:9, square and portrait sources."""

PAIRS: Final = tuple(range(1, PAIRS_MOST + 1))
PAIR_SHARES: Final = (0.06, 0.10, 0.13, 0.15, 0.15, 0.13, 0.10, 0.08, 0.05, 0.05)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Single frame pairs with what they show.

    pixels: uint8 [N, 2, H, W, 3].  texts: per pair, one sentence per actor.
    cells: int64 [N, 3, cells], `CELL_FACTS` of what stands in each visual token's cell.
    """

    pixels: Tensor
    texts: list[list[str]]
    cells: Tensor


def sample_pairs(rng: Rng, *, size: tuple[int, int], count: int, per_scene: int = 4) -> Pairs:
    """`count` frame pairs, `per_scene` of them from each scene, with a description and a label for every cell."""
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[npt.NDArray[np.int64]] = []
    texts: list[list[str]] = []
    while len(texts) < count:
        clip, times_s, fps = sample_window(rng, int(rng.integers(2, 6)))
        starts = rng.permutation(times_s[:-1])[:per_scene]
        moments = np.sort(np.concatenate([starts, starts + 1 / fps]))
        unique = np.unique(np.round(moments, 6))
        frames = soften(rng, draw.render(clip, unique, *size))
        for start_s in starts[: count - len(texts)]:
            first, second = np.searchsorted(unique, [start_s - 1e-5, start_s + 1 / fps - 1e-5])
            pixels.append(frames[[first, second]])
            shown = shown_at(clip, float(start_s))
            texts.append([describe(fact, x, y) for fact, x, y, _ in shown] or ["nothing happens"])
            labels.append(cell_labels(shown, size))
    return Pairs(torch.from_numpy(np.stack(pixels)), texts, torch.from_numpy(np.stack(labels)))


class RowStream(torch.utils.data.IterableDataset[Any]):
    """Endless stage-2 batches: rows of windows, of text alone (`text_share`), and single pairs (`pair_share`).

    A batch of rows holds about `pairs_per_batch` frame pairs. Every worker has seeds of its own.
    """

    def __init__(self, words: Vocabulary, seed: int, *, pairs_per_batch: int, text_share: float, pair_share: float):
        self._words, self._seed = words, seed
        self._budget, self._text_share, self._pair_share = pairs_per_batch, text_share, pair_share

    def __iter__(self) -> Iterator[Rows | Pairs]:
        rng = _worker_rng(self._seed)
        while True:
            size = SIZES[int(rng.choice(len(SIZES), p=SIZE_SHARES))]
            roll = rng.random()
            if roll < self._text_share:
                yield sample_text_rows(rng, self._words, max(4, self._budget // 5))
            elif roll < self._text_share + self._pair_share:
                yield sample_pairs(rng, size=size, count=4 * self._budget)
            else:
                pairs = int(rng.choice(PAIRS, p=PAIR_SHARES))
                count = int(np.clip(self._budget // (pairs + 3), 2, 48))
                yield sample_rows(rng, self._words, size=size, pairs=pairs, count=count)


class PairStream(torch.utils.data.IterableDataset[Any]):
    """Endless stage-1 batches."""

    def __init__(self, seed: int, *, count: int):
        self._seed, self._count = seed, count

    def __iter__(self) -> Iterator[Pairs]:
        rng = _worker_rng(self._seed)
        while True:
            size = SIZES[int(rng.choice(len(SIZES), p=SIZE_SHARES))]
            yield sample_pairs(rng, size=size, count=self._count)


def _worker_rng(seed: int) -> Rng:
    worker = torch.utils.data.get_worker_info()
    return np.random.default_rng([seed, worker.id if worker else 0])
