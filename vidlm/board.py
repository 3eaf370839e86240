"""What an operator sees in a terminal: the service at a glance, and what the doctor found.

Knows rich; reads nothing. Fits 80 columns, and uses more where there are more. Jobs are shown by `vidlm.job_board`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vidlm import screen
from vidlm.domain import JobState, WorkState
from vidlm.machine import Finding, Verdict
from vidlm.overview import Failures, Overview, Running, WorkerLine
from vidlm.queue import Queue, Task

REDRAW_S: Final = 1.0
_BETWEEN: Final = 3  # characters between two columns
_LEAST_WIDTH: Final = 8
_COLOURS: Final = {
    JobState.READY: "green",
    JobState.REJECTED: "yellow",
    JobState.EXPIRED: "yellow",
    JobState.FAILED: "red",
    WorkState.DONE: "green",
}
_MARKS: Final = {Verdict.OK: ("ok", "green"), Verdict.WARNING: ("warning", "yellow"), Verdict.FAILED: ("failed", "red")}


def length(seconds: float) -> str:
    """12 -> "12 s", 700 -> "12 min", 40000 -> "11 h", 10 days -> "10 d"."""
    for unit_s, name, most in ((1, "s", 100), (60, "min", 100), (3600, "h", 48)):
        if seconds < unit_s * most:
            return f"{max(seconds, 0) / unit_s:.0f} {name}"
    return f"{seconds / 86400:.0f} d"


def size(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def show(*parts: RenderableType) -> None:
    """Print on standard output."""
    screen.out().print(Group(*parts))


def watch(draw: Callable[[], RenderableType]) -> None:
    """Draw anew every `REDRAW_S` until interrupted; once where standard output is no terminal."""
    console = screen.out()
    if not console.is_terminal:
        console.print(draw())
        return
    with Live(draw(), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(draw(), refresh=True)
                time.sleep(REDRAW_S)
        except KeyboardInterrupt:
            return


def overview(seen: Overview) -> Group:
    """The service at a glance."""
    broker = {
        True: Text("answers", "green"),
        False: Text("does not answer", "red"),
        None: Text("not to be seen", "dim"),
    }
    head = Text.assemble(
        ("vidlm ", "bold"),
        f"{seen.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC   database {seen.database}   broker ",
        broker[seen.broker],
    )
    known = facts(("Jobs", _jobs(seen)), ("Webhooks", _webhooks(seen)), ("Disk", _disk(seen)))
    return apart(
        Group(head, known),
        _queues(seen),
        _running(seen.running) if seen.running else Text("Nothing is being worked on.", "dim"),
        _workers(seen.workers) if seen.workers else Text("No worker has been heard of.", "yellow"),
        _failures(seen.failures) if seen.failures else Text("No job ended badly in the last 24 h.", "dim"),
    )


def away() -> Text:
    """In place of the overview."""
    return Text("The database does not answer.", "red")


def finding(found: Finding) -> RenderableType:
    """What the doctor says of one thing."""
    mark, colour = _MARKS[found.verdict]
    said = screen.plain(found.says)
    if found.do:
        said.append("\n").append_text(Text("-> ", colour)).append_text(screen.plain(found.do))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=7)
    grid.add_column(width=11)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, colour), found.check, said)
    return grid


def columns(*names: str, right: Sequence[int] = ()) -> Table:
    """A table without a frame; numbers, in the columns `right`, stand below each other."""
    table = Table(*names, box=SIMPLE_HEAD)
    table.show_edge = table.pad_edge = False
    for index in right:
        table.columns[index].justify = "right"
    return table


def one_line_each(table: Table, *, gives_way: int) -> Table:
    """Rows of one line; where they are too long, one column is cut and the others are not."""
    widths = [max(cell_len(str(cell)) for cell in (column.header, *column.cells)) for column in table.columns]
    others = sum(widths) - widths[gives_way] + _BETWEEN * (len(widths) - 1)
    for column in table.columns:
        column.no_wrap = True
    table.columns[gives_way].max_width = max(_LEAST_WIDTH, screen.out().width - others)
    return table


def apart(*parts: RenderableType) -> Group:
    """One below the other, a line between them."""
    return Group(*(one for part in parts for one in (part, Text(""))))


def facts(*rows: tuple[str, RenderableType]) -> Table:
    """Names, and what is known of them."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def coloured(state: str) -> Text:
    """A job's or a unit's state."""
    return Text(state, next((colour for known, colour in _COLOURS.items() if known.value == state), ""))


