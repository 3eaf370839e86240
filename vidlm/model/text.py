"""The language model's forward pass, over the weights that the library loaded. Knows tensors, not tokens or prompts.

The library's own forward builds masks, grows caches by copying them and fixes how keys and values are kept. Here the
caller says how a layer's queries meet keys and values (`Attend`), so one loop serves a prefix, a tree of questions and
a batch of texts that grow a token at a time:

    for every layer      q, k, v = rotate(project(norm(x)))      x += out(attend(layer, q, k, v))      x += mlp(norm(x))

Qwen2-VL, Qwen2.5-VL and Qwen3-VL differ in three things only, all read off the weights and the configuration: whether
queries and keys are normalised, how the rotary axes share a head, and whether the tower speaks to more than one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlm.errors import CheckpointError

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries `[B, H, L, hd]`, keys and values `[B, KV, L, hd]`) -> what the queries saw, `[B, H, L, hd]`."""

Deep = Sequence[tuple[int, int, Tensor]]
"""What the tower says to the first layers: (row, first token's place, `[N, layers, D]`) for each clip."""

_STATIC_ROPE: Final = {"default", "mrope", "linear", "yarn", "llama3"}


@dataclass(frozen=True, slots=True)
class _Layer:
    """One decoder layer. `qkv` and `gate_up` are the library's weights side by side, not copies of them."""

    norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    query_norm: Tensor | None
    key_norm: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class TextModel:
    """The language model of a loaded checkpoint. Not thread-safe; calls run where they are made."""

    def __init__(self, network: Any) -> None:
        """network: the library's `...ForConditionalGeneration`. Its weights are laid side by side in memory."""
        model, config = network.model.language_model, network.config.text_config
        if config.hidden_act != "silu":
            raise CheckpointError(f"the activation {config.hidden_act!r} is not one vidlm runs: 'silu'")
        self.heads: Final = int(config.num_attention_heads)
        self.kv_heads: Final = int(config.num_key_value_heads)
        self.head_dim: Final = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
        self.embedding: Final[Tensor] = model.embed_tokens.weight
        self.head: Final[Tensor] = network.lm_head.weight
        self.device: Final = self.embedding.device
        self.dtype: Final = self.embedding.dtype
        self._norm: Tensor = model.norm.weight
        self._eps = float(config.rms_norm_eps)
        self._layers = [_layer(layer) for layer in model.layers]
        self._inv_freq, self._axes, self._rope_scale = _rotary(model.rotary_emb, config, self.head_dim)

    @property
    def layers(self) -> int:
        return len(self._layers)

    @property
    def kv_bytes_per_token(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_dim * int(self.dtype.itemsize)

    def empty_kv(self, rows: int, tokens: int) -> Tensor:
        """Room for keys and values: `[layers, 2, rows, KV, tokens, hd]`, uninitialised."""
        shape = (self.layers, 2, rows, self.kv_heads, tokens, self.head_dim)
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def embed(self, ids: Tensor) -> Tensor:
        """int64 `[...]` -> `[..., D]`."""
        return F.embedding(ids, self.embedding)

    def logits(self, hidden: Tensor) -> Tensor:
        """`[..., D]` -> float32 `[..., vocabulary]`."""
        return F.linear(hidden, self.head).float()

    def forward(
        self, hidden: Tensor, positions: Tensor, attend: Attend, deep: Deep = (), wanted: Tensor | None = None
    ) -> Tensor:
        """Last hidden states, normalised: `[B, L, D]` -> `[B, W, D]`.

        positions: int64 `[3, B, L]` (time, height, width), on this device, always ours: see `positions`.  wanted: int64
        `[W]`, the only tokens whose last states anybody reads (all, if None): the last layer then asks for no others,
        and `attend` gets W queries there. Of a prefix none are: its last layer is only keys and values.
        """
        rows, length, _ = hidden.shape
        cos, sin = self._turns(positions)
        widths = [self.heads, self.kv_heads, self.kv_heads]
        for index, layer in enumerate(self._layers):
            chosen = wanted if index == self.layers - 1 else None
            mixed = F.linear(self._normed(hidden, layer.norm), layer.qkv, layer.qkv_bias)
            query, key, value = torch.split(mixed.view(rows, length, sum(widths), self.head_dim), widths, dim=2)
            if layer.query_norm is not None and layer.key_norm is not None:
                query, key = self._normed(query, layer.query_norm), self._normed(key, layer.key_norm)
            key = rotate(key, cos, sin).transpose(1, 2)
            if chosen is None:
                query = rotate(query, cos, sin).transpose(1, 2)
            else:
                hidden = hidden[:, chosen]
                query = rotate(query[:, chosen], cos[:, chosen], sin[:, chosen]).transpose(1, 2)
            seen = attend(index, query, key, value.transpose(1, 2))
            if hidden.shape[1] == 0:
                return hidden
            mixed = seen.transpose(1, 2).reshape(rows, hidden.shape[1], -1)
            hidden = hidden + F.linear(mixed, layer.out, layer.out_bias)
            gate, up = F.linear(self._normed(hidden, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
            hidden = hidden + F.linear(F.silu(gate).mul_(up), layer.down)
            for row, start, said in deep:
                if index < said.shape[1] and chosen is None:
                    hidden[row, start : start + len(said)] += said[:, index].to(hidden)
        return self._normed(hidden, self._norm)

    def _normed(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(hidden, weight.shape, weight, self._eps)

    def _turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What `rotate` takes, for each token and all its heads: `[B, L, 1, hd]`."""
        angles = positions[self._axes].movedim(0, -1).float() * self._inv_freq
        cos, sin = angles.cos() * self._rope_scale, angles.sin() * self._rope_scale
        cos, sin = torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
        return cos.to(self.dtype).unsqueeze(2), sin.to(self.dtype).unsqueeze(2)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """`[B, H, L, hd]` over `[B, KV, S, hd]` -> `[B, H, L, hd]`. mask: bool, True sees, broadcasts to `[B, 1, L, S]`.

    A single query a row keeps the heads that share keys together instead of repeating the keys for them.
    """
    rows, heads, length, width = query.shape
    shared = heads // key.shape[1]
    if length == 0:
        return query
    if length == 1 and not causal:
        grouped = query.reshape(rows, key.shape[1], shared, width)
        return F.scaled_dot_product_attention(grouped, key, value, attn_mask=mask).reshape(rows, heads, 1, width)
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (RoFormer, arXiv 2104.09864) of `[..., hd]`, one half of a head turned against the other.

    cos and sin have `[..., hd]` too: cos (c, c) and sin (-s, s) for the halves.
    """
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, dims=-1), sin)


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        norm=layer.input_layernorm.weight,
        qkv=_side_by_side([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]),
        qkv_bias=_biases([attention.q_proj, attention.k_proj, attention.v_proj]),
        out=attention.o_proj.weight,
        out_bias=attention.o_proj.bias,
        query_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        key_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=_side_by_side([mlp.gate_proj.weight, mlp.up_proj.weight]),
        down=mlp.down_proj.weight,
    )


def _biases(projections: Sequence[Any]) -> Tensor | None:
    present = [projection.bias for projection in projections if projection.bias is not None]
    return _side_by_side(present) if len(present) == len(projections) else None


def _side_by_side(weights: Sequence[Tensor]) -> Tensor:
    """The weights as rows of one tensor. They become views of it, so nothing is held twice."""
    whole = torch.cat([weight.detach() for weight in weights])
    for weight, part in zip(weights, torch.split(whole, [len(weight) for weight in weights]), strict=True):
        weight.data = part
    return whole


def _rotary(rotary: Any, config: Any, head_dim: int) -> tuple[Tensor, Tensor, float]:
    """Frequencies float32 `[hd / 2]`, the axis each turns with (int64 `[hd / 2]`), and a scale of cos and sin."""
    kind = str(getattr(rotary, "rope_type", "default"))
    if kind not in _STATIC_ROPE:
        raise CheckpointError(
            f"rotary embeddings of type {kind!r} change with a prompt's length; vidlm cannot run them"
        )
    inv_freq: Tensor = rotary.inv_freq.detach().float()
    parameters = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
    usual = getattr(rotary, "mrope_section", [16, 24, 24])
    sections = [int(section) for section in parameters.get("mrope_section") or usual]
    if len(sections) != 3 or sum(sections) != head_dim // 2 or len(inv_freq) != head_dim // 2:
        raise CheckpointError(f"rotary sections {sections} do not fill half a head of {head_dim}")
    if config.model_type.startswith("qwen3"):
        axes = torch.zeros(head_dim // 2, dtype=torch.long)
        for axis in (1, 2):  # time, height, width take turns; what is left at the end is time's
            axes[axis : sections[axis] * 3 : 3] = axis
    else:
        axes = torch.arange(3).repeat_interleave(torch.tensor(sections))
    return inv_freq, axes.to(inv_freq.device), float(getattr(rotary, "attention_scaling", 1.0))
