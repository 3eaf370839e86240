"""Words as token ids, and the prefix of a window: pictures, and the times before them, whose tokens have numbers.

Needs a tokenizer and positions; draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor

from vidlm import prompts
from vidlm.model.positions import prompt_positions
from vidlm.toyworld.student import token_id

_MOST_TOKENS_OF_A_TIME: Final = 16


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


@dataclass(frozen=True, slots=True)
class Prefix:
    """A window's prefix: token ids, numbers of the tokens that spell times (`clock_of`, else 0), positions [3, n],
    where the next token stands, and the pairs' times."""

    ids: list[int]
    clock: list[int]
    positions: Tensor
    after: int
    times_s: list[float]

    def pair_at(self, time_s: float) -> int:
        """The number, from 1, of the pair on screen at a time; 0 for none."""
        return int(np.searchsorted(self.times_s, time_s + 1e-6, side="right"))


def prefix_of(words: Vocabulary, times_s: list[float], size: tuple[int, int]) -> Prefix:
    parts = prompts.video_prefix(times_s) if times_s else prompts.text_prefix()
    grid = (1, size[0] // 14, size[1] // 14)
    cells = grid[1] * grid[2] // 4
    ids: list[int] = []
    clock: list[int] = []
    layout: list[int | tuple[int, int, int]] = []
    pair = 0
    for part in parts:
        if isinstance(part, str):
            text = words.encode(part)
            ids += text
            clock += [clock_of(pair, index) if pair else 0 for index in range(len(text))]  # the first part is no time
            pair += 1
            layout.append(len(text))
        else:
            ids += [words.vision_start, *[words.video] * cells, words.vision_end]
            clock += [0] * (cells + 2)
            layout.append(grid)
    positions, after = prompt_positions(layout)
    return Prefix(ids, clock, positions, after, times_s)


def clock_of(pair: int, index: int) -> int:
    """The number of the `index`-th token of the `pair`-th time (pairs from 1)."""
    return pair * _MOST_TOKENS_OF_A_TIME + index + 1


def pair_of(clock: Tensor) -> Tensor:
    """The number, from 0, of the pair whose time each token spells; the other way round of `clock_of`."""
    return (clock - 1) // _MOST_TOKENS_OF_A_TIME - 1
