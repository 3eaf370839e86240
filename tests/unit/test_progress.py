"""Estimates against worlds whose times are known: how far off they are, what they never say, when they say nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from progress_world import EPOCH, Life, World, arrivals, at, live, load_of, own_of, status_of

from vidlm.domain import JobState
from vidlm.jobs.pace import Pace, Past, pace_of
from vidlm.jobs.progress import Line, Load, Own, eta_s, preparing_left_s, progress_of
from vidlm.jobs.states import ACTIVE
from vidlm.store.queries import VideoStatus

MIX = (10.0, 20.0, 45.0, 90.0, 200.0)
STALE_S = 3.0


def lived(world: World, count: int, every_s: float, durations: Sequence[float], seed: int = 1) -> list[Life]:
    rng = random.Random(seed)
    lives = arrivals(rng, count, every_s, durations)
    live(world, lives, rng)
    return lives


def errors(world: World, lives: list[Life], moments: int = 120) -> dict[JobState, list[float]]:
    """|estimated - true| / true of every open job, at times after a third of all jobs is over, by state."""
    rng = random.Random(7)
    begin = sorted(life.finished for life in lives)[len(lives) // 3]
    end = max(*(life.created for life in lives), begin + 60)
    found: dict[JobState, list[float]] = {}
    for number in range(moments):
        t = begin + (end - begin) * number / moments
        load = load_of(world, lives, t - STALE_S * rng.random())
        for life in lives:
            if life.created <= t < life.finished:
                status = status_of(life, t)
                estimated = eta_s(status, own_of(life, t), load, at(t))
                assert estimated is not None
                true = life.finished - t
                found.setdefault(status.state, []).append(abs(estimated - true) / true)
    return found


STEADY = {
    "one worker, little to do": (World(), 60.0, MIX),
    "one worker, much to do": (World(), 38.0, MIX),
    "one worker, everything at once": (World(), 0.0, MIX),
    "short clips": (World(), 4.0, (6.0,)),
    "long films on four workers": (World(cpu_workers=2, gpu_workers=4), 200.0, (1200.0,)),
    "four workers, much to do": (World(cpu_workers=2, gpu_workers=4), 10.0, MIX),
    "preparing takes longest": (World(preparing=1.0), 100.0, MIX),
    "times that vary by half": (World(noise=0.5), 38.0, MIX),
}


@pytest.mark.parametrize("name", STEADY)
def test_in_a_steady_state_the_estimate_is_mostly_within_a_quarter(name: str) -> None:
    world, every_s, durations = STEADY[name]
    found = errors(world, lived(world, 120, every_s, durations))
    everything = [error for part in found.values() for error in part]
    assert len(everything) > 100
    assert median(everything) <= 0.15
    for state, part in found.items():
        if len(part) >= 20 and state is not JobState.FINISHING:  # whose few seconds are noise
            assert median(part) <= 0.25, (state, len(part))


@pytest.mark.parametrize("world", [World(), World(gpu_workers=4, cpu_workers=2), World(noise=0.4, analyzing=3.0)])
@pytest.mark.parametrize("every_s", [0.0, 300.0])
def test_the_pace_of_one_worker_is_learnt_from_stages_full_of_waiting(world: World, every_s: float) -> None:
    """Whether jobs stood in line for an hour or came one by one: then some of several workers only look on at last."""
    lives = lived(world, 80, every_s, (200.0, 300.0, 400.0))
    learnt = load_of(world, lives, max(life.finished for life in lives)).pace
    assert learnt is not None
    assert learnt.preparing == pytest.approx(world.preparing, rel=0.15)
    looking_on = 0.3 if world.gpu_workers > 1 and every_s else 0.15
    assert learnt.analyzing == pytest.approx(world.analyzing, rel=looking_on)
    assert learnt.finishing_s == pytest.approx(world.finishing_s, rel=0.3)
    assert learnt.span_s == pytest.approx(60.0, rel=0.2)


def test_one_outage_does_not_spoil_the_pace() -> None:
    world = World()
    lives = lived(world, 50, 0.0, (30.0,))
    cut = lives[20].analyzed
    for life in lives:  # nobody worked for an hour
        life.prepared += 3600 * (life.prepared > cut)
        life.analyzed += 3600 * (life.analyzed > cut)
        life.finished += 3600 * (life.finished > cut)
    learnt = load_of(world, lives, max(life.finished for life in lives)).pace
    assert learnt is not None
    assert learnt.analyzing == pytest.approx(world.analyzing, rel=0.1)


def test_it_shrinks_to_nothing() -> None:
    world = World(noise=0.0)
    lives = [Life(number, created=500.0 * number, duration_s=300.0) for number in range(12)]
    live(world, lives, random.Random())
    life = lives[-1]
    seen = []
    t = life.created
    while t < life.finished:
        seen.append((life.finished - t, eta_s(status_of(life, t), own_of(life, t), load_of(world, lives, t), at(t))))
        t += 0.5
    assert len(seen) > 250
    for true, estimated in seen:
        assert estimated == pytest.approx(true, abs=0.05 * true + 1.0)
    assert seen[-1][1] is not None
    assert seen[-1][1] <= 1.0


def test_before_anything_was_learnt_nothing_is_said() -> None:
    world = World()
    lives = lived(world, 3, 0.0, (300.0,))
    for t in (1.0, lives[0].prepared - 1, lives[0].prepared + 1):
        load = load_of(world, lives, t)
        assert load.pace is None
        assert [eta_s(status_of(life, t), own_of(life, t), load, at(t)) for life in lives] == [None] * 3


def test_a_first_job_is_judged_by_its_own_spans_once_there_are_some() -> None:
    world = World(noise=0.1)
    (life,) = lived(world, 1, 0.0, (1200.0,))
    third = sorted(life.spans)[2]
    load = load_of(world, [life], third + 1)
    estimated = eta_s(status_of(life, third + 1), own_of(life, third + 1), load, at(third + 1))
    assert estimated == pytest.approx(life.finished - third - 1, rel=0.25)
    finishing = life.analyzed + 0.1
    last = eta_s(status_of(life, finishing), own_of(life, finishing), load, at(finishing))
    assert last is not None
    assert last < 0.1 * (life.analyzed - life.prepared)


def test_its_own_pace_beats_that_of_others() -> None:
    """The machine became four times slower: history does not know, the job's own spans do."""
    usual, slow = World(noise=0.0), World(noise=0.0, analyzing=1.6)
    lives = lived(usual, 30, 200.0, (300.0,))
    now = max(life.finished for life in lives) + 100
    (own_life,) = lived(slow, 1, 0.0, (1200.0,))
    for name in ("created", "started", "prepared", "analyzed", "finished"):
        setattr(own_life, name, getattr(own_life, name) + now)
    own_life.spans = [when + now for when in own_life.spans]
    both = [*lives, own_life]
    off = []
    for done in (1, 5, 12):
        t = sorted(own_life.spans)[done - 1] + 1
        estimated = eta_s(status_of(own_life, t), own_of(own_life, t), load_of(usual, both, t), at(t))
        assert estimated is not None
        off.append(abs(estimated - (own_life.finished - t)) / (own_life.finished - t))
    assert off[0] > 0.5
    assert off[1] < 0.25
    assert off[2] < 0.15


