"""The operator's commands of `vidlm ...`: on the database of the settings, so they work while the API is down.

Heavy imports happen inside the commands, as in `vidlm.cli`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vidlm import admin_commands, audit_commands, key_commands, review_commands
from vidlm.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vidlm.config import Settings
    from vidlm.dossier import Outcome
    from vidlm.operate import Disk
    from vidlm.overview import Overview

app = typer.Typer()
jobs = typer.Typer(help="Look into jobs, retry them, cancel them.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
app.add_typer(audit_commands.app, name="audit")
app.add_typer(review_commands.app, name="review")
app.add_typer(admin_commands.app, name="admin")
app.add_typer(key_commands.app, name="keys")

Json = Annotated[bool, typer.Option("--json", help="Print the document and nothing else.")]
Ids = Annotated[list[str], typer.Argument(help="Ids of videos or jobs.", show_default=False)]

DISK_EVERY_S: Final = 60.0
"""How often a watched data folder is measured: that may take a while."""


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Draw it anew every second, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """How the service stands: jobs, queues, what is worked on and by whom, what went wrong, the disk."""
    if watch and json:
        raise SettingsError("status takes --watch or --json")
    from vidlm import board, operate, overview  # noqa: PLC0415
    from vidlm.queue import connect  # noqa: PLC0415

    settings = _settings()
    url = operate.broker_url(settings)
    broker = connect(url) if url is not None else None
    with operate.opened(settings) as database:
        disk = _measured(settings)
        if json:
            _print_document(overview.survey(database, broker, disk()))
        elif watch:
            board.watch(lambda: _glance(lambda: overview.survey(database, broker, disk())))
        else:
            board.show(board.overview(overview.survey(database, broker, disk())))


@jobs.command("list")
def list_(
    state: Annotated[
        list[str] | None, typer.Option(help="Only jobs in this state; may be given several times.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    json: Json = False,
) -> None:
    """The newest jobs, of every tenant."""
    from vidlm import board, dossier, job_board, operate  # noqa: PLC0415
    from vidlm.domain import JobState  # noqa: PLC0415

    try:
        states = [JobState(name) for name in state or ()]
    except ValueError as exc:
        raise SettingsError(f"--state: {exc}; known are {', '.join(JobState)}") from exc
    with operate.opened(_settings()) as database, database.read() as session:
        found = dossier.list_jobs(session, states, limit)
    if json:
        _print_document(found)
    else:
        board.show(job_board.jobs(found))


@jobs.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A video's id, or its job's.", show_default=False)],
    json: Json = False,
) -> None:
    """All there is to say of one job: its states with their times, attempts, spans, error, flags, webhooks."""
    from vidlm import board, dossier, job_board, operate  # noqa: PLC0415

    with operate.opened(_settings()) as database, database.read() as session:
        found = dossier.describe(session, id_)
    if json:
        _print_document(found)
    else:
        board.show(job_board.dossier(found))


@jobs.command()
def retry(ids: Ids) -> None:
    """Let failed, cancelled or expired jobs go on where they stopped; exit status 1 unless all of them do."""
    from vidlm import dossier, operate  # noqa: PLC0415

    with operate.opened(_settings()) as database:
        _say(dossier.retry_each(database, ids))


@jobs.command()
def cancel(ids: Ids) -> None:
    """Call jobs off, whatever they are at; exit status 1 unless all of them are."""
    from vidlm import dossier, operate  # noqa: PLC0415

    with operate.opened(_settings()) as database:
        _say(dossier.cancel_each(database, ids))


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Load the model, too; from the hub, where it must be.")] = False,
    json: Json = False,
) -> None:
    """Look at everything that has to be right; exit status 1 if something is not."""
    from vidlm import board  # noqa: PLC0415
    from vidlm import doctor as asked  # noqa: PLC0415
    from vidlm.machine import Verdict  # noqa: PLC0415

    findings = []
    for found in asked.examine(deep=deep):
        findings.append(found)
        if not json:
            board.show(board.finding(found))
    if json:
        _print_document(findings)
    if any(found.verdict is Verdict.FAILED for found in findings):
        raise typer.Exit(1)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="What it is for.", show_default=False)],
    role: Annotated[str, typer.Option(help="viewer, reviewer, lead or admin.")] = "admin",
    restricted: Annotated[bool, typer.Option("--restricted", help="May review child safety.")] = False,
) -> None:
    """Make another API key and print it: it is kept nowhere, and shown only this once."""
    from vidlm import operate, screen  # noqa: PLC0415
    from vidlm.domain import Role  # noqa: PLC0415
    from vidlm.store.keys import create_key  # noqa: PLC0415

    if role not in list(Role):
        raise SettingsError(f"--role: known are {', '.join(Role)}")
    with operate.opened(_settings()) as database, database.write() as session:
        made = create_key(session, name, role=Role(role), restricted=restricted)
    screen.out().print(made, markup=False, soft_wrap=True)


@app.command()
def relay() -> None:
    """The relay: sends wake-ups and webhooks, and sweeps; VIDLM_DATABASE_URL and VIDLM_REDIS_URL name the service."""
    from vidlm.launch import relay_command  # noqa: PLC0415

    command = relay_command()
    os.execv(command[0], command)


@app.command()
def sweep(once: Annotated[bool, typer.Option("--once", help="One round, then stop.")] = False) -> None:
    """Sweep alone: end what cannot go on, send lost wake-ups again, remove what is too old."""
    from vidlm import operate  # noqa: PLC0415
    from vidlm.launch import sweep_command  # noqa: PLC0415

    with operate.opened(_settings()):
        pass  # without a database, or with another version's, there is nothing to sweep
    command = sweep_command(once=once)
    os.execv(command[0], command)


@app.command()
def alive(
    role: Annotated[str, typer.Argument(help="worker: one of this machine's was heard of; relay: none is behind.")],
) -> None:
    """A container's health check: exit status 0 if what it runs does its part."""
    from vidlm import operate  # noqa: PLC0415

    if role not in ("worker", "relay"):
        raise SettingsError("alive takes worker or relay")
    with operate.opened(_settings()) as database, database.read() as session:
        well = operate.heard_here(session) if role == "worker" else operate.behind(session) == 0
    if not well:
        raise typer.Exit(1)


def _settings() -> Settings:
    from vidlm.config import load_settings  # noqa: PLC0415

    return load_settings()


def _measured(settings: Settings) -> Callable[[], Disk | None]:
    """The data folder's disk, measured when first asked and then every `DISK_EVERY_S`."""
    from vidlm import operate  # noqa: PLC0415

    measured: list[tuple[float, Disk | None]] = []

    def disk() -> Disk | None:
        if not measured or time.monotonic() - measured[-1][0] >= DISK_EVERY_S:
            found = operate.measure(settings.data)
            measured[:] = [(time.monotonic(), found)]
        return measured[-1][1]

    return disk


def _glance(look: Callable[[], Overview]) -> RenderableType:
    """What is drawn, also while the database is away."""
    from vidlm import board, operate  # noqa: PLC0415

    try:
        return board.overview(look())
    except operate.AWAY:
        return board.away()


def _print_document(value: Any) -> None:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415

    from vidlm import screen  # noqa: PLC0415

    screen.print_json(to_jsonable_python(value))


def _say(done: Sequence[Outcome]) -> None:
    from vidlm import job_board  # noqa: PLC0415

    job_board.say(done)
    if any(one.code is not None for one in done):
        raise typer.Exit(1)
