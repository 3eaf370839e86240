"""The life of a job, as arithmetic: the table, and a machine that walks it."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.domain import JobState
from vidlm.jobs.states import ACTIVE, OPEN, RETRIABLE, TRANSITIONS, TransitionError, backoff_s, checked, diagram

ROOT = Path(__file__).parents[2]
states = st.sampled_from(list(JobState))
walks = st.lists(states, max_size=12)


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_the_way_of_a_good_video() -> None:
    way = [
        JobState.UPLOADING,
        JobState.QUEUED,
        JobState.PREPARING,
        JobState.ANALYZING,
        JobState.FINISHING,
        JobState.READY,
    ]
    for old, new in pairwise(way):
        assert checked(old, new) == new.value


@given(states, walks)
def test_no_walk_leaves_the_table(state: JobState, wanted: list[JobState]) -> None:
    """Whatever is asked of a job in whatever order: it is somewhere allowed, and what is over stays over."""
    deleted = ready = False
    for new in wanted:
        allowed = new in TRANSITIONS[state]
        assert not (deleted and allowed)
        assert not (ready and allowed and new is not JobState.DELETED)
        if not allowed:
            with pytest.raises(TransitionError):
                checked(state, new)
            continue
        state = JobState(checked(state, new))
        deleted, ready = state is JobState.DELETED, state is JobState.READY


@given(states, states)
def test_an_end_is_left_by_deletion_or_by_a_retry(old: JobState, new: JobState) -> None:
    if old in OPEN or new not in TRANSITIONS[old]:
        return
    assert new is JobState.DELETED or (old in RETRIABLE and new in ACTIVE)


@given(states)
def test_everything_can_be_deleted_once(state: JobState) -> None:
    assert (JobState.DELETED in TRANSITIONS[state]) == (state is not JobState.DELETED)


def test_what_is_ready_was_finished_or_known_before() -> None:
    assert {old for old, new in TRANSITIONS.items() if JobState.READY in new} == {
        JobState.FINISHING,
        JobState.PREPARING,
    }


def test_every_state_leads_to_an_end() -> None:
    reached = {state for state in JobState if state not in OPEN}
    for _ in JobState:
        reached |= {old for old, new in TRANSITIONS.items() if new & reached}
    assert reached == set(JobState)


def test_the_docs_draw_the_table_as_it_is() -> None:
    assert f"```mermaid\n{diagram()}\n```" in (ROOT / "docs" / "jobs.md").read_text()


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_to_two_minutes_and_a_fifth(attempt: int, jitter: float) -> None:
    wait_s = backoff_s(attempt, jitter)
    assert 5 <= wait_s <= 144
    assert backoff_s(attempt, 0) == {1: 5, 2: 30}.get(attempt, 120)
    assert wait_s < backoff_s(attempt + 1, jitter) or attempt >= 3
