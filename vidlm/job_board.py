"""What an operator sees of jobs in a terminal: a list, one job's dossier, what became of each id.

Knows rich; reads nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vidlm import board, screen
from vidlm.domain import Action, JobState
from vidlm.dossier import DeliveryLine, Dossier, JobLine, Outcome, SpanLine
from vidlm.jobs.states import OPEN

SPANS_SHOWN: Final = 20


def jobs(lines: Sequence[JobLine]) -> RenderableType:
    """Jobs, a line each."""
    if not lines:
        return Text("There is no such job.", "dim")
    now = datetime.now(UTC)
    several = len({line.tenant_id for line in lines}) > 1
    table = board.columns("video", *(["tenant"] if several else []), "age", "state", "file")
    for line in lines:
        tenant = [screen.plain(line.tenant_id)] if several else []
        age = board.length((now - line.created_at).total_seconds())
        state = board.coloured(line.state).append(" ").append_text(_how(line))
        table.add_row(line.video_id, *tenant, age, state, screen.plain(line.filename or ""))
    return board.one_line_each(table, gives_way=-1)


def dossier(one: Dossier) -> Group:
    """All there is to say of one job."""
    spans = [_spans(one.spans)] if one.spans else []
    deliveries = [_deliveries(one.deliveries)] if one.deliveries else []
    return board.apart(board.facts(*_job_facts(one)), _moments(one), *spans, *deliveries)


def say(done: Iterable[Outcome]) -> None:
    """One line for each id, however narrow the terminal."""
    for one in done:
        said = screen.plain(one.given).append("  ").append(one.state or "", "green")
        if one.code is not None:
            said.append(f"{one.code}: {one.detail}", "red")
        screen.out().print(said, soft_wrap=True)


def _how(line: JobLine) -> Text:
    if line.verdict is not None:
        return Text(line.verdict, screen.COLOURS[Action(line.verdict)])
    if line.state == JobState.PREPARING:
        return Text(f"{line.prepared_share:.0%}")
    if line.state == JobState.ANALYZING:
        return Text(f"{line.spans_done} of {line.spans_total}")
    return Text(line.error_code or "")


def _job_facts(one: Dossier) -> list[tuple[str, RenderableType]]:
    job = one.job
    name = screen.plain(job.filename or "(deleted)")
    kept = "" if one.original_kept else ", not kept"
    rows: list[tuple[str, RenderableType | None]] = [
        ("Video", job.video_id),
        ("Job", job.job_id),
        ("State", board.coloured(job.state).append_text(_why(one))),
        ("File", name.append(f"   {board.size(one.size_bytes)}{kept}")),
        ("SHA-256", one.sha256 or None),
        ("Length", None if one.duration_s is None else screen.clock(one.duration_s)),
        ("Tenant", Text(job.tenant_id).append("   priority ", "dim").append(job.priority)),
        ("Client id", None if one.client_id is None else screen.plain(one.client_id)),
        ("Hold", Text("legal hold: nothing of it is deleted", "yellow") if one.legal_hold else None),
        ("Deadline", board.time_of(one.deadline_at)),
        ("Webhook", None if one.webhook_url is None else screen.plain(one.webhook_url)),
        ("Claim", _claim(one)),
        ("Found", _found(one)),
        ("Questions", ", ".join(f"{state} {count}" for state, count in one.questions.items()) or None),
        ("Deleted", board.time_of(one.deleted_at)),
        ("Files gone", board.time_of(one.purged_at)),
    ]
    return [(label, value) for label, value in rows if value is not None]


def _why(one: Dossier) -> Text:
    if one.job.error_code is not None:
        return Text(f"   {one.job.error_code}: ").append_text(screen.plain(one.error_detail or ""))
    if one.job.verdict is not None:
        verdict = Text("   ").append(one.job.verdict, screen.COLOURS[Action(one.job.verdict)])
        toy = " (toy model)" if one.toy_model else ""
        return verdict.append(": ").append_text(screen.plain(one.verdict_reason or "")).append(toy, "dim")
    return Text("")


def _claim(one: Dossier) -> Text | None:
    if one.attempts == 0 and one.lease_until is None and one.not_before is None:
        return None
    said = Text(f"attempt {one.attempts}")
    if one.worker is not None:
        said.append(", held by ").append_text(screen.plain(one.worker))
    for name, when in (("lease until", one.lease_until), ("again at", one.not_before)):
        if when is not None:
            said.append(f", {name} {board.time_of(when)}")
    return said


def _found(one: Dossier) -> str | None:
    if one.segments == 0 and not one.flags:
        return None
    flags = ", ".join(f"{action} {count}" for action, count in one.flags.items())
    return f"segments {one.segments}, flags {sum(one.flags.values())}" + (f" ({flags})" if flags else "")


def _moments(one: Dossier) -> Table:
    table = board.columns("state", "since", "for", "", right=(2,))
    ended = [moment.at for moment in one.moments[1:]]
    if one.job.state in OPEN:
        ended.append(datetime.now(UTC))
    for moment, end in zip_longest(one.moments, ended):
        lasted = "" if end is None else board.length((end - moment.at).total_seconds())
        table.add_row(board.coloured(moment.state), board.time_of(moment.at) or "", lasted, moment.error_code or "")
    return table


def _spans(spans: Sequence[SpanLine]) -> Group:
    """Those that somebody is at, or has tried in vain; of the others only how many they are."""
    counted = Counter(span.state for span in spans)
    head = Text(f"Spans  {', '.join(f'{state} {count}' for state, count in counted.items())}")
    tried = [span for span in spans if span.attempts > 0 or span.error_code is not None]
    if not tried:
        return Group(head)
    table = board.columns("span", "windows", "state", "attempts", "worker", "why", right=(0, 3))
    for span in tried[:SPANS_SHOWN]:
        last = span.last_window - 1
        windows = f"{span.first_window}" if span.first_window == last else f"{span.first_window} - {last}"
        again = f"again at {board.time_of(span.not_before)}" if span.not_before else ""
        why = screen.plain(f"{span.error_code}: {span.error_detail}" if span.error_code else again)
        worker = screen.plain(span.worker or "")
        table.add_row(str(span.index), windows, board.coloured(span.state), str(span.attempts), worker, why)
    more = len(tried) - SPANS_SHOWN
    return Group(head, table, *([Text(f"and {more} more", "dim")] if more > 0 else []))


def _deliveries(deliveries: Sequence[DeliveryLine]) -> Table:
    table = board.columns("webhook", "state", "tries", "last", "address", right=(2,))
    for one in deliveries:
        last = str(one.last_status) if one.last_status is not None else one.last_error or ""
        table.add_row(
            one.event, board.coloured(one.state), str(one.attempts), screen.plain(last), screen.plain(one.url)
        )
    table.columns[-1].overflow = "fold"
    return table
