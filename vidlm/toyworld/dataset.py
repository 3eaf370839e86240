"""Training batches, rendered in memory: windows of random scenes, their turns, and the token rows that hold both.

One row holds a window's visual prefix once and all its turns as branches behind it, exactly as the product asks them:

    tokens    prefix ................  turn 1 ......  turn 2 ...  turn 3 ........
    branch    0 0 0 0 0 0 0 0 0 0 0 0  1 1 1 1 1 1 1  2 2 2 2 2   3 3 3 3 3 3 3 3
    position  0 1 2 ........... p      p+1 p+2 ...    p+1 p+2 ..  p+1 p+2 ...

A token sees the prefix and, causally, its own branch. Needs torch, tokenizers and numpy; no video library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from vidlm import prompts
from vidlm.model.positions import prompt_positions, text_positions
from vidlm.toyworld import draw
from vidlm.toyworld.student import token_id
from vidlm.toyworld.tasks import Turn, sample_text_turn, sample_turns
from vidlm.toyworld.truth import facts_between
from vidlm.toyworld.windows import CELL_FACTS, cell_labels, describe, render_window, sample_window, shown_at, soften
from vidlm.toyworld.world import Rng

SIZES: Final = ((84, 112), (84, 140), (112, 112), (112, 84), (140, 84))
SIZE_SHARES: Final = (0.34, 0.26, 0.16, 0.12, 0.12)
"""(height, width) of frames as the model sees them, for 4:3, 16:9, square and portrait sources."""

PAIRS: Final = tuple(range(1, 11))
PAIR_SHARES: Final = (0.08, 0.14, 0.17, 0.17, 0.15, 0.1, 0.07, 0.05, 0.03, 0.04)

TURN_WEIGHTS: Final = {
    "policy": 2.0,
    # what is read off positions and motion comes last by itself: these answers weigh more
    "caption": 2.5,
    "direction": 3.0,
    "place": 3.0,
    "count": 2.0,
    "order": 2.0,
    "title": 0.7,
}
"""Weight of a turn by its kind; 1 where none is given."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Token rows of B windows that share one grid and one number of pairs, padded to L.

    pixels: uint8 [B, 2 * pairs, H, W, 3].  ids: int64 [B, L].  positions: int64 [3, B, L].
    branch: int64 [B, L], 0 for the prefix, -1 on padding.
    targets: int64 [B, L], the token each place must predict, -100 elsewhere.  weights: float32 [B, L].
    kinds: for each row, the kind of each of its branches (branch k is kinds[k - 1]).
    cells: int64 [B, pairs, 3, cells], `CELL_FACTS` of what stands in each visual token's cell.
    """

    pixels: Tensor
    ids: Tensor
    branch: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    kinds: list[list[str]]
    cells: Tensor


@dataclass(frozen=True, slots=True)
class Pairs:
    """Single frame pairs with what they show.

    pixels: uint8 [N, 2, H, W, 3].  texts: per pair, one sentence per actor.
    cells: int64 [N, 3, cells], `CELL_FACTS` of what stands in each visual token's cell.
    """

    pixels: Tensor
    texts: list[list[str]]
    cells: Tensor


class Vocabulary:
    """Words to ids, and the ids of the tokens that frame pictures and turns."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.video = token_id(tokenizer, "<|video_pad|>")
        self.vision_start = token_id(tokenizer, "<|vision_start|>")
        self.vision_end = token_id(tokenizer, "<|vision_end|>")
        self.end = token_id(tokenizer, "<|im_end|>")
        self.pad = token_id(tokenizer, "<|endoftext|>")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


# ---- stage 2: rows of prefix and branches


