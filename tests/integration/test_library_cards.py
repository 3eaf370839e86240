"""What the library's cards say of videos: never more than whoever looks may know, and veiled unless it was allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from jobs_helpers import accepted
from review_helpers import analysed, flag, person

from api.dashboard.pages.library import Card, cards_of
from vidlm.domain import Action, JobState
from vidlm.jobs import control
from vidlm.jobs.intake import Wishes
from vidlm.jobs.progress import progress_of
from vidlm.moderation.decisions import ReviewState
from vidlm.store.engine import Database
from vidlm.store.keys import Caller
from vidlm.store.queries import video_status
from vidlm.store.tables import DEFAULT_TENANT, Job, Video

VIEWER = person("viewer")
NAMED = Wishes(filename="holiday.mp4")


def card(database: Database, job: Job, caller: Caller = VIEWER) -> Card:
    with database.read() as session:
        status = video_status(session, DEFAULT_TENANT, job.video_id)
        assert status is not None
        (made,) = cards_of(session, caller, [status], [progress_of(status)])
    return made


def test_what_is_restricted_says_nothing_of_itself_without_the_grant(database: Database) -> None:
    job = analysed(database, flag("child_safety.child_endangerment"), wishes=NAMED)
    hidden, seen = card(database, job), card(database, job, replace(VIEWER, restricted=True))
    assert (hidden.name, hidden.picture, hidden.restricted) == ("", False, True)
    assert (seen.name, seen.picture, seen.restricted) == ("holiday.mp4", True, False)


@pytest.mark.parametrize(("verdict", "veiled"), [(Action.ALLOW, False), (Action.REVIEW, True), (Action.BLOCK, True)])
def test_whatever_was_not_allowed_is_veiled(database: Database, verdict: Action, veiled: bool) -> None:
    made = card(database, analysed(database, verdict=verdict, wishes=NAMED))
    assert (made.veiled, made.picture, made.name, made.fraction) == (veiled, True, "holiday.mp4", 1.0)


def test_what_a_person_removed_or_nobody_judged_is_veiled(database: Database) -> None:
    job, waiting = analysed(database), accepted(database)
    with database.write() as session:
        session.get_one(Job, job.id).review_state = ReviewState.REMOVED.value
    assert card(database, job).veiled
    made = card(database, waiting)
    assert (made.veiled, made.picture, made.working, made.retriable) == (True, False, True, False)


def test_a_picture_is_shown_only_while_it_is_kept(database: Database) -> None:
    job = analysed(database)
    assert card(database, job).picture
    with database.write() as session:
        session.get_one(Video, job.video_id).blob = None
    assert not card(database, job).picture


def test_a_name_of_its_owner_goes_before_that_of_the_file(database: Database) -> None:
    assert card(database, analysed(database, wishes=replace(NAMED, client_id="cam-7"))).name == "cam-7"


def test_only_what_ended_and_may_go_on_can_be_tried_again(database: Database) -> None:
    job = accepted(database)
    with database.write() as session:
        control.cancel(session, session.get_one(Job, job.id), actor="key_test")
    made = card(database, job)
    assert (made.state, made.working, made.retriable) == (JobState.CANCELLED, False, True)
