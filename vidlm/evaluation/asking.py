"""Benchmark questions put to a model: a video is prepared once, as an upload is, and everything about it asked.

    file -> prepare (sandbox, proxy) -> frames spread over what is to be seen -> one prompt -> every question a branch

Choices and yes-or-no questions are asked of some frame pairs in one prompt; sentences go the way users' questions go.
What comes back are replies as they were read, right or wrong: counting is the business of `scoring`.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from vidlm import prompts
from vidlm.answer import answer_question
from vidlm.config import Settings
from vidlm.domain import AnswerEvidence, FrameBatch, Span
from vidlm.errors import MediaError
from vidlm.evaluation.items import Choice, Grounding, Item, Reply, YesNo
from vidlm.evaluation.replies import read_choice, read_yes_no
from vidlm.preparation import Prepared, prepare, read_windows
from vidlm.video.sampling import Window
from vidlm.video.scratch import scratch_folder

if TYPE_CHECKING:
    from vidlm.model.engine import Engine, Generation, Prompt

CHOICE_TOKENS: Final = 24
YES_NO_TOKENS: Final = 4


@dataclass
class Replies:
    """All replies, and the videos that could not be analysed with the error's words."""

    replies: list[Reply] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asked, and of how many frame pairs at most."""

    engine: Engine
    settings: Settings
    pairs: int

    def prepare(self, source: Path, work: Path, name: str) -> Prepared:
        geometry = self.engine.info.geometry
        return prepare(source, work, filename=name, geometry=geometry, settings=self.settings)

    def ask(self, items: Sequence[Item], prepared: Prepared, work: Path) -> Iterator[Reply]:
        """All items about one video. Branches of a prompt are handed over before any is waited for."""
        shown: dict[Span | None, Prompt] = {}
        asked: list[tuple[Choice | YesNo, list[Future[Generation]]]] = []
        for item in items:
            if isinstance(item, Choice | YesNo):
                span = item.span if isinstance(item, Choice) else None
                if span not in shown:
                    shown[span] = show(prepared, span, self.pairs, self.engine)
                asked.append((item, _hand_over(item, shown[span], self.engine)))
        for item, replies in asked:
            words = tuple(reply.result().text for reply in replies)
            yield Reply(item, read_texts(item, words), words=words)
        sentences = [item for item in items if isinstance(item, Grounding)]
        yield from _ground(sentences, prepared, self.engine, self.settings, work)


def ask_all(
    asker: Asker,
    items: Sequence[Item],
    folder: Path,
    *,
    skip_unreadable: bool,
    on_progress: Callable[[int], None] = lambda _items: None,
    on_reply: Callable[[Reply], None] = lambda _reply: None,
) -> Replies:
    """Ask all items about the videos in `folder`; `on_progress` is told how many are done, `on_reply` what was said.

    Raises `MediaError` that names the video for one that cannot be analysed, unless those are skipped; `ToolError`,
    `ModelError`, `QuestionError`.
    """
    by_video: dict[str, list[Item]] = {}
    for item in items:
        by_video.setdefault(item.video, []).append(item)
    done, count = Replies(), 0
    for video, asked in by_video.items():
        with scratch_folder("vidlm-work-") as work:
            try:
                prepared = asker.prepare(folder / video, work, video)
            except MediaError as error:
                if not skip_unreadable:
                    raise MediaError(error.code, f"{video}: {error.detail}") from error
                done.unreadable[video] = f"{error.code}: {error.detail}"
            else:
                for reply in asker.ask(asked, prepared, work):
                    done.replies.append(reply)
                    on_reply(reply)
        count += len(asked)
        on_progress(count)
    return done


def _hand_over(item: Choice | YesNo, prompt: Prompt, engine: Engine) -> list[Future[Generation]]:
    if isinstance(item, YesNo):
        request = prompts.branch(prompts.yes_no_request(item.question))
        return [engine.caption(prompt, request, max_new_tokens=YES_NO_TOKENS)]
    requests = [
        prompts.branch(prompts.choice_request(item.question, rotated(item.options, turn)))
        for turn in range(len(item.options))
    ]
    return [engine.caption(prompt, request, max_new_tokens=CHOICE_TOKENS) for request in requests]


def read_texts(item: Choice | YesNo, texts: Sequence[str]) -> tuple[int | None, ...]:
    """What the replies choose, one for every rotation of a choice: see `Reply.chosen`."""
    if isinstance(item, YesNo):
        said = read_yes_no(texts[0])
        return (None if said is None else int(said),)
    picked = [read_choice(text, rotated(item.options, turn)) for turn, text in enumerate(texts)]
    count = len(item.options)
    return tuple(None if number is None else (number + turn) % count for turn, number in enumerate(picked))


def rotated(options: Sequence[str], turn: int) -> list[str]:
    """The options moved up by `turn` places: what stands first then is option `turn`."""
    return [*options[turn:], *options[:turn]]


def _ground(
    items: Sequence[Grounding], prepared: Prepared, engine: Engine, settings: Settings, work: Path
) -> Iterator[Reply]:
    if not items:
        return
    from vidlm.model.embeddings import TokenStore  # noqa: PLC0415  torch: seconds, and absent on some machines
    from vidlm.seeing import Eyes  # noqa: PLC0415

    eyes = Eyes(engine, TokenStore(work / "tokens", settings.token_bytes))  # sentences share a video's tokens
    for item in items:
        said = answer_question(prepared, prompts.moment_question(item.sentence), eyes, settings)
        yield Reply(item, found=top_span(said.evidence))


def top_span(evidence: Sequence[AnswerEvidence]) -> Span | None:
    """The interval an answer rests on most, the first of several alike; None where it rests on none."""
    best = max(evidence, key=lambda part: part.score, default=None)
    return None if best is None else Span(best.start_s, best.end_s)


# ---- what is shown


def show(prepared: Prepared, span: Span | None, pairs: int, engine: Engine) -> Prompt:
    """A prompt of at most `pairs` frame pairs spread evenly over a span of a prepared video, over all of it for None.

    Raises `ToolError` where the proxy cannot be read, and `ModelError`.
    """
    from vidlm.seeing import Eyes  # noqa: PLC0415  torch: seconds, and absent on some machines

    count = pairs * engine.info.geometry.temporal_patch_size
    frames = read_frames_at(prepared, spread(prepared.frame_times_s, span, count))
    eyes = Eyes(engine)
    return eyes.prompt(engine.encode(frames, priority=eyes.priority).result())


def spread(times_s: Sequence[float], span: Span | None, count: int) -> list[int]:
    """Which frames to show: `count` in the middles of equal parts of a span, or all of them where there are fewer.

        times     0   1   2   3   4   5   6   7      span [2, 6), 2 frames
        span              [       |       )
        shown                 3       5

    `times_s` increase evenly. A span without a frame (shorter than the frames are apart, or behind the end) shows the
    one that is on screen then.
    """
    first, last = 0, len(times_s)
    if span is not None:
        first, last = bisect.bisect_left(times_s, span.start_s), bisect.bisect_left(times_s, span.end_s)
    if first >= last:
        first = max(0, first - 1)
        last = first + 1
    there = last - first
    count = min(count, there)
    return [first + int((2 * part + 1) * there / (2 * count)) for part in range(count)]


def read_frames_at(prepared: Prepared, frames: Sequence[int]) -> FrameBatch:
    """Frames of the proxy by index, increasing; runs of neighbours are read in one go."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and runs[-1][-1] + 1 == frame:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    windows = [Window(0, prepared.frame_times_s[run[0]], prepared.info.duration_s, run[0], run[-1] + 1) for run in runs]
    parts = [read_windows(prepared, [window])[0] for window in windows]
    return FrameBatch(np.concatenate([part.pixels for part in parts]), np.concatenate([part.times_s for part in parts]))
