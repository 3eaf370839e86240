"""What changes from one set of policies to the next: said in words, kept in the audit, and what it costs.

    draft --activate--> active --(another is activated)--> retired
      |                                                       ^
      +-------------------------discard-----------------------+

Knows policies as values; not who changed them, nor where they are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from vidlm.domain import Policy, to_document
from vidlm.errors import PolicyError
from vidlm.moderation.policies import KEPT_SHARE, NEVER, read_policies, to_rows


class SetState(StrEnum):
    """Where a set of policies stands. One is active at a time; what is not a draft is never changed again."""

    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


MAY_FOLLOW: Final[Mapping[SetState, frozenset[SetState]]] = MappingProxyType(
    {
        SetState.DRAFT: frozenset({SetState.ACTIVE, SetState.RETIRED}),
        SetState.ACTIVE: frozenset({SetState.RETIRED}),
        SetState.RETIRED: frozenset(),
    }
)

ASKED: Final = ("blocked", "allowed")
"""The fields that make a policy's question; another question needs other scores."""
_NAMES: Final = {
    "review_threshold": "review",
    "block_threshold": "block",
    "keep_threshold": "keep",
    "min_duration_s": "at_least_s",
}
"""Where a policies' file has another name for a field."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one policy. `field` is None where the whole policy came (`before` is None) or went (`after`)."""

    policy_id: str
    field: str | None
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.field is None:
            return f"{self.policy_id}: {'added' if self.before is None else 'removed'}"
        return f"{self.policy_id}: {_NAMES.get(self.field, self.field)} {_said(self.before)} -> {_said(self.after)}"


def changes(before: Sequence[Policy], after: Sequence[Policy]) -> tuple[Change, ...]:
    """Everything that differs, in the order of `after`, then what was removed. Their order alone is no difference."""
    old, new = {policy.id: policy for policy in before}, {policy.id: policy for policy in after}
    found = [change for policy in after for change in _changes_of(old.get(policy.id), policy)]
    gone = [Change(policy.id, None, to_document(policy), None) for policy in before if policy.id not in new]
    return (*found, *gone)


def _changes_of(before: Policy | None, after: Policy) -> list[Change]:
    if before is None:
        return [Change(after.id, None, None, to_document(after))]
    old, new = to_document(before), to_document(after)
    fields = [field.name for field in dataclasses.fields(Policy)]
    return [Change(after.id, name, old[name], new[name]) for name in fields if old[name] != new[name]]


def unscored(before: Sequence[Policy], after: Sequence[Policy]) -> tuple[str, ...]:
    """The enabled policies of `after` that ask what was not asked under `before`: stored scores know nothing of it."""
    asked = {policy.id: [getattr(policy, name) for name in ASKED] for policy in before if policy.enabled}
    return tuple(
        policy.id
        for policy in after
        if policy.enabled and asked.get(policy.id) != [getattr(policy, name) for name in ASKED]
    )


def with_thresholds(policies: Sequence[Policy], changed: Mapping[str, Mapping[str, Any]]) -> tuple[Policy, ...]:
    """The policies with other numbers, by id and by the names of a policies' file. A `keep` that was not chosen goes
    along with `review`. Raises `PolicyError` that explains, for ids that no policy has too."""
    rows = {row["id"]: row for row in to_rows(policies)}
    for policy, row in zip(policies, list(rows.values()), strict=True):
        new = changed.get(policy.id, {})
        if "review" in new and policy.keep_threshold == KEPT_SHARE * policy.review_threshold:
            row["keep"] = None
        row.update(new)
    for name in changed:
        if name not in rows:
            raise PolicyError(f"policy {name!r}: there is none of this id")
    return read_policies(list(rows.values()))


def _said(value: Any) -> str:
    """A field's value as people write it."""
    if value is None:
        return "as usual"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "never" if value == NEVER else f"{value:g}"
    if isinstance(value, dict) and "from_threshold" in value:
        low, high = value["from_threshold"], value["below_threshold"]
        return f"{low:g} to {high:g}" if high > low else "never"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {label}" for name, label in sorted(value.items())) or "none"
    return repr(value)
