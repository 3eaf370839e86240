"""What the engine has been asked for, and in which order it stands. Plain bookkeeping; the engine decides and runs."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from vidlm.domain import FrameBatch
from vidlm.model.generate import Generation, Writing
from vidlm.model.prefix import Prefix, VisualTokens
from vidlm.model.prompt import Prompt

T = TypeVar("T")


PADDING: Final = 1.5
"""How much longer than the shortest the longest prompt of a batch may be: the shorter ones are padded to it."""


class Priority(IntEnum):
    """Which lane: the lower number goes first."""

    INTERACTIVE = 0
    BATCH = 1


@dataclass(kw_only=True, slots=True, eq=False)
class Work(Generic[T]):
    """One request. `until_s` is its deadline on the monotonic clock."""

    priority: Priority
    until_s: float | None
    future: Future[T] = field(default_factory=Future)
    asked_s: float = field(default_factory=time.monotonic)
    started: bool = False
    ended: bool = False

    def seconds_left(self) -> float | None:
        """Until the deadline, not below zero; None where there is none."""
        return None if self.until_s is None else max(0.0, self.until_s - time.monotonic())


@dataclass(kw_only=True, slots=True, eq=False)
class EncodeWork(Work[VisualTokens]):
    """Pairs uint8 `[P, depth, H, W, 3]` of `frames`; `pieces` are the tokens of those already seen."""

    frames: FrameBatch
    pairs: npt.NDArray[np.uint8]
    pieces: list[Tensor] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        return self.pairs.shape[2], self.pairs.shape[3]

    @property
    def done(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def left(self) -> int:
        return len(self.pairs) - self.done


@dataclass(kw_only=True, slots=True, eq=False)
class PromptWork(Work[T]):
    """Work behind a prompt; `prefix` once that is open."""

    prompt: Prompt
    prefix: Prefix | None = None


@dataclass(kw_only=True, slots=True, eq=False)
class ScoreWork(PromptWork[list[float]]):
    """Questions, a row of at most `row_tokens` at a time; `scores` of the first of them."""

    questions: tuple[str, ...]
    row_tokens: int
    scores: list[float] = field(default_factory=list)


@dataclass(kw_only=True, slots=True, eq=False)
class TextWork(PromptWork[Generation]):
    """Text to write; `suffix` is the request in tokens, once it is ready to be written."""

    request: str
    max_new_tokens: int
    suffix: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Batch:
    """Texts being written: `works[n]` is row n."""

    writing: Writing
    works: list[TextWork]


class Lane:
    """The work of one priority: in `waiting` as it came, in `ready` if only its text is left to write.

    Only the engine's thread changes it, except for `add`. Who calls `add`, `remove` or `size` holds the engine's lock.
    """

    def __init__(self, priority: Priority, most: int) -> None:
        self.priority = priority
        self.waiting: deque[Work[Any]] = deque()
        self.ready: list[TextWork] = []
        self.batch: Batch | None = None
        self.size = 0
        self._most = most

    @property
    def full(self) -> bool:
        return self.size >= self._most

    def all(self) -> list[Work[Any]]:
        """Everything that has not ended."""
        writing = [work for work in self.batch.works if not work.ended] if self.batch else []
        return [*self.waiting, *self.ready, *writing]

    def add(self, work: Work[Any]) -> None:
        self.waiting.append(work)
        self.size += 1

    def remove(self, work: Work[Any]) -> None:
        """Let go of work that has ended. A row that is being written stays until its batch is done."""
        work.ended = True
        self.size -= 1
        if work in self.waiting:
            self.waiting.remove(work)
        elif isinstance(work, TextWork) and work in self.ready:
            self.ready.remove(work)

    def about(self, prompt: Prompt) -> list[PromptWork[Any]]:
        """The work that waits for this prompt."""
        return [work for work in self.waiting if isinstance(work, PromptWork) and work.prompt is prompt]

    def unopened(self, first: Prompt, most: int, size: int) -> list[Prompt]:
        """A prompt and others of about its length that wait to be opened, at most `most` and `size` in all."""
        chosen = [first]
        for work in self.waiting:
            if len(chosen) == most:
                break
            if isinstance(work, PromptWork) and work.prefix is None and work.prompt not in chosen:
                sizes = [prompt.size for prompt in (*chosen, work.prompt)]
                if max(sizes) <= PADDING * min(sizes) and max(sizes) * len(sizes) <= size:
                    chosen.append(work.prompt)
        return chosen

    def asked_the_same(self, first: ScoreWork, tokens: int, most: int, total: int) -> list[ScoreWork]:
        """Work that asks the same questions of other short prompts that are open: rows of `tokens`, `total` in all."""
        if first.prefix is None:
            return []
        chosen, longest = [first], first.prefix.length
        for work in self.waiting:
            if len(chosen) == most:
                break
            if not isinstance(work, ScoreWork) or work is first or work.prefix is None:
                continue
            same = work.questions == first.questions and len(work.scores) == len(first.scores)
            room = (max(longest, work.prefix.length) + tokens) * (len(chosen) + 1) <= total
            if same and room and work.row_tokens == first.row_tokens:
                longest = max(longest, work.prefix.length)
                chosen.append(work)
        return chosen

    def make_ready(self, work: TextWork) -> None:
        """Only the text is left to write."""
        self.waiting.remove(work)
        self.ready.append(work)

    def write(self, batch: Batch) -> None:
        self.ready = [work for work in self.ready if work not in batch.works]
        self.batch = batch

    def write_again(self) -> None:
        """Back into the line, in front: a batch that failed is written again."""
        if self.batch is not None:
            self.ready[:0] = [work for work in self.batch.works if not work.ended]
            self.batch = None

    def alike(self, most: int) -> list[TextWork]:
        """The first text that is ready, and others whose requests are about as long: they are padded to the longest."""
        length = len(self.ready[0].suffix).bit_length()
        return [work for work in self.ready if len(work.suffix).bit_length() == length][:most]
