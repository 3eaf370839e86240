"""One policy: its words, its thresholds over the scores that are stored, and what decisions say of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Response
from sqlmodel import Session

from api.backfill_schemas import BackfillOut, backfill_out
from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.dashboard.pages.policies import FLAG_DAYS, QUALITY_DAYS
from api.dashboard.policy_charts import HistogramChart, ReliabilityChart, histogram_chart, reliability_chart
from api.deps import Service, ServiceDep
from api.policy_schemas import PolicySetSummary, summary_out
from api.problems import not_found
from api.quality_schemas import ProposalOut
from api.quality_views import proposal_out
from api.routes.policy_sets import set_of
from api.routes.quality import policy_of
from vidlm.domain import Policy
from vidlm.moderation.revisions import SetState
from vidlm.moderation.routing import is_restricted
from vidlm.people import accounts
from vidlm.policy import backfills, policy_sets
from vidlm.policy.flag_counts import flag_counts
from vidlm.policy.histograms import MOST, Histogram, histogram
from vidlm.review import deciding, proposals
from vidlm.review.quality import PolicyQuality, policy_quality
from vidlm.review.standing import Window
from vidlm.store.engine import clock
from vidlm.store.keys import Caller
from vidlm.store.moderation import PolicySetRow

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/policies/{policy_id}")

PolicyId = Annotated[str, Path(max_length=200)]
SetId = Annotated[str, Query(alias="set", max_length=64)]
Counts = Annotated[Literal["linear", "log"], Query()]
Days = Annotated[int, Query(ge=0, le=3650)]

PROPOSALS: Final = 10
BACKFILLS: Final = 5
_LOOKED_THROUGH: Final = 100
"""Backfills of the tenant, the newest, among which those of a policy are looked for."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A policy, and whose: of a set, or without one of the service's own. `judges`: videos are judged by it now."""

    policy: Policy
    of: PolicySetRow | None
    in_force: bool

    @property
    def judges(self) -> bool:
        return self.in_force and self.policy.enabled


@dataclass(frozen=True, slots=True)
class HistogramPart:
    """`found`, `chart`: None where whoever looks may not know. `address`: of this part, without the kind of counts."""

    policy: Policy
    found: Histogram | None
    chart: HistogramChart | None
    address: str
    most: int


@dataclass(frozen=True, slots=True)
class BackfillsPart:
    """`address`: of this part. `running`: so it is asked for again soon."""

    policy: Policy
    items: tuple[BackfillOut, ...]
    names: dict[str, str]
    address: str
    running: bool


@dataclass(frozen=True, slots=True)
class ProposalsPart:
    policy: Policy
    items: tuple[ProposalOut, ...]
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class QualityPart:
    policy: Policy
    figures: PolicyQuality
    chart: ReliabilityChart
    days: int
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PolicyPage:
    """`of`: the set that the policy is shown from, None for the service's own. `proposals`: None where there can be
    none, as with a policy that is not in force. `decided`: there are decisions, so that there will be figures of them.
    `flags`: of the last days; None where whoever looks may not know."""

    policy: Policy
    of: PolicySetSummary | None
    in_force: bool
    judges: bool
    restricted: bool
    decided: bool
    flags: int | None
    flag_days: int
    quality_days: int
    histogram: HistogramPart
    proposals: ProposalsPart | None
    backfills: BackfillsPart


@router.get("")
def get_policy(
    person: PersonDep,
    service: ServiceDep,
    policy_id: PolicyId,
    set_id: SetId = "",
    counts: Counts = "linear",
) -> Response:
    """The page: of the policy in force, or with `set` of that set's."""
    caller = person.caller
    around = rendering.frame("policies", person)
    leads = around.may("GET", "/v1/policies/{policy_id}/quality")
    with service.database.read() as session:
        chosen = chosen_of(session, service, caller, policy_id, set_id)
        secret = is_restricted(policy_id)
        since = clock(session) - timedelta(days=FLAG_DAYS)
        flags = flag_counts(session, caller.tenant_id, since)
        page = PolicyPage(
            policy=chosen.policy,
            of=None if chosen.of is None else summary_out(chosen.of),
            in_force=chosen.in_force,
            judges=chosen.judges,
            restricted=secret,
            decided=deciding.any_made(session, caller.tenant_id),
            flags=flags.get(policy_id, 0) if _may_know(caller, restricted=secret) else None,
            flag_days=FLAG_DAYS,
            quality_days=QUALITY_DAYS,
            histogram=_histogram(session, service, caller, chosen, counts),
            proposals=_proposals(session, caller, chosen.policy) if leads and chosen.judges and not secret else None,
            backfills=_backfills(session, caller, chosen),
        )
    return rendering.html("policy.html", around, page)


