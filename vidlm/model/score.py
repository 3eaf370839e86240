"""Yes/No scores: all questions about one prompt in one row, whatever their number. Knows tokens and probabilities only.

Each question is a leaf of a tree (see `tree`) behind the prefix: it sees the prefix and its own words, and no other
question. Only the two rows of the output weights that say Yes and No are multiplied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidlm.errors import ModelError
from vidlm.model.checkpoint import TokenIds
from vidlm.model.prefix import Prefix
from vidlm.model.text import TextModel, attention
from vidlm.model.tree import Tree


def branch_states(text: TextModel, prefix: Prefix, tree: Tree) -> Tensor:
    """The last hidden states at each continuation's end, normalised: `[K, D]`."""
    sees = tree.sees.to(text.device)
    mask = torch.cat([sees.new_ones(len(tree), prefix.length), sees], dim=1)[None, None]
    positions = (tree.depths + prefix.next_position).to(text.device).expand(3, 1, -1)

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = (
            torch.cat([before, own], dim=2) for before, own in zip(prefix.kv[layer], (key, value), strict=True)
        )
        return attention(query, keys, values, mask)

    hidden = text.forward(text.embed(tree.ids.to(text.device))[None], positions, attend)
    return hidden[0, tree.ends.to(text.device)]


def score_tree(text: TextModel, ids: TokenIds, prefix: Prefix, tree: Tree) -> list[float]:
    """P(Yes) against No as the first word after each continuation, in [0, 1], from logits in float32.

    Raises `ModelError` (`model_not_finite`) where the weights give no number: garbage is never a score of a half.
    """
    words = text.head[[ids.yes, ids.no]].float()
    logits = branch_states(text, prefix, tree).float() @ words.T
    scores: list[float] = logits.softmax(dim=-1)[:, 0].tolist()
    if not all(0.0 <= score <= 1.0 for score in scores):  # false for NaN
        raise ModelError("the model gave no number for a score", code="model_not_finite")
    return scores
