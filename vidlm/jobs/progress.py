"""How far a job is, and in how many seconds it may be ready. Pure: rows and a clock come in, numbers go out.

                     queued ---------> preparing ------> analyzing ------------> finishing
    still to come    jobs ahead / CPU  1 - share         spans ahead, own / GPU  so long as it took others
                     workers                             workers

An estimate is None wherever it would be invented: before anything was learnt, where no worker takes the work, while
bytes are still coming. What takes longer than expected is expected to take as long again as it is late: a job that
hangs does not say "any moment now" for ever. What others teach stands in `vidlm.jobs.pace`, how all of it is read in
`vidlm.jobs.forecast`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final

from vidlm.domain import JobState
from vidlm.jobs.pace import Pace, seconds
from vidlm.store.queries import VideoStatus

SHARES: Final = {
    JobState.UPLOADING: (0.0, 0.0),
    JobState.QUEUED: (0.0, 0.0),
    JobState.PREPARING: (0.0, 0.1),
    JobState.ANALYZING: (0.1, 0.95),
    JobState.FINISHING: (0.95, 1.0),
}
"""Which part of the whole a stage takes, roughly."""

SAID_EVERY_S: Final = 2.0
"""A worker that prepares says so often how far it is."""
_FINISHING_PER_ANALYZING: Final = 0.05 / 0.85
FINISHING_TURN: Final = -1
"""Of equally urgent units those that finish a job go first."""
_LAST: Final = math.inf  # the turn of a unit that would come after all others of its priority


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: of its stage and of the whole, 0..1, and seconds until it is ready where that can be told."""

    stage: JobState
    stage_fraction: float
    fraction: float
    eta_s: float | None


class Line:
    """Units of work in the order in which they are taken, each with what it costs."""

    def __init__(self, units: Iterable[tuple[int, int, float, float]] = ()) -> None:
        """`units`: (priority, turn, how many, what they cost together), each priority and turn once."""
        ordered = sorted(units)
        self._keys: list[tuple[int, float]] = [(priority, turn) for priority, turn, _, _ in ordered]
        self._counts = [0.0, *accumulate(count for _, _, count, _ in ordered)]
        self._costs = [0.0, *accumulate(cost for _, _, _, cost in ordered)]

    def __len__(self) -> int:
        return len(self._keys)

    def before(self, priority: int, turn: float) -> tuple[float, float]:
        """(how many units, what they cost) that are taken before this turn of this priority."""
        place = bisect_left(self._keys, (priority, turn))
        return self._counts[place], self._costs[place]

    def through(self, priority: int, turn: float = _LAST) -> tuple[float, float]:
        """The same with the units of this very turn."""
        place = bisect_right(self._keys, (priority, turn))
        return self._counts[place], self._costs[place]


@dataclass(frozen=True, slots=True)
class Load:
    """What is at work and what waits, as it was at `at`.

    queued: jobs that wait to be prepared, each with its seconds of video.  preparing: how many are being prepared, the
    seconds that takes still, and their seconds of video.  spans: those waiting and in work, each with the seconds of a
    worker that it costs, its part of its job's finishing among them.  looked_at: when a worker with the model last
    ended something.
    """

    at: datetime
    pace: Pace | None
    cpu_workers: int
    gpu_workers: int
    queued: Line
    preparing: int
    preparing_s: float
    preparing_video_s: float
    spans: Line
    looked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Own:
    """What one job did itself: when it came into its state; how many spans are done, and when the first and the last
    of them were; the turn of the last one that is not."""

    since: datetime
    spans_done: int = 0
    first_done_at: datetime | None = None
    last_done_at: datetime | None = None
    last_turn: int | None = None


def progress_of(job: VideoStatus, eta_s: float | None = None) -> Progress:
    """How far the job is by its row alone, with what was estimated. One that is ready is ready in 0 seconds."""
    if job.state is JobState.PREPARING:
        part = job.prepared_share
    elif job.state is JobState.ANALYZING:
        part = job.spans_done / max(job.spans_total, 1)
    else:
        part = 0.0 if job.state in SHARES else 1.0
    begin, end = SHARES.get(job.state, (1.0, 1.0))
    whole = begin + (end - begin) * round(part, 3)
    return Progress(job.state, round(part, 3), round(whole, 3), 0.0 if job.state is JobState.READY else eta_s)


def eta_s(job: VideoStatus, own: Own | None, load: Load, now: datetime) -> float | None:
    """Seconds until an open job is ready, never negative; None where nothing is known."""
    if own is None or job.state not in _LEFT:
        return None
    left = _LEFT[job.state](job, own, load, now)
    return None if left is None else round(max(0.0, left), 1)


def _queued_left(job: VideoStatus, _own: Own, load: Load, now: datetime) -> float | None:
    pace = load.pace
    if pace is None or not load.cpu_workers or not load.gpu_workers:
        return None
    ahead, ahead_video_s = load.queued.before(job.priority, job.turn)
    begins_s = 0.0
    if load.preparing + ahead >= load.cpu_workers:
        before_s = load.preparing_s + pace.preparing * ahead_video_s
        begins_s = max(0.0, before_s / load.cpu_workers - seconds(load.at, now))
    if job.not_before is not None:
        begins_s = max(begins_s, seconds(now, job.not_before))
    prepared_s = begins_s + pace.preparing * _duration_s(job, pace)
    coming_s = pace.looking_s(load.preparing + ahead, load.preparing_video_s + ahead_video_s)
    return _looked_at_s(job, pace, load, now, prepared_s=prepared_s, coming_s=coming_s)


