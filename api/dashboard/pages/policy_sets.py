"""One set of policies: a draft is written, tried on the past and put in force here; every other is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Form, Response
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.deps import Service, ServiceDep
from api.policy_schemas import MAX_POLICIES, PolicySetSummary, summary_out
from api.problems import ProblemError
from api.routes.policy_sets import SetId, set_of
from api.routes.what_if import tried
from api.what_if_schemas import WhatIfIn
from vidlm.domain import Policy, Severity
from vidlm.moderation.checking import problems_of
from vidlm.moderation.policies import read_policies, to_rows
from vidlm.moderation.revisions import Change, SetState, changes, unscored
from vidlm.moderation.whatif import ACTIONS
from vidlm.people import accounts
from vidlm.policy import policy_sets, trial_facts
from vidlm.policy.trial_facts import Named
from vidlm.policy.trials import Gone, Missing, Overturned, Trial
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.moderation import PolicySetRow

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/policy-sets/{policy_set_id}")

MAX_POLICY_CHARS: Final = 2_000_000
"""Of a draft's policies as JSON, in a form."""
_WORDS: Final = {
    "review_threshold": "review",
    "block_threshold": "block",
    "keep_threshold": "keep",
    "min_duration_s": "at_least_s",
}
"""What a policies' file calls the fields of a policy, where it says otherwise."""


@dataclass(frozen=True, slots=True)
class SetPage:
    """`rows`: the policies with a policies' file's fields; `force`: those in force. `changes`: of a draft
    against what is in force, of any other against what it went on from. `seen_at`: when it was last changed."""

    set: PolicySetSummary
    based_on: PolicySetSummary | None
    is_draft: bool
    policies: tuple[Policy, ...]
    rows: list[dict[str, Any]]
    force: list[dict[str, Any]]
    changes: tuple[Change, ...]
    titles: dict[str, str]
    names: dict[str, str]
    severities: tuple[Severity, ...]
    seen_at: str


