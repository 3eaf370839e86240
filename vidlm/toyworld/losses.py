"""What the embedded model is taught by: the loss of each stage, and how right it is on turns it has not learnt.

Stage 1 matches frame pairs with descriptions and names what stands in every cell; stage 2 answers the product's
prompts. Knows batches and logits; not where batches come from nor how weights are kept.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlm.model.vision import encode_pairs, patchify
from vidlm.toyworld import student
from vidlm.toyworld.dataset import Pairs
from vidlm.toyworld.lessons import (
    ANSWER_LAYER,
    CELL_SHARE,
    GROUND_SHARE,
    PLACE_LAYER,
    PLACE_SHARE,
    READ_SHARE,
    Towers,
    cell_loss,
    ground_loss,
    place_loss,
    read_loss,
)
from vidlm.toyworld.rows import Rows, Vocabulary, tree_mask
from vidlm.toyworld.windows import CELL

TOWER_PAIRS: Final = 32 if not torch.cuda.is_available() else 1 << 20
"""Frame pairs at a time: what stays in a CPU's cache runs about twice as fast."""


def stage1_loss(
    model: Any, towers: Towers, batch: Pairs, words: Vocabulary, device: torch.device
) -> tuple[Tensor, dict[str, float]]:
    """Symmetric InfoNCE over the batch plus the cells' cross entropies; also accuracies for the log."""
    tokens = see(model, batch.pixels.to(device))
    images = towers.images(tokens)
    texts = towers.texts([[words.encode(sentence) for sentence in found] for found in batch.texts])
    logits = towers.scale.exp().clamp(max=100) * images @ texts.T
    labels = ["|".join(sorted(found)) for found in batch.texts]
    numbers = torch.tensor([labels.index(label) for label in labels], device=device)
    same = (numbers[:, None] == numbers[None, :]) & ~torch.eye(len(labels), dtype=torch.bool, device=device)
    logits = logits.masked_fill(same, -1e4)  # an equal description is not a wrong one
    target = torch.arange(len(labels), device=device)
    loss = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    figures = {"match": float((logits.argmax(1) == target).float().mean())}
    cells, cell_figures = cell_loss(towers, tokens, batch.cells.to(device))
    return loss + cells, {**figures, **cell_figures}


def see(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens `[P, n, D]` of uint8 frames `[..., 2, H, W, 3]`, every two frames a pair."""
    parts = []
    for some in torch.split(pixels.reshape(-1, *pixels.shape[-3:]), 2 * TOWER_PAIRS):
        rows, grid = patchify(some, student.GEOMETRY)
        parts.append(encode_pairs(model.model.visual, rows, grid))
    return torch.cat(parts)


@dataclass(frozen=True, slots=True)
class States:
    """What the language model made of a batch of rows.

    last: hidden states `[B, L, D]`.  hidden: those before the first layer and after each.
    attentions: each layer's weights `[B, heads, L, L]`.
    """

    last: Tensor
    hidden: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...]


def stage2_states(
    model: Any, batch: Rows, tokens: Tensor | None, words: Vocabulary, device: torch.device, *, attentions: bool
) -> States:
    """The rows, read once. `attentions` asks for their weights too; only eager attention has them."""
    ids = batch.ids.to(device)
    embeds = model.model.language_model.embed_tokens(ids)
    if tokens is not None:
        embeds = embeds.masked_scatter((ids == words.video)[..., None], tokens.to(embeds.dtype))
    out = model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=_additive(tree_mask(batch.branch.to(device))),
        position_ids=batch.positions.to(device),
        use_cache=False,
        output_hidden_states=True,
        output_attentions=attentions,
    )
    return States(out.last_hidden_state, out.hidden_states, out.attentions if attentions else ())


def stage2_logits(
    model: Any, batch: Rows, tokens: Tensor | None, words: Vocabulary, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at the places that must predict something: (logits [M, V], rows [M], columns [M])."""
    return answers(model, batch, stage2_states(model, batch, tokens, words, device, attentions=False).last)


def answers(model: Any, batch: Rows, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `stage2_logits`, from the last hidden states `[B, L, D]`."""
    rows, columns = (batch.targets.to(hidden.device) >= 0).nonzero(as_tuple=True)
    return model.lm_head(hidden[rows, columns]).float(), rows, columns


def _additive(mask: Tensor) -> Tensor:
    """True -> 0, False -> so low that nothing is left: the form every attention implementation takes."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -1e4)


def stage2_loss(
    model: Any, towers: Towers, batch: Rows, words: Vocabulary, device: torch.device
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross entropy of all answers; the cells' losses go on, so that the tower keeps seeing small things."""
    tokens = see(model, batch.pixels.to(device)) if batch.pixels.shape[1] else None
    states = stage2_states(model, batch, tokens, words, device, attentions=tokens is not None)
    logits, rows, columns = answers(model, batch, states.last)
    losses = F.cross_entropy(logits, batch.targets.to(device)[rows, columns], reduction="none")
    weights = batch.weights.to(device)[rows, columns]
    loss = (losses * weights).sum() / weights.sum()
    if tokens is None:
        return loss, {}
    cells, figures = cell_loss(towers, tokens, batch.truth.cells.flatten(0, 1).to(device))
    height, width = (side // CELL for side in batch.pixels.shape[2:4])
    visual = batch.ids.to(device) == words.video
    places, place_figures = place_loss(
        towers, states.hidden[PLACE_LAYER][visual], (height, width), batch.truth.places.flatten().to(device)
    )
    ground, ground_figures = ground_loss(states.attentions, batch, visual)
    read, read_figures = read_loss(towers, states.hidden[ANSWER_LAYER + 1], batch)
    total = loss + CELL_SHARE * cells + PLACE_SHARE * places + GROUND_SHARE * ground + READ_SHARE * read
    return total, {**figures, **place_figures, **ground_figures, **read_figures, "text": loss.item()}


@torch.inference_mode()
def exact_by_kind(model: Any, batches: list[Rows], words: Vocabulary, device: torch.device) -> dict[str, float]:
    """Share of held-out turns whose every token is right (teacher forced), by kind of turn."""
    right: dict[str, list[bool]] = defaultdict(list)
    for batch in batches:
        with autocast(device):
            tokens = see(model, batch.pixels.to(device))
            logits, rows, columns = stage2_logits(model, batch, tokens, words, device)
        correct = (logits.argmax(-1).cpu() == batch.targets[rows.cpu(), columns.cpu()]).tolist()
        verdicts: dict[tuple[int, int], bool] = {}
        for row, column, good in zip(rows.tolist(), columns.tolist(), correct, strict=True):
            key = (row, int(batch.branch[row, column]))
            verdicts[key] = verdicts.get(key, True) and good
        for (row, number), good in verdicts.items():
            right[batch.kinds[row][number - 1]].append(good)
    return {kind: round(sum(found) / len(found), 4) for kind, found in sorted(right.items())}


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16)
