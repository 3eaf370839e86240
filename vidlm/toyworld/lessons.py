"""What training teaches beside answers: what stands in each cell, where that is, where to look and what to take along.

Answers alone teach a small model these things slowly: a word right or wrong says little about which of many tokens it
should have come from. Each lesson says it outright. All of it is left behind when training ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlm.toyworld.alignment import HAS_NAMED, NOWHERE, SOUGHT
from vidlm.toyworld.rows import Rows
from vidlm.toyworld.windows import CELL_FACTS, FACT_LABELS, PAIRS_MOST, PLACE_NAMES

CELL_SHARE: Final = 0.6
"""Weight of the cells' losses in stage 2."""
PLACE_SHARE: Final = 0.3
"""Weight of the loss that teaches visual tokens where they stand, in stage 2."""
PLACE_LAYER: Final = 2
"""Layers of the language model after which a visual token is to know its place; the rest can read it."""
MOST_CELLS: Final = 8
"""Rows or columns of cells a grid may have: 7 at the sizes trained on, and room for other shapes."""
GROUND_SHARE: Final = 0.3
"""Weight of the loss that teaches where to look, in stage 2."""
NAME_LAYER, ANSWER_LAYER = 1, 2
"""Which of the language model's layers (from 0) looks for what a name names, and for what an answer rests on: the later
one finds visual tokens that know their place and their time, so names look there as well, for what they have to know
by the end."""
READ_SHARE: Final = 0.2
"""Weight of the loss that teaches to take along what was found, in stage 2."""
TIME_LAYER: Final = 3
"""Which layer looks for the time a token of an answer is read off."""
CHOICE_LAYER: Final = 3
"""Which layer looks for what is chosen among the names in a request: by then they know what is to be known of them."""
NEXT_LAYER: Final = 3
"""Which layer looks again for what a caption tells of next: by then the names in it know what they are of."""
GROUND_HEADS: Final = 2
"""How many of such a layer's attention heads are taught; the others stay free."""
EMPTY_SHARE: Final = 0.3
"""Weight of all empty cells together, where all others together weigh one."""


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
        self.cell_at = nn.Linear(width, 4 * MOST_CELLS)
        self.places = nn.Linear(width, len(PLACE_NAMES))
        self.pair_at = nn.Linear(width, PAIRS_MOST)
        self.sought = nn.Linear(width, len(SOUGHT))
        self.facts = nn.ModuleList(nn.Linear(width, len(n)) for n in FACT_LABELS.values())

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


