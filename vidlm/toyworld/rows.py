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

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from vidlm import prompts
from vidlm.model.positions import prompt_positions
from vidlm.toyworld.reading import CHUNK, Layout
from vidlm.toyworld.scene import Clip
from vidlm.toyworld.student import token_id
from vidlm.toyworld.tasks import Turn, sample_turns
from vidlm.toyworld.texts import sample_text_turn
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

FACTS_MOST: Final = 60
"""Facts a window has at most, one bit each: more are left out of what is known of tokens."""

TURN_WEIGHTS: Final = {
    "policy": 2.0,
    "relevance": 2.0,
    # what is read off positions and motion comes last by itself: these answers weigh more
    "caption": 2.5,
    "direction": 3.0,
    "place": 3.0,
    "count": 2.0,
    "order": 4.0,
    "colour": 3.0,
    "title": 0.7,
}
"""Weight of a turn by its kind; 1 where none is given."""

_TIME: Final = re.compile(r"(\d+\.\d)s")


@dataclass(frozen=True, slots=True)
class Roughness:
    """How rough the pictures are: the share of scenes with lettering, and of windows as a frugal codec leaves them."""

    words: float = 0.15
    codec: float = 0.0


PLAIN: Final = Roughness()


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of B windows' visual tokens, cell by cell.

    cells: int64 [B, pairs, 3, cells], `CELL_FACTS` of what stands in each visual token's cell.
    owners: int64 [B, pairs, cells], the fact that each visual token shows, as a bit; 0 where it shows none.
    places: int64 [B, pairs, cells], in `PLACE_NAMES`, where the thing that each visual token shows stands.
    facts: int64 [B, 60, 5], `FACT_LABELS` of the facts that bits stand for, by the number of the bit.
    """

    cells: Tensor
    owners: Tensor
    places: Tensor
    facts: Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """B windows that share one grid and one number of pairs; prefixes padded to P, turns in C chunks of L tokens.

    pixels: uint8 [B, 2 * pairs, H, W, 3].  prefix: int64 [B, P], token ids.  ids: int64 [C, L].
    clock: int64 [B, P], for the tokens of a time in a prefix a number of their own (`_clock`), from 1; 0 elsewhere.
    targets: int64 [C, L], the token each place must predict, -100 elsewhere.  weights: float32 [C, L].
    about: int64 [C, L], the facts each token of a turn should look at, as bits: at the end of a name in a request the
        thing it names, and where an answer is written, what it rests on. 0 where that is nothing.
    when: int64 [C, L], where an answer writes the whole seconds of a time, the number in `clock` of the token that
        spells the same; 0 elsewhere.
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
    when: Tensor
    kinds: list[list[str]]
    truth: Truth


