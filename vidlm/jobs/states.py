"""The life of a job, as one table. Pure: no SQL, no clock, no randomness but what is handed in.

queued -> preparing -> analyzing -> finishing -> ready
   |          |            |            |           every one of them -> deleted
   +----------+------------+------------+-> rejected | failed | cancelled | expired
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vidlm.domain import JobState

_STOPS: Final = frozenset({JobState.REJECTED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.DELETED})

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: _STOPS | {JobState.PREPARING},
    JobState.PREPARING: _STOPS | {JobState.QUEUED, JobState.ANALYZING},  # back to queued: to be tried again
    JobState.ANALYZING: _STOPS | {JobState.FINISHING},
    JobState.FINISHING: _STOPS | {JobState.READY},
    JobState.READY: frozenset({JobState.DELETED}),
    JobState.REJECTED: frozenset({JobState.DELETED}),
    JobState.FAILED: frozenset({JobState.DELETED}),
    JobState.CANCELLED: frozenset({JobState.DELETED}),
    JobState.EXPIRED: frozenset({JobState.DELETED}),
    JobState.DELETED: frozenset(),
}
"""What may follow what. Everything that changes a job's state goes through `checked`."""

ACTIVE: Final = frozenset({JobState.QUEUED, JobState.PREPARING, JobState.ANALYZING, JobState.FINISHING})
"""States in which a worker still has something to do."""

_BACKOFF_S: Final = (5.0, 30.0, 120.0)


class TransitionError(Exception):
    """A bug: somebody tried to move a job where it cannot go."""


def checked(old: JobState | str, new: JobState) -> str:
    """`new` as it is stored. Raises `TransitionError` unless `new` may follow `old`."""
    if new not in TRANSITIONS[JobState(old)]:
        raise TransitionError(f"a job cannot go from {old} to {new}")
    return new.value


def backoff_s(attempt: int, jitter: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): 5, 30, 120, then always 120, plus up to a fifth.

    `jitter` in [0, 1) spreads out jobs that failed together.
    """
    return _BACKOFF_S[min(attempt, len(_BACKOFF_S)) - 1] * (1 + 0.2 * jitter)
