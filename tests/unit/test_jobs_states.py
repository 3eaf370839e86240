"""The life of a job, as arithmetic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import JobState
from vidlm.jobs.states import ACTIVE, TRANSITIONS, TransitionError, backoff_s, checked

states = st.sampled_from(list(JobState))


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_the_way_of_a_good_video() -> None:
    way = [JobState.QUEUED, JobState.PREPARING, JobState.ANALYZING, JobState.FINISHING, JobState.READY]
    for old, new in pairwise(way):
        assert checked(old, new) == new.value


@given(states, states)
def test_what_has_ended_can_only_be_deleted(old: JobState, new: JobState) -> None:
    if old in ACTIVE:
        return
    if new is JobState.DELETED and old is not JobState.DELETED:
        assert checked(old, new) == "deleted"
    else:
        with pytest.raises(TransitionError):
            checked(old, new)


@given(states)
def test_everything_can_be_deleted_once(state: JobState) -> None:
    assert (JobState.DELETED in TRANSITIONS[state]) == (state is not JobState.DELETED)


def test_only_finishing_becomes_ready() -> None:
    assert [old for old, new in TRANSITIONS.items() if JobState.READY in new] == [JobState.FINISHING]


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_to_two_minutes_and_a_fifth(attempt: int, jitter: float) -> None:
    wait_s = backoff_s(attempt, jitter)
    assert 5 <= wait_s <= 144
    assert backoff_s(attempt, 0) == {1: 5, 2: 30}.get(attempt, 120)
    assert wait_s < backoff_s(attempt + 1, jitter) or attempt >= 3
