"""A tenant's sets of policies: drafted, changed, put in force, replaced. Each step inside ONE transaction, audited.

    create -> change ... -> activate -> (another one is activated)
                        \\-> discard

A tenant that never activated a set is under the service's own policies, the file's or the built-in ones. A job is
scored under the set that was in force when it was prepared, whatever is activated meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session, col, func, select

from vidlm.domain import Policy
from vidlm.errors import ConflictError
from vidlm.moderation.policies import PolicySet, policy_set, read_policies, to_rows
from vidlm.moderation.revisions import MAY_FOLLOW, Change, SetState, changes
from vidlm.store.chain import audit
from vidlm.store.engine import clock, lock_key
from vidlm.store.moderation import PolicySetRow

MAX_DRAFTS: Final = 50
"""Of one tenant at a time."""
_TEXTS: Final = frozenset({"title", "blocked", "allowed"})


@dataclass(frozen=True, slots=True)
class InForce:
    """The policies that a tenant's videos are scored with. `id` is None for the service's own."""

    id: str | None
    policies: PolicySet


def create(
    session: Session,
    *,
    tenant_id: str,
    actor: str,
    name: str,
    policies: Sequence[Policy],
    based_on: PolicySetRow | None = None,
) -> PolicySetRow:
    """A draft. Raises `PolicyError` where the policies make no set, `ConflictError` (`too_many_drafts`)."""
    lock_key(session, _lock_of(tenant_id))
    version = policy_set(tuple(policies)).version
    mine = col(PolicySetRow.tenant_id) == tenant_id
    drafts = select(func.count()).where(mine, col(PolicySetRow.state) == SetState.DRAFT.value)
    if session.exec(drafts).one() >= MAX_DRAFTS:
        raise ConflictError(f"there are {MAX_DRAFTS} drafts already: discard one", code="too_many_drafts")
    newest = session.exec(select(func.max(PolicySetRow.number)).where(mine)).one()
    row = PolicySetRow(
        tenant_id=tenant_id,
        number=(newest or 0) + 1,
        name=name,
        version=version,
        policies=to_rows(policies),
        based_on=based_on.id if based_on else None,
        created_at=clock(session),
        created_by=actor,
    )
    session.add(row)
    _audit(session, row, actor, "policy_set.created", version=version)
    return row


def change(
    session: Session,
    row: PolicySetRow,
    *,
    actor: str,
    name: str | None = None,
    policies: Sequence[Policy] | None = None,
) -> tuple[Change, ...]:
    """Another name or other policies for a draft; what changed. The caller holds the row's lock.

    Raises `PolicyError`, and `ConflictError` (`not_a_draft`).
    """
    if row.state != SetState.DRAFT:
        raise ConflictError(f"this set is {row.state}: copy it into a new draft", code="not_a_draft")
    made: tuple[Change, ...] = ()
    if policies is not None:
        version = policy_set(tuple(policies)).version
        made = changes(policies_of(row), policies)
        row.policies, row.version = to_rows(policies), version
    row.name = row.name if name is None else name
    row.changed_at, row.changed_by = clock(session), actor
    _audit(session, row, actor, "policy_set.changed", version=row.version, changes=told(made))
    return made


def activate(
    session: Session, row: PolicySetRow, *, actor: str, reason: str, before: Sequence[Policy]
) -> tuple[Change, ...]:
    """Put a draft in force; what changes with it. `before`: what was in force. The caller holds the tenant's lock.

    Raises `ConflictError` (`not_a_draft`).
    """
    if SetState.ACTIVE not in MAY_FOLLOW[SetState(row.state)]:
        raise ConflictError(f"this set is {row.state}: only a draft can be activated", code="not_a_draft")
    made = changes(before, policies_of(row))
    now = clock(session)
    retiring = active(session, row.tenant_id)
    if retiring is not None:
        retiring.state = SetState.RETIRED.value
        retiring.retired_at, retiring.retired_by = now, actor
        session.flush()  # one is active at a time
    row.state = SetState.ACTIVE.value
    row.activated_at, row.activated_by, row.reason = now, actor, reason
    _audit(
        session,
        row,
        actor,
        "policy_set.activated",
        version=row.version,
        replaces=retiring.id if retiring else None,
        changes=told(made),
    )
    return made


def discard(session: Session, row: PolicySetRow, *, actor: str) -> None:
    """A draft that is not wanted. Raises `ConflictError` (`not_a_draft`)."""
    if row.state != SetState.DRAFT:
        raise ConflictError(f"this set is {row.state}: only a draft can be discarded", code="not_a_draft")
    row.state = SetState.RETIRED.value
    row.retired_at, row.retired_by = clock(session), actor
    _audit(session, row, actor, "policy_set.discarded")


def last_changed(row: PolicySetRow) -> datetime:
    """When a set's content was last written."""
    return row.changed_at or row.created_at


