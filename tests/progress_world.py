"""A service that exists as arithmetic only: jobs whose times are known, and what an observer sees of them at any time.

Two kinds of workers take work as the real ones do: by priority, by turn, the later stage first.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from vidlm.domain import JobState
from vidlm.jobs.pace import Pace, Past, pace_of
from vidlm.jobs.progress import FINISHING_TURN, Line, Load, Own, preparing_left_s
from vidlm.store.queries import VideoStatus

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SPAN_S = 60.0
BYTES_PER_S = 100_000


def at(t: float) -> datetime:
    return EPOCH + timedelta(seconds=t)


@dataclass(frozen=True)
class World:
    """Seconds of a worker: to prepare and to analyse a second of video, to finish a job. `noise`: of each, +-."""

    cpu_workers: int = 1
    gpu_workers: int = 1
    preparing: float = 0.1
    analyzing: float = 0.4
    finishing_s: float = 2.0
    noise: float = 0.1


@dataclass
class Life:
    """A job's times, in seconds; infinite where it never came so far."""

    number: int
    created: float
    duration_s: float
    priority: int = 2
    started: float = math.inf
    prepared: float = math.inf
    spans: list[float] = field(default_factory=list)  # when each was done
    analyzed: float = math.inf
    finished: float = math.inf

    @property
    def span_count(self) -> int:
        return max(1, math.ceil(self.duration_s / SPAN_S))

    def done(self, t: float) -> list[float]:
        return sorted(when for when in self.spans if when <= t)


def arrivals(
    rng: random.Random, count: int, every_s: float, durations: Sequence[float], priorities: Sequence[int] = (2,)
) -> list[Life]:
    """Jobs that come at random, one in `every_s` on average; all at once where that is 0."""
    t, lives = 0.0, []
    for number in range(count):
        t += rng.expovariate(1 / every_s) if every_s else 0.0
        lives.append(Life(number, t, rng.choice(durations), rng.choice(priorities)))
    return lives


def live(world: World, lives: Sequence[Life], rng: random.Random) -> None:
    """Fill in what happens to all of them."""

    def takes(seconds: float) -> float:
        return seconds * (1 + rng.uniform(-world.noise, world.noise))

    soon: list[tuple[float, int, str, Life, int]] = [(life.created, life.number, "queued", life, 0) for life in lives]
    heapq.heapify(soon)
    cpu: list[tuple[int, int, Life]] = []
    gpu: list[tuple[int, int, int, int, Life]] = []  # priority, 0 to finish and 1 to analyse, turn, which span
    free = {"cpu": world.cpu_workers, "gpu": world.gpu_workers}
    while soon:
        t, _, what, life, _ = heapq.heappop(soon)
        if what == "queued":
            heapq.heappush(cpu, (life.priority, life.number, life))
        elif what == "prepared":
            life.prepared, free["cpu"] = t, free["cpu"] + 1
            for index in range(life.span_count):
                heapq.heappush(gpu, (life.priority, 1, life.number, index, life))
        elif what == "span":
            life.spans.append(t)
            free["gpu"] += 1
            if len(life.spans) == life.span_count:
                life.analyzed = t
                heapq.heappush(gpu, (life.priority, 0, life.number, 0, life))
        else:
            life.finished, free["gpu"] = t, free["gpu"] + 1
        while cpu and free["cpu"]:
            _, _, life = heapq.heappop(cpu)
            free["cpu"] -= 1
            life.started = t
            heapq.heappush(soon, (t + takes(world.preparing * life.duration_s), life.number, "prepared", life, 0))
        while gpu and free["gpu"]:
            _, later, _, index, life = heapq.heappop(gpu)
            free["gpu"] -= 1
            needs_s = takes(world.analyzing * life.duration_s / life.span_count) if later else takes(world.finishing_s)
            heapq.heappush(soon, (t + needs_s, life.number, "span" if later else "finished", life, index))


def state_of(life: Life, t: float) -> JobState:
    for when, state in (
        (life.finished, JobState.READY),
        (life.analyzed, JobState.FINISHING),
        (life.prepared, JobState.ANALYZING),
        (life.started, JobState.PREPARING),
    ):
        if when <= t:
            return state
    return JobState.QUEUED


