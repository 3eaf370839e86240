"""Token rows: windows of random scenes with their turns, and what is known of every token in them.

A window's visual prefix stands once, and all its turns continue it, exactly as the product asks them. Turns are packed
into chunks of about `CHUNK` tokens:

    prefix of window 0   0 1 2 3 4 5 6 7 8           prefix of window 1   0 1 2 3 4 5
    chunk of window 0    turn 1 ...... turn 4 ...    chunk of window 1    turn 1 ........ turn 2
    chunk of window 0    turn 2 ..... turn 3 ....

A turn's token sees its window's prefix and, causally, its own turn, and stands where it would stand right behind the
prefix. Needs torch, tokenizers and numpy; no video library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vidlm.toyworld.alignment import FACTS_MOST, TurnTokens, bits_of, tokens_of
from vidlm.toyworld.reading import CHUNK, Layout
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.tasks import sample_turns
from vidlm.toyworld.texts import sample_text_turn
from vidlm.toyworld.tokens import Prefix, Vocabulary, prefix_of
from vidlm.toyworld.truth import Fact, facts_between
from vidlm.toyworld.windows import (
    CELL_FACTS,
    FACT_LABELS,
    cell_labels,
    cell_owners,
    cell_places,
    fact_labels,
    render_window,
    sample_window,
    shown_at,
)
from vidlm.toyworld.world import Rng


@dataclass(frozen=True, slots=True)
class Roughness:
    """How rough the pictures are: the share of scenes with lettering, and of windows as a frugal codec leaves them."""

    words: float = 0.15
    codec: float = 0.0


PLAIN: Final = Roughness()


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of B windows' visual tokens, cell by cell.

    cells: int64 [B, pairs, 4, cells], `CELL_FACTS` of what stands in each visual token's cell.
    owners: int64 [B, pairs, cells], the fact that each visual token shows, as a bit; 0 where it shows none.
    places: int64 [B, pairs, cells], in `PLACE_NAMES`, where the thing that each visual token shows stands.
    facts: int64 [B, 60, 6], `FACT_LABELS` of the facts that bits stand for, by the number of the bit.
    """

    cells: Tensor
    owners: Tensor
    places: Tensor
    facts: Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """B windows that share one grid and one number of pairs; prefixes padded to P, turns in C chunks of L tokens.

    pixels: uint8 [B, 2 * pairs, H, W, 3].  prefix: int64 [B, P], token ids.  ids: int64 [C, L].
    clock: int64 [B, P], for the tokens of a time in a prefix a number of their own (`Prefix.clock`); 0 elsewhere.
    targets: int64 [C, L], the token each place must predict, -100 elsewhere.  weights: float32 [C, L].
    about: int64 [C, L], the facts each token of a turn should look at, as bits: at the end of a name in a request the
        thing it names, and where an answer is written, what it rests on; `NOWHERE` where that is not there, 0 where
        there is nothing to say.
    tells: int64 [C, L], where a caption is written `TELLS`, and `HAS_NAMED` at the end of a name in it; 0 elsewhere.
    when: int64 [C, L], where an answer writes the whole seconds of a time, the number in `clock` of the token that
        spells the same; 0 elsewhere.
    copied: int64 [C, L], where an answer chooses among what its request names, the number of the column (from 1) where
        the name of what it chooses ends; 0 elsewhere.
    sought: int64 [C, L], where an order is decided, which of `SOUGHT` its request wants; 0 elsewhere.
    kinds: for each window, the kind of each of its turns (turn k is kinds[k - 1]).
    """

    pixels: Tensor
    prefix: Tensor
    clock: Tensor
    layout: Layout
    ids: Tensor
    targets: Tensor
    weights: Tensor
    about: Tensor
    tells: Tensor
    when: Tensor
    copied: Tensor
    sought: Tensor
    kinds: list[list[str]]
    truth: Truth


def sample_rows(
    rng: Rng,
    words: Vocabulary,
    *,
    size: tuple[int, int],
    pairs: int,
    count: int,
    asked: int = 3,
    rough: Roughness = PLAIN,
) -> Rows:
    """`count` windows of `pairs` frame pairs at one size, each with its turns (`sample_turns`)."""
    windows, pixels, known = [], [], []
    for _ in range(count):
        clip, times_s, _ = sample_window(rng, pairs, words=rough.words)
        pixels.append(render_window(rng, clip, times_s, size, codec=rough.codec))
        seen = facts_between(clip, times_s)
        known.append(_known(clip, times_s, seen, size))
        prefix = prefix_of(words, list(times_s[::2]), size)
        turns = [tokens_of(words, turn, seen, prefix) for turn in sample_turns(rng, seen, asked=asked)]
        windows.append((prefix, turns))
    truth = Truth(*(torch.from_numpy(np.stack(part)) for part in zip(*known, strict=True)))
    return _stack(words, windows, torch.from_numpy(np.stack(pixels)), truth)


