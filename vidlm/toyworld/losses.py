"""What the embedded model is taught by: the loss of each stage, and how right it is on turns it has not learnt.

Stage 1 matches frame pairs with descriptions and names what stands in every cell; stage 2 answers the product's
prompts. Knows batches and logits; not where batches come from nor how weights are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
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
    CHOICE_LAYER,
    GROUND_SHARE,
    NAME_LAYER,
    PLACE_LAYER,
    PLACE_SHARE,
    READ_SHARE,
    TIME_LAYER,
    Towers,
    cell_loss,
    ground_loss,
    pair_loss,
    place_loss,
    read_loss,
    sought_loss,
)
from vidlm.toyworld.reading import States, read
from vidlm.toyworld.rows import Rows
from vidlm.toyworld.tokens import Vocabulary, pair_of
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


def stage2_states(
    model: Any, batch: Rows, tokens: Tensor | None, words: Vocabulary, *, looks: Collection[int] = ()
) -> States:
    """The rows, read once."""
    embed = model.model.language_model.embed_tokens
    device = embed.weight.device
    ids = batch.prefix.to(device)
    prefix = embed(ids)
    if tokens is not None:
        prefix = prefix.masked_scatter((ids == words.video)[..., None], tokens.to(prefix.dtype))
    return read(model, prefix, embed(batch.ids.to(device)), batch.layout.to(device), looks=looks)


def answers(model: Any, batch: Rows, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at the places that must predict something, from the last states `[C, L, D]`: (logits [M, V], chunks [M],
    columns [M])."""
    chunks, columns = (batch.targets.to(last.device) >= 0).nonzero(as_tuple=True)
    return model.lm_head(last[chunks, columns]).float(), chunks, columns


def stage2_loss(
    model: Any, towers: Towers, batch: Rows, words: Vocabulary, device: torch.device
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross entropy of all answers; the cells' losses go on, so that the tower keeps seeing small things."""
    tokens = see(model, batch.pixels.to(device)) if batch.pixels.shape[1] else None
    looks = (NAME_LAYER, ANSWER_LAYER, TIME_LAYER) if tokens is not None else ()
    states = stage2_states(model, batch, tokens, words, looks=looks)
    logits, chunks, columns = answers(model, batch, states.last)
    losses = F.cross_entropy(logits, batch.targets.to(device)[chunks, columns], reduction="none")
    weights = batch.weights.to(device)[chunks, columns]
    loss = (losses * weights).sum() / weights.sum()
    if tokens is None:
        return loss, {}
    cells, figures = cell_loss(towers, tokens, batch.truth.cells.flatten(0, 1).to(device))
    pairs = batch.pixels.shape[1] // 2
    height, width = (side // CELL for side in batch.pixels.shape[2:4])
    visual = batch.prefix.to(device) == words.video
    places, place_figures = place_loss(
        towers, states.prefix[PLACE_LAYER][visual], (pairs, height, width), batch.truth.places.flatten().to(device)
    )
    clock = batch.clock.to(device)
    times, _ = pair_loss(towers, states.prefix[PLACE_LAYER][clock > 0], pair_of(clock[clock > 0]))
    ground, ground_figures = ground_loss(states.looks, batch, visual)
    taken, read_figures = read_loss(towers, states.chunks[ANSWER_LAYER + 1], batch)
    sought, sought_figures = sought_loss(towers, states.chunks[CHOICE_LAYER], batch)
    total = loss + CELL_SHARE * cells + PLACE_SHARE * (places + times) + GROUND_SHARE * ground
    total = total + READ_SHARE * (taken + sought)
    return total, {**figures, **place_figures, **ground_figures, **read_figures, **sought_figures, "text": loss.item()}


@torch.inference_mode()
def exact_by_kind(model: Any, batches: list[Rows], words: Vocabulary, device: torch.device) -> dict[str, float]:
    """Share of held-out turns whose every token is right (teacher forced), by kind of turn."""
    right: dict[str, list[bool]] = defaultdict(list)
    for batch in batches:
        with autocast(device):
            tokens = see(model, batch.pixels.to(device))
            states = stage2_states(model, batch, tokens, words)
            logits, chunks, columns = answers(model, batch, states.last)
        correct = (logits.argmax(-1).cpu() == batch.targets[chunks.cpu(), columns.cpu()]).tolist()
        verdicts: dict[tuple[int, int], bool] = {}
        for chunk, column, good in zip(chunks.tolist(), columns.tolist(), correct, strict=True):
            key = (int(batch.layout.owner[chunk]), int(batch.layout.turn[chunk, column]))
            verdicts[key] = verdicts.get(key, True) and good
        for (row, number), good in verdicts.items():
            right[batch.kinds[row][number - 1]].append(good)
    return {kind: round(sum(found) / len(found), 4) for kind, found in sorted(right.items())}


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16)