@router.get("/histogram")
def get_histogram(
    person: PersonDep,
    service: ServiceDep,
    policy_id: PolicyId,
    set_id: SetId = "",
    counts: Counts = "linear",
) -> Response:
    """The histogram alone."""
    with service.database.read() as session:
        chosen = chosen_of(session, service, person.caller, policy_id, set_id)
        part = _histogram(session, service, person.caller, chosen, counts)
    return rendering.html("parts/histogram.html", rendering.frame("policies", person), part)


@router.get("/backfills")
def get_backfills(person: PersonDep, service: ServiceDep, policy_id: PolicyId, set_id: SetId = "") -> Response:
    """How far backfills of this policy are."""
    with service.database.read() as session:
        chosen = chosen_of(session, service, person.caller, policy_id, set_id)
        part = _backfills(session, person.caller, chosen)
    return rendering.html("parts/backfills.html", rendering.frame("policies", person), part)


@router.get("/quality")
def get_quality(person: PersonDep, service: ServiceDep, policy_id: PolicyId, days: Days = QUALITY_DAYS) -> Response:
    """What decisions say of it, of videos filed in the last `days`; 0: ever. Apart: it rests on many rows."""
    with service.database.read() as session:
        policy = policy_of(session, service, person.caller, policy_id)
        since = clock(session) - timedelta(days=days) if days else None
        figures = policy_quality(session, person.caller.tenant_id, policy, service.policies, Window(since, None))
    part = QualityPart(policy, figures, reliability_chart(figures.calibration.table), days, (30, 90, 365, 0))
    return rendering.html("parts/policy_quality.html", rendering.frame("policies", person), part)


@router.get("/proposals")
def get_proposals(person: PersonDep, service: ServiceDep, policy_id: PolicyId) -> Response:
    """Thresholds that were suggested."""
    with service.database.read() as session:
        policy = policy_of(session, service, person.caller, policy_id)
        part = _proposals(session, person.caller, policy)
    return rendering.html("parts/proposals.html", rendering.frame("policies", person), part)


def chosen_of(session: Session, service: Service, caller: Caller, policy_id: str, set_id: str) -> Chosen:
    """The policy of a set, or without one that of what is in force. Raises `ProblemError` 404."""
    active = policy_sets.active(session, caller.tenant_id)
    row = set_of(session, caller, set_id) if set_id else active
    policies = service.policies.policies if row is None else policy_sets.policies_of(row)
    policy = next((one for one in policies if one.id == policy_id), None)
    if policy is None:
        raise not_found("policy")
    return Chosen(policy, row, row is None or row.state == SetState.ACTIVE)


def _may_know(caller: Caller, *, restricted: bool) -> bool:
    return caller.restricted or not restricted


def _histogram(session: Session, service: Service, caller: Caller, chosen: Chosen, counts: str) -> HistogramPart:
    policy = chosen.policy
    address = f"/policies/{policy.id}/histogram?" + (f"set={chosen.of.id}&" if chosen.of is not None else "")
    if not _may_know(caller, restricted=is_restricted(policy.id)):
        return HistogramPart(policy, None, None, address, MOST)
    found = histogram(session, caller.tenant_id, policy, service.policies)
    chart = histogram_chart(found, policy, logarithmic=counts == "log")
    return HistogramPart(policy, found, chart, address, MOST)


def _backfills(session: Session, caller: Caller, chosen: Chosen) -> BackfillsPart:
    rows = backfills.list_all(session, caller.tenant_id, most=_LOOKED_THROUGH)
    mine = [backfill_out(row) for row in rows if row.policy_id == chosen.policy.id]
    if not _may_know(caller, restricted=is_restricted(chosen.policy.id)):
        mine = []
    return BackfillsPart(
        policy=chosen.policy,
        items=tuple(mine[:BACKFILLS]),
        names=accounts.names(session, caller.tenant_id),
        address=f"/policies/{chosen.policy.id}/backfills" + (f"?set={chosen.of.id}" if chosen.of is not None else ""),
        running=any(one.state == "running" for one in mine[:BACKFILLS]),
    )


def _proposals(session: Session, caller: Caller, policy: Policy) -> ProposalsPart:
    rows = proposals.all_of(session, caller.tenant_id, policy.id, most=PROPOSALS)
    return ProposalsPart(policy, tuple(map(proposal_out, rows)), accounts.names(session, caller.tenant_id))