def test_while_it_is_prepared_its_own_pace_counts_more_and_more() -> None:
    assert preparing_left_s(100.0, 30.0, 0.0) == 70.0
    by_share = [preparing_left_s(100.0, 200 * share + 1, share) for share in (0.02, 0.1, 0.2, 0.5, 1.0)]
    true = [200 * (1 - share) for share in (0.02, 0.1, 0.2, 0.5, 1.0)]
    off = [abs(one - other) for one, other in zip(by_share, true, strict=True)]
    assert off[0] > 50
    assert off[1] < off[0]
    assert all(late <= 5 for late in off[2:])


# a small world to ask small questions of

PACE = Pace(preparing=0.1, analyzing=0.5, finishing_s=2.0, seconds_per_byte=1e-5, span_s=60.0)
IDLE = Load(EPOCH, PACE, 1, 1, Line(), 0, 0.0, 0.0, Line(), None)
QUEUED = status_of(Life(number=10, created=0.0, duration_s=60.0), 0.0)
NOW = EPOCH + timedelta(seconds=1)


def estimate(job: VideoStatus = QUEUED, load: Load = IDLE, own: Own | None = None) -> float:
    found = eta_s(job, own or Own(since=EPOCH), load, NOW)
    assert found is not None
    return found


def test_a_queued_job_waits_for_what_stands_before_it() -> None:
    alone = estimate()
    assert alone == pytest.approx(0.1 * 60 + 0.5 * 60 + 2)
    line = Line([(1, 1, 1, 60.0), (2, 9, 2, 120.0), (2, 11, 50, 5000.0), (3, 1, 50, 5000.0)])
    waiting = replace(IDLE, queued=line)
    behind = estimate(load=waiting)
    assert behind == pytest.approx(alone + 3 * (0.5 * 60 + 2), rel=0.1)  # what is later or less urgent does not count
    assert estimate(replace(QUEUED, priority=0), waiting) == alone
    assert estimate(replace(QUEUED, turn=12), waiting) > 20 * behind
    assert estimate(load=replace(waiting, cpu_workers=3, gpu_workers=3)) < 0.7 * behind


