"""How review is arranged: the queues with their rules, and the tenant's settings. Changed through the API by leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Response

from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.deps import ServiceDep
from vidlm.domain import Action, Role, Severity
from vidlm.moderation.routing import to_document
from vidlm.policy import policy_sets
from vidlm.review import queues
from vidlm.review.settings import BOUNDS, settings_of
from vidlm.store.review import ReviewQueue

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/quality/rules")

UNITS: Final = {
    "lock_s": ("min", 60.0),
    "undo_s": ("min", 60.0),
    "golden_share": ("%", 0.01),
    "doubled_share": ("%", 0.01),
    "weighted_minutes": ("min", 1.0),
    "stretch_minutes": ("min", 1.0),
    "severe_in_a_row": ("videos", 1.0),
    "appeals_most": ("appeals", 1.0),
}
"""How each setting is shown: its unit, and how much of the stored one that is."""


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting as it is shown. `value`, `least`, `most` in `unit`, of which one is `scale` of what is stored."""

    name: str
    value: float
    least: float
    most: float
    unit: str
    scale: float
    whole: bool


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A queue, and how much waits in it. `rule`: its parts, None where nothing comes by a rule."""

    name: str
    title: str
    position: int
    rule: dict[str, Any] | None
    needs_role: Role
    restricted: bool
    opinions: int
    built_in: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class RulesPage:
    """`policies`: ids and titles of what a rule may name, parents among them. `own`: how many queues leads made."""

    lines: tuple[QueueLine, ...]
    fields: tuple[SettingField, ...]
    policies: tuple[tuple[str, str], ...]
    severities: tuple[Severity, ...]
    verdicts: tuple[Action, ...]
    own: int


@router.get("")
def get_rules(person: PersonDep, service: ServiceDep) -> Response:
    """Both forms, with what is so now."""
    caller = person.caller
    with service.database.read() as session:
        waits = queues.waiting(session, caller.tenant_id, restricted=caller.restricted)
        lines = tuple(_line(one, waits.get(one.id)) for one in queues.listed(session, caller.tenant_id))
        settings = settings_of(session, caller.tenant_id)
        force = policy_sets.in_force(session, caller.tenant_id, service.policies).policies
    page = RulesPage(
        lines=lines,
        fields=tuple(field_of(name, getattr(settings, name)) for name in UNITS),
        policies=nameable([(policy.id, policy.title) for policy in force.policies]),
        severities=tuple(Severity)[1:],
        verdicts=tuple(Action),
        own=sum(not line.built_in for line in lines),
    )
    return rendering.html("rules.html", rendering.frame("quality", person), page)


def field_of(name: str, stored: float) -> SettingField:
    """A setting in the unit that people think of it in; rounded, as 0.07 is not quite 7 %."""
    unit, scale = UNITS[name]
    least, most = BOUNDS[name]
    value, low, high = (round(one / scale, 6) for one in (stored, least, most))
    return SettingField(name, value, low, high, unit, scale, whole=isinstance(least, int))


def nameable(policies: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Policies, each group of them after its parent, which stands for all of the group."""
    found: dict[str, str] = {}
    for policy_id, title in sorted(policies):
        parent = policy_id.partition(".")[0]
        found.setdefault(parent, parent)
        found[policy_id] = title
    return tuple(found.items())


def _line(queue: ReviewQueue, waits: queues.Waiting | None) -> QueueLine:
    rule = queues.rule_in(queue)
    return QueueLine(
        name=queue.name,
        title=queue.title,
        position=queue.position,
        rule=None if rule is None else to_document(rule),
        needs_role=Role(queue.needs_role),
        restricted=queue.restricted,
        opinions=queue.opinions,
        built_in=queue.built_in,
        waiting=0 if waits is None else sum(waits.waiting.values()),
    )