class Vocabulary:
    """Words to ids, and the ids of the tokens that frame pictures and turns."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.video = token_id(tokenizer, "<|video_pad|>")
        self.vision_start = token_id(tokenizer, "<|vision_start|>")
        self.vision_end = token_id(tokenizer, "<|vision_end|>")
        self.end = token_id(tokenizer, "<|im_end|>")
        self.pad = token_id(tokenizer, "<|endoftext|>")
        self.full_stop = token_id(tokenizer, ".")

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def sample_rows(
    rng: Rng,
    words: Vocabulary,
    *,
    size: tuple[int, int],
    pairs: int,
    count: int,
    asked: int = 3,
    rough: Roughness = PLAIN,
    unseen: bool = False,
) -> Rows:
    """`count` windows of `pairs` frame pairs at one size, each with its turns (`sample_turns`)."""
    windows, pixels, known = [], [], []
    for _ in range(count):
        clip, times_s, _ = sample_window(rng, pairs, words=rough.words)
        pixels.append(render_window(rng, clip, times_s, size, codec=rough.codec))
        seen = facts_between(clip, times_s)
        known.append(_known(clip, times_s[::2], seen, size))
        prefix = _prefix(words, list(times_s[::2]), size)
        turns = [_turn(words, turn, seen, prefix) for turn in sample_turns(rng, seen, asked=asked, unseen=unseen)]
        windows.append((prefix, turns))
    truth = Truth(*(torch.from_numpy(np.stack(part)) for part in zip(*known, strict=True)))
    return _stack(words, windows, torch.from_numpy(np.stack(pixels)), truth)


def sample_text_rows(rng: Rng, words: Vocabulary, count: int) -> Rows:
    """Rows without a video: summaries and titles."""
    prefix = _prefix(words, [], (28, 28))
    windows = [(prefix, [_turn(words, sample_text_turn(rng), (), prefix)]) for _ in range(count)]
    cells = torch.zeros((count, 0, len(CELL_FACTS), 1), dtype=torch.long)
    facts = torch.zeros((count, FACTS_MOST, len(FACT_LABELS)), dtype=torch.long)
    pixels = torch.zeros((count, 0, 28, 28, 3), dtype=torch.uint8)
    return _stack(words, windows, pixels, Truth(cells, cells[:, :, 0], cells[:, :, 0], facts))


_Known = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _known(clip: Clip, pair_times_s: npt.NDArray[np.float64], seen: Sequence[Fact], size: tuple[int, int]) -> _Known:
    """One window's part of a `Truth`, in the order of its fields."""
    shown = [shown_at(clip, float(time_s)) for time_s in pair_times_s]
    facts = np.zeros((FACTS_MOST, len(FACT_LABELS)), np.int64)
    facts[: len(seen)] = fact_labels(seen, pair_times_s)[:FACTS_MOST]
    return (
        np.stack([cell_labels(now, size) for now in shown]),
        np.stack([_owner_bits(now, seen, size) for now in shown]),
        np.stack([cell_places(now, size) for now in shown]),
        facts,
    )