def test_a_job_that_was_put_off_is_not_begun_before() -> None:
    later = replace(QUEUED, not_before=NOW + timedelta(seconds=100))
    assert estimate(later) == pytest.approx(estimate() + 100)


def test_a_film_is_shared_by_workers_and_a_clip_is_not() -> None:
    many = replace(IDLE, gpu_workers=4)
    film = replace(QUEUED, size_bytes=10 * QUEUED.size_bytes)
    assert estimate(film, many) < 0.5 * estimate(film)
    assert estimate(QUEUED, many) == estimate()


def test_what_is_urgent_goes_before_the_last_step_too() -> None:
    finishing = replace(QUEUED, state=JobState.FINISHING)
    assert estimate(finishing) == pytest.approx(1.0)  # one second of two is over
    assert estimate(finishing, replace(IDLE, spans=Line([(2, 5, 3, 90.0)]))) == pytest.approx(1.0)
    assert estimate(finishing, replace(IDLE, spans=Line([(0, 5, 3, 90.0)]))) == pytest.approx(92.0)


def test_who_is_late_is_not_said_to_be_there_any_moment() -> None:
    finishing = replace(QUEUED, state=JobState.FINISHING)
    said = [eta_s(finishing, Own(since=EPOCH), IDLE, EPOCH + timedelta(seconds=s)) for s in (0, 1, 2, 10, 100)]
    assert said == [2.0, 1.0, 0.0, 8.0, 98.0]


@pytest.mark.parametrize(
    ("state", "load"),
    [
        (JobState.QUEUED, replace(IDLE, pace=None)),
        (JobState.QUEUED, replace(IDLE, cpu_workers=0)),
        (JobState.QUEUED, replace(IDLE, gpu_workers=0)),
        (JobState.PREPARING, replace(IDLE, gpu_workers=0)),
        (JobState.ANALYZING, replace(IDLE, gpu_workers=0)),
        (JobState.ANALYZING, replace(IDLE, pace=None)),
        (JobState.FINISHING, replace(IDLE, pace=None)),
        *((state, IDLE) for state in JobState if state not in ACTIVE),
    ],
)
def test_what_nobody_can_know_is_not_said(state: JobState, load: Load) -> None:
    assert eta_s(replace(QUEUED, state=state), Own(since=EPOCH), load, NOW) is None


