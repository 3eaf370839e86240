"""Visual tokens that were kept -> scores of other policies: no decoder and no vision tower, only the language model.

    read from disk      [ group 1 ][ group 2 ][ group 3 ]
    the engine at work             [ group 1 ][ group 2 ] x              enough: what is not done yet is let go
    through             |  |  |  |  |  |  |  |

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
    """What became of the first windows, those that are `through`: P(Yes) of each policy, in their order, by the index
    of the window; nothing for those `missing`, of which no tokens are kept."""

    through: tuple[Window, ...]
    missing: tuple[Window, ...]
    scores: dict[int, list[float]]


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
    *,
    go_on: Callable[[], None] = lambda: None,
    enough: Callable[[], bool] = lambda: False,
) -> Rescored:
    """Score windows, in order, under policies from what was kept of them, and from nothing else.

    Both are asked after each window: what `go_on` raises ends the work in vain; once it is `enough` the windows that
    are through are returned, one at least. Raises `ModelError`, and `ValueError` where `eyes` keep no tokens at all.
    """
    if eyes.store is None:
        raise ValueError("without a store there are no tokens to score")
    key = eyes.key(prepared)
    questions = [prompts.branch(prompts.policy_question(policy)) for policy in policies]
    under_way: deque[tuple[Window, Future[list[float]] | None]] = deque()
    through: list[Window] = []
    scores: dict[int, list[float]] = {}
    stopped = False
    try:
        for first in range(0, len(windows), GROUP):
            group = windows[first : first + GROUP]
            kept = [eyes.store.get(key, frames_of(window)) for window in group]
            shown = [eyes.prompt(visual) for visual in kept if visual is not None]
            asked = iter(eyes.engine.score_all(shown, questions, priority=eyes.priority))
            under_way.extend(
                (window, None if visual is None else next(asked)) for window, visual in zip(group, kept, strict=True)
            )
            is_last = first + GROUP >= len(windows)
            while under_way and not stopped and (is_last or len(under_way) > GROUP):
                window, future = under_way[0]
                if future is not None:
                    scores[window.index] = future.result()
                under_way.popleft()
                through.append(window)
                go_on()
                stopped = enough()
            if stopped:
                break
    finally:
        for _, left in under_way:
            if left is not None:
                left.cancel()
    missing = tuple(window for window in through if window.index not in scores)
    return Rescored(tuple(through), missing, scores)
