"""Golden items: videos whose right decision a lead knows. What is right is added and retired through the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.deps import ServiceDep
from vidlm.domain import JobState
from vidlm.moderation.decisions import FINAL, MAX_NOTE, Outcome
from vidlm.people import accounts
from vidlm.policy import policy_sets
from vidlm.review import deciding, golden
from vidlm.review.golden_looks import Tried, tried
from vidlm.review.settings import settings_of
from vidlm.store.keys import Caller
from vidlm.store.queries import find_video, flags_of, job_of
from vidlm.store.review import GoldenAnswer
from vidlm.store.tables import FlagRow

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/quality/golden")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A video that may become golden. `outcome`, `right`: what was decided about it last, and which flags were right;
    None and nothing where nobody decided."""

    video_id: str
    filename: str | None
    flags: tuple[FlagRow, ...]
    outcome: Outcome | None
    right: frozenset[str]


@dataclass(frozen=True, slots=True)
class GoldenPage:
    """`tried`: by answer, how reviewers did. `asked`: the video id that was asked for; `problem`: a code that says why
    it cannot become golden. `names`: of people; `titles`: of policies in force."""

    answers: Sequence[GoldenAnswer]
    tried: dict[str, Tried]
    names: dict[str, str]
    titles: dict[str, str]
    share: float
    asked: str
    candidate: Candidate | None
    problem: str | None
    max_note: int


@router.get("")
def get_golden(person: PersonDep, service: ServiceDep, video: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The answers that are still shown; with `video`, a form for another one."""
    caller, asked = person.caller, video.strip()
    with service.database.read() as session:
        answers = golden.all_of(session, caller)
        force = policy_sets.in_force(session, caller.tenant_id, service.policies)
        candidate, problem = _candidate(session, caller, asked, answers) if asked else (None, None)
        page = GoldenPage(
            answers=answers,
            tried=tried(session, caller.tenant_id, [answer.id for answer in answers]),
            names=accounts.names(session, caller.tenant_id),
            titles={policy.id: policy.title for policy in force.policies.policies},
            share=settings_of(session, caller.tenant_id).golden_share,
            asked=asked,
            candidate=candidate,
            problem=problem,
            max_note=MAX_NOTE,
        )
    return rendering.html("golden.html", rendering.frame("quality", person), page)


def _candidate(
    session: Session, caller: Caller, video_id: str, answers: Sequence[GoldenAnswer]
) -> tuple[Candidate | None, str | None]:
    """The video, or why it is none: not_found, not_ready, already_golden."""
    video = None if "\0" in video_id else find_video(session, caller.tenant_id, video_id)
    if video is None or video.deleted_at is not None or not golden.may_see(session, caller, video.id):
        return None, "not_found"
    job = job_of(session, video.id)
    flags = tuple(flags_of(session, job.id))
    if job.state != JobState.READY:
        return None, "not_ready"
    if any(answer.video_id == video.id for answer in answers):
        return None, "already_golden"
    outcome, right = _last_word(session, caller, video.id)
    return Candidate(video.id, video.filename, flags, outcome, right), None


def _last_word(session: Session, caller: Caller, video_id: str) -> tuple[Outcome | None, frozenset[str]]:
    """What was decided last, and the flags that were right by that."""
    for decision, said in reversed(deciding.of_video(session, caller, video_id)):
        if decision.undone_at is None and decision.outcome in FINAL:
            right = frozenset(one.flag_id for one in said if one.flag_id and one.verdict in ("confirm", "wrong_time"))
            return Outcome(decision.outcome), right
    return None, frozenset()
