"""The library's address: what it says is what is listed, and what makes no sense is not asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.pages.library import STATES, WORKING, Asked, get_asked
from vidlm.domain import Action, JobState, Priority
from vidlm.jobs.states import OPEN
from vidlm.moderation.decisions import ReviewState


def maybe(values: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(["", *values])


ASKED = st.builds(
    Asked,
    q=st.text(max_size=20).map(str.strip),
    state=maybe(list(STATES)),
    verdict=maybe(list(Action)),
    review=maybe(list(ReviewState)),
    policy=maybe(["weapons.shown"]),
    priority=maybe(list(Priority)),
    since=maybe(["2026-03-01"]),
    until=maybe(["2026-03-31"]),
    zone=st.sampled_from([0, -300, 60]),
)


@given(ASKED)
def test_an_address_leads_back_to_the_same_list(asked: Asked) -> None:
    query = dict(parse_qsl(urlsplit(asked.address()).query))
    again = get_asked(**{**query, "zone": int(query.get("zone", 0))})  # type: ignore[arg-type]
    assert again.filters() == asked.filters()
    assert again.address() == asked.address()
    assert asked.any == (asked.address() != "/library")


def test_what_makes_no_sense_is_not_asked_for() -> None:
    asked = get_asked(
        state="deleted",
        verdict="maybe",
        review="x",
        policy="a'b\0",
        priority="9",
        since="yesterday",
        until="9999-12-31",
    )
    assert asked == Asked()


def test_work_in_hand_is_every_state_before_the_end() -> None:
    assert Asked(state=WORKING).filters().states == OPEN
    assert Asked(state="ready").filters().states == {JobState.READY}


@pytest.mark.parametrize(
    ("zone", "begins", "ends"),
    [
        (0, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)),
        (60, datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 1, 23, tzinfo=UTC)),
        (-300, datetime(2026, 3, 1, 5, tzinfo=UTC), datetime(2026, 3, 2, 5, tzinfo=UTC)),
    ],
)
def test_a_day_is_whole_and_begins_where_its_reader_is(zone: int, begins: datetime, ends: datetime) -> None:
    filters = Asked(since="2026-03-01", until="2026-03-01", zone=zone).filters()
    assert (filters.created_from, filters.created_until) == (begins, ends)
