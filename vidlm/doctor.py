"""`vidlm doctor`: looks at everything that has to be right, and says of each thing what to do where it is not.

What is looked at here belongs to the service: settings, policies, database, clock, broker, relay, workers. What belongs
to the machine stands in `vidlm.machine`. Changes nothing; a check that finds another one's fault says so once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from sqlmodel import Session

from vidlm import machine
from vidlm.config import Settings, load_settings
from vidlm.errors import PolicyError, SettingsError, StorageError
from vidlm.jobs import presence
from vidlm.machine import Finding, Verdict
from vidlm.moderation.policies import load_policies
from vidlm.operate import BEHIND_S, behind, broker_url, is_there, opened
from vidlm.queue import CONSUME_ORDER, connect, ping
from vidlm.store.engine import Database, clock

OF_OTHERS: Final = frozenset({"VIDLM_PYTHON", "VIDLM_REQUIRE"})
"""Names that `./run` and the tests read."""
SKEW_S: Final = 5.0
"""Leases go by the database's clock; ages of files and signatures by the machines'."""


def examine(*, deep: bool = False) -> Iterator[Finding]:
    """Everything, one finding after the other; `deep` loads the model, too."""
    yield machine.libraries()
    found, settings = _settings()
    yield found
    if settings is None:
        yield machine.ffmpeg()
        return
    yield _policies(settings)
    yield machine.data_folder(settings)
    yield from _service(settings)
    yield machine.confinement(settings)
    yield machine.ffmpeg()
    yield machine.gpu(settings)
    yield machine.model(settings, deep=deep)


def _settings() -> tuple[Finding, Settings | None]:
    """Every VIDLM_* name is a setting, and every value makes sense."""
    try:
        settings = load_settings()
    except SettingsError as exc:
        return Finding("settings", Verdict.FAILED, exc.detail, "docs/settings.md lists every one"), None
    known = {f"VIDLM_{name.upper()}" for name in Settings.model_fields}
    given = sorted(name for name in os.environ if name.upper().startswith("VIDLM_"))
    unknown = [name for name in given if name.upper() not in known | OF_OTHERS]
    if unknown:
        meant = {name: get_close_matches(name.upper(), known, n=1) for name in unknown}
        do = "; ".join(f"{name}: did you mean {close[0]}?" for name, close in meant.items() if close)
        says = f"no such setting: {', '.join(unknown)}"
        return Finding("settings", Verdict.WARNING, says, do or "docs/settings.md lists every one"), settings
    return Finding("settings", Verdict.OK, f"{len(given)} given, all of them known"), settings


def _policies(settings: Settings) -> Finding:
    try:
        policies = load_policies(settings.policies)
    except PolicyError as exc:
        return Finding("policies", Verdict.FAILED, exc.detail, "docs/policies.md says what a file looks like")
    whose = "the built-in taxonomy" if settings.policies is None else settings.policies.name
    return Finding("policies", Verdict.OK, f"{len(policies.policies)} policies of {whose}")


def _service(settings: Settings) -> Iterator[Finding]:
    """What needs the database is left out where there is none."""
    broker = _broker(settings)
    if not is_there(settings.sql_url):
        do = "`vidlm serve` or `vidlm migrate` makes it"
        yield Finding("database", Verdict.WARNING, "there is no database yet", do)
        yield broker
        return
    checks: tuple[Callable[[Session], Finding], ...] = (_skew, _relay, _workers)
    try:
        with opened(settings) as database:
            yield _database(database)
            yield broker
            for check in checks:
                with database.read() as session:
                    yield check(session)
    except (StorageError, SettingsError) as exc:
        do = (
            "`vidlm migrate`"
            if exc.code == "not_migrated"
            else "look at VIDLM_DATABASE_URL, and whether the server is up"
        )
        yield Finding("database", Verdict.FAILED, exc.detail, do)
        yield broker


def _database(database: Database) -> Finding:
    with database.read() as session:
        dialect = session.connection().dialect
        version = ".".join(str(part) for part in dialect.server_version_info or ())
    return Finding("database", Verdict.OK, f"{dialect.name} {version} answers, and its schema is the newest")


def _skew(session: Session) -> Finding:
    if session.get_bind().dialect.name == "sqlite":
        return Finding("clock", Verdict.OK, "the database's clock is this machine's")
    before = datetime.now(UTC)
    theirs = clock(session)
    after = datetime.now(UTC)
    skew_s = (theirs - (before + (after - before) / 2)).total_seconds()
    says = f"the database's clock is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's"
    if abs(skew_s) > SKEW_S:
        return Finding("clock", Verdict.WARNING, says, "let both machines follow one time server (NTP)")
    return Finding("clock", Verdict.OK, says)


def _broker(settings: Settings) -> Finding:
    url = broker_url(settings)
    if url is None:
        do = "`vidlm serve` runs one; elsewhere VIDLM_REDIS_URL names it"
        return Finding("broker", Verdict.WARNING, "no broker is named, and none runs on the data folder", do)
    try:
        answers = ping(connect(url))
    except ValueError as exc:
        return Finding("broker", Verdict.FAILED, f"VIDLM_REDIS_URL is no address: {exc}", "redis://host:6379/0")
    if not answers:
        do = "start it; what is queued stays owed in the database meanwhile"
        return Finding("broker", Verdict.FAILED, "the broker does not answer", do)
    return Finding("broker", Verdict.OK, "the broker answers")


def _relay(session: Session) -> Finding:
    late = behind(session)
    if late == 0:
        return Finding("relay", Verdict.OK, "no wake-up is overdue")
    says = f"{late} wake-ups have been owed for more than {BEHIND_S:.0f} s: no relay works, or it has no broker"
    runs = Verdict.FAILED if presence.fresh(session) else Verdict.WARNING  # the whole service may be down
    return Finding("relay", runs, says, "start one: `vidlm relay`, or `vidlm serve`")


def _workers(session: Session) -> Finding:
    there = presence.fresh(session)
    if not there:
        do = "`vidlm serve` starts them; on further machines, `vidlm worker`"
        return Finding("workers", Verdict.WARNING, "no worker has been heard of lately: the service does not run", do)
    missing = [queue.value for queue in presence.unattended(session)]
    if missing:
        says = f"nobody takes work from {', '.join(missing)}"
        return Finding("workers", Verdict.FAILED, says, f"start one: `vidlm worker --queues {','.join(missing)}`")
    return Finding("workers", Verdict.OK, f"{len(there)} workers, and every one of {len(CONSUME_ORDER)} queues has one")