def _owner_bits(
    shown: Sequence[tuple[Fact, float, float, float]], seen: Sequence[Fact], size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """int64 [cells]: for each cell the bit of the fact in `seen` that it shows, 0 for none."""
    bits = [_bits([fact], seen) for fact, *_ in shown]
    return np.asarray([*bits, 0], dtype=np.int64)[cell_owners(shown, size)]


def _bits(about: Sequence[Fact], seen: Sequence[Fact]) -> int:
    """The facts of `about` as bits, numbered as in `seen`."""
    known = enumerate(seen[:FACTS_MOST])
    return sum(1 << number for number, fact in known if any(fact.same_actor(other) for other in about))


# ---- tokens


@dataclass(frozen=True, slots=True)
class _Prefix:
    """A window's prefix: token ids, numbers of the tokens that spell times (`_clock`, else 0), positions [3, n], where
    the next token stands, and the pairs' times."""

    ids: list[int]
    clock: list[int]
    positions: Tensor
    after: int
    times_s: list[float]

    def pair_at(self, time_s: float) -> int:
        """The number, from 1, of the pair on screen at a time; 0 for none."""
        return int(np.searchsorted(self.times_s, time_s + 1e-6, side="right"))


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn's tokens, and for each of them what `Rows` says of it."""

    kind: str
    ids: list[int]
    targets: list[int]
    weights: list[float]
    about: list[int]
    when: list[int]


def _prefix(words: Vocabulary, times_s: list[float], size: tuple[int, int]) -> _Prefix:
    parts = prompts.video_prefix(times_s) if times_s else prompts.text_prefix()
    grid = (1, size[0] // 14, size[1] // 14)
    cells = grid[1] * grid[2] // 4
    ids: list[int] = []
    clock: list[int] = []
    layout: list[int | tuple[int, int, int]] = []
    pair = 0
    for part in parts:
        if isinstance(part, str):
            text = words.encode(part)
            ids += text
            clock += [_clock(pair, index) if pair else 0 for index in range(len(text))]  # the first part is no time
            pair += 1
            layout.append(len(text))
        else:
            ids += [words.vision_start, *[words.video] * cells, words.vision_end]
            clock += [0] * (cells + 2)
            layout.append(grid)
    positions, after = prompt_positions(layout)
    return _Prefix(ids, clock, positions, after, times_s)


def _turn(words: Vocabulary, turn: Turn, seen: Sequence[Fact], prefix: _Prefix) -> _Turn:
    request = words.encode(turn.text)
    answer = [*words.encode(turn.answer), words.end]
    asked = len(request) - 1
    # by the square root of its length: a caption says more than a Yes, but not thirty times more
    weight = TURN_WEIGHTS.get(turn.kind, 1.0) / len(answer) ** 0.5
    return _Turn(
        kind=turn.kind,
        ids=request + answer[:-1],
        targets=[-100] * asked + answer,
        weights=[0.0] * asked + [weight] * len(answer),
        about=_named(words, turn, seen, asked) + _rested_on(words, turn, answer, seen),
        when=[0] * asked + _times(words, turn, answer, prefix),
    )


def _named(words: Vocabulary, turn: Turn, seen: Sequence[Fact], length: int) -> list[int]:
    """For each of a request's first `length` tokens, the fact (as bits) whose name ends there."""
    bits, text = [0] * length, turn.text
    for fact in turn.about if turn.kind != "caption" else ():
        name = fact.name if fact.name in text else fact.noun
        end = text.find(name) + len(name)
        if end >= len(name):  # found; a plural's ending belongs to its noun
            end += len(text[end:]) - len(text[end:].lstrip("es"))
            bits[len(words.encode(text[:end])) - 1] |= _bits([fact], seen)
    return bits


def _rested_on(words: Vocabulary, turn: Turn, answer: Sequence[int], seen: Sequence[Fact]) -> list[int]:
    """For each token of an answer, the facts (as bits) it rests on: in a caption, its sentence's.

    Which of two came first takes both to decide, and from then on only that one to name.
    """
    if turn.kind == "order":
        return [_bits(turn.about, seen)] + [_bits(turn.about[:1], seen)] * (len(answer) - 1)
    if turn.kind != "caption":
        return [_bits(turn.about, seen)] * len(answer)
    bits, sentence = [], 0
    for token in answer:
        bits.append(_bits(turn.about[sentence : sentence + 1], seen))
        sentence += token == words.full_stop
    return bits


def _times(words: Vocabulary, turn: Turn, answer: Sequence[int], prefix: _Prefix) -> list[int]:
    """For each token of an answer that spells whole seconds, the token of the prefix that spells the same.

    Tokens are digits. A time that no pair before it is written with (the end of the last pair) has none.
    """
    read_off = [0] * len(answer)
    for match in _TIME.finditer(turn.answer):
        pair = prefix.pair_at(float(match[1]))
        seconds = match[1].split(".")[0]
        if pair == 0 or f"{prefix.times_s[pair - 1]:.1f}".split(".")[0] != seconds:
            continue
        begin = len(words.encode(turn.answer[: match.start()]))
        before = len(words.encode("<"))
        for index in range(len(words.encode(seconds))):
            read_off[begin + index] = _clock(pair, before + index)
    return read_off


def _clock(pair: int, index: int) -> int:
    """The number of the `index`-th token of the `pair`-th time (pairs from 1)."""
    return pair * _MOST_TOKENS_OF_A_TIME + index + 1


_MOST_TOKENS_OF_A_TIME: Final = 16


# ---- batches


def _stack(words: Vocabulary, windows: Sequence[tuple[_Prefix, Sequence[_Turn]]], pixels: Tensor, truth: Truth) -> Rows:
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
        when=joined("when", 0),
        kinds=[[turn.kind for turn in turns] for _, turns in windows],
        truth=truth,
    )


def _pack(turns: Sequence[_Turn]) -> list[list[tuple[int, _Turn]]]:
    """Turns with their numbers, from 1, in chunks of at most `CHUNK` tokens (a longer turn has one of its own).

    First fit, longest first.
    """
    chunks: list[list[tuple[int, _Turn]]] = []
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
