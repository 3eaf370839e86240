"""Branches of a prefix: Yes/No scores of many questions in one row, and greedy text.

    keys        prefix            q0        q1        q2          every question sees the prefix and itself, causally;
    q0          # # # # # # # #   #                               none sees another, and each stands at the same
                # # # # # # # #   # #                             positions, right after the prefix: the row gives
    q1          # # # # # # # #             #                     exactly what a prompt per question would
                # # # # # # # #             # #

Knows tokens and probabilities; what the questions mean is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from vidlm.model.checkpoint import Checkpoint
from vidlm.model.positions import text_positions
from vidlm.model.prefix import Prefix, run_text

ROW_TOKENS: Final = 1024
"""Question tokens in one row at most: the mask grows with their square, and most of that square is empty."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Text of a greedy decode. `confidence` is exp(mean log p) of the tokens chosen, the one that stopped it included.

    token_ids: what was generated, without the stop token.
    """

    text: str
    confidence: float
    token_ids: tuple[int, ...]


def score_branches(checkpoint: Checkpoint, prefix: Prefix, suffixes: Sequence[str]) -> list[float]:
    """P(Yes) against No as the first word after each suffix, in [0, 1], from logits in float32."""
    branches = [checkpoint.tokenize(suffix) for suffix in suffixes]
    if not all(branches):
        raise ValueError("a question needs at least one token")
    scores = [_score_row(checkpoint, prefix, row) for row in _rows(branches)]
    return torch.cat(scores).tolist() if scores else []


def _rows(branches: list[list[int]]) -> Iterator[list[list[int]]]:
    """Consecutive branches in rows of at most `ROW_TOKENS`; a longer branch has a row of its own."""
    row: list[list[int]] = []
    for branch in branches:
        if row and sum(map(len, row)) + len(branch) > ROW_TOKENS:
            yield row
            row = []
        row.append(branch)
    if row:
        yield row


def _score_row(checkpoint: Checkpoint, prefix: Prefix, branches: list[list[int]]) -> Tensor:
    """float32 `[K]`, on the CPU."""
    lengths = torch.tensor([len(branch) for branch in branches])
    ids = torch.tensor([[token for branch in branches for token in branch]], device=checkpoint.device)
    positions = torch.cat([text_positions(prefix.next_position, len(branch)) for branch in branches], dim=1)
    mask = _tree_mask(prefix.length, lengths).to(checkpoint.device)
    embedded = checkpoint.model.get_input_embeddings()(ids)
    hidden = run_text(checkpoint, embedded, positions, prefix.fork(), mask)
    last = hidden[0, (lengths.cumsum(0) - 1).to(checkpoint.device)]
    words: Tensor = checkpoint.model.lm_head.weight[[checkpoint.ids.yes, checkpoint.ids.no]]
    return (last.float() @ words.float().T).softmax(dim=-1)[:, 0].cpu()


def _tree_mask(prefix_length: int, lengths: Tensor) -> Tensor:
    """bool `[1, 1, N, prefix + N]`, True where a token (row) sees another (column)."""
    branch = torch.arange(len(lengths)).repeat_interleave(lengths)
    own = (branch[:, None] == branch[None, :]).tril()
    return torch.cat([own.new_ones(len(own), prefix_length), own], dim=1)[None, None]


def generate_branch(checkpoint: Checkpoint, prefix: Prefix, suffix: str, max_new_tokens: int) -> Generation:
    """Decode greedily after prefix and suffix, until a stop token or `max_new_tokens` (>= 1)."""
    ids = checkpoint.tokenize(suffix)
    if not ids or max_new_tokens < 1:
        raise ValueError("generating needs a suffix of at least one token and room for one more")
    embed = checkpoint.model.get_input_embeddings()
    cache, position = prefix.fork(), prefix.next_position
    step = torch.tensor([ids], device=checkpoint.device)
    chosen: list[int] = []
    log_probs: list[Tensor] = []
    while len(log_probs) < max_new_tokens:
        hidden = run_text(checkpoint, embed(step), text_positions(position, step.shape[1]), cache)
        position += step.shape[1]
        log_prob, token = checkpoint.model.lm_head(hidden[:, -1:]).float().log_softmax(dim=-1).max(dim=-1)
        log_probs.append(log_prob.flatten())
        if (word := int(token)) in checkpoint.ids.stop:
            break
        chosen.append(word)
        step = token
    text: str = checkpoint.tokenizer.decode(chosen, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Generation(text.strip(), float(torch.cat(log_probs).mean().exp()), tuple(chosen))
