"""Doubtful scores are looked at again before anything is decided: the stage between `analyze_windows` and `finish`.

    segments in doubt --runs--> resample(source): more frames, larger --tower--> pairs   |. . . . . . . .|
                                                                      whole segment      [      .8       )
                                                                      about a second     [.1)[.1)[.9)[.1)

Frames are cut out of the original again, in the confined child, and nothing of them is kept. What cannot be looked at
(the source is gone or cannot be read, the model fails, the time allowed is spent) is `unverified` and lowers nothing;
no failure of a look ends the work. Which scores are doubtful and what a look may change is for
`vidlm.moderation.second_looks` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from vidlm import prompts
from vidlm.config import Settings
from vidlm.domain import FrameBatch, Sampling, SecondLook, Segment, Span
from vidlm.errors import VidlmError
from vidlm.evidence import cut_pairs
from vidlm.moderation import second_looks
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.second_looks import Doubt
from vidlm.preparation import Prepared, limits_of
from vidlm.video.resample import MAX_FRAMES, resample

if TYPE_CHECKING:
    from vidlm.seeing import Eyes

PART_S: Final = 1.0
"""Length of the parts a segment is judged in, beside the whole: no shorter than what may be missed."""
LOOK_BYTES: Final = 256 * 1024**2
"""Pixels of the frames of one run, all in memory."""
SOURCE_GONE: Final = "source_gone"
NO_FRAMES: Final = "no_frames"
TOO_LONG: Final = "segment_too_long"
MOST_TOKENS: Final = 24_576
"""Visual tokens of one segment: more leave no room for anything else in 32,768 positions."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """All segments with the scores that decide, the looks in order, and how frames were taken (None: there was nothing
    to look at, or no second looks are wanted)."""

    segments: tuple[Segment, ...]
    looks: tuple[SecondLook, ...] = ()
    sampling: Sampling | None = None


def look_again(
    prepared: Prepared,
    segments: Sequence[Segment],
    source: Path | None,
    eyes: Eyes,
    policies: PolicySet,
    *,
    settings: Settings,
    go_on: Callable[[], None] = lambda: None,
) -> LookedAgain:
    """Judge doubtful scores a second time. `source`: the original file, None where it is not kept any more.

    `go_on` is called before each look; what it raises ends the work, and nothing else does.
    """
    ordered = tuple(sorted(segments, key=lambda segment: segment.index))
    found = second_looks.doubts(ordered, policies) if settings.second_look_s > 0 else []
    if not found:
        return LookedAgain(ordered)
    chosen, left_out = second_looks.within_budget(found, settings.second_look_s)
    looks = [look for doubt in left_out for look in second_looks.unverified(doubt, second_looks.BUDGET_SPENT)]
    sampling = sampling_of(prepared, eyes, settings)
    for run in second_looks.neighbours(chosen, longest_s(sampling)):
        go_on()
        looks += _look(prepared, run, source, eyes, sampling=sampling, settings=settings)
    looks.sort(key=lambda look: look.segment)
    return LookedAgain(second_looks.applied(ordered, looks, policies), tuple(looks), sampling)


def sampling_of(prepared: Prepared, eyes: Eyes, settings: Settings) -> Sampling:
    """How the frames of a second look are taken: no fewer and no smaller than those of the first."""
    first, info = prepared.sampling, prepared.info
    height, width = eyes.engine.info.geometry.fit(info.height, info.width, settings.second_look_pixels)
    if height * width < first.height * first.width:
        height, width = first.height, first.width
    return Sampling(max(settings.second_look_fps, first.fps), width, height)


def longest_s(sampling: Sampling) -> float:
    """Seconds of video whose frames may be in memory together."""
    frames = min(MAX_FRAMES, LOOK_BYTES // (sampling.width * sampling.height * 3))
    return frames / sampling.fps


def _look(
    prepared: Prepared,
    run: Sequence[Doubt],
    source: Path | None,
    eyes: Eyes,
    *,
    sampling: Sampling,
    settings: Settings,
) -> list[SecondLook]:
    """The looks at a run of neighbours; `unverified` with the reason where that fails."""
    if source is None or not source.is_file():
        return _unverified(run, SOURCE_GONE)
    span = Span(run[0].segment.start_s, min(run[-1].segment.end_s, prepared.info.duration_s))
    size = (sampling.height, sampling.width)
    try:
        frames = resample(source, span, fps=sampling.fps, size=size, limits=limits_of(settings))
        return [look for doubt in run for look in _judged(doubt, frames, eyes)]
    except VidlmError as exc:
        reason = exc.code
    except ValueError:  # no frame is due in the span, or more than one look may have
        reason = NO_FRAMES
    log.warning("second_look.failed", reason=reason, start_s=span.start_s, end_s=span.end_s)
    return _unverified(run, reason)


def _judged(doubt: Doubt, frames: FrameBatch, eyes: Eyes) -> list[SecondLook]:
    """What the model says of a segment as a whole and in parts. Raises `ModelError`."""
    whole = Span(doubt.segment.start_s, doubt.segment.end_s)
    shown = frames.between(whole)
    if not len(shown):
        return second_looks.unverified(doubt, NO_FRAMES)
    visual = eyes.engine.encode(shown, priority=eyes.priority).result()
    if visual.tokens.shape[0] * visual.tokens.shape[1] > MOST_TOKENS:
        return second_looks.unverified(doubt, TOO_LONG)
    cut = cut_pairs(visual.pair_times_s, whole, PART_S)
    pieces = [visual, *(visual.slice(first, last) for first, last, _ in cut if len(cut) > 1)]
    asked = [prompts.branch(prompts.policy_question(policy)) for policy in doubt.policies]
    scores = eyes.judge(pieces, asked)
    of_parts = scores[1:] or scores
    parts = [(span.start_s, span.end_s, said) for (_, _, span), said in zip(cut, of_parts, strict=True)]
    return second_looks.looked(doubt, scores[0], parts)


def _unverified(run: Sequence[Doubt], reason: str) -> list[SecondLook]:
    return [look for doubt in run for look in second_looks.unverified(doubt, reason)]
