"""What pages draw of a video's scores, and what they say of jobs that ended without a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.dashboard import rendering, words
from api.dashboard.video_document import WORTH, bands
from vidlm import errors
from vidlm.errors import MEDIA_CODES, VidlmError
from vidlm.jobs.life import WORKER_LOST
from vidlm.moderation.policies import load_policies

POLICIES = {policy.id: replace(policy, keep_threshold=0.4) for policy in load_policies().policies}
NEAR, FAR, FLAGGED = sorted(POLICIES)[:3]
OTHERWISE = "It may be tried again; an operator finds the reason in the logs."


def segments(*scores: dict[str, float]) -> list[dict[str, Any]]:
    return [{"start_s": at, "end_s": at + 1.0, "scores": one} for at, one in enumerate(scores)]


def test_what_was_flagged_comes_first_and_what_came_near_comes_along() -> None:
    parts = segments({NEAR: 0.4 * WORTH, FAR: 0.19, FLAGGED: 0.1}, {NEAR: 0.1, FLAGGED: 0.25})
    found = bands(parts, POLICIES, {FLAGGED})
    assert list(found) == [FLAGGED, NEAR]
    assert found == {FLAGGED: [0.1, 0.25], NEAR: [0.2, 0.1]}


def test_a_segment_that_was_not_asked_has_no_score() -> None:
    assert bands(segments({NEAR: 0.5}, {}), POLICIES, set()) == {NEAR: [0.5, None]}
    assert bands(segments({}), POLICIES, {FLAGGED}) == {}


def test_a_policy_that_is_no_more_is_drawn_where_it_was_flagged() -> None:
    assert list(bands(segments({"old.one": 0.9, "old.two": 0.9}), POLICIES, {"old.one"})) == ["old.one"]


def meaning(code: str, language: str) -> str:
    macros = rendering.environment().get_template("parts/codes.html")
    return str(macros.make_module({"t": lambda text: words.said(language, text)}).meaning(code))  # type: ignore[attr-defined]


def job_codes() -> set[str]:
    """How a job may end, as errors say it; what configures the service or asks for something else is no job's end."""
    ours = {one for one in errors.ServiceError.__subclasses__() if one.__module__ == errors.__name__}  # not the CLI's
    services = {errors.ServiceError, *ours, errors.InputError, VidlmError}
    return MEDIA_CODES | {WORKER_LOST} | {one.code for one in services if one is not errors.ServiceError}


@pytest.mark.parametrize("code", sorted(job_codes()))
def test_every_end_of_a_job_is_explained(code: str) -> None:
    assert meaning(code, "en") not in ("", OTHERWISE)
    assert meaning(code, "zh") != meaning(code, "en")


def test_an_end_that_nobody_foresaw_says_where_to_look() -> None:
    assert meaning("no_such_code", "en") == OTHERWISE
