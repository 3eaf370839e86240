"""The part of a prompt that many requests share: run once, kept as keys and values, branched from at will.

Knows how text and visual tokens are laid out in a row and where each stands. Does not know what is asked after it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vidlm.model.checkpoint import Checkpoint
from vidlm.model.positions import Grid, prompt_positions


@dataclass(frozen=True, slots=True, eq=False)
class VisualTokens:
    """What the tower saw in consecutive frame pairs of one size.

    tokens: `[pairs, n, D]`.  pair_times_s: when each pair's first frame is shown.  grid_hw: height and width in
    patches; n is h * w over the merged cell's area.
    """

    tokens: Tensor
    pair_times_s: tuple[float, ...]
    grid_hw: tuple[int, int]

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or len(self.tokens) != len(self.pair_times_s):
            raise ValueError(f"{len(self.pair_times_s)} pair times but tokens of shape {list(self.tokens.shape)}")

    def __len__(self) -> int:
        return len(self.tokens)

    def slice(self, first: int, last: int) -> VisualTokens:
        """Pairs `[first, last)`; a view, nothing is copied."""
        return VisualTokens(self.tokens[first:last], self.pair_times_s[first:last], self.grid_hw)

    def clip(self, first: int, last: int) -> Clip:
        """Pairs `[first, last)` as one clip between one `<|vision_start|>` and one `<|vision_end|>`."""
        pairs = self.tokens[first:last]
        return Clip(pairs.flatten(0, 1), (len(pairs), *self.grid_hw))


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Visual tokens that stand between one pair of vision markers: tokens `[N, D]`, grid (t, h, w) in patches."""

    tokens: Tensor
    grid: Grid


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A prompt's beginning, computed. Never changes: every branch works on a `fork` of the cache.

    length: tokens.  next_position: where the next text token stands, on all three axes.
    """

    cache: Any  # transformers.DynamicCache
    length: int
    next_position: int

    def fork(self) -> Any:
        """A cache that starts as this prefix and grows on its own. Shares the tensors: growing makes new ones."""
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        return cache


def open_prefix(checkpoint: Checkpoint, parts: Sequence[str | Clip]) -> Prefix:
    """Run a prompt's beginning through the model. Adjacent texts are one text. Raises `ValueError` for an empty one."""
    ids: list[int] = []
    layout: list[int | Grid] = []
    clips: list[tuple[int, Clip]] = []  # where a clip's first visual token stands in the row
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, str)):
        if is_text:
            text = checkpoint.tokenize("".join(part for part in group if isinstance(part, str)))
            ids += text
            layout.append(len(text))
            continue
        for part in group:
            if isinstance(part, Clip):
                clips.append((len(ids) + 1, part))
                count = len(part.tokens)
                ids += [checkpoint.ids.vision_start, *[checkpoint.ids.video] * count, checkpoint.ids.vision_end]
                layout.append(part.grid)
    if not ids:
        raise ValueError("a prefix needs at least one token")
    positions, following = prompt_positions(layout, merge_size=checkpoint.geometry.merge_size)
    if positions.shape[1] != len(ids):
        raise ValueError("a clip's tokens do not fill its grid")
    cache = DynamicCache()
    run_text(checkpoint, _embed(checkpoint, ids, clips), positions, cache)
    return Prefix(cache, len(ids), following)


def _embed(checkpoint: Checkpoint, ids: list[int], clips: list[tuple[int, Clip]]) -> Tensor:
    """`[1, L, D]`: the words' embeddings with the visual tokens laid over their places."""
    embedded: Tensor = checkpoint.model.get_input_embeddings()(torch.tensor([ids], device=checkpoint.device))
    for start, clip in clips:
        embedded[0, start : start + len(clip.tokens)] = clip.tokens.to(embedded)
    return embedded


def run_text(
    checkpoint: Checkpoint, embedded: Tensor, positions: Tensor, cache: Any, mask: Tensor | None = None
) -> Tensor:
    """One forward of the language model after whatever `cache` holds, which grows by it.

    embedded `[1, L, D]`, positions int64 `[3, L]`, mask bool `[1, 1, L, cached + L]` (True sees; causal when None).
    Returns the last hidden states, normalised: `[1, L, D]`. Positions are always ours: see `positions`.
    """
    out = checkpoint.model.model.language_model(
        inputs_embeds=embedded,
        position_ids=positions[:, None].to(checkpoint.device),
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
    )
    hidden: Tensor = out.last_hidden_state
    return hidden
