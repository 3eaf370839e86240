"""Token rows: windows of random scenes with their turns, and what is known of every token in them.

One row holds a window's visual prefix once and all its turns as branches behind it, exactly as the product asks them:

    tokens    prefix ................  turn 1 ......  turn 2 ...  turn 3 ........
    branch    0 0 0 0 0 0 0 0 0 0 0 0  1 1 1 1 1 1 1  2 2 2 2 2   3 3 3 3 3 3 3 3
    position  0 1 2 ........... p      p+1 p+2 ...    p+1 p+2 ..  p+1 p+2 ...

A token sees the prefix and, causally, its own branch. Needs torch, tokenizers and numpy; no video library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from vidlm import prompts
from vidlm.model.positions import prompt_positions, text_positions
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.student import token_id
from vidlm.toyworld.tasks import Turn, sample_turns
from vidlm.toyworld.texts import sample_text_turn
from vidlm.toyworld.truth import Fact, facts_between
from vidlm.toyworld.windows import (
    CELL_FACTS,
    FACT_LABELS,
    cell_labels,
    cell_owners,
    cell_places,
    fact_labels,
    render_window,
    sample_window,
    shown_at,
)
from vidlm.toyworld.world import Rng

FACTS_MOST: Final = 16
"""Facts a window has at most: three scenes of four actors, and room."""

TURN_WEIGHTS: Final = {
    "policy": 2.0,
    "relevance": 2.0,
    # what is read off positions and motion comes last by itself: these answers weigh more
    "caption": 2.5,
    "direction": 3.0,
    "place": 3.0,
    "count": 2.0,
    "order": 4.0,
    "colour": 3.0,
    "title": 0.7,
}
"""Weight of a turn by its kind; 1 where none is given."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of B windows' visual tokens, cell by cell.

    cells: int64 [B, pairs, 3, cells], `CELL_FACTS` of what stands in each visual token's cell.
    owners: int64 [B, pairs, cells], the fact that each visual token shows, as a bit; 0 where it shows none.
    places: int64 [B, pairs, cells], in `PLACE_NAMES`, where the thing that each visual token shows stands.
    facts: int64 [B, 16, 5], `FACT_LABELS` of the facts that bits stand for, by the number of the bit.
    """

    cells: Tensor
    owners: Tensor
    places: Tensor
    facts: Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """Token rows of B windows that share one grid and one number of pairs, padded to L.

    pixels: uint8 [B, 2 * pairs, H, W, 3].  ids: int64 [B, L].  positions: int64 [3, B, L].
    branch: int64 [B, L], 0 for the prefix, -1 on padding.
    targets: int64 [B, L], the token each place must predict, -100 elsewhere.  weights: float32 [B, L].
    kinds: for each row, the kind of each of its branches (branch k is kinds[k - 1]).
    about: int64 [B, L], the facts each token of a turn should look at, as bits: at the end of a name in a request the
        thing it names, and where an answer is written, what it rests on. 0 where that is nothing.
    """

    pixels: Tensor
    ids: Tensor
    branch: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    kinds: list[list[str]]
    about: Tensor
    truth: Truth


class Vocabulary:
    """Words to ids, and the ids of the tokens that frame pictures and turns."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.video = token_id(tokenizer, "<|video_pad|>")
        self.vision_start = token_id(tokenizer, "<|vision_start|>")
        self.vision_end = token_id(tokenizer, "<|vision_end|>")
        self.end = token_id(tokenizer, "<|im_end|>")
        self.pad = token_id(tokenizer, "<|endoftext|>")
        self.full_stop = token_id(tokenizer, ".")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def sample_rows(rng: Rng, words: Vocabulary, *, size: tuple[int, int], pairs: int, count: int, turns: int = 14) -> Rows:
    """`count` windows of `pairs` frame pairs at one size, each with its turns."""
    grid = (1, size[0] // 14, size[1] // 14)
    rows, pixels, known = [], [], []
    for _ in range(count):
        clip, times_s, _ = sample_window(rng, pairs)
        pixels.append(render_window(rng, clip, times_s, size))
        seen = facts_between(clip, times_s)
        known.append(_known(clip, times_s[::2], seen, size))
        asked = sample_turns(rng, seen, count=turns)
        rows.append(_row(words, prompts.video_prefix(list(times_s[::2])), grid, asked, seen))
    truth = Truth(*(torch.from_numpy(np.stack(part)) for part in zip(*known, strict=True)))
    return _stack(words, rows, torch.from_numpy(np.stack(pixels)), truth)


def sample_text_rows(rng: Rng, words: Vocabulary, count: int) -> Rows:
    """Rows without a video: summaries and titles."""
    rows = [_row(words, prompts.text_prefix(), (1, 2, 2), [sample_text_turn(rng)]) for _ in range(count)]
    cells = torch.zeros((count, 0, len(CELL_FACTS), 1), dtype=torch.long)
    facts = torch.zeros((count, FACTS_MOST, len(FACT_LABELS)), dtype=torch.long)
    pixels = torch.zeros((count, 0, 28, 28, 3), dtype=torch.uint8)
    return _stack(words, rows, pixels, Truth(cells, cells[:, :, 0], cells[:, :, 0], facts))


_Known = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _known(clip: Clip, pair_times_s: npt.NDArray[np.float64], seen: Sequence[Fact], size: tuple[int, int]) -> _Known:
    """One window's part of a `Truth`, in the order of its fields."""
    shown = [shown_at(clip, float(time_s)) for time_s in pair_times_s]
    facts = np.zeros((FACTS_MOST, len(FACT_LABELS)), np.int64)
    facts[: len(seen)] = fact_labels(seen, pair_times_s)
    return (
        np.stack([cell_labels(now, size) for now in shown]),
        np.stack([_owner_bits(now, seen, size) for now in shown]),
        np.stack([cell_places(now, size) for now in shown]),
        facts,
    )


def _owner_bits(
    shown: Sequence[tuple[Fact, float, float, float]], seen: Sequence[Fact], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """int64 [cells]: for each cell the bit of the fact in `seen` that it shows, 0 for none."""
    bits = [_bits([fact], seen) for fact, *_ in shown]
    return np.asarray([*bits, 0], dtype=np.int64)[cell_owners(shown, size)]


def _bits(about: Sequence[Fact], seen: Sequence[Fact]) -> int:
    """The facts of `about` as bits, numbered as in `seen`."""
    return sum(1 << number for number, fact in enumerate(seen) if any(fact.same_actor(other) for other in about))


_Row = tuple[list[int], list[int], Tensor, list[int], list[float], list[str], list[int]]


def _row(
    words: Vocabulary,
    parts: Sequence[str | int],
    grid: tuple[int, int, int],
    turns: Sequence[Turn],
    seen: Sequence[Fact] = (),
) -> _Row:
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
    targets, weights, about = [-100] * len(ids), [0.0] * len(ids), [0] * len(ids)
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
        about += _named(words, turn, seen, len(request) - 1) + _rested_on(words, turn, answer, seen)
    return ids, branch, torch.cat(positions, dim=1), targets, weights, [turn.kind for turn in turns], about


def _named(words: Vocabulary, turn: Turn, seen: Sequence[Fact], length: int) -> list[int]:
    """For each of a request's first `length` tokens, the fact (as bits) whose name ends there."""
    bits = [0] * length
    for fact in turn.about if turn.kind != "caption" else ():
        name = fact.name if fact.name in turn.request else fact.noun
        end = turn.request.find(name) + len(name)
        if end >= len(name):  # found; a plural's ending belongs to its noun
            end += len(turn.request[end:]) - len(turn.request[end:].lstrip("es"))
            bits[len(words.encode(turn.request[:end])) - 1] |= _bits([fact], seen)
    return bits


def _rested_on(words: Vocabulary, turn: Turn, answer: Sequence[int], seen: Sequence[Fact]) -> list[int]:
    """For each token of an answer, the facts (as bits) it rests on: in a caption, its sentence's.

    Which of two came first takes both to decide, and from then on only that one to name.
    """
    if turn.kind == "order":
        return [_bits(turn.about, seen)] + [_bits(turn.about[:1], seen)] * (len(answer) - 1)
    if turn.kind != "caption":
        return [_bits(turn.about, seen)] * len(answer)
    bits, sentence = [], 0
    for token in answer:
        bits.append(_bits(turn.about[sentence : sentence + 1], seen))
        sentence += token == words.full_stop
    return bits


def _stack(words: Vocabulary, rows: Sequence[_Row], pixels: Tensor, truth: Truth) -> Rows:
    length = max(len(row[0]) for row in rows)

    def padded(values: Sequence[float], fill: float, dtype: torch.dtype) -> Tensor:
        return torch.tensor([*values, *[fill] * (length - len(values))], dtype=dtype)

    return Rows(
        pixels=pixels,
        ids=torch.stack([padded(row[0], words.pad, torch.long) for row in rows]),
        branch=torch.stack([padded(row[1], -1, torch.long) for row in rows]),
        positions=torch.stack([torch.nn.functional.pad(row[2], (0, length - row[2].shape[1])) for row in rows], dim=1),
        targets=torch.stack([padded(row[3], -100, torch.long) for row in rows]),
        weights=torch.stack([padded(row[4], 0.0, torch.float32) for row in rows]),
        kinds=[row[5] for row in rows],
        about=torch.stack([padded(row[6], 0, torch.long) for row in rows]),
        truth=truth,
    )


def tree_mask(branch: Tensor) -> Tensor:
    """bool [B, 1, L, L]: whether a token (dim 2) sees another (dim 3): the prefix or its own branch, causally."""
    length = branch.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    mine = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    return (mine & causal)[:, None]
