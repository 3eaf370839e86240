"""`vidlm review ...`: hand out decisions, and what was moderated in numbers.

Heavy imports happen inside the commands, as in `vidlm.cli`.
"""

from __future__ import annotations

import csv
import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidlm.command_parts import ACTOR, made_whole, settings_of_service, time_of
from vidlm.errors import SettingsError

if TYPE_CHECKING:
    from vidlm.review.transparency import Report

app = typer.Typer(help="Hand out decisions; report what was moderated.", no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option(help="Whose; the default tenant's when absent.", show_default=False)]
Output = Annotated[Path | None, typer.Option(help="A file, made when it is whole; else standard output.")]
From = Annotated[str | None, typer.Option("--from", help="ISO time; then or later.", show_default=False)]
Until = Annotated[str | None, typer.Option(help="ISO time; before.", show_default=False)]


@app.command()
def export(
    form: Annotated[str, typer.Option("--format", help="csv or json (a line for each decision).")] = "csv",
    since: From = None,
    until: Until = None,
    tenant: Tenant = None,
    output: Output = None,
) -> None:
    """Write the decisions that count, without those on child safety; the audit keeps that this was done."""
    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.audit.export import Format  # noqa: PLC0415
    from vidlm.review import exporting  # noqa: PLC0415
    from vidlm.store.tables import DEFAULT_TENANT  # noqa: PLC0415

    if form not in list(Format):
        raise SettingsError(f"--format: known are {', '.join(Format)}")
    wanted = exporting.Wanted(tenant or DEFAULT_TENANT, time_of("--from", since), time_of("--until", until))
    with operate.opened(settings_of_service()) as database:
        if output is None:
            exporting.export(database, sys.stdout, Format(form), wanted, actor=ACTOR)
            return
        with made_whole(output) as file:
            count = exporting.export(database, file, Format(form), wanted, actor=ACTOR)
    screen.err().print(f"{count:,} decisions")


@app.command()
def report(
    since: From = None,
    until: Until = None,
    tenant: Tenant = None,
    form: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    output: Output = None,
) -> None:
    """What was moderated in a period: volumes, flags by policy, decisions, overturns, times; the last 30 days."""
    from vidlm import board, operate  # noqa: PLC0415
    from vidlm.review import transparency  # noqa: PLC0415
    from vidlm.store.tables import DEFAULT_TENANT  # noqa: PLC0415

    if form not in ("table", "csv", "json"):
        raise SettingsError("--format: known are table, csv, json")
    if form == "table" and output is not None:
        raise SettingsError("--output goes with --format csv or json")
    end = time_of("--until", until) or datetime.now(UTC)
    begin = time_of("--from", since) or end - timedelta(days=transparency.USUAL_DAYS)
    with operate.opened(settings_of_service()) as database, database.read() as session:
        made = transparency.report(session, tenant or DEFAULT_TENANT, begin, end)
    if form == "table":
        table = board.columns("", "", "", right=(2,))
        for section, name, value in transparency.flat(made):
            table.add_row(section, name, "" if value is None else str(value))
        board.show(table)
    elif output is None:
        sys.stdout.write(_text(made, form))
    else:
        with made_whole(output) as file:
            file.write(_text(made, form))


def _text(made: Report, form: str) -> str:
    from vidlm.review import transparency  # noqa: PLC0415

    if form == "json":
        return transparency.to_json(made) + "\n"
    lines = io.StringIO()
    csv.writer(lines).writerows([("section", "name", "value"), *transparency.flat(made)])
    return lines.getvalue()