@dataclass(frozen=True, slots=True)
class ChangesPart:
    """A draft against what is in force, word for word. `unscored`: policies whose question was never asked."""

    set: PolicySetSummary
    changes: tuple[Change, ...]
    unscored: tuple[str, ...]
    titles: dict[str, str]
    seen_at: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One verdict, and how many videos had it before and would have it after; `most`: of any."""

    action: str
    before: int
    after: int
    most: int


@dataclass(frozen=True, slots=True)
class TrialPart:
    """A trial as it is shown. `days`: in which its videos came in. `gone`: overturned decisions and their videos."""

    videos: int
    segments: int
    days: float
    queue_before: int
    queue_after: int
    verdicts: tuple[Verdicts, ...]
    moved: tuple[tuple[str, str, int], ...]
    flags: tuple[tuple[str, int | None, int | None], ...]
    missing: tuple[Missing, ...]
    missing_s: float
    gpu_s: float | None
    overturned: Overturned
    gone: tuple[tuple[Gone, Named], ...]
    titles: dict[str, str]
    unchanged: bool


@router.get("")
def get_set(person: PersonDep, service: ServiceDep, policy_set_id: SetId) -> Response:
    """The page."""
    with service.database.read() as session:
        row = set_of(session, person.caller, policy_set_id)
        page = _page(session, service, person.caller, row)
    return rendering.html("policy_set.html", rendering.frame("policies", person), page)


@router.get("/changes")
def get_changes(person: PersonDep, service: ServiceDep, policy_set_id: SetId) -> Response:
    """What would change if it were put in force now."""
    with service.database.read() as session:
        row = set_of(session, person.caller, policy_set_id)
        before, after = _force(session, service, person.caller), policy_sets.policies_of(row)
    part = ChangesPart(
        set=summary_out(row),
        changes=changes(before, after),
        unscored=unscored(before, after),
        titles=_titles(before, after),
        seen_at=_seen_at(row),
    )
    return rendering.html("parts/set_changes.html", rendering.frame("policies", person), part)


@router.post("/check")
def check(
    person: PersonDep,
    service: ServiceDep,
    policy_set_id: SetId,
    policies: Annotated[list[Any], Body(embed=True, max_length=MAX_POLICIES)],
) -> Response:
    """What is wrong with policies that are still being written, and how they differ from what is in force. Changes
    nothing."""
    with service.database.read() as session:
        set_of(session, person.caller, policy_set_id)
        before = _force(session, service, person.caller)
    wrong = problems_of(policies)
    after = () if wrong else read_policies(policies)
    told = [(one.policy_id, one.field and _WORDS.get(one.field, one.field)) for one in changes(before, after)]
    return JSONResponse(
        {
            "problems": [asdict(problem) for problem in wrong],
            "changes": [] if wrong else [{"policy": policy_id, "field": field} for policy_id, field in told],
            "unscored": [] if wrong else unscored(before, after),
        }
    )


@router.post("/what-if")
def what_if(
    person: PersonDep,
    service: ServiceDep,
    policy_set_id: SetId,
    *,
    policies: Annotated[str, Form(max_length=MAX_POLICY_CHARS)],
    days: Annotated[int, Form(ge=0, le=3650)] = 0,
) -> Response:
    """The draft as it stands in the editor, saved or not, against what is in force; of videos of the last `days`."""
    with service.database.read() as session:
        set_of(session, person.caller, policy_set_id)
        now = clock(session)
    since = now - timedelta(days=days) if days else None
    found = tried(service, person.caller, WhatIfIn(policies=_listed(policies), created_from=since))
    with service.database.read() as session:
        part = _trial(session, person.caller, found.trial, since, now)
    titles = _titles(found.before.policies, found.after.policies)
    shown = TrialPart(**part, titles=titles, unchanged=not found.changes)
    return rendering.html("parts/trial.html", rendering.frame("policies", person), shown)


def _page(session: Session, service: Service, caller: Caller, row: PolicySetRow) -> SetPage:
    base = None if row.based_on is None else policy_sets.find(session, caller.tenant_id, row.based_on)
    policies = policy_sets.policies_of(row)
    is_draft = row.state == SetState.DRAFT
    force = _force(session, service, caller)
    before = service.policies.policies if base is None else policy_sets.policies_of(base)
    before = force if is_draft else before
    return SetPage(
        set=summary_out(row),
        based_on=None if base is None else summary_out(base),
        is_draft=is_draft,
        policies=policies,
        rows=to_rows(policies),
        force=to_rows(force),
        changes=changes(before, policies),
        titles=_titles(before, policies),
        names=accounts.names(session, caller.tenant_id),
        severities=tuple(Severity),
        seen_at=_seen_at(row),
    )


def _trial(session: Session, caller: Caller, trial: Trial, since: datetime | None, now: datetime) -> dict[str, Any]:
    videos = trial_facts.videos_of(session, [one.job_id for one in trial.gone], restricted=caller.restricted)
    sides = [{action.value: 0 for action in ACTIONS} for _ in range(2)]
    for before, after, count in trial.moved:
        sides[0][before] += count
        sides[1][after] += count
    most = max((*sides[0].values(), *sides[1].values()), default=0)
    moved = [(before, after, count) for before, after, count in trial.moved if before != after and count]
    flags = [one for one in trial.flags if one[1] != one[2]]
    return {
        "videos": trial.videos,
        "segments": trial.segments,
        "days": trial_facts.days_of(session, caller.tenant_id, since, now),
        "queue_before": trial.queue_before,
        "queue_after": trial.queue_after,
        "verdicts": tuple(Verdicts(name, sides[0][name], sides[1][name], most) for name in sides[0]),
        "moved": tuple(sorted(moved, key=lambda one: -one[2])),
        "flags": tuple(sorted(flags, key=lambda one: -abs((one[2] or 0) - (one[1] or 0)))),
        "missing": trial.missing,
        "missing_s": trial.missing_s,
        "gpu_s": trial.gpu_s,
        "overturned": trial.overturned,
        "gone": tuple((one, videos[one.job_id]) for one in trial.gone if one.job_id in videos),
    }


def _listed(policies: str) -> list[dict[str, Any]]:
    """A form's JSON. Raises `ProblemError` 422."""
    try:
        found = json.loads(policies)
    except (ValueError, RecursionError) as exc:
        raise ProblemError(422, "invalid_request", "policies: not JSON") from exc
    if not isinstance(found, list) or len(found) > MAX_POLICIES or not all(isinstance(one, dict) for one in found):
        raise ProblemError(422, "invalid_request", f"policies: a list of at most {MAX_POLICIES} policies")
    return found


def _force(session: Session, service: Service, caller: Caller) -> tuple[Policy, ...]:
    """What is in force, with what is switched off in it."""
    active = policy_sets.active(session, caller.tenant_id)
    return service.policies.policies if active is None else policy_sets.policies_of(active)


def _titles(*sides: Sequence[Policy]) -> dict[str, str]:
    return {policy.id: policy.title for side in sides for policy in side}


def _seen_at(row: PolicySetRow) -> str:
    return policy_sets.last_changed(row).isoformat()
