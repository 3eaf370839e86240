"""What a person sees in a terminal: tables, progress and one-line errors. Knows rich; computes nothing.

Results go to standard output, progress and errors to standard error. Text from files, captions and users is shown
without markup and without control characters, because a terminal would obey them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
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


def print_answers(answers: Sequence[Answer]) -> None:
    """One answer, or those of a conversation in order, each below its question."""
    console = out()
    for answer in answers:
        if len(answers) > 1:
            console.print(plain(answer.question))
        console.print(plain(answer.text), style="bold")
        for evidence in answer.evidence:
            console.print(f"  {span(evidence.start_s, evidence.end_s)}   relevance {evidence.score:.2f}")
        console.print(f"confidence {answer.confidence:.2f}")
    print_toy_notice(toy=any(answer.provenance.toy_model for answer in answers))


def print_figures(table: dict[str, Any]) -> None:
    """An evaluation's rows: the figure, its 95% interval, and its bar where it has one."""
    barred = any(row["bar"] is not None for row in table["rows"])
    figures = Table("figure", "value", "95% interval", *(["bar", ""] if barred else []), "n")
    for row in table["rows"]:
        bar = _bar(row) if barred else ()
        figures.add_row(plain(row["name"]), _figure(row["value"]), _interval(row), *bar, str(row["n"]))
    out().print(figures)


def _bar(row: dict[str, Any]) -> tuple[str, Text]:
    """A row's bar, and whether it is met."""
    if row["bar"] is None:
        return "", Text("")
    known = row["value"] is not None
    met = known and (row["value"] >= row["bar"] if row["at_least"] else row["value"] <= row["bar"])
    said = Text("met", "green") if met else Text("not met" if known else "unknown", "yellow")
    return f"{'>=' if row['at_least'] else '<='} {row['bar']:g}", said


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(row: dict[str, Any]) -> str:
    return "-" if row["low"] is None else f"{row['low']:.3f} - {row['high']:.3f}"


def print_labelled(table: dict[str, Any]) -> None:
    """What a user's own labels say: over all policies, then each policy, thresholds, and what was skipped."""
    out().print(
        plain(f"{table['labels']}: {table['videos']} videos, {table['n']} scores, {table['positives']} positive")
    )
    print_figures(table)
    figures = ("positive", "precision", "recall", "AP", "AUROC", "ECE")
    policies = Table("policy", *figures, title="Policies at their review threshold", title_justify="left")
    policies.columns[0].overflow = "fold"
    for policy in table["policies"]:
        rows = {row["name"]: row for row in policy["rows"]}
        decided = [_short(rows[name]) for name in ("precision", "recall")]
        ranked = [_two(rows[name]["value"]) for name in ("average_precision", "auroc", "calibration_ece")]
        name = plain(policy["policy"]).append(f"\nfrom {policy['review']:g}", "dim")
        policies.add_row(name, f"{policy['positives']}\nof {policy['n']}", *decided, *ranked)
    out().print(policies)
    _print_thresholds([("all policies", table), *[(policy["policy"], policy) for policy in table["policies"]]])
    for video in table["skipped"]:
        what = f"Skipped {video['path']} (line {video['line']}): {video['code']}: {video['reason']}"
        out().print(plain(what), style="yellow", soft_wrap=True)
    print_toy_notice(toy=table["model"]["toy"])


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _short(row: dict[str, Any]) -> str:
    """A figure over its interval, where columns are many."""
    return f"{_two(row['value'])}\n{_two(row['low'])}-{_two(row['high'])}" if row["value"] is not None else "-"


def _print_thresholds(parts: Sequence[tuple[str, dict[str, Any]]]) -> None:
    thresholds = Table("policy", "keeps", "threshold", "precision", "recall", title="Thresholds", title_justify="left")
    for name, part in parts:
        for found in part["thresholds"]:
            keeps = f"{found['keeps']} {found['wanted']:g}"
            there = [_figure(found[key]) for key in ("threshold", "precision", "recall")]
            thresholds.add_row(plain(name), keeps, *there)
    out().print(thresholds)


def print_benchmark(table: dict[str, Any]) -> None:
    """A public benchmark's figures and what they rest on."""
    console = out()
    console.print(plain(f"{table['benchmark']}: questions {table['questions']}, videos {table['videos']}"))
    print_figures(table)
    for what, count in table["left_out"].items():
        console.print(plain(f"Left out: {what} {count}"), style="yellow")
    for video, why in table["unreadable"].items():
        console.print(plain(f"Unreadable: {video}: {why}"), style="yellow", soft_wrap=True)
    print_toy_notice(toy=table["model"]["toy"])


def announce(url: str, api_key: str | None, password: str | None, *, unconfined: Sequence[str], toy: bool) -> None:
    """What `vidlm serve` says once it is ready. A new API key, and a first password, are shown here and never again.

    `unconfined`: what this machine lacks to confine decoders (`sandbox.missing`).
    """
    console = out()
    console.print(Text("vidlm serves at ").append(url, "bold").append(" (Ctrl-C stops it)."))
    if api_key is not None:
        console.print(Text("API key, shown only this once: ").append(api_key, "bold"), soft_wrap=True)
    print_sign_in(url, password)
    for line in unconfined:
        console.print(Text(f"Decoders of uploads are less confined here than they could be: {line}.", "yellow"))
    print_toy_notice(toy=toy)


def print_sign_in(url: str, password: str | None) -> None:
    """Where people sign in; with the first person's password, where the service was just begun."""
    if password is None:
        line = Text("Sign in at ").append(url, "bold").append(" (another password: vidlm admin reset-password NAME).")
    else:
        line = Text("Sign in at ").append(url, "bold").append(" as ").append("admin", "bold")
        line.append(", password, shown only this once: ").append(password, "bold")
    out().print(line, soft_wrap=True)


def print_toy_notice(*, toy: bool) -> None:
    if toy:
        out().print(TOY_NOTICE, style="dim")


def document_of(value: Analysis | Answer) -> Any:
    """The result contract's document."""
    return to_document(value)


class Bar:
    """One progress bar; lines said meanwhile stand above it."""

    def __init__(self, progress: Progress, title: str, total: float) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total)

    def __call__(self, doing: str, done: float, total: float | None = None) -> None:
        """Show what is going on and how much of it is done."""
        self._progress.update(self._task, description=doing, completed=done, total=total)

    def say(self, line: str) -> None:
        """A line that stays, also where there is no terminal and so no bar."""
        self._progress.console.print(line, markup=False)


@contextmanager
def progress_bar(title: str, total: float = 1.0, *, counted: bool = False) -> Iterator[Bar]:
    """A bar on standard error, where that is a terminal. `counted` shows "3/8" for a `total` of things."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if counted:
        columns.insert(2, TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, title, total)


def _action(flag: Flag) -> Text:
    return Text(flag.action, COLOURS[flag.action])
