"""The part of a prompt that many requests share: run once, kept as keys and values, branched from at will.

Knows how text and visual tokens are laid out in a row and where each stands. Does not know what is asked after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from vidlm.model.checkpoint import Checkpoint
from vidlm.model.positions import Grid, prompt_positions
from vidlm.model.text import Deep, TextModel, attention


@dataclass(frozen=True, slots=True, eq=False)
class VisualTokens:
    """What the tower saw in consecutive frame pairs of one size.

    tokens: `[pairs, n, D]`, D the language model's width or, where the tower speaks to several layers, a multiple of
    it.  pair_times_s: when each pair's first frame is shown; last_times_s: its last.  grid_hw: height and width in
    patches; n is h * w over the merged cell's area.
    """

    tokens: Tensor
    pair_times_s: tuple[float, ...]
    grid_hw: tuple[int, int]
    last_times_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.last_times_s:
            object.__setattr__(self, "last_times_s", self.pair_times_s)
        times = {len(self.pair_times_s), len(self.last_times_s)}
        if self.tokens.ndim != 3 or times != {len(self.tokens)}:
            raise ValueError(f"{len(self.pair_times_s)} pair times but tokens of shape {list(self.tokens.shape)}")

    def __len__(self) -> int:
        return len(self.tokens)

    def slice(self, first: int, last: int) -> VisualTokens:
        """Pairs `[first, last)`; a view, nothing is copied."""
        part = slice(first, last)
        return VisualTokens(self.tokens[part], self.pair_times_s[part], self.grid_hw, self.last_times_s[part])

    def clip(self, first: int, last: int) -> Clip:
        """Pairs `[first, last)` as one clip between one `<|vision_start|>` and one `<|vision_end|>`."""
        pairs, times_s = self.tokens[first:last], self.pair_times_s[first:last]
        apart_s = (times_s[-1] - times_s[0]) / (len(times_s) - 1) if len(times_s) > 1 else 0.0
        return Clip(pairs.flatten(0, 1), (len(pairs), *self.grid_hw), apart_s)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Visual tokens that stand between one pair of vision markers: tokens `[N, D]`, grid (t, h, w) in patches.

    apart_s: seconds from one temporal patch to the next; some families' positions count them.
    """

    tokens: Tensor
    grid: Grid
    apart_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A prompt's beginning, computed. Never changes: branches keep their own keys and values.

    kv: `[layers, 2, 1, KV, tokens, hd]`.  next_position: where the next text token stands, on all three axes.
    """

    kv: Tensor
    next_position: int

    @property
    def length(self) -> int:
        return int(self.kv.shape[4])

    @property
    def bytes(self) -> int:
        return self.kv.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A prompt as the model reads it: ids `[L]`, positions `[3, L]`, and where each clip's visual tokens begin."""

    ids: Tensor
    positions: Tensor
    next_position: int
    clips: tuple[tuple[int, Clip], ...]


def open_prefix(checkpoint: Checkpoint, text: TextModel, parts: Sequence[str | Clip]) -> Prefix:
    """Run a prompt's beginning through the model. Adjacent texts are one text. Raises `ValueError` for an empty one."""
    row = _lay_out(checkpoint, parts)
    hidden = text.embed(row.ids.to(text.device))[None]
    width = hidden.shape[2]
    deep: list[tuple[int, Tensor]] = []
    for start, clip in row.clips:
        layers = clip.tokens.to(hidden).view(
            len(clip.tokens), -1, width
        )  # the prompt's, then one for each deeper layer
        hidden[0, start : start + len(layers)] = layers[:, 0]
        if layers.shape[1] > 1:
            deep.append((start, layers[:, 1:]))
    return _run(text, hidden, row, deep)


def _run(text: TextModel, hidden: Tensor, row: _Row, deep: Deep) -> Prefix:
    kv = text.empty_kv(1, hidden.shape[1])

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        kv[layer, 0], kv[layer, 1] = key, value
        return attention(query, key, value, causal=True)

    text.forward(hidden, row.positions[:, None].to(text.device), attend, deep)
    return Prefix(kv, row.next_position)


def _lay_out(checkpoint: Checkpoint, parts: Sequence[str | Clip]) -> _Row:
    ids: list[int] = []
    layout: list[int | Grid] = []
    clips: list[tuple[int, Clip]] = []
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, str)):
        if is_text:
            words = checkpoint.tokenize("".join(part for part in group if isinstance(part, str)))
            ids += words
            layout.append(len(words))
            continue
        for part in group:
            if isinstance(part, Clip):
                clips.append((len(ids) + 1, part))
                ids += [checkpoint.ids.vision_start, *[checkpoint.ids.video] * len(part.tokens)]
                ids.append(checkpoint.ids.vision_end)
                layout.append(part.grid)
    if not ids:
        raise ValueError("a prefix needs at least one token")
    rate = checkpoint.positions_per_second
    steps = [clip.apart_s * rate if rate else 1.0 for _, clip in clips]
    positions, following = prompt_positions(layout, merge_size=checkpoint.geometry.merge_size, time_steps=steps)
    if positions.shape[1] != len(ids):
        raise ValueError("a clip's tokens do not fill its grid")
    return _Row(torch.tensor(ids), positions, following, tuple(clips))