def must_be_as_seen(row: PolicySetRow, seen_at: datetime | None) -> None:
    """Raises `ConflictError` (`changed_meanwhile`) where a set was changed after `seen_at`, an aware time."""
    if seen_at is not None and last_changed(row) > seen_at:
        raise ConflictError("somebody else changed this set meanwhile", code="changed_meanwhile")


def lock(session: Session, tenant_id: str) -> None:
    """Until the transaction ends nobody else changes which of the tenant's sets is active."""
    lock_key(session, _lock_of(tenant_id))


def find(session: Session, tenant_id: str, set_id: str, *, lock: bool = False) -> PolicySetRow | None:
    """One of the tenant's sets; with `lock`, nobody else changes it meanwhile."""
    query = select(PolicySetRow).where(PolicySetRow.id == set_id, PolicySetRow.tenant_id == tenant_id)
    return session.exec(query.with_for_update() if lock else query).first()


def list_all(session: Session, tenant_id: str, *, most: int, before: int | None = None) -> Sequence[PolicySetRow]:
    """Up to `most` of the tenant's sets, the newest first, with numbers below `before`."""
    query = select(PolicySetRow).where(PolicySetRow.tenant_id == tenant_id)
    if before is not None:
        query = query.where(PolicySetRow.number < before)
    return session.exec(query.order_by(col(PolicySetRow.number).desc()).limit(most)).all()


def active(session: Session, tenant_id: str) -> PolicySetRow | None:
    """The tenant's active set, if it has one."""
    query = select(PolicySetRow).where(PolicySetRow.tenant_id == tenant_id, PolicySetRow.state == SetState.ACTIVE.value)
    return session.exec(query).first()


def in_force(session: Session, tenant_id: str, own: PolicySet) -> InForce:
    """What the tenant's videos are scored with now; `own` are the service's policies."""
    row = active(session, tenant_id)
    return InForce(None, own) if row is None else InForce(row.id, policy_set(policies_of(row)))


def pinned(session: Session, set_id: str | None, own: PolicySet) -> PolicySet:
    """The policies that a job was pinned to when it was prepared."""
    return own if set_id is None else policy_set(policies_of(session.get_one(PolicySetRow, set_id)))


def policies_of(row: PolicySetRow) -> tuple[Policy, ...]:
    """All policies of a set, the disabled ones too."""
    return read_policies(row.policies)


def told(made: Sequence[Change]) -> list[dict[str, Any]]:
    """Changes as the audit keeps them: numbers and choices, but of texts only that they changed."""
    whole = [change for change in made if change.field is None]
    fields = [change for change in made if change.field is not None]
    return [
        *({"policy": one.policy_id, "change": "added" if one.before is None else "removed"} for one in whole),
        *(
            {"policy": one.policy_id, "field": one.field}
            | ({} if one.field in _TEXTS else {"before": one.before, "after": one.after})
            for one in fields
        ),
    ]


def _audit(session: Session, row: PolicySetRow, actor: str, event: str, **details: Any) -> None:
    audit(session, tenant_id=row.tenant_id, actor=actor, event=event, target_id=row.id, details=details)


def _lock_of(tenant_id: str) -> str:
    return f"policy_sets {tenant_id}"
