"""The life of a job, as one table. Pure: no SQL, no clock, no randomness but what is handed in.

`TRANSITIONS` is what the code obeys, what `docs/jobs.md` draws (`diagram`) and what the property tests walk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vidlm.domain import JobState

_STOPS: Final = frozenset({JobState.REJECTED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.DELETED})
_AGAIN: Final = frozenset({JobState.QUEUED, JobState.ANALYZING, JobState.FINISHING, JobState.DELETED})
"""A retry goes on where the job stopped: what was prepared and analysed before is kept."""

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.UPLOADING: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.EXPIRED, JobState.DELETED}),
    JobState.QUEUED: _STOPS | {JobState.PREPARING},
    # back to queued: to be tried again; straight to ready: the same bytes were analysed before
    JobState.PREPARING: _STOPS | {JobState.QUEUED, JobState.ANALYZING, JobState.READY},
    JobState.ANALYZING: _STOPS | {JobState.FINISHING},
    JobState.FINISHING: _STOPS | {JobState.READY},
    JobState.READY: frozenset({JobState.DELETED}),
    JobState.REJECTED: frozenset({JobState.DELETED}),
    JobState.FAILED: _AGAIN,
    JobState.CANCELLED: _AGAIN,
    JobState.EXPIRED: _AGAIN,
    JobState.DELETED: frozenset(),
}
"""What may follow what. Everything that changes a job's state goes through `checked`."""

ACTIVE: Final = frozenset({JobState.QUEUED, JobState.PREPARING, JobState.ANALYZING, JobState.FINISHING})
"""States in which a worker still has something to do."""

OPEN: Final = ACTIVE | {JobState.UPLOADING}
"""States that are no end."""

RETRIABLE: Final = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
"""Ends that are not for ever: what a retry may wake. A rejected file would be rejected again."""

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


def diagram() -> str:
    """The table as a Mermaid state diagram, one arrow a line. Deletion, which every state allows, is left out."""
    arrows = [
        f"    {old} --> {new}"
        for old, follow in TRANSITIONS.items()
        for new in JobState
        if new in follow and new is not JobState.DELETED
    ]
    ends = [f"    {state} --> [*]" for state in JobState if state not in OPEN | {JobState.DELETED}]
    begin = [f"    [*] --> {state}" for state in (JobState.UPLOADING, JobState.QUEUED)]
    return "\n".join(["stateDiagram-v2", *begin, *arrows, *ends])