def share_of(life: Life, t: float) -> float:
    """How much is prepared, as a worker would have said: every two seconds."""
    whole = life.prepared - life.started
    return 2 * ((t - life.started) // 2) / whole


def status_of(life: Life, t: float) -> VideoStatus:
    """The row as it stands at `t`."""
    state = state_of(life, t)
    looked_into = life.prepared <= t
    return VideoStatus(
        id=f"vid_{life.number}", client_id=None, filename="", sha256="", language=None, legal_hold=False,
        created_at=at(life.created), size_bytes=round(life.duration_s * BYTES_PER_S),
        state=state, priority=life.priority, turn=life.number,
        not_before=None, deadline_at=None, error_code=None, error_detail=None, verdict_action=None,
        verdict_reason=None, toy_model=None, review_state="none",
        duration_s=life.duration_s if looked_into else None,
        prepared_share=share_of(life, t) if state is JobState.PREPARING else float(looked_into),
        spans_total=life.span_count if looked_into else 0, spans_done=len(life.done(t)),
        started_at=at(life.started) if life.started <= t else None,
        prepared_at=at(life.prepared) if looked_into else None,
        analyzed_at=at(life.analyzed) if life.analyzed <= t else None,
        finished_at=at(life.finished) if life.finished <= t else None,
    )  # fmt: skip


def own_of(life: Life, t: float) -> Own:
    since = max(when for when in (life.created, life.started, life.prepared, life.analyzed) if when <= t)
    done = life.done(t)
    return Own(
        since=at(since),
        spans_done=len(done),
        first_done_at=at(done[0]) if done else None,
        last_done_at=at(done[-1]) if done else None,
        last_turn=life.number if state_of(life, t) is JobState.ANALYZING else None,
    )


def load_of(world: World, lives: Sequence[Life], t: float, history: int = 50) -> Load:
    """What an observer reads at `t`."""
    ready = sorted((life for life in lives if life.finished <= t), key=lambda life: life.finished)[-history:]
    past = [
        Past(at(one.started), at(one.prepared), at(one.analyzed), at(one.finished), one.duration_s,
             round(one.duration_s * BYTES_PER_S), one.span_count)
        for one in ready
    ]  # fmt: skip
    pace = pace_of(past, world.gpu_workers)
    by_state: dict[JobState, list[Life]] = {state: [] for state in JobState}
    for life in lives:
        if life.created <= t:
            by_state[state_of(life, t)].append(life)
    preparing, finishing = by_state[JobState.PREPARING], by_state[JobState.FINISHING]
    ended = [when for one in by_state[JobState.ANALYZING] for when in one.done(t)]
    ended += [one.analyzed for one in finishing] + [one.finished for one in ready]
    return Load(
        at=at(t),
        pace=pace,
        cpu_workers=world.cpu_workers,
        gpu_workers=world.gpu_workers,
        queued=Line((one.priority, one.number, 1, one.duration_s) for one in by_state[JobState.QUEUED]),
        preparing=len(preparing),
        preparing_s=sum(
            preparing_left_s(pace.preparing * one.duration_s, t - one.started, share_of(one, t)) for one in preparing
        ) if pace else 0.0,
        preparing_video_s=sum(one.duration_s for one in preparing),
        spans=Line(_units(by_state[JobState.ANALYZING], finishing, t, pace)) if pace else Line(),
        looked_at=at(max(ended)) if ended else None,
    )  # fmt: skip


def _units(
    analyzing: Sequence[Life], finishing: Sequence[Life], t: float, pace: Pace
) -> Iterator[tuple[int, int, float, float]]:
    for one in analyzing:
        open_spans = one.span_count - len(one.done(t))
        yield one.priority, one.number, open_spans, pace.looking_s(1, one.duration_s * open_spans / one.span_count)
    for priority, count in Counter(one.priority for one in finishing).items():
        yield priority, FINISHING_TURN, count, pace.looking_s(count, 0.0)
