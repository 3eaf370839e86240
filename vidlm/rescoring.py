"""Visual tokens that were kept -> scores of other policies: no decoder and no vision tower, only the language model.

    tokens from disk    [ group 1 ][ group 2 ][ group 3 ]
    the engine at work             [ group 1 ][ group 2 ][ group 3 ]      while the next group is being read

A window's prompt is opened once, whatever the number of policies, and that is most of the work. What is not kept is
said and left alone: decoding is never done on the quiet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vidlm import prompts
from vidlm.domain import Policy
from vidlm.seeing import frames_of

if TYPE_CHECKING:
    from vidlm.preparation import Prepared
    from vidlm.seeing import Eyes
    from vidlm.video.sampling import Window

GROUP: Final = 32
"""Windows handed to the engine at once; two groups at most are in memory."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """P(Yes) of each policy, in their order, by the index of the window; and the windows of which nothing is kept."""

    scores: dict[int, list[float]]
    missing: tuple[Window, ...]


def first_part(windows: Sequence[Window], first: int, most_s: float) -> Sequence[Window]:
    """The windows from `first` on that last `most_s` seconds together or a little more; at least one if any is left."""
    last = first
    while last < len(windows) and (last == first or windows[last - 1].end_s - windows[first].start_s < most_s):
        last += 1
    return windows[first:last]


def score_kept(
    prepared: Prepared,
    windows: Sequence[Window],
    eyes: Eyes,
    policies: Sequence[Policy],
    go_on: Callable[[], None] = lambda: None,
) -> Rescored:
    """Score windows under policies from what was kept of them, and from nothing else.

    `go_on` is called between groups; what it raises ends the work. Raises `ModelError`, and `ValueError` where `eyes`
    keep no tokens at all.
    """
    if eyes.store is None:
        raise ValueError("without a store there are no tokens to score")
    key = eyes.key(prepared)
    questions = [prompts.branch(prompts.policy_question(policy)) for policy in policies]
    scores: dict[int, list[float]] = {}
    missing: list[Window] = []
    under_way: deque[list[tuple[Window, Future[list[float]]]]] = deque()

    def take_first() -> None:
        scores.update((window.index, future.result()) for window, future in under_way[0])
        under_way.popleft()

    try:
        for first in range(0, len(windows), GROUP):
            go_on()
            group = windows[first : first + GROUP]
            kept = [(window, eyes.store.get(key, frames_of(window))) for window in group]
            missing += [window for window, visual in kept if visual is None]
            shown = [(window, eyes.prompt(visual)) for window, visual in kept if visual is not None]
            asked = eyes.engine.score_all([prompt for _, prompt in shown], questions, priority=eyes.priority)
            under_way.append([(window, future) for (window, _), future in zip(shown, asked, strict=True)])
            if len(under_way) == 2:
                take_first()
        while under_way:
            go_on()
            take_first()
    finally:
        for left in under_way:
            for _, future in left:
                future.cancel()
    return Rescored(scores, tuple(missing))
