"""From a file to an analysis, as a list of stages. The service runs them as tasks, `vidlm.local` in a row.

    prepare           untrusted file -> clean proxy, shots, windows         needs no torch
    analyze_windows   windows -> captions and scores                        the model's work, a span at a time
    look_again        doubtful scores -> denser frames of the original      `vidlm.second_look`
    pinpoint          where in its peak each flag can be seen               `vidlm.pinpoint`
    finish            all segments -> summary, flags, verdict               the whole document

Knows the order of things; how each is done is in `video`, `model`, `prompts`, `moderation` and `summary`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vidlm import prompts
from vidlm.config import Settings
from vidlm.domain import (
    Analysis,
    Chapter,
    Coverage,
    Flag,
    Gap,
    Known,
    Sampling,
    SecondLook,
    Segment,
    Span,
    Summary,
)
from vidlm.moderation.flags import Spot, decide, flags_from_scores
from vidlm.moderation.known import carried_over, weighed
from vidlm.moderation.policies import PolicySet
from vidlm.preparation import Prepared
from vidlm.provenance import provenance, unseen_provenance
from vidlm.summary import evenly, group_chapters, pick_highlights, summary_captions, told_once
from vidlm.video.sampling import Window

if TYPE_CHECKING:
    from vidlm.model.engine import Engine, Generation
    from vidlm.seeing import Eyes

CAPTION_TOKENS: Final = 48
SUMMARY_TOKENS: Final = 128
TITLE_TOKENS: Final = 16
TITLE_CAPTIONS: Final = 12
"""Captions a chapter's title is made from, at most."""
WINDOWS_AT_ONCE: Final = 32
"""Windows whose captions and scores are under way together: what is written together is written faster."""

Progress = Callable[[str, float], None]
"""Called with a stage ("preparing", "analyzing", "finishing") and how much of it is done, 0..1."""


@dataclass(slots=True)
class _UnderWay:
    """A window whose caption and scores the engine works on."""

    window: Window
    caption: Future[Generation]
    scores: Future[list[float]]


def analyze_windows(
    prepared: Prepared,
    windows: Sequence[Window],
    eyes: Eyes,
    policies: PolicySet,
    on_segment: Callable[[Segment], None] | None = None,
) -> list[Segment]:
    """Caption and score consecutive windows: pictures once, prefix once, then a branch for every request.

    `on_segment` is called with each segment, in order; what it raises ends the work.
    """
    questions = [prompts.branch(prompts.policy_question(policy)) for policy in policies.policies]
    request = prompts.branch(prompts.caption_request())
    under_way: deque[_UnderWay] = deque()
    segments: list[Segment] = []

    def take_first() -> None:
        first = under_way[0]
        segment = _segment(prepared, first, policies)
        under_way.popleft()
        segments.append(segment)
        if on_segment is not None:
            on_segment(segment)

    seen = eyes.see(prepared, windows)
    try:
        for window, visual in zip(windows, seen, strict=True):
            prompt = eyes.prompt(visual)
            scores = eyes.engine.score(prompt, questions, priority=eyes.priority)
            caption = eyes.engine.caption(prompt, request, max_new_tokens=CAPTION_TOKENS, priority=eyes.priority)
            under_way.append(_UnderWay(window, caption, scores))
            if len(under_way) == WINDOWS_AT_ONCE:
                take_first()
        while under_way:
            take_first()
    finally:
        seen.close()
        for left in under_way:
            left.caption.cancel()
            left.scores.cancel()
    return segments


def _segment(prepared: Prepared, done: _UnderWay, policies: PolicySet) -> Segment:
    window = done.window
    scores = zip(policies.policies, done.scores.result(), strict=True)
    return Segment(
        index=window.index,
        start_s=window.start_s,
        end_s=window.end_s,
        frame_times_s=prepared.frame_times_s[window.first_frame : window.last_frame],
        caption=told_once(one_line(done.caption.result().text)),
        scores={policy.id: score for policy, score in scores},
    )


def finish(
    prepared: Prepared,
    segments: Sequence[Segment],
    engine: Engine,
    policies: PolicySet,
    settings: Settings,
    *,
    looks: Sequence[SecondLook] = (),
    look_sampling: Sampling | None = None,
    parts: Mapping[Spot, Span] | None = None,
    known: Sequence[Known] = (),
    compared: bool = True,
) -> Analysis:
    """The whole document from all segments. Missing segments are no error: the verdict then fails closed.

    `looks`: what came of looking again, already in the segments' scores; `look_sampling`: how their frames were taken.
    `parts`: where in its peak each flag can be seen.
    `known`: what the video was recognised as; not `compared` where that could not be found out.
    """
    del settings  # nothing here can be set yet; the stages share one signature
    ordered = tuple(sorted(segments, key=lambda segment: segment.index))
    flags = flags_from_scores(ordered, policies, looks, parts)
    return Analysis(
        video=prepared.info,
        provenance=provenance(prepared.sampling, engine, policies, look_sampling),
        coverage=prepared.coverage,
        segments=ordered,
        summary=summarize(ordered, prepared.shots, flags, engine),
        flags=flags,
        verdict=weighed(decide(flags, prepared.coverage, ordered, policies), known, compared=compared),
        second_looks=tuple(looks),
        known=tuple(known),
    )


def carry_over(prepared: Prepared, known: Sequence[Known]) -> Analysis | None:
    """The document of a video that was decided about before and that nobody looks at again, or None."""
    carried = carried_over(known, prepared.coverage)
    if carried is None:
        return None
    verdict, source = carried
    total_s = prepared.coverage.seconds_total
    unseen = Gap(0.0, total_s, f"carried over from {source.entry_id}")
    return Analysis(
        video=prepared.info,
        provenance=unseen_provenance(prepared.sampling),
        coverage=Coverage(0.0, total_s, (unseen,)),
        segments=(),
        summary=Summary("", (), ()),
        flags=(),
        verdict=verdict,
        known=tuple(known),
    )


def summarize(segments: Sequence[Segment], shots: Sequence[Span], flags: Sequence[Flag], engine: Engine) -> Summary:
    """A short text about the whole video and chapters that tile it, all made from its captions; written together."""
    from vidlm.model.engine import Prompt  # noqa: PLC0415  torch: seconds, and absent on some machines

    prompt = Prompt(prompts.text_prefix())

    def write(request: str, tokens: int) -> Future[Generation]:
        return engine.caption(prompt, prompts.branch(request), max_new_tokens=tokens)

    told = summary_captions(segments)
    text = write(prompts.summary_request(told), SUMMARY_TOKENS) if told else None
    groups = group_chapters(segments, shots)
    titles: list[Future[Generation] | None] = []
    for group in groups:
        captions = list(dict.fromkeys(segment.caption for segment in group if segment.caption))
        request = prompts.title_request(evenly(captions, TITLE_CAPTIONS)) if captions else None
        titles.append(write(request, TITLE_TOKENS) if request else None)
    return Summary(
        text=told_once(one_line(text.result().text)) if text else "",
        chapters=tuple(
            Chapter(group[0].start_s, group[-1].end_s, _title(title, number))
            for number, (group, title) in enumerate(zip(groups, titles, strict=True), start=1)
        ),
        highlights=pick_highlights(segments, flags),
    )


def _title(written: Future[Generation] | None, number: int) -> str:
    title = one_line(written.result().text).rstrip(".") if written else ""
    return title or f"Chapter {number}"


def one_line(text: str) -> str:
    """A model's words without line breaks or runs of spaces."""
    return " ".join(text.split())
