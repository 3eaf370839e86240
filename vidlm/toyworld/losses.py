"""What the embedded model is taught by: the loss of each stage, and how right it is on turns it has not learnt.

Stage 1 matches frame pairs with descriptions and names what stands in every cell; stage 2 answers the product's
prompts. Knows batches and logits; not where batches come from nor how weights are kept.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlm.model.preprocess import FrameGeometry
from vidlm.model.vision import encode_pairs, patchify
from vidlm.toyworld import student
from vidlm.toyworld.dataset import Pairs, Rows, Vocabulary, tree_mask
from vidlm.toyworld.windows import CELL, CELL_FACTS

CELL_SHARE: Final = 0.6
"""Weight of the cells' losses in stage 2."""
PLACE_SHARE: Final = 0.3
"""Weight of the loss that teaches visual tokens where they stand, in stage 2."""
PLACE_LAYER: Final = 2
"""Layers of the language model after which a visual token is to know its place; the rest can read it."""
MOST_CELLS: Final = 8
"""Rows or columns of cells a grid may have: 5 at the sizes trained on, and room for other shapes."""
EMPTY_SHARE: Final = 0.3
"""Weight of all empty cells together, where all others together weigh one."""
TOWER_PAIRS: Final = 32 if not torch.cuda.is_available() else 1 << 20
"""Frame pairs at a time: what stays in a CPU's cache runs about twice as fast."""


class Towers(nn.Module):
    """What only training needs: a text tower, projections into the common space, classifiers of cells and places."""

    def __init__(self, vocabulary: int, width: int, common: int = 128) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.sentence = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.from_text = nn.Linear(width, common)
        self.from_image = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, common)
        )
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.cells = nn.ModuleList(nn.Linear(width, len(n)) for n in CELL_FACTS.values())
        self.places = nn.Linear(width, 4 * MOST_CELLS)

    def texts(self, descriptions: list[list[list[int]]]) -> Tensor:
        """Unit vectors `[N, common]` of descriptions: lists of sentences, each a bag of token ids."""
        flat = [torch.tensor(ids) for sentences in descriptions for ids in sentences]
        device = self.words.weight.device
        offsets = torch.tensor([0, *np.cumsum([len(ids) for ids in flat])[:-1].tolist()], device=device)
        bags = F.embedding_bag(torch.cat(flat).to(device), self.words.weight, offsets, mode="mean")
        sentences = self.sentence(bags)
        owner = torch.tensor([i for i, found in enumerate(descriptions) for _ in found], device=device)
        total = torch.zeros(len(descriptions), sentences.shape[1], device=device, dtype=sentences.dtype)
        return F.normalize(self.from_text(total.index_add(0, owner, sentences)).float(), dim=-1)

    def images(self, tokens: Tensor) -> Tensor:
        """Unit vectors `[N, common]` of visual tokens `[N, n, width]`."""
        return F.normalize(self.from_image(tokens.mean(dim=1)).float(), dim=-1)


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


def cell_loss(towers: Towers, tokens: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Each visual token names what stands in its cell: tokens `[P, n, D]`, truth int64 `[P, 3, n]`.

    Most cells are empty: those that are not count for as much as `1 / EMPTY_SHARE` times all the others together.
    """
    total, figures = torch.zeros((), device=tokens.device), {}
    something = truth[:, 0] > 0
    share = something / something.sum().clamp(min=1) + EMPTY_SHARE * ~something / (~something).sum().clamp(min=1)
    for index, (name, head) in enumerate(zip(CELL_FACTS, towers.cells, strict=True)):
        guess, right = head(tokens).float(), truth[:, index]
        total = total + (F.cross_entropy(guess.transpose(1, 2), right, reduction="none") * share).sum()
        if something.any():
            figures[f"cell_{name}"] = float(guess.argmax(-1).eq(right)[something].float().mean())
    return total, figures


def see(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens `[P, n, D]` of uint8 frames `[..., 2, H, W, 3]`, every two frames a pair."""
    parts = []
    for some in torch.split(pixels.reshape(-1, *pixels.shape[-3:]), 2 * TOWER_PAIRS):
        rows, grid = patchify(some, GEOMETRY)
        parts.append(encode_pairs(model.model.visual, rows, grid))
    return torch.cat(parts)


GEOMETRY: Final = FrameGeometry(
    patch_size=14,
    temporal_patch_size=2,
    merge_size=2,
    min_pixels=student.MIN_PIXELS,
    max_pixels=student.MAX_PIXELS,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)


def stage2_states(
    model: Any, batch: Rows, tokens: Tensor | None, words: Vocabulary, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Hidden states `[B, L, D]` of the rows: the last ones, and those after `PLACE_LAYER` layers."""
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
    )
    return out.last_hidden_state, out.hidden_states[PLACE_LAYER]


def stage2_logits(
    model: Any, batch: Rows, tokens: Tensor | None, words: Vocabulary, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at the places that must predict something: (logits [M, V], rows [M], columns [M])."""
    return answers(model, batch, stage2_states(model, batch, tokens, words, device)[0])


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
    last, early = stage2_states(model, batch, tokens, words, device)
    logits, rows, columns = answers(model, batch, last)
    losses = F.cross_entropy(logits, batch.targets.to(device)[rows, columns], reduction="none")
    weights = batch.weights.to(device)[rows, columns]
    loss = (losses * weights).sum() / weights.sum()
    if tokens is None:
        return loss, {}
    cells, figures = cell_loss(towers, tokens, batch.cells.flatten(0, 1).to(device))
    height, width = (side // CELL for side in batch.pixels.shape[2:4])
    places, place_figures = place_loss(towers, early[batch.ids.to(device) == words.video], (height, width))
    return loss + CELL_SHARE * cells + PLACE_SHARE * places, {**figures, **place_figures, "text": loss.item()}


def place_loss(towers: Towers, hidden: Tensor, grid: tuple[int, int]) -> tuple[Tensor, dict[str, float]]:
    """Every visual token, inside the language model, knows its row and column, counted from both edges.

    hidden: `[pairs * height * width, D]`, pair by pair, row by row.  grid: (height, width) in cells, at most
    `MOST_CELLS` each.
    The rotary embedding only says how far apart two tokens are; "on the left" needs to know how far from the edge.
    """
    height, width = grid
    pairs = len(hidden) // (height * width)
    row = torch.arange(height, device=hidden.device).repeat_interleave(width).repeat(pairs)
    column = torch.arange(width, device=hidden.device).repeat(height * pairs)
    truth = torch.stack([row, height - 1 - row, column, width - 1 - column], dim=1)
    guess = towers.places(hidden).float().view(len(hidden), 4, MOST_CELLS)
    right = guess.argmax(-1).eq(truth).float().mean(0)
    loss = F.cross_entropy(guess.flatten(0, 1), truth.flatten()) * 4
    return loss, {"row": float(right[0]), "column": float(right[2])}


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