def cell_loss(towers: Towers, tokens: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Each visual token names what stands in its cell: tokens `[P, n, D]`, truth int64 `[P, 4, n]`.

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


def place_loss(
    towers: Towers, hidden: Tensor, grid: tuple[int, int, int], named: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Every visual token, inside the language model, knows its row and column, counted from both edges, which of its
    window's frame pairs it is of, and in words where the thing it shows stands.

    hidden: `[windows * pairs * height * width, D]`, pair by pair, row by row.  grid: (pairs, height, width) of a
    window, at most `PAIRS_MOST` and `MOST_CELLS`.  named: int64, one a token, in `PLACE_NAMES`; 0 where there is
    nothing to name.
    The rotary embedding only says how far apart two tokens are; "on the left" needs to know how far from the edge, and
    "first" how far from the beginning.
    """
    pairs, height, width = grid
    windows = len(hidden) // (pairs * height * width)
    row = torch.arange(height, device=hidden.device).repeat_interleave(width).repeat(windows * pairs)
    column = torch.arange(width, device=hidden.device).repeat(height * windows * pairs)
    pair = torch.arange(pairs, device=hidden.device).repeat_interleave(height * width).repeat(windows)
    truth = torch.stack([row, height - 1 - row, column, width - 1 - column], dim=1)
    guess = towers.cell_at(hidden).float().view(len(hidden), 4, MOST_CELLS)
    right = guess.argmax(-1).eq(truth).float().mean(0)
    loss, figures = pair_loss(towers, hidden, pair)
    loss = loss + F.cross_entropy(guess.flatten(0, 1), truth.flatten()) * 4
    figures |= {"row": float(right[0]), "column": float(right[2])}
    if (named > 0).any():
        names = towers.places(hidden[named > 0]).float()
        loss = loss + F.cross_entropy(names, named[named > 0])
        figures["place"] = float(names.argmax(-1).eq(named[named > 0]).float().mean())
    return loss, figures


def pair_loss(towers: Towers, hidden: Tensor, pair: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Tokens `[n, D]` of frame pairs, or of the times before them, know the numbers of their pairs, int64 `[n]`."""
    guess = towers.pair_at(hidden).float()
    return F.cross_entropy(guess, pair), {"pair": float(guess.argmax(-1).eq(pair).float().mean())}


def ground_loss(looks: Mapping[int, Tensor], batch: Rows, visual: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Names look at what they name, answers at what they rest on, written times at the times they are read off, and
    what is chosen at its name in the request: -log of the attention that lands there. Where a thing is not there they
    look at the first token of all, which says nothing: so "not there" is told from "there" by where one looks.

    Who tells one thing after another has to know which were told. A caption's names look at what they name like those
    of a request, and what comes next is looked for twice: once more where the names before it know what they are of.

    looks: each layer's attention (`reading.States`).  visual: bool `[B, P]`, the visual tokens of prefixes.
    Reading an answer off the right token is easy; finding that token is what a small model learns slowly from answers
    alone.
    """
    device = visual.device
    tells = batch.tells.to(device)
    about, answering = batch.about.to(device), batch.targets.to(device) >= 0
    when, owner = batch.when.to(device), batch.layout.owner.to(device)
    shown = torch.zeros(visual.shape, dtype=torch.long, device=device)
    shown[visual] = batch.truth.owners.to(device).flatten()
    shown[:, 0] = NOWHERE
    clock = batch.clock.to(device)
    total, figures = torch.zeros((), device=device), {}
    for name, layer, where in (
        ("names", NAME_LAYER, (about > 0) & ~answering),
        ("again", ANSWER_LAYER, (about > 0) & ~answering),
        ("answers", ANSWER_LAYER, (about > 0) & answering),
        ("said", NAME_LAYER, tells == HAS_NAMED),
        ("next", NEXT_LAYER, tells > 0),
        ("times", TIME_LAYER, when > 0),
    ):
        chunks, columns = where.nonzero(as_tuple=True)
        if name == "times":
            wanted = clock[owner[chunks]] == when[chunks, columns][:, None]
        else:
            wanted = (about[chunks, columns][:, None] & shown[owner[chunks]]) != 0
        there = wanted.any(dim=1)  # a small thing may cover no cell's middle
        if not there.any():
            continue
        weights = looks[layer][chunks[there], :GROUND_HEADS, columns[there], : visual.shape[1]].float()
        found = (weights * wanted[there][:, None]).sum(-1)
        total = total - found.clamp(min=1e-5).log().mean()
        figures[f"ground_{name}"] = found.mean().item()
    copied = batch.copied.to(device)
    chunks, columns = (copied > 0).nonzero(as_tuple=True)
    if len(chunks):
        names = visual.shape[1] + copied[chunks, columns] - 1
        found = looks[CHOICE_LAYER][chunks, :GROUND_HEADS, columns, names].float()
        total = total - found.clamp(min=1e-5).log().mean()
        figures["ground_choices"] = found.mean().item()
    return total, figures


def read_loss(towers: Towers, hidden: Tensor, batch: Rows) -> tuple[Tensor, dict[str, float]]:
    """Every token that is about one thing knows what is to be known of it, whether or not this turn asks for it.

    hidden: `[C, L, D]`, after the layer that looked. Answers alone would teach each attribute only where it is asked.
    """
    about = batch.about.to(hidden.device)
    chunks, columns = ((about > 0) & (about < NOWHERE) & (about & (about - 1) == 0)).nonzero(as_tuple=True)
    total, figures = torch.zeros((), device=hidden.device), dict[str, float]()
    if len(chunks) == 0:
        return total, figures
    numbers = about[chunks, columns].double().log2().round().long()
    owner = batch.layout.owner.to(hidden.device)[chunks]
    truth, states = batch.truth.facts.to(hidden.device)[owner, numbers], hidden[chunks, columns]
    for index, (name, head) in enumerate(zip(FACT_LABELS, towers.facts, strict=True)):
        guess = head(states).float()
        total = total + F.cross_entropy(guess, truth[:, index])
        figures[f"read_{name}"] = float(guess.argmax(-1).eq(truth[:, index]).float().mean())
    return total, figures


def sought_loss(towers: Towers, hidden: Tensor, batch: Rows) -> tuple[Tensor, dict[str, float]]:
    """What decides an order knows whether the earlier or the later one is wanted, before it looks for that one's name.

    hidden: `[C, L, D]`, before the layer that chooses. A layer that is to look at the earlier of two names, or at the
    later, needs keys that know their times and a query that knows which is wanted. Names learn their times from
    `read_loss`; what is wanted is in the words of the request, yet is learnt from answers only once times are, while
    times are of no use to answers before it.
    """
    wanted = batch.sought.to(hidden.device)
    chunks, columns = (wanted > 0).nonzero(as_tuple=True)
    if len(chunks) == 0:
        return torch.zeros((), device=hidden.device), {}
    guess, truth = towers.sought(hidden[chunks, columns]).float(), wanted[chunks, columns]
    return F.cross_entropy(guess, truth), {"sought": float(guess.argmax(-1).eq(truth).float().mean())}
