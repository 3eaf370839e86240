"""What a person sees in a terminal: tables, progress and one-line errors. Knows rich; computes nothing.

Results go to standard output, progress and errors to standard error. Text from files, captions and users is shown
without markup and without control characters, because a terminal would obey them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vidlm.domain import Action, Analysis, Answer, Flag, to_document
from vidlm.errors import VidlmError

TOY_NOTICE: Final = (
    "These results come from the embedded toy model. It knows vidlm's toy world and nothing else: for real video, "
    "set VIDLM_MODEL to a Qwen2-VL checkpoint, for example Qwen/Qwen2-VL-2B-Instruct."
)
COLOURS: Final = {Action.ALLOW: "green", Action.REVIEW: "yellow", Action.BLOCK: "red"}


def out() -> Console:
    return Console(soft_wrap=False, highlight=False)


def err() -> Console:
    return Console(stderr=True, highlight=False)


def plain(text: str) -> Text:
    """Foreign text as it may be shown: no markup, and what cannot be printed becomes U+FFFD."""
    return Text("".join(char if char.isprintable() else "�" for char in " ".join(text.split())))


def clock(seconds: float) -> str:
    """12.3 -> "0:12.3", 3723.5 -> "1:02:03.5"."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02d}.{rest % 10}"


def span(start_s: float, end_s: float) -> str:
    return f"{clock(start_s)} - {clock(end_s)}"


def print_json(document: Any) -> None:
    """One JSON document on standard output, in ASCII so that no locale can spoil it."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_error(error: VidlmError) -> None:
    """`code: detail` on one line of standard error."""
    sys.stderr.write(f"{error.code}: {plain(error.detail)}\n")


def print_analysis(analysis: Analysis) -> None:
    console, video = out(), analysis.video
    sound = "with sound" if video.has_audio else "silent"
    console.print(plain(video.filename), style="bold")
    console.print(
        f"{clock(video.duration_s)}, {video.width} x {video.height}, {video.fps:.4g} fps, {video.codec}, {sound}"
    )
    segments = Table("time", "caption", title="Segments", title_justify="left")
    for segment in analysis.segments:
        segments.add_row(span(segment.start_s, segment.end_s), plain(segment.caption))
    console.print(segments)
    if analysis.flags:
        flags = Table("time", "policy", "score", "severity", "action", title="Flags", title_justify="left")
        for flag in analysis.flags:
            flags.add_row(
                span(flag.start_s, flag.end_s), flag.policy_id, f"{flag.score:.2f}", flag.severity, _action(flag)
            )
        console.print(flags)
    chapters = Table("time", "chapter", title="Chapters", title_justify="left")
    for chapter in analysis.summary.chapters:
        chapters.add_row(span(chapter.start_s, chapter.end_s), plain(chapter.title))
    console.print(chapters)
    console.print(Text("Summary: ").append_text(plain(analysis.summary.text)))
    verdict = analysis.verdict
    console.print(Text("Verdict: ").append(verdict.action, COLOURS[verdict.action]).append(f". {verdict.reason}"))
    print_toy_notice(toy=analysis.provenance.toy_model)


def print_answer(answer: Answer) -> None:
    console = out()
    console.print(plain(answer.text), style="bold")
    for evidence in answer.evidence:
        console.print(f"  {span(evidence.start_s, evidence.end_s)}   relevance {evidence.score:.2f}")
    console.print(f"confidence {answer.confidence:.2f}")
    print_toy_notice(toy=answer.provenance.toy_model)


def print_toy_notice(*, toy: bool) -> None:
    if toy:
        out().print(TOY_NOTICE, style="dim")


def document_of(value: Analysis | Answer) -> Any:
    """The result contract's document."""
    return to_document(value)


@contextmanager
def progress_bar(title: str, total: float = 1.0, *, counted: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, where that is a terminal; yields `update(what_is_going_on, how_much_is_done)`.

    `counted` shows "3/8" beside the bar, for a `total` that is a number of things.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if counted:
        columns.insert(2, MofNCompleteColumn())
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda stage, done: progress.update(task, description=stage, completed=done)


def _action(flag: Flag) -> Text:
    return Text(flag.action, COLOURS[flag.action])
