"""Yes/No scores: all questions about one prompt in one row, whatever their number. Knows tokens and probabilities only.

Each question is a leaf of a tree (see `tree`) behind the prefix: it sees the prefix and its own words, and no other
question. The same questions about several short prompts are a batch of such rows. Only the two rows of the output
weights that say Yes and No are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidlm.model.checkpoint import TokenIds
from vidlm.model.prefix import Prefix
from vidlm.model.text import TextModel, attention
from vidlm.model.tree import Tree


def branch_states(text: TextModel, prefixes: Sequence[Prefix], tree: Tree) -> Tensor:
    """The last hidden states at each continuation's end behind each prefix, normalised: `[B, K, D]`."""
    longest = max(prefix.length for prefix in prefixes)
    shown = torch.zeros(len(prefixes), 1, 1, longest, dtype=torch.bool)
    for row, prefix in enumerate(prefixes):
        shown[row, ..., : prefix.length] = True
    shape = (len(prefixes), 1, len(tree), len(tree))
    mask = torch.cat([shown.expand(-1, 1, len(tree), -1), tree.sees.expand(shape)], dim=3).to(text.device)
    starts = torch.tensor([prefix.next_position for prefix in prefixes])
    positions = (starts[:, None] + tree.depths).to(text.device).expand(3, -1, -1)
    before = _together(text, prefixes, longest)

    ends = tree.ends.to(text.device)

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = (torch.cat([old, own], dim=2) for old, own in zip(before[layer], (key, value), strict=True))
        return attention(query, keys, values, mask if layer < text.layers - 1 else mask[:, :, ends])

    ids = tree.ids.to(text.device).expand(len(prefixes), -1)
    return text.forward(text.embed(ids), positions, attend, wanted=ends)


def _together(text: TextModel, prefixes: Sequence[Prefix], longest: int) -> Tensor:
    """Keys and values of several prefixes as one batch, `[layers, 2, B, KV, longest, hd]`, padded behind their ends."""
    if len(prefixes) == 1:
        return prefixes[0].kv
    kv = text.empty_kv(len(prefixes), longest).zero_()  # what is hidden must still be a number
    for row, prefix in enumerate(prefixes):
        kv[:, :, row, :, : prefix.length] = prefix.kv[:, :, 0]
    return kv


def score_tree(text: TextModel, ids: TokenIds, prefixes: Sequence[Prefix], tree: Tree) -> list[list[float]]:
    """P(Yes) against No as the first word after each continuation of each prefix, in [0, 1], from float32 logits.

    Where the weights give no number a score is NaN: whoever asks must not take that for one.
    """
    words = text.head[[ids.yes, ids.no]].float()
    logits = branch_states(text, prefixes, tree).float() @ words.T
    scores: list[list[float]] = logits.softmax(dim=-1)[..., 0].tolist()
    return scores
