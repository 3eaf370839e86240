"""Names of the tasks and queues, and how a worker is woken. Importing it costs no torch, so the API and the relay can.

A message is a wake-up and nothing more: it carries one id. What is to be done, and whether it still is, stands in SQL;
the broker may lose, double or forget every message.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import redis
from celery import Celery

VISIBILITY_TIMEOUT_S: Final = 3600
"""Longer than any task, so that the broker never hands a running task's message to a second worker."""


class Queue(StrEnum):
    """Where tasks wait. A worker that takes several takes them in the order of `CONSUME_ORDER`."""

    INTERACTIVE = "interactive"  # somebody is waiting for the answer
    GPU = "gpu"
    CPU = "cpu"  # nothing on it needs the model
    WEBHOOK = "webhook"  # not in the broker: the courier takes these straight from SQL


class Task(StrEnum):
    """Every task, by the name it has on the wire. Its one argument is the id of a unit of work; whoever is woken takes
    the most urgent unit of the queue, which may be another."""

    PREPARE = "vidlm.prepare"
    ANALYZE_SPAN = "vidlm.analyze_span"
    FINISH = "vidlm.finish"
    ANSWER = "vidlm.answer"
    BACKFILL = "vidlm.backfill"
    DELIVER = "vidlm.deliver"

    @property
    def queue(self) -> Queue:
        """The queue this task waits on."""
        return _QUEUE_OF[self]


CONSUME_ORDER: Final = (Queue.INTERACTIVE, Queue.GPU, Queue.CPU)
"""The queues that wait in the broker."""
_QUEUE_OF: Final = {
    Task.PREPARE: Queue.CPU,
    Task.ANALYZE_SPAN: Queue.GPU,
    Task.FINISH: Queue.GPU,
    Task.ANSWER: Queue.INTERACTIVE,
    Task.BACKFILL: Queue.GPU,
    Task.DELIVER: Queue.WEBHOOK,
}


def tasks_of(*queues: Queue) -> tuple[Task, ...]:
    """Every task that waits on one of `queues`."""
    return tuple(task for task in Task if task.queue in queues)


_TRANSPORT_OPTIONS: Final[dict[str, Any]] = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    "queue_order_strategy": "priority",  # queues are asked in the order they are named, not in turn
    "socket_connect_timeout": 3,
    "socket_timeout": 30,
    "socket_keepalive": True,
    # a publisher gives up at once: what it could not send stays owed in SQL
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
}


def broker_app(redis_url: str) -> Celery:
    """A Celery app that can publish; `workers.app` adds what a consumer needs. It opens no connection yet."""
    app = Celery("vidlm", broker=_broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=Queue.CPU.value,
        broker_transport_options=_TRANSPORT_OPTIONS,
    )
    return app


def wake(app: Celery, task: Task, target_id: str) -> None:
    """Put one wake-up on the task's queue. Raises `kombu.exceptions.OperationalError` while the broker is away."""
    app.send_task(task.value, args=[target_id], queue=task.queue.value, retry=False)


def connect(redis_url: str) -> redis.Redis:
    """A client of the broker with short timeouts, for `waiting` and `ping`."""
    return redis.Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=2)


def waiting(client: redis.Redis, queue: Queue) -> int:
    """How many wake-ups wait on `queue`. Raises `redis.exceptions.RedisError` while the broker is away."""
    return int(client.llen(queue.value))


def ping(client: redis.Redis) -> bool:
    """Whether the broker answers."""
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def _broker_url(redis_url: str) -> str:
    """The URL as Celery spells it: a unix socket is `redis+socket://` there and `unix://` in redis-py."""
    return redis_url.replace("unix://", "redis+socket://", 1)