def test_ready_is_in_no_time_and_other_ends_are_never_ready() -> None:
    ends = {state: progress_of(replace(QUEUED, state=state)) for state in JobState}
    assert ends[JobState.READY].eta_s == 0.0
    assert {end.eta_s for state, end in ends.items() if state is not JobState.READY} == {None}
    assert all(ends[state].fraction == 1.0 for state in JobState if state not in {*ACTIVE, JobState.UPLOADING})


amounts = st.floats(0, 1e6)
moments = st.floats(-100, 1e5).map(at)
lines = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 50), st.integers(1, 50), amounts), max_size=6,
                 unique_by=lambda unit: unit[:2]).map(Line)  # fmt: skip
paces = st.builds(Pace, amounts, amounts, amounts, st.floats(0, 1), st.floats(0.1, 600))
loads = st.builds(
    Load, moments, st.none() | paces, st.integers(0, 4), st.integers(0, 4), lines, st.integers(0, 4), amounts, amounts,
    lines, st.none() | moments,
)  # fmt: skip
owns = st.builds(
    Own, moments, st.integers(0, 20), st.none() | moments, st.none() | moments, st.none() | st.integers(0, 60)
)


jobs = st.builds(
    lambda state, priority, turn, duration_s, share, spans, done, size_bytes, put_off: replace(
        QUEUED, state=state, priority=priority, turn=turn, duration_s=duration_s, prepared_share=share,
        spans_total=max(spans, done), spans_done=done, size_bytes=size_bytes, not_before=put_off,
    ),
    st.sampled_from(JobState), st.integers(0, 3), st.integers(0, 60), st.none() | amounts, st.floats(0, 1),
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 1 << 40), st.none() | moments,
)  # fmt: skip


@given(jobs, loads, owns, moments)
def test_whatever_rows_say_it_is_a_number_from_0_on_or_nothing(
    job: VideoStatus, load: Load, own: Own, now: datetime
) -> None:
    """Clocks that disagree and rows from before a change included."""
    found = eta_s(job, own, load, now)
    assert found is None or (math.isfinite(found) and found >= 0)
    progress = progress_of(job, found)
    assert 0 <= progress.stage_fraction <= 1
    assert 0 <= progress.fraction <= 1


@given(
    st.lists(
        st.builds(
            lambda start, a, b, c, duration_s, size, spans: Past(
                at(start), at(start + a), at(start + a + b), at(start + a + b + c), duration_s, size, spans
            ),
            amounts, amounts, amounts, amounts, amounts, st.integers(0, 1 << 40), st.integers(0, 300),
        ),
        max_size=30,
    ),
    st.integers(0, 8),
)  # fmt: skip
def test_any_history_teaches_a_pace_that_is_a_number(past: list[Past], workers: int) -> None:
    learnt = pace_of(past, workers)
    assert (learnt is None) == (not past)
    if learnt is not None:
        for value in (learnt.preparing, learnt.analyzing, learnt.finishing_s, learnt.seconds_per_byte):
            assert math.isfinite(value)
            assert value >= 0
        assert learnt.span_s > 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(1, 5), amounts), max_size=20,
                unique_by=lambda unit: unit[:2]), st.integers(0, 3), st.integers(0, 20))  # fmt: skip
def test_a_line_counts_what_goes_first(units: list[tuple[int, int, int, float]], priority: int, turn: int) -> None:
    line = Line(units)
    first = [unit for unit in units if unit[:2] < (priority, turn)]
    assert line.before(priority, turn)[0] == sum(count for _, _, count, _ in first)
    through = [unit for unit in units if unit[:2] <= (priority, turn)]
    assert line.through(priority, turn)[1] == pytest.approx(sum(cost for *_, cost in through))
    urgent = [unit for unit in units if unit[0] <= priority]
    assert line.through(priority)[0] == sum(count for _, _, count, _ in urgent)


def test_the_way_of_a_job_only_goes_forward() -> None:
    world = World()
    (life,) = lived(world, 1, 0.0, (300.0,))
    times = [life.created + (life.finished - life.created) * part / 200 for part in range(201)]
    fractions = [progress_of(status_of(life, t)).fraction for t in times]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
