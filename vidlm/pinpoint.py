"""Where in its peak a flag can be seen: each part of that segment is asked about alone, and the best part tells.

    flag          [    .3    |    .97   |    .4    )        the peak is the second segment
    its parts                 [.1)[.9)[.2)                  evidence: the frames of the second part

A score is about a whole segment, and what lasts one second is often a third of it or less. A reviewer is shown the
frames that speak for a flag, not frames beside them. Where a second look found the best part, in denser frames, nothing
is asked again. Nothing is decided here: no score changes; where nobody could look, frames are spread over the segment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from vidlm import prompts
from vidlm.domain import Policy, SecondLook, Segment, Span
from vidlm.errors import VidlmError
from vidlm.evidence import cut_pairs
from vidlm.moderation.flags import Spot, best_parts, peaks
from vidlm.moderation.policies import PolicySet
from vidlm.second_look import PART_S

if TYPE_CHECKING:
    from vidlm.preparation import Prepared
    from vidlm.seeing import Eyes
    from vidlm.video.sampling import Window

log = structlog.get_logger(__name__)


def pinpoint(
    prepared: Prepared,
    segments: Sequence[Segment],
    looks: Sequence[SecondLook],
    eyes: Eyes,
    policies: PolicySet,
    *,
    go_on: Callable[[], None] = lambda: None,
) -> dict[Spot, Span]:
    """The best part of every flag's peak. `segments`: in order, with the scores that decide.

    Costs one more prompt a part of these segments, their tokens being kept; at most what judging the segment cost.
    `go_on` is called before each segment; what it raises ends the work, and nothing else does.
    """
    found = best_parts(looks)
    wanted: dict[int, list[Policy]] = defaultdict(list)
    for policy, peak in peaks(segments, policies):
        if (peak.index, policy.id) not in found and policy not in wanted[peak.index]:
            wanted[peak.index].append(policy)
    windows = {window.index: window for window in prepared.windows}
    for index, asked in wanted.items():
        if index in windows:
            go_on()
            try:
                found |= _seen_in(prepared, windows[index], eyes, asked)
            except VidlmError as exc:
                log.warning("pinpoint.failed", reason=exc.code, segment=index)
    return found


def _seen_in(prepared: Prepared, window: Window, eyes: Eyes, asked: Sequence[Policy]) -> Mapping[Spot, Span]:
    """The part of one window that scores highest, by policy; nothing where it has one part only."""
    (visual,) = eyes.see(prepared, [window])
    cut = cut_pairs(visual.pair_times_s, Span(window.start_s, window.end_s), PART_S)
    if len(cut) == 1:
        return {}
    questions = [prompts.branch(prompts.policy_question(policy)) for policy in asked]
    scores = eyes.judge([visual.slice(first, last) for first, last, _ in cut], questions)
    found: dict[Spot, Span] = {}
    for place, policy in enumerate(asked):
        of_parts = [part_scores[place] for part_scores in scores]
        _, _, part = cut[of_parts.index(max(of_parts))]
        found[window.index, policy.id] = part
    return found
