"""What jobs that became ready lately teach about the time others will take. Pure.

A job waits for workers that are busy with others, so the time from stage to stage says little of the work in it. What
does is how long the workers were busy: with c of them, and so many units open at a time,

    open units      1   3   2   0   1
    busy, c = 2     1   2   2   0   1      times how long each lasted, by the seconds of video that got done
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

_BATCH: Final = 10
"""Jobs of which the mean is taken; then the median of these means, so that one outage does not spoil it."""
_LEAST_S: Final = 0.1
"""A video that is shorter costs about as much as one that is so long."""


@dataclass(frozen=True, slots=True)
class Past:
    """A job that became ready: when each stage began or ended, and what was in it."""

    started_at: datetime
    prepared_at: datetime
    analyzed_at: datetime
    finished_at: datetime
    duration_s: float
    size_bytes: int
    spans: int


@dataclass(frozen=True, slots=True)
class Pace:
    """What was learnt. `preparing`, `analyzing`: seconds of one worker for a second of video. `finishing_s`: a job.

    `seconds_per_byte`: of video in a file.  `span_s`: of the longest span.
    """

    preparing: float
    analyzing: float
    finishing_s: float
    seconds_per_byte: float
    span_s: float

    def looking_s(self, jobs: float, video_s: float) -> float:
        """Seconds of one worker with the model that so many jobs with so many seconds of video cost."""
        return self.analyzing * video_s + self.finishing_s * jobs


def pace_of(past: Sequence[Past], gpu_workers: int) -> Pace | None:
    """What these jobs teach; None without any. `gpu_workers`: how many workers with the model were at it."""
    if not past:
        return None
    jobs = sorted(past, key=lambda job: job.analyzed_at)
    finishing_s = median(seconds(job.analyzed_at, job.finished_at) for job in jobs)
    return Pace(
        preparing=_preparing(jobs),
        analyzing=_analyzing(jobs, finishing_s, max(1, gpu_workers)),
        finishing_s=finishing_s,
        seconds_per_byte=median(job.duration_s / max(1, job.size_bytes) for job in jobs),
        span_s=max(_LEAST_S, *(job.duration_s / max(1, job.spans) for job in jobs)),
    )


def seconds(begin: datetime, end: datetime) -> float:
    """From `begin` to `end`; 0 where clocks disagree and it would be less."""
    return max(0.0, (end - begin).total_seconds())


def busy_s(past: Sequence[Past], workers: int, begin: datetime, end: datetime) -> float:
    """For how many seconds in `[begin, end)` each of `workers` had something to do with the model, summed up."""
    steps: list[tuple[datetime, int]] = []
    for job in past:
        steps += [(job.prepared_at, job.spans), (job.analyzed_at, 1 - job.spans), (job.finished_at, -1)]
    total_s, units, at = 0.0, 0, begin
    for when, change in sorted(steps):
        until = min(max(when, at), end)
        total_s += min(workers, units) * seconds(at, until)
        at, units = until, units + change
    return total_s


def _analyzing(jobs: Sequence[Past], finishing_s: float, workers: int) -> float:
    """Seconds of one worker for a second of video. What the first of several jobs waited for is not known: it only
    says from when on it is."""
    begin = min(job.prepared_at for job in jobs)
    if len(jobs) > 2:
        begin, jobs = jobs[0].analyzed_at, jobs[1:]
    paces = []
    for batch in _batches(jobs):
        end = batch[-1].analyzed_at
        looking_s = busy_s(jobs, workers, begin, end) - finishing_s * len(batch)
        paces.append(max(0.0, looking_s) / _video_s(batch))
        begin = end
    return median(paces)


def _preparing(jobs: Sequence[Past]) -> float:
    """The same for preparing. A worker that began a job did nothing else until it was prepared."""
    return median(
        sum(seconds(job.started_at, job.prepared_at) for job in batch) / _video_s(batch) for batch in _batches(jobs)
    )


def _batches(jobs: Sequence[Past]) -> list[Sequence[Past]]:
    count = max(1, len(jobs) // _BATCH)
    return [jobs[len(jobs) * part // count : len(jobs) * (part + 1) // count] for part in range(count)]


def _video_s(batch: Sequence[Past]) -> float:
    return sum(max(_LEAST_S, job.duration_s) for job in batch)
