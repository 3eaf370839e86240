"""What a job went through, as people are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import JobState
from vidlm.jobs.history import steps
from vidlm.store.ledger import Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: str, at_s: float, **document: object) -> Event:
    return Event(tenant_id="t", video_id="v", kind=kind, document=dict(document), at=START + timedelta(seconds=at_s))


def test_each_state_lasts_until_the_next_one() -> None:
    told = [
        event("video.queued", 0),
        event("video.preparing", 2),
        event("known.matched", 3),
        event("flag.created", 4),
        event("video.failed", 7.5, error_code="worker_lost"),
    ]
    found = steps(told)
    assert [(step.state, step.lasted_s, step.error_code) for step in found] == [
        (JobState.QUEUED, 2.0, None),
        (JobState.PREPARING, 5.5, None),
        (JobState.FAILED, None, "worker_lost"),
    ]


def test_a_job_that_was_tried_again_tells_of_both_times() -> None:
    kinds = ("queued", "preparing", "cancelled", "queued", "preparing", "ready")
    assert [step.state for step in steps([event(f"video.{kind}", at) for at, kind in enumerate(kinds)])] == list(kinds)


@given(st.lists(st.tuples(st.sampled_from([*JobState, None]), st.floats(0, 1e6)), max_size=12))
def test_times_add_up_and_are_never_negative(told: list[tuple[JobState | None, float]]) -> None:
    told.sort(key=lambda one: one[1])
    found = steps([event("flag.created" if state is None else f"video.{state}", at) for state, at in told])
    moments = [at for state, at in told if state is not None]
    assert len(found) == len(moments)
    lasted = [step.lasted_s for step in found]
    assert all(one is not None and one >= 0 for one in lasted[:-1])
    if found:
        assert lasted[-1] is None
        assert abs(sum(one or 0 for one in lasted) - (moments[-1] - moments[0])) < 1e-3
