"""`python -m workers consume --queues cpu` or `python -m workers relay`: one process, settings from `VIDLM_*`.

consume   runs tasks from the named queues, the first named first; loads the model if they need it
relay     sends wake-ups and sweeps
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time

import structlog
from sqlalchemy.exc import SQLAlchemyError

from vidlm import logs
from vidlm.config import Settings, load_settings
from vidlm.errors import ServiceError, SettingsError, VidlmError
from vidlm.jobs import disposal
from vidlm.queue import CONSUME_ORDER, Queue, broker_app, connect
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from vidlm.video import sandbox
from workers import watchdog
from workers.app import worker_app
from workers.relay import BROKER_ERRORS, relay_once
from workers.runtime import Runtime
from workers.sweeper import sweep_once

log = structlog.get_logger(__name__)

RELAY_PAUSE_S = 0.1
UNKNOWN_AFTER_S = 3600.0  # a file that no row speaks of may belong to a transaction that is not over yet
RELAY_PATIENCE_S = 1.0  # between attempts while the broker or the database is away


def main() -> int:
    """Run until a signal. Exit status 2, and one line, for settings that cannot work."""
    options = _options()
    logs.configure(options.role)
    try:
        settings = load_settings()
        if options.role == "relay":
            relay(settings)
            return 0
        return consume(settings, options.queues)
    except VidlmError as exc:
        print(f"vidlm: {exc.detail}", file=sys.stderr)
        return 2


def consume(settings: Settings, queues: list[Queue]) -> int:
    """Run tasks from `queues`, in order of urgency, until SIGTERM; a running task is finished first."""
    if Queue.CPU in queues:
        _check_sandbox(settings)
    runtime = Runtime(settings)
    app = worker_app(settings, runtime)
    if set(queues) & {Queue.GPU, Queue.INTERACTIVE}:
        _warm_up(runtime)
    worker = app.Worker(
        pool="solo",
        concurrency=1,
        queues=[queue.value for queue in CONSUME_ORDER if queue in queues],
        hostname=f"{'-'.join(queues)}@{socket.gethostname()}",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="INFO",
        quiet=True,
    )
    try:
        with watchdog.watched(runtime, queues):
            worker.start()
    finally:
        runtime.close()
    return int(worker.exitcode or 0)


def relay(settings: Settings) -> None:
    """Send wake-ups as they fall due and sweep now and then, until SIGTERM or SIGINT."""
    if settings.redis_url is None:
        raise SettingsError("VIDLM_REDIS_URL is not set: the relay needs a broker (`vidlm serve` starts one)")
    database, blobs = Database(settings.sql_url), BlobStore(settings.data)
    app, broker = broker_app(settings.redis_url), connect(settings.redis_url)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    next_sweep_s = time.monotonic()
    away = False
    pause_s = 0.0
    _tidy(database, blobs)
    while not stop.wait(pause_s):
        try:
            pause_s = 0.0 if relay_once(database, app) else RELAY_PAUSE_S
            if time.monotonic() >= next_sweep_s:
                sweep_once(database, blobs, broker, settings)
                next_sweep_s = time.monotonic() + settings.sweep_every_s
            away = False
        except (SQLAlchemyError, *BROKER_ERRORS) as exc:
            if not away:  # said once, not every second of an outage
                log.warning("relay.waiting", error=f"{type(exc).__name__}: {exc}")
            away, pause_s = True, RELAY_PATIENCE_S


def _tidy(database: Database, blobs: BlobStore) -> None:
    """What is done once at a start; it can wait for the next one."""
    try:
        removed = disposal.remove_unknown(database, blobs, older_than_s=UNKNOWN_AFTER_S)
    except (SQLAlchemyError, OSError) as exc:
        log.warning("relay.not_tidied", error=type(exc).__name__)
        return
    if removed:
        log.warning("relay.unknown_files_removed", count=removed)


def _check_sandbox(settings: Settings) -> None:
    """Say what confines decoders here, and what does not. Raises `SettingsError` if that is not what is required."""
    if settings.sandbox == "require":
        sandbox.require()
    log.info("sandbox.layers", layers=list(sandbox.layers()))
    for line in sandbox.missing():
        log.warning("sandbox.missing", what=line)


def _warm_up(runtime: Runtime) -> None:
    """Load the model before the first task asks. If it cannot be loaded the tasks say so, each on its own job."""
    try:
        info = runtime.engine().info
        log.info("model.loaded", model=info.model_id, revision=info.revision, toy=info.toy, device=str(info.device))
    except ServiceError as exc:
        log.error("model.unusable", code=exc.code, detail=exc.detail)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    consumer = roles.add_parser("consume")
    consumer.add_argument("--queues", type=_queues, default=list(CONSUME_ORDER), help="e.g. interactive,gpu")
    roles.add_parser("relay")
    return parser.parse_args()


def _queues(text: str) -> list[Queue]:
    return [Queue(name) for name in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