def _preparing_left(job: VideoStatus, own: Own, load: Load, now: datetime) -> float | None:
    pace = load.pace
    if pace is None or not load.gpu_workers:
        return None
    left_s = preparing_left_s(pace.preparing * _duration_s(job, pace), seconds(own.since, now), job.prepared_share)
    others = max(0, load.preparing - 1)
    coming_s = pace.looking_s(others, load.preparing_video_s * others / max(1, load.preparing)) / 2
    return _looked_at_s(job, pace, load, now, prepared_s=left_s, coming_s=coming_s)


def preparing_left_s(usual_s: float, elapsed_s: float, share: float) -> float:
    """Seconds until a job is prepared: by what is usual, and once some of it is done more and more by its own pace."""
    by_history = _late(usual_s, elapsed_s)
    if share <= 0:
        return by_history
    at_share_s = elapsed_s - min(SAID_EVERY_S, elapsed_s) / 2  # the share was said a while ago
    by_itself = max(0.0, at_share_s / share - elapsed_s)
    trust = min(1.0, 5 * share)
    return trust * by_itself + (1 - trust) * by_history


def _looked_at_s(
    job: VideoStatus, pace: Pace, load: Load, now: datetime, *, prepared_s: float, coming_s: float
) -> float:
    """Seconds until a job is ready that is prepared in `prepared_s`; `coming_s`: the cost of what comes before it."""
    units, work_s = load.spans.through(job.priority)
    free_s = (work_s + coming_s) / load.gpu_workers
    if units and load.looked_at is not None:
        free_s -= min(seconds(load.looked_at, now), work_s / units)
    spans = max(1, math.ceil(_duration_s(job, pace) / pace.span_s - 0.1))
    own_s = pace.analyzing * _duration_s(job, pace) / min(load.gpu_workers, spans)
    return max(prepared_s, free_s) + own_s + pace.finishing_s


def _analyzing_left(job: VideoStatus, own: Own, load: Load, now: datetime) -> float | None:
    if not load.gpu_workers:
        return None
    by_line, by_itself = _by_line(job, own, load, now), _by_itself(job, own, load, now)
    if by_itself is None:
        left_s = by_line
    elif by_line is None:
        left_s = by_itself
    else:
        left_s = by_line + (by_itself - by_line) * (own.spans_done - 1) / own.spans_done
    if left_s is None:
        return None
    if load.pace is not None:
        return left_s + load.pace.finishing_s
    return left_s + _FINISHING_PER_ANALYZING * (left_s + seconds(own.since, now))


def _by_line(job: VideoStatus, own: Own, load: Load, now: datetime) -> float | None:
    """By what others needed: all that is taken before the last of the job's spans, and these."""
    pace = load.pace
    if pace is None or own.last_turn is None:
        return None
    units, work_s = load.spans.through(job.priority, own.last_turn)
    work_s -= pace.finishing_s  # its own, which comes after all this
    begun_at = max(own.since, load.looked_at or own.since)
    if own.since > load.at or not units:  # the line was looked at before the job stood in it
        units, work_s = load.spans.before(job.priority, own.last_turn)
        open_s = _duration_s(job, pace) * (1 - own.spans_done / max(job.spans_total, 1))
        units, work_s = units + job.spans_total - own.spans_done, work_s + pace.analyzing * open_s
        begun_at = max(own.since, own.last_done_at or own.since)
    unit_s = work_s / max(units, 1)
    together_s = work_s / min(load.gpu_workers, max(units, 1))
    return together_s - unit_s + _late(unit_s, seconds(begun_at, now))


def _by_itself(job: VideoStatus, own: Own, load: Load, now: datetime) -> float | None:
    """By how fast the job's own spans came, once there are more than came at once."""
    if own.spans_done <= max(1, load.gpu_workers) or own.first_done_at is None or own.last_done_at is None:
        return None
    each_s = seconds(own.first_done_at, own.last_done_at) / (own.spans_done - 1)
    open_spans = max(1, job.spans_total - own.spans_done)
    return each_s * (open_spans - 1) + _late(each_s, seconds(own.last_done_at, now))


def _finishing_left(job: VideoStatus, own: Own, load: Load, now: datetime) -> float | None:
    if not load.gpu_workers:
        return None
    urgent_s = load.spans.before(job.priority, FINISHING_TURN)[1] / load.gpu_workers
    if load.pace is not None:
        usual_s = load.pace.finishing_s
    elif job.prepared_at is not None and job.analyzed_at is not None:
        usual_s = _FINISHING_PER_ANALYZING * seconds(job.prepared_at, job.analyzed_at)
    else:
        return None
    return urgent_s + usual_s if urgent_s else _late(usual_s, seconds(own.since, now))


_LEFT: Final = {
    JobState.QUEUED: _queued_left,
    JobState.PREPARING: _preparing_left,
    JobState.ANALYZING: _analyzing_left,
    JobState.FINISHING: _finishing_left,
}


def _duration_s(job: VideoStatus, pace: Pace) -> float:
    """Of the video; before anybody has looked into the file, by its size."""
    return job.duration_s if job.duration_s is not None else pace.seconds_per_byte * job.size_bytes


def _late(usual_s: float, elapsed_s: float) -> float:
    """What is left of something that usually takes so long; once it is late, as much again as it is late."""
    return abs(usual_s - elapsed_s)
