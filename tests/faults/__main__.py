"""`./run faults [--quick] [--only WORD] [--database sqlite|postgres|both] [--json FILE]`: the promise, tried.

Each experiment starts the service as processes of its own, breaks something again and again, and counts what was lost,
what is there twice and how long the worst took. `--quick` does about a tenth. Exit status 1 if a bar was missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from servers import PostgresServer

from tests.faults import intake_faults, outages, worker_faults
from tests.faults.ledger import Outcome

Experiment = Callable[[Path, str | None, int], Outcome]


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment, how often it is tried in full and quickly, and whether the kind of database matters to it."""

    name: str
    run: Experiment
    full: int
    quick: int
    both: bool = True


PLANS = (
    Plan("api", intake_faults.api_crashes, 200, 20),
    Plan("retried", intake_faults.retried_posts, 200, 50),
    Plan("tus", intake_faults.broken_uploads, 100, 15, both=False),
    Plan("disk", intake_faults.full_disk, 20, 5, both=False),
    Plan("hung", intake_faults.hung_children, 50, 10, both=False),
    Plan("workers", worker_faults.worker_kills, 100, 8),
    Plan("doubles", worker_faults.doubles, 1000, 100),
    Plan("poison", worker_faults.poison, 20, 3),
    Plan("cancel", worker_faults.cancels, 50, 5),
    Plan("rolling", worker_faults.rolling_restart, 20, 6),
    Plan("leak", worker_faults.leak, 500, 100, both=False),
    Plan("broker", outages.broker_outages, 20, 3),
    Plan("writers", outages.writers_killed, 50, 8, both=False),
    Plan("storm", outages.storm, 10_000, 300),
)


def main() -> int:
    """Run what was asked for, print the table, write the JSON."""
    options = _options()
    console = Console()
    outcomes: list[tuple[str, Outcome, float]] = []
    with ExitStack() as stack:
        postgres = None
        if options.database != "sqlite":
            postgres = stack.enter_context(PostgresServer.start_or_skip(durable=True))
        for database, outcome, seconds in _run(options, postgres):
            console.print(
                f"{'held' if outcome.held else 'MISSED':7} {database:9} {outcome.name} ({seconds:.0f} s)", markup=False
            )
            outcomes.append((database, outcome, seconds))
            if options.json is not None:
                options.json.write_text(json.dumps({"experiments": [_row(*one) for one in outcomes]}, indent=2) + "\n")
    console.print(_table(outcomes))
    return 0 if all(outcome.held for _, outcome, _ in outcomes) else 1


def _run(options: argparse.Namespace, postgres: PostgresServer | None) -> Iterator[tuple[str, Outcome, float]]:
    kinds = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    for plan in PLANS:
        if options.only and plan.name not in options.only:
            continue
        for kind in kinds if plan.both else kinds[:1]:
            server = postgres if kind == "postgres" else None
            yield kind, *_tried(plan, server, quick=options.quick)
    if postgres is not None and (not options.only or "postgres" in options.only):
        killed = 2 if options.quick else 10
        url, server = postgres.new_database(), postgres

        def experiment(folder: Path, database_url: str | None, kills: int) -> Outcome:
            return outages.database_killed(folder, str(database_url), kills, server.kill_and_restart)

        yield "postgres", *_one(Plan("postgres", experiment, killed, killed), url, killed)


def _tried(plan: Plan, server: PostgresServer | None, *, quick: bool) -> tuple[Outcome, float]:
    """The experiment, in SQLite without a server. Where a quick one was only late it is tried once more: a shared
    machine may be slow for a while, and nothing is lost twice by chance."""

    def once() -> tuple[Outcome, float]:
        url = None if server is None else server.new_database()
        return _one(plan, url, plan.quick if quick else plan.full)

    outcome, seconds = once()
    only_late = not outcome.held and outcome.tried and not outcome.lost and not outcome.doubled
    if not (quick and only_late):
        return outcome, seconds
    again, more = once()
    late = f"the first time late: {outcome.worst_s} s"
    return replace(again, note="; ".join(filter(None, (again.note, late)))), seconds + more


def _one(plan: Plan, database_url: str | None, count: int) -> tuple[Outcome, float]:
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{plan.name}-"))
    try:
        outcome = plan.run(folder / "world", database_url, count)
    except Exception as exc:  # noqa: BLE001  an experiment that breaks has missed its bar; the others go on
        traceback.print_exc()
        outcome = Outcome(plan.name, 0, 0, 0, None, "to be tried at all", held=False, note=repr(exc)[:200])
    if outcome.held:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"the logs of {plan.name} are in {folder}", file=sys.stderr)
    return outcome, time.monotonic() - began_s


def _row(database: str, outcome: Outcome, seconds: float) -> dict[str, object]:
    return asdict(outcome) | {"database": database, "seconds": round(seconds, 1)}


def _table(outcomes: list[tuple[str, Outcome, float]]) -> Table:
    """A line of counts an experiment, and under it what was promised and what else there is to say."""
    table = Table(box=None, pad_edge=False)
    for name in ("held", "database", "experiment"):
        table.add_column(name, no_wrap=name != "experiment")
    for name in ("tried", "lost", "doubled", "worst s"):
        table.add_column(name, justify="right", no_wrap=True)
    for database, outcome, _ in outcomes:
        worst = "" if outcome.worst_s is None else f"{outcome.worst_s:.1f}"
        counts = (str(outcome.tried), str(outcome.lost), str(outcome.doubled), worst)
        table.add_row("yes" if outcome.held else "NO", database, outcome.name, *counts)
        table.add_row("", "", Text(f"promised: {outcome.bar}", style="dim"))
        if outcome.note:
            table.add_row("", "", Text(outcome.note, style="dim"))
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run faults", description="Break the service on purpose and count what was lost."
    )
    parser.add_argument("--quick", action="store_true", help="about a tenth of the full counts")
    parser.add_argument("--only", action="append", choices=[*(plan.name for plan in PLANS), "postgres"])
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
