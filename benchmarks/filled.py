"""A database as it is after a while: many videos that were analysed, and many that wait for people. Rows only."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import insert

from vidlm.domain import PIPELINE_VERSION
from vidlm.review import queues
from vidlm.store.engine import Database
from vidlm.store.review import ReviewItem
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

_AT_ONCE: Final = 10_000
_RANKS: Final = {"low": 3000, "medium": 2000, "high": 1000, "severe": 0}


def videos(database: Database, count: int) -> None:
    """`count` videos of the last weeks, a tenth of them flagged."""
    begin = datetime.now(UTC) - timedelta(days=30)
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, count))
        made = [begin + timedelta(seconds=20 * number) for number in numbers]
        rows = [
            {
                "id": f"vid_{number:028x}",
                "tenant_id": DEFAULT_TENANT,
                "filename": f"{number}.mp4",
                "sha256": f"{number:064x}",
                "size_bytes": 1,
                "created_at": at,
            }
            for number, at in zip(numbers, made, strict=True)
        ]
        jobs = [
            {
                "id": f"job_{number:028x}",
                "tenant_id": DEFAULT_TENANT,
                "video_id": f"vid_{number:028x}",
                "pipeline_version": PIPELINE_VERSION,
                "state": "ready",
                "verdict_action": "review" if number % 10 == 0 else "allow",
                "review_state": "pending" if number % 10 == 0 else "none",
                "created_at": at,
                "finished_at": at,
            }
            for number, at in zip(numbers, made, strict=True)
        ]
        with database.write() as session:
            session.connection().execute(insert(Video), rows)
            session.connection().execute(insert(Job), jobs)


def items(database: Database, count: int, *, seed: int = 1) -> None:
    """As many of these videos, the first ones, wait for review."""
    rng = random.Random(seed)
    with database.write() as session:
        lines = queues.all_of(session, DEFAULT_TENANT)
        line = queues.named(lines, queues.EVERYTHING)
        now = datetime.now(UTC)
        for start in range(0, count, _AT_ONCE):
            chosen = [rng.choice(list(_RANKS)) for _ in range(start, min(start + _AT_ONCE, count))]
            rows = [
                {
                    "id": f"rvi_{number:028x}",
                    "tenant_id": DEFAULT_TENANT,
                    "queue_id": line.id,
                    "video_id": f"vid_{number:028x}",
                    "job_id": f"job_{number:028x}",
                    "occasion": "flagged",
                    "state": "waiting",
                    "severity": severity,
                    "score": 0.5,
                    "rank": _RANKS[severity] + rng.randrange(1000),
                    "created_at": now - timedelta(seconds=rng.randrange(86_400)),
                    "restricted": False,
                    "inclusion": 1.0,
                    "token": 0,
                }
                for number, severity in enumerate(chosen, start)
            ]
            session.connection().execute(insert(ReviewItem), rows)