def _failures(rows: Sequence[Failures]) -> Table:
    table = columns("ended badly", "code", "jobs", "last (of 24 h)", right=(2,))
    for row in rows:
        table.add_row(coloured(row.state), row.code, str(row.jobs), f"{length(row.last_s)} ago")
    return table


def _jobs(seen: Overview) -> Text:
    said = Text()
    for state, count in seen.jobs.items():
        said.append(", " if said else "").append_text(coloured(state)).append(f" {count}")
    return said or Text("none", "dim")


def _webhooks(seen: Overview) -> Text:
    failed = f", {seen.webhooks.failed} given up in the last 24 h"
    said = Text(f"{seen.webhooks.waiting} to be delivered")
    return said.append(failed, "red") if seen.webhooks.failed else said


def _disk(seen: Overview) -> Text:
    disk = seen.disk
    if disk is None:
        return Text("the data folder is not on this machine", "dim")
    used = f"{'' if disk.whole else 'more than '}{size(disk.used_bytes)} used in "
    free = Text(f"{size(disk.free_bytes)} of {size(disk.total_bytes)} free", "red" if _is_low(disk.free_bytes) else "")
    return Text(used).append_text(screen.plain(disk.folder)).append(", ").append_text(free)


def _is_low(free_bytes: int) -> bool:
    return free_bytes < 5 * 1024**3


def _queues(seen: Overview) -> Table:
    table = columns("queue", "waiting", "oldest", "running", "later", "in broker", "workers", right=range(1, 7))
    for line in seen.queues:
        in_sql = line.queue is Queue.WEBHOOK
        nobody = line.waiting > 0 and line.workers == 0 and not in_sql
        table.add_row(
            line.queue.value,
            str(line.waiting),
            "" if line.oldest_s is None else length(line.oldest_s),
            str(line.running),
            str(line.later),
            "" if line.in_broker is None else str(line.in_broker),
            "" if in_sql else Text(str(line.workers), "red" if nobody else ""),
        )
    return table


def _running(units: Sequence[Running]) -> Table:
    table = columns("at work", "video", "for", "how far", "worker")
    for unit in units:
        name = unit.task.value.removeprefix("vidlm.") + (f" (try {unit.attempt})" if unit.attempt > 1 else "")
        since = "" if unit.for_s is None else length(unit.for_s)
        table.add_row(name, unit.video_id, since, _how_far(unit), screen.plain(unit.worker or ""))
    return one_line_each(table, gives_way=-1)


def _how_far(unit: Running) -> str:
    if unit.task is Task.PREPARE:
        return f"{unit.prepared_share:.0%}"
    return f"{unit.spans_done} of {unit.spans_total}" if unit.task is Task.ANALYZE_SPAN else ""


def _workers(workers: Sequence[WorkerLine]) -> Table:
    table = columns("worker", "pid", "queues", "heard", "at", right=(1,))
    for worker in workers:
        at = "" if worker.task is None else worker.task.removeprefix("vidlm.")
        heard = f"{length(worker.heard_s)} ago"
        table.add_row(
            screen.plain(worker.host),
            str(worker.pid),
            ",".join(worker.queues),
            heard if worker.fresh else Text(f"{heard}: gone", "yellow"),
            at if worker.fresh else "",
        )
    return one_line_each(table, gives_way=0)


def time_of(when: datetime | None) -> str | None:
    """To the second, in UTC."""
    return None if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