def sample_text_rows(rng: Rng, words: Vocabulary, count: int) -> Rows:
    """Rows without a video: summaries and titles."""
    prefix = prefix_of(words, [], (28, 28))
    windows = [(prefix, [tokens_of(words, sample_text_turn(rng), (), prefix)]) for _ in range(count)]
    cells = torch.zeros((count, 0, len(CELL_FACTS), 1), dtype=torch.long)
    facts = torch.zeros((count, FACTS_MOST, len(FACT_LABELS)), dtype=torch.long)
    pixels = torch.zeros((count, 0, 28, 28, 3), dtype=torch.uint8)
    return _stack(words, windows, pixels, Truth(cells, cells[:, :, 0], cells[:, :, 0], facts))


_Known = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _known(clip: Clip, times_s: npt.NDArray[np.float64], seen: Sequence[Fact], size: tuple[int, int]) -> _Known:
    """One window's part of a `Truth`, in the order of its fields."""
    pair_times_s, last_times_s = times_s[::2], times_s[1::2]
    shown = [
        shown_at(clip, float(first_s), float(last_s))
        for first_s, last_s in zip(pair_times_s, last_times_s, strict=True)
    ]
    facts = np.zeros((FACTS_MOST, len(FACT_LABELS)), np.int64)
    facts[: len(seen)] = fact_labels(seen, pair_times_s)[:FACTS_MOST]
    return (
        np.stack([cell_labels(now, size) for now in shown]),
        np.stack([_owner_bits(now, seen, size) for now in shown]),
        np.stack([cell_places(now, seen, size) for now in shown]),
        facts,
    )


def _owner_bits(
    shown: Sequence[tuple[Fact, float, float, float]], seen: Sequence[Fact], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """int64 [cells]: for each cell the bit of the fact in `seen` that it shows, 0 for none."""
    bits = [bits_of([fact], seen) for fact, *_ in shown]
    return np.asarray([*bits, 0], dtype=np.int64)[cell_owners(shown, size)]


def _stack(
    words: Vocabulary, windows: Sequence[tuple[Prefix, Sequence[TurnTokens]]], pixels: Tensor, truth: Truth
) -> Rows:
    prefixes = [prefix for prefix, _ in windows]
    chunks = [(row, chunk) for row, (_, turns) in enumerate(windows) for chunk in _pack(turns)]

    def padded(values: Sequence[Sequence[float]], fill: float, dtype: torch.dtype = torch.long) -> Tensor:
        length = max(len(value) for value in values)
        return torch.tensor([[*value, *[fill] * (length - len(value))] for value in values], dtype=dtype)

    def joined(name: str, fill: float, dtype: torch.dtype = torch.long) -> Tensor:
        return padded([[x for _, turn in chunk for x in getattr(turn, name)] for _, chunk in chunks], fill, dtype)

    longest = max(len(prefix.ids) for prefix in prefixes)
    steps = padded([[step for _, turn in chunk for step in range(len(turn.ids))] for _, chunk in chunks], 0)
    owner = torch.tensor([row for row, _ in chunks])
    after = torch.tensor([prefix.after for prefix in prefixes])
    layout = Layout(
        prefix_positions=torch.stack(
            [F.pad(prefix.positions, (0, longest - len(prefix.ids))) for prefix in prefixes], dim=1
        ),
        prefix_length=torch.tensor([len(prefix.ids) for prefix in prefixes]),
        owner=owner,
        positions=(steps + after[owner, None]).expand(3, -1, -1),
        turn=padded([[number for number, turn in chunk for _ in turn.ids] for _, chunk in chunks], 0),
    )
    return Rows(
        pixels=pixels,
        prefix=padded([prefix.ids for prefix in prefixes], words.pad),
        clock=padded([prefix.clock for prefix in prefixes], 0),
        layout=layout,
        ids=joined("ids", words.pad),
        targets=joined("targets", -100),
        weights=joined("weights", 0.0, torch.float32),
        about=joined("about", 0),
        tells=joined("tells", 0),
        when=joined("when", 0),
        copied=padded([_columns([turn.copied for _, turn in chunk]) for _, chunk in chunks], 0),
        sought=joined("sought", 0),
        kinds=[[turn.kind for turn in turns] for _, turns in windows],
        truth=truth,
    )


def _columns(turns: Sequence[Sequence[int]]) -> list[int]:
    """Numbers of tokens in their own turns, from 1, as numbers in the chunk that holds the turns; 0 stays."""
    found: list[int] = []
    for turn in turns:
        before = len(found)
        found += [number + before if number else 0 for number in turn]
    return found


def _pack(turns: Sequence[TurnTokens]) -> list[list[tuple[int, TurnTokens]]]:
    """Turns with their numbers, from 1, in chunks of at most `CHUNK` tokens (a longer turn has one of its own).

    First fit, longest first.
    """
    chunks: list[list[tuple[int, TurnTokens]]] = []
    room: list[int] = []
    for number, turn in sorted(enumerate(turns, start=1), key=lambda item: -len(item[1].ids)):
        fitting = [index for index, left in enumerate(room) if left >= len(turn.ids)]
        if not fitting:
            chunks.append([])
            room.append(max(CHUNK, len(turn.ids)))
            fitting = [len(room) - 1]
        chunks[fitting[0]].append((number, turn))
        room[fitting[0]] -= len(turn.ids)
    return chunks
