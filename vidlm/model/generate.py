"""Greedy text behind many prefixes at once, a token a step.

Every row has room of a fixed size for its keys and values, so a step copies nothing and its shapes never change: on
CUDA it is captured once as a graph and replayed. What stands behind a row's own length is hidden from it, so rows of
different lengths share a batch:

    row 0   prefix prefix prefix request request token token  .     .
    row 1   prefix request request token token  .      .      .     .       . room, hidden until it is written

Rows are independent: each gives what it would give alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from vidlm.errors import ModelError
from vidlm.model.checkpoint import Checkpoint
from vidlm.model.prefix import Prefix
from vidlm.model.text import TextModel, attention

log = logging.getLogger(__name__)

BURST: Final = 8
"""Steps on CUDA between two looks at what was written: a look makes the CPU wait for the device."""
ROOM: Final = 128
"""Rows' room is a multiple of so many tokens, so that rooms are used again."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Text of a greedy decode. `confidence` is exp(mean log p) of the tokens chosen, the one that stopped it included.

    token_ids: what was generated, without the stop token.
    """

    text: str
    confidence: float
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TextRequest:
    """What one row is to write: at most `max_new_tokens` (>= 1) after `prefix` and the tokens `suffix` (not empty)."""

    prefix: Prefix
    suffix: tuple[int, ...]
    max_new_tokens: int

    def __post_init__(self) -> None:
        if not self.suffix or self.max_new_tokens < 1:
            raise ValueError("generating needs a suffix of at least one token and room for one more")


class Room:
    """Keys and values of R rows with space for C tokens each, and the step that lengthens every row by one token.

    Everything a step reads or writes is a tensor that stays where it is.
    """

    def __init__(self, text: TextModel, rows: int, tokens: int) -> None:
        self._text = text
        self.rows, self.tokens = rows, tokens
        self.kv = text.empty_kv(rows, tokens).zero_()  # what is hidden must still be a number
        self.lengths = torch.zeros(rows, dtype=torch.long, device=text.device)
        self.positions = torch.zeros_like(self.lengths)
        self.token = torch.zeros_like(self.lengths)
        self.log_prob = torch.zeros(rows, device=text.device)
        self._row = torch.arange(rows, device=text.device)
        self._place = torch.arange(tokens, device=text.device)
        self._graph = _captured(self) if text.device.type == "cuda" else None

    def load(self, requests: Sequence[TextRequest]) -> None:
        """Lay prefixes into the rows and run all suffixes as one batch; then each row has its first token."""
        widest = max(len(request.suffix) for request in requests)
        ids = torch.zeros(self.rows, widest, dtype=torch.long)
        lengths, positions, last = [1] * self.rows, [0] * self.rows, [0] * self.rows
        for row, request in enumerate(requests):
            self.kv[:, :, row, :, : request.prefix.length] = request.prefix.kv[:, :, 0]
            ids[row, : len(request.suffix)] = torch.tensor(request.suffix)
            lengths[row], positions[row] = request.prefix.length, request.prefix.next_position
            last[row] = len(request.suffix) - 1
        self.lengths.copy_(torch.tensor(lengths))
        self.positions.copy_(torch.tensor(positions))
        hidden = self._run(ids.to(self.kv.device))
        ends = torch.tensor(last, device=self.kv.device)
        # a shorter suffix has written padding behind its end: it is hidden, and written over as the row grows
        self.lengths += ends + 1
        self.positions += ends + 1
        self._choose(hidden[self._row, ends])

    def reset(self) -> None:
        self.lengths.zero_()
        self.positions.zero_()

    def step(self) -> None:
        """Append each row's token and choose the next."""
        if self._graph is not None:
            self._graph.replay()
        else:
            self._step()

    def _step(self) -> None:
        hidden = self._run(self.token[:, None])
        self.lengths += 1
        self.positions += 1
        self._choose(hidden[:, 0])

    def _run(self, ids: Tensor) -> Tensor:
        """Tokens `[R, S]` behind what each row holds -> hidden states `[R, S, D]`."""
        ahead = torch.arange(ids.shape[1], device=ids.device)
        places = self.lengths[:, None] + ahead
        mask = (self._place <= places[..., None])[:, None]
        positions = (self.positions[:, None] + ahead).expand(3, -1, -1)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self.kv[layer]
            keys[self._row[:, None], :, places] = key.transpose(1, 2)
            values[self._row[:, None], :, places] = value.transpose(1, 2)
            return attention(query, keys, values, mask)

        return self._text.forward(self._text.embed(ids), positions, attend)

    def _choose(self, hidden: Tensor) -> None:
        log_prob, token = self._text.logits(hidden).log_softmax(dim=-1).max(dim=-1)
        self.token.copy_(token)
        self.log_prob.copy_(log_prob)


