"""A prompt's beginning as callers hold it, and the memory of those that were computed.

A prompt is asked many things: a caption, all policies, a question later. Its keys and values are kept for as long as
somebody holds the prompt and there is room; the ones longest unused go first, and are computed again when needed.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence

from vidlm.model.prefix import Clip, Prefix, VisualTokens


class Prompt:
    """Text as it is, frame pairs and clips; nothing is computed yet.

    An integer i stands for pair i of `visual`. Two prompts are the same only if they are the same object. Raises
    `ValueError` for a pair that is not there, or for no parts at all.
    """

    __slots__ = ("__weakref__", "parts", "size")

    def __init__(self, parts: Sequence[str | int | Clip], visual: VisualTokens | None = None) -> None:
        self.parts: tuple[str | Clip, ...] = tuple(placed_parts(parts, visual))
        if not any(self.parts):
            raise ValueError("a prompt needs at least one token")
        self.size: int = sum(len(part) if isinstance(part, str) else len(part.tokens) for part in self.parts)
        """About how long it is: visual tokens and letters. Known without a tokenizer, and enough to batch by."""


class PromptCache:
    """Prefixes of prompts that are still held, the one used last at the end. Used by one thread."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._kept: OrderedDict[int, tuple[weakref.ref[Prompt], Prefix]] = OrderedDict()

    def get(self, prompt: Prompt) -> Prefix | None:
        """The prompt's prefix, if it is kept."""
        held = self._kept.get(id(prompt))
        if held is None or held[0]() is not prompt:  # an id is given out again after its object is gone
            return None
        self._kept.move_to_end(id(prompt))
        return held[1]

    def keep(self, prompt: Prompt, prefix: Prefix) -> None:
        """Keep a prefix, and let go of those nobody can ask for and of those longest unused."""
        self._kept[id(prompt)] = (weakref.ref(prompt), prefix)
        self._kept.move_to_end(id(prompt))
        for key in [key for key, (held, _) in self._kept.items() if held() is None]:
            del self._kept[key]
        total = sum(prefix.bytes for _, prefix in self._kept.values())
        while total > self.budget_bytes and self._kept:
            _, (_, oldest) = self._kept.popitem(last=False)
            total -= oldest.bytes

    def clear(self) -> int:
        """Let go of all; how many bytes that was."""
        total = sum(prefix.bytes for _, prefix in self._kept.values())
        self._kept.clear()
        return total


def placed_parts(parts: Sequence[str | int | Clip], visual: VisualTokens | None) -> list[str | Clip]:
    """Parts of a prompt with pair numbers replaced by the pairs. Raises `ValueError` for one that is not there."""
    return [_placed(part, visual) for part in parts]


def _placed(part: str | int | Clip, visual: VisualTokens | None) -> str | Clip:
    if not isinstance(part, int):
        return part
    if visual is None or not 0 <= part < len(visual):
        raise ValueError(f"frame pair {part} is not among the {0 if visual is None else len(visual)} given")
    return visual.clip(part, part + 1)
