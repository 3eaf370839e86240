"""The Celery app of a worker process. SQL holds the work and its leases; Celery only wakes us, may lose and repeat.

One process runs one task at a time (the solo pool): it is born, loads its model and never forks. Deadlines are the
work's own, since this pool has none.
"""

from __future__ import annotations

from typing import Final

from celery import Celery

from vidlm.config import Settings
from vidlm.errors import SettingsError
from vidlm.queue import broker_app
from workers import tasks
from workers.runtime import Runtime

SETTINGS: Final = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": False,  # the lease decides who tries again, and how often
    "task_acks_on_failure_or_timeout": True,
    "worker_prefetch_multiplier": 1,
    "worker_soft_shutdown_timeout": 25,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_limit": 2,
}


def worker_app(settings: Settings, runtime: Runtime) -> Celery:
    """An app whose tasks work on `runtime`. Raises `SettingsError` without a broker."""
    if settings.redis_url is None:
        raise SettingsError("VIDLM_REDIS_URL is not set: a worker needs a broker (`vidlm serve` starts one)")
    app = broker_app(settings.redis_url)
    app.conf.update(SETTINGS)
    tasks.register(app, runtime)
    return app