def _captured(room: Room) -> torch.cuda.CUDAGraph | None:
    """A room's step as a CUDA graph: one launch instead of hundreds. None, and said, where capturing fails."""
    try:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries make their work spaces on a first run, which cannot be captured
            for _ in range(2):
                room._step()
        torch.cuda.current_stream().wait_stream(side)
        room.reset()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads go on using the device
            room._step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as exc:
        log.warning("a decoding step cannot be captured and runs a kernel at a time: %s", str(exc).splitlines()[0])
        return None
    room.reset()
    return graph


@dataclass(slots=True)
class _Row:
    request: TextRequest
    chosen: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: bool = False


class Writing:
    """A batch of texts being written. `advance` until it says that all have ended, take the results, `close`."""

    def __init__(self, checkpoint: Checkpoint, text: TextModel, rooms: Rooms, requests: Sequence[TextRequest]) -> None:
        self._checkpoint, self._rooms = checkpoint, rooms
        self._rows = [_Row(request) for request in requests]
        self._burst = BURST if text.device.type == "cuda" else 1
        # rows grow together until the last has ended, each from its own length
        longest = max(request.prefix.length for request in requests) + max(len(request.suffix) for request in requests)
        self._room = rooms.take(len(requests), longest + max(request.max_new_tokens for request in requests))
        self._room.load(requests)
        self._read([(self._room.token.tolist(), self._room.log_prob.tolist())])

    def advance(self) -> bool:
        """A step, or a burst of them, unless every text has ended: then True."""
        if any(not row.ended for row in self._rows):
            steps = []
            for _ in range(self._burst):
                self._room.step()
                steps.append(torch.stack([self._room.token.double(), self._room.log_prob.double()]))
            self._read([(list(map(int, tokens)), log_probs) for tokens, log_probs in torch.stack(steps).tolist()])
        return all(row.ended for row in self._rows)

    def has_ended(self, row: int) -> bool:
        return self._rows[row].ended

    def end(self, row: int) -> None:
        """Stop writing a row nobody waits for any more."""
        self._rows[row].ended = True

    def close(self) -> None:
        """Give the room back, unless something in it is no number: even hidden, that would spoil its next user."""
        if all(math.isfinite(log_prob) for row in self._rows for log_prob in row.log_probs):
            self._rooms.give_back(self._room)

    def result(self, row: int) -> Generation:
        """What a row has written. Raises `ModelError` (`model_not_finite`) where the weights give no number."""
        written = self._rows[row]
        mean = sum(written.log_probs) / len(written.log_probs)
        if not math.isfinite(mean):
            raise ModelError("the model gave no number for a word", code="model_not_finite")
        said: str = self._checkpoint.tokenizer.decode(
            written.chosen, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return Generation(said.strip(), min(math.exp(mean), 1.0), tuple(written.chosen))

    def _read(self, steps: Sequence[tuple[list[int], list[float]]]) -> None:
        for tokens, log_probs in steps:
            for row, token, log_prob in zip(self._rows, tokens, log_probs, strict=False):
                if row.ended:
                    continue
                row.log_probs.append(log_prob)
                if token in self._checkpoint.ids.stop:
                    row.ended = True
                    continue
                row.chosen.append(token)
                row.ended = len(row.log_probs) >= row.request.max_new_tokens


class Rooms:
    """Rooms that are not in use, so that a batch of a size that was seen before allocates and captures nothing."""

    def __init__(self, text: TextModel, keep: int = 2) -> None:
        self._text, self._keep = text, keep
        self._free: list[Room] = []

    def take(self, rows: int, tokens: int) -> Room:
        """A room for so many rows and tokens, or a little more."""
        tokens = -(-(tokens + BURST) // ROOM) * ROOM
        if self._text.device.type == "cuda":  # few sizes, so that few graphs are captured
            rows = 1 << (rows - 1).bit_length()
        for room in self._free:
            if room.rows == rows and tokens <= room.tokens <= 2 * tokens:
                self._free.remove(room)
                return room
        del self._free[: max(0, len(self._free) - self._keep + 1)]  # the oldest make way before a new one is made
        return Room(self._text, rows, tokens)

    def give_back(self, room: Room) -> None:
        if room not in self._free:
            self._free.append(room)
            del self._free[: -self._keep]

    def clear(self) -> int:
        """Let go of everything that is not in use; how many bytes that was."""
        held = sum(room.kv.nbytes for room in self._free)
        self._free.clear()
        return held
