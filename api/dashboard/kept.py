"""Answers that take long and are asked for often: kept for a while, and made once for all who ask meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Answer = TypeVar("Answer")

MOST: Final = 64
"""Answers of one kind; of more, the oldest is forgotten."""


class Kept(Generic[Answer]):
    """Safe to share between threads."""

    def __init__(self, seconds: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now_s = now_s
        self._lock = threading.Lock()
        self._answers: dict[Hashable, tuple[float, Answer]] = {}

    def get(self, key: Hashable, ask: Callable[[], Answer]) -> Answer:
        """What `ask` says, or said less than `seconds` ago. Whatever it raises is raised, and not kept."""
        with self._lock:
            at_s, answer = self._answers.get(key, (0.0, None))
            if answer is not None and self._now_s() - at_s < self._seconds:
                return answer
            made = ask()
            self._answers.pop(key, None)
            while len(self._answers) >= MOST:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = (self._now_s(), made)
            return made
