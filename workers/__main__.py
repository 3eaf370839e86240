"""`python -m workers ROLE`: one process, settings from `VIDLM_*`.

consume   runs tasks from the queues named by `--queues`; loads the model if they need it
relay     sends wake-ups, delivers webhooks, and sweeps
sweep     sweeps alone; one round with `--once`
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading

import structlog
from celery import signals

from vidlm import crash, logs
from vidlm.config import Settings, load_settings
from vidlm.errors import ServiceError, SettingsError, VidlmError
from vidlm.queue import CONSUME_ORDER, Queue, broker_app, connect
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from vidlm.video import sandbox
from workers import watchdog
from workers.app import worker_app
from workers.courier import run_courier
from workers.relay import run_relay
from workers.runtime import Runtime
from workers.sweeper import run_sweeper, sweep_once

log = structlog.get_logger(__name__)


def main() -> int:
    """Run until a signal. Exit status 2, and one line, for settings that cannot work."""
    options = _options()
    logs.configure(options.role)
    crash.arm()
    try:
        settings = load_settings()
        if options.role == "relay":
            relay(settings)
            return 0
        if options.role == "sweep":
            sweep(settings, once=options.once)
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
    signals.worker_shutting_down.connect(runtime.stop_soon, weak=False)
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
    """Send wake-ups as they fall due, deliver webhooks, and sweep now and then, until SIGTERM or SIGINT."""
    if settings.redis_url is None:
        raise SettingsError("VIDLM_REDIS_URL is not set: the relay needs a broker (`vidlm serve` starts one)")
    database, stop = Database(settings.sql_url), _stop_signals()
    others = [
        threading.Thread(target=_sweep, args=(settings, stop), name="sweeper"),
        threading.Thread(target=run_courier, args=(Database(settings.sql_url), settings, stop), name="courier"),
    ]
    for thread in others:
        thread.start()
    run_relay(database, broker_app(settings.redis_url), stop)
    for thread in others:
        thread.join()
    database.close()


def sweep(settings: Settings, *, once: bool) -> None:
    """Sweep until SIGTERM or SIGINT, or one round."""
    stop = _stop_signals()
    if not once:
        _sweep(settings, stop)
        return
    broker = connect(settings.redis_url) if settings.redis_url else None
    sweep_once(Database(settings.sql_url), BlobStore(settings.data), broker, settings)


def _sweep(settings: Settings, stop: threading.Event) -> None:
    broker = connect(settings.redis_url) if settings.redis_url else None
    run_sweeper(Database(settings.sql_url), BlobStore(settings.data), broker, settings, stop)


def _stop_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


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
    roles.add_parser("sweep").add_argument("--once", action="store_true")
    return parser.parse_args()


def _queues(text: str) -> list[Queue]:
    found = [Queue(name) for name in text.split(",")]
    if not set(found) <= set(CONSUME_ORDER):
        raise ValueError(text)
    return found


if __name__ == "__main__":
    sys.exit(main())
