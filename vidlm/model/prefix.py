"""The part of a prompt that many requests share: run once, kept as keys and values, branched from at will.

Knows how text and visual tokens are laid out in a row and where each stands. Does not know what is asked after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import torch
from torch import Tensor

from vidlm.model.checkpoint import Checkpoint
from vidlm.model.positions import Grid, prompt_positions
from vidlm.model.text import Deep, TextModel, attention

STEM_PROMPTS: Final = 512
"""Tokens of prompts up to which what they begin with in common is run once: in longer ones it is too little to matter,
and attention that has to be told what it may see is slower."""


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

    def part(self, first: int, last: int) -> _Row:
        """Tokens `[first, last)`; no clip may lie across the ends."""
        clips = tuple((start - first, clip) for start, clip in self.clips if first <= start < last)
        return _Row(self.ids[first:last], self.positions[:, first:last], self.next_position, clips)


def open_prefixes(checkpoint: Checkpoint, text: TextModel, prompts: Sequence[Sequence[str | Clip]]) -> list[Prefix]:
    """Run the beginnings of prompts through the model as one batch. Adjacent texts are one text.

    Shorter ones are padded behind their end, which nothing before it sees. Raises `ValueError` for an empty prompt.
    """
    rows = [_lay_out(checkpoint, parts) for parts in prompts]
    kv = text.empty_kv(len(rows), max(len(row.ids) for row in rows))
    stem = _shared(rows)
    if stem:
        kv[..., :stem, :] = _run(text, [rows[0].part(0, stem)], text.empty_kv(1, stem), 0)
    _run(text, [row.part(stem, len(row.ids)) for row in rows], kv, stem)
    if len(rows) == 1:
        return [Prefix(kv, rows[0].next_position)]
    # copies, so that one that is kept does not keep the whole batch
    parts = [kv[:, :, index : index + 1, :, : len(row.ids)] for index, row in enumerate(rows)]
    return [Prefix(part.contiguous(), row.next_position) for part, row in zip(parts, rows, strict=True)]


def _run(text: TextModel, rows: Sequence[_Row], kv: Tensor, stem: int) -> Tensor:
    """Run rows behind the first `stem` tokens of `kv` and write their keys and values into it."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros(3, len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)], positions[:, index, : len(row.ids)] = row.ids, row.positions
    hidden = text.embed(ids.to(text.device))
    behind = torch.ones(longest, stem + longest, dtype=torch.bool, device=text.device).tril(stem) if stem else None

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = kv[layer]
        keys[..., stem:, :], values[..., stem:, :] = key, value
        if behind is None:
            return attention(query, key, value, causal=True)
        return attention(query, keys, values, behind[None, None])

    nobody = torch.empty(0, dtype=torch.long, device=text.device)
    text.forward(hidden, positions.to(text.device), attend, _show(hidden, rows), wanted=nobody)
    return kv


def _shared(rows: Sequence[_Row]) -> int:
    """How many tokens all prompts of a batch begin with, pictures not included: worth running once in short ones."""
    if len(rows) == 1 or max(len(row.ids) for row in rows) > STEM_PROMPTS:
        return 0
    most = min(row.clips[0][0] if row.clips else len(row.ids) - 1 for row in rows)
    same = torch.stack([row.ids[:most] == rows[0].ids[:most] for row in rows]).all(dim=0)
    return int(same.int().cumprod(dim=0).sum())


def _show(hidden: Tensor, rows: Sequence[_Row]) -> Deep:
    """Lay the visual tokens over their places in `[B, L, D]`; what is left of them is for deeper layers."""
    width = hidden.shape[2]
    deep: list[tuple[int, int, Tensor]] = []
    for index, row in enumerate(rows):
        for start, clip in row.clips:
            layers = clip.tokens.to(hidden).view(len(clip.tokens), -1, width)
            hidden[index, start : start + len(layers)] = layers[:, 0]
            if layers.shape[1] > 1:
                deep.append((index, start, layers[:, 1:]))
    return deep


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
