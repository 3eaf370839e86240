"""What an engine counts about itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from vidlm.model.lanes import Work


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Calls of one kind: how many, over how many items in all and at most at once, and for how long."""

    steps: int = 0
    items: int = 0
    most_items: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Since the engine began.

    requests: by how they ended (`done`, `failed`, `cancelled`, `late`).  tokens: `visual` tokens made, `prefix` tokens
    run, `question` tokens scored, tokens `written`.  steps: `encode` (items are frame pairs), `open` (prompts), `score`
    (questions), `write` (texts).  waited_s: mean and longest seconds in the queue.  device_bytes: held now and at most,
    zero where the device does not say.
    """

    requests: dict[str, int]
    waiting: dict[str, int]
    tokens: dict[str, int]
    steps: dict[str, StepMetrics]
    waited_mean_s: float
    waited_most_s: float
    out_of_memory: int
    device_bytes: int
    device_peak_bytes: int


@dataclass(slots=True)
class Meters:
    """Counters, changed by the engine's thread only, but for `ended`, which the engine's lock guards."""

    device: torch.device
    tokens: Counter[str] = field(default_factory=Counter)
    out_of_memory: int = 0
    _requests: Counter[str] = field(default_factory=Counter)
    _steps: dict[str, StepMetrics] = field(default_factory=dict)
    _waits: int = 0
    _waited_s: float = 0.0
    _waited_most_s: float = 0.0

    def started(self, work: Work[Any]) -> None:
        """Work has had its first step; how long it waited for it."""
        if not work.started:
            work.started = True
            waited_s = time.monotonic() - work.asked_s
            self._waits += 1
            self._waited_s += waited_s
            self._waited_most_s = max(self._waited_most_s, waited_s)

    def ended(self, how: str) -> None:
        self._requests[how] += 1

    @contextmanager
    def step(self, kind: str, items: int) -> Iterator[None]:
        """Count a call over so many items. On CUDA the seconds are those of launching, not of computing."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            so_far = self._steps.get(kind, StepMetrics())
            self._steps[kind] = StepMetrics(
                so_far.steps + 1,
                so_far.items + items,
                max(so_far.most_items, items),
                so_far.seconds + time.perf_counter() - began_s,
            )

    def read(self, waiting: dict[str, int]) -> EngineMetrics:
        on_cuda = self.device.type == "cuda"
        return EngineMetrics(
            requests=dict(self._requests),
            waiting=waiting,
            tokens=dict(self.tokens),
            steps=dict(self._steps),
            waited_mean_s=self._waited_s / self._waits if self._waits else 0.0,
            waited_most_s=self._waited_most_s,
            out_of_memory=self.out_of_memory,
            device_bytes=torch.cuda.memory_allocated(self.device) if on_cuda else 0,
            device_peak_bytes=torch.cuda.max_memory_allocated(self.device) if on_cuda else 0,
        )