def sample_rows(rng: Rng, words: Vocabulary, *, size: tuple[int, int], pairs: int, count: int, turns: int = 10) -> Rows:
    """`count` windows of `pairs` frame pairs at one size, each with its turns."""
    grid = (1, size[0] // 14, size[1] // 14)
    rows, pixels, cells = [], [], []
    for _ in range(count):
        clip, times_s, _ = sample_window(rng, pairs)
        pixels.append(render_window(rng, clip, times_s, size))
        cells.append(np.stack([cell_labels(shown_at(clip, float(time_s)), size) for time_s in times_s[::2]]))
        asked = sample_turns(rng, facts_between(clip, times_s), count=turns)
        rows.append(_row(words, prompts.video_prefix(list(times_s[::2])), grid, asked))
    return _stack(words, rows, np.stack(pixels), np.stack(cells))


def sample_text_rows(rng: Rng, words: Vocabulary, count: int) -> Rows:
    """Rows without a video: summaries and titles."""
    rows = [_row(words, prompts.text_prefix(), (1, 2, 2), [sample_text_turn(rng)]) for _ in range(count)]
    return _stack(
        words, rows, np.zeros((count, 0, 28, 28, 3), np.uint8), np.zeros((count, 0, len(CELL_FACTS), 1), np.int64)
    )


_Row = tuple[list[int], list[int], Tensor, list[int], list[float], list[str]]


def _row(words: Vocabulary, parts: Sequence[str | int], grid: tuple[int, int, int], turns: Sequence[Turn]) -> _Row:
    cells = grid[1] * grid[2] // 4
    ids: list[int] = []
    layout: list[int | tuple[int, int, int]] = []
    for part in parts:
        if isinstance(part, str):
            text = words.encode(part)
            ids += text
            layout.append(len(text))
        else:
            ids += [words.vision_start, *[words.video] * cells, words.vision_end]
            layout.append(grid)
    prefix, after = prompt_positions(layout)
    positions, branch = [prefix], [0] * len(ids)
    targets, weights = [-100] * len(ids), [0.0] * len(ids)
    for number, turn in enumerate(turns, start=1):
        request = words.encode(prompts.branch(turn.request))
        answer = [*words.encode(turn.answer), words.end]
        text = request + answer[:-1]
        ids += text
        branch += [number] * len(text)
        positions.append(text_positions(after, len(text)))
        targets += [-100] * (len(request) - 1) + answer
        # by the square root of its length: a caption says more than a Yes, but not thirty times more
        weight = TURN_WEIGHTS.get(turn.kind, 1.0) / len(answer) ** 0.5
        weights += [0.0] * (len(request) - 1) + [weight] * len(answer)
    return ids, branch, torch.cat(positions, dim=1), targets, weights, [turn.kind for turn in turns]


def _stack(
    words: Vocabulary, rows: Sequence[_Row], pixels: npt.NDArray[np.uint8], cells: npt.NDArray[np.int64]
) -> Rows:
    length = max(len(row[0]) for row in rows)

    def padded(values: Sequence[float], fill: float, dtype: torch.dtype) -> Tensor:
        return torch.tensor([*values, *[fill] * (length - len(values))], dtype=dtype)

    return Rows(
        pixels=torch.from_numpy(pixels),
        ids=torch.stack([padded(row[0], words.pad, torch.long) for row in rows]),
        branch=torch.stack([padded(row[1], -1, torch.long) for row in rows]),
        positions=torch.stack([torch.nn.functional.pad(row[2], (0, length - row[2].shape[1])) for row in rows], dim=1),
        targets=torch.stack([padded(row[3], -100, torch.long) for row in rows]),
        weights=torch.stack([padded(row[4], 0.0, torch.float32) for row in rows]),
        kinds=[row[5] for row in rows],
        cells=torch.from_numpy(cells),
    )


def tree_mask(branch: Tensor) -> Tensor:
    """bool [B, 1, L, L]: whether a token (dim 2) sees another (dim 3): the prefix or its own branch, causally."""
    length = branch.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    mine = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    return (mine & causal)[:, None]


# ---- stage 1: single pairs


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


# ---- endless streams


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
