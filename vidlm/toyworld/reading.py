"""The language model's forward pass in training: every prefix once, its turns packed in chunks behind it.

A row's turns do not see each other, so one square of attention over prefix and all turns would be nine tenths masked.
Here turns are packed into chunks of about `CHUNK` tokens, each of which meets its row's prefix and itself:

    prefix   [ B, P ]  causal                      all linear layers see every token of both at once, packed
    chunks   [ C, L ]  prefix + own turn, causal   (C chunks of B rows; `owner[c]` is chunk c's row)

The weights and their meaning are the library's: a test holds this forward against the library's own. Knows tensors, not
words or worlds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlm.model.text import rotate

CHUNK: Final = 160
"""Tokens of turns in a chunk, about: short enough that little is masked, long enough for full matrix products."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where tokens stand and what they see.

    prefix_positions: int64 [3, B, P].  prefix_length: int64 [B], tokens of each prefix that are not padding.
    owner: int64 [C], the row of each chunk.  positions: int64 [3, C, L].
    turn: int64 [C, L], the number of the turn each token belongs to, 0 for padding.
    """

    prefix_positions: Tensor
    prefix_length: Tensor
    owner: Tensor
    positions: Tensor
    turn: Tensor

    def to(self, device: torch.device) -> Layout:
        return Layout(
            self.prefix_positions.to(device),
            self.prefix_length.to(device),
            self.owner.to(device),
            self.positions.to(device),
            self.turn.to(device),
        )


@dataclass(frozen=True, slots=True)
class States:
    """What the language model made of a batch: `prefix[n]` [B, P, D] and `chunks[n]` [C, L, D] are the hidden states
    after n layers, `last` [C, L, D] the normalised last ones.

    `looks[n]` [C, H / KV, L, P + L] is where the chunks' tokens looked in layer n (from 0), by the heads of the first
    group; only for layers that were asked for.
    """

    prefix: dict[int, Tensor]
    chunks: dict[int, Tensor]
    looks: dict[int, Tensor]
    last: Tensor


def read(model: Any, prefix: Tensor, chunks: Tensor, layout: Layout, *, looks: Collection[int] = ()) -> States:
    """Read embedded prefixes `[B, P, D]` and chunks `[C, L, D]`. `looks`: the layers whose attention is to be kept."""
    text = model.model.language_model
    config = text.config
    heads, kv_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
    width, head = prefix.shape[-1], prefix.shape[-1] // heads
    counts = [prefix.shape[0] * prefix.shape[1], chunks.shape[0] * chunks.shape[1]]
    positions = torch.cat([layout.prefix_positions.flatten(1), layout.positions.flatten(1)], dim=1)
    cos, sin = _turns(text.rotary_emb, config, positions)
    mask = _mask(layout, prefix.shape[1])
    found = States({}, {}, {}, chunks)
    hidden = torch.cat([prefix.reshape(-1, width), chunks.reshape(-1, width)]).float()
    for index, layer in enumerate(text.layers):
        attend, final = layer.self_attn, index == len(text.layers) - 1
        normed = F.rms_norm(hidden, (width,), layer.input_layernorm.weight, config.rms_norm_eps)
        parts = [
            projection(normed).view(-1, count, head)
            for projection, count in ((attend.q_proj, heads), (attend.k_proj, kv_heads), (attend.v_proj, kv_heads))
        ]
        turned = [rotate(parts[0], cos, sin), rotate(parts[1], cos, sin), parts[2]]
        early, late = zip(*(part.to(parts[2].dtype).split(counts) for part in turned), strict=True)
        query, key, value = (_heads(part, chunks.shape[0]) for part in late)
        before = [_heads(part, prefix.shape[0]) for part in early]
        key, value = (
            torch.cat([own[layout.owner], new], dim=2) for own, new in zip(before[1:], (key, value), strict=True)
        )
        if index in looks:
            found.looks[index] = _weights(query[:, : heads // kv_heads], key[:, :1], mask)
        seen = _joined(_attention(query, key, value, mask))
        if final:  # nobody reads the prefix's last states
            hidden = hidden[counts[0] :]
        else:
            seen = torch.cat([_joined(_causal(*before)), seen])
        hidden = hidden + attend.o_proj(seen)
        normed = F.rms_norm(hidden, (width,), layer.post_attention_layernorm.weight, config.rms_norm_eps)
        hidden = hidden + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed))
        if not final:
            found.prefix[index + 1] = hidden[: counts[0]].view(prefix.shape)
        found.chunks[index + 1] = hidden[-counts[1] :].view(chunks.shape)
    last = F.rms_norm(found.chunks[len(text.layers)], (width,), text.norm.weight, config.rms_norm_eps)
    return States(found.prefix, found.chunks, found.looks, last)


def _heads(packed: Tensor, rows: int) -> Tensor:
    """[rows * L, H, hd] -> [rows, H, L, hd]"""
    return packed.view(rows, -1, *packed.shape[1:]).transpose(1, 2)


def _joined(seen: Tensor) -> Tensor:
    """[rows, H, L, hd] -> [rows * L, H * hd]"""
    return seen.transpose(1, 2).flatten(2).flatten(0, 1)


def _turns(rotary: Any, config: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin for `rotate`, [N, 1, hd], of positions int64 [3, N]; Qwen2-VL's axes follow each other."""
    sections = torch.tensor(config.rope_parameters["mrope_section"], device=positions.device)
    axes = torch.arange(3, device=positions.device).repeat_interleave(sections)
    angles = positions[axes].T.float() * rotary.inv_freq.float()
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1)[:, None], torch.cat([-sin, sin], dim=-1)[:, None]


def _mask(layout: Layout, prefix: int) -> Tensor:
    """Additive [C, 1, L, P + L]: 0 where a chunk's token sees another, so low elsewhere that nothing is left."""
    turn, length = layout.turn, layout.turn.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=turn.device).tril()
    own = (turn[:, :, None] == turn[:, None, :]) & causal
    there = torch.arange(prefix, device=turn.device) < layout.prefix_length[layout.owner][:, None]
    sees = torch.cat([there[:, None].expand(-1, length, -1), own], dim=2)
    return torch.zeros(sees.shape, device=turn.device).masked_fill(~sees, -1e4)[:, None]


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """[B, H, L, hd] over [B, KV, S, hd] -> [B, H, L, hd].

    On a CPU, for rows as short as these, the plain way takes less time than PyTorch's fused one.
    """
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask.to(query.dtype), enable_gqa=True)
    weights = _weights(query, key, mask)
    rows, groups, _, width = key.shape
    with torch.autocast(query.device.type, enabled=False):
        seen: Tensor = weights.view(rows, groups, -1, weights.shape[-1]) @ value
    return seen.view(*query.shape[:3], width)


def _weights(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """Attention weights [B, H, L, S] in the inputs' own dtype; heads that share keys lie together."""
    rows, groups, _, width = key.shape
    with torch.autocast(query.device.type, enabled=False):
        grouped = (query * width**-0.5).reshape(rows, groups, -1, width)
        scores = (grouped @ key.transpose(2, 3)).view(*query.shape[:3], -1)
        weights: Tensor = (scores + mask.to(query.dtype)).softmax(-1)
    return weights


def _causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    length = query.shape[2]
    below = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    return _attention(
        query, key, value, torch.zeros_like(below, dtype=query.dtype).masked_fill(~below, -1e4)[None, None]
    )
