"""Policies and sets of them as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from vidlm.domain import Severity, to_document
from vidlm.moderation.labels import Scheme
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.revisions import Change, SetState
from vidlm.store.moderation import PolicySetRow

MAX_NAME = 120
MAX_REASON = 2000
MAX_POLICIES = 500


class BandOut(BaseModel):
    """Scores from the one threshold on, below the other."""

    from_threshold: float
    below_threshold: float


class PolicyOut(BaseModel):
    id: str
    title: str
    parent: str
    blocked: str
    allowed: str
    severity: Severity
    review_threshold: float
    block_threshold: float
    keep_threshold: float = Field(description="A flag that has begun goes on while the score is at least so high.")
    min_duration_s: float = Field(description="A shorter flag is none, unless it would block.")
    labels: dict[str, str] = Field(description="What other taxonomies call it.")
    enabled: bool
    second_look: BandOut | None = Field(
        description="The scores that are looked at again before a verdict; null: from half of `keep_threshold` up to "
        "`block_threshold`."
    )


class PoliciesOut(BaseModel):
    """The policies every video is scored with, and the version results name."""

    version: str
    policy_set_id: str | None = Field(description="The set that was put in force; null for the service's own policies.")
    policies: list[PolicyOut]


class LabelOut(BaseModel):
    """One flag's `[start_s, end_s)` under a label of another taxonomy."""

    id: str
    title: str
    parents: list[str] = Field(description="From the top of the taxonomy down to the label.")
    policy_id: str
    start_s: float
    end_s: float
    confidence: float


class LabelsOut(BaseModel):
    """A video's flags in the words of another taxonomy."""

    scheme: Scheme
    labels: list[LabelOut]


class PolicySetIn(BaseModel):
    """A new draft: from `policies`, from `yaml`, or, with neither, a copy of `based_on` or of what is in force."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    based_on: str | None = Field(default=None, max_length=64, description="The set that the draft goes on from.")
    policies: list[dict[str, Any]] | None = Field(
        default=None, max_length=MAX_POLICIES, description="All policies of the set, with a policies' file's fields."
    )
    yaml: str | None = Field(default=None, description="The same as the text of a policies' file.")


class SeenSet(BaseModel):
    """What somebody has before their eyes when they change a set."""

    seen_at: AwareDatetime | None = Field(
        default=None,
        description="When the set was last changed, as its reader saw it (`changed_at`, or `created_at` of one that "
        "nobody changed yet): 409 `changed_meanwhile` when somebody changed it since. Left out: whatever it is now.",
    )


class PolicySetChange(SeenSet):
    """What a draft is to become. Fields that are left out stay."""

    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)
    policies: list[dict[str, Any]] | None = Field(default=None, max_length=MAX_POLICIES)
    yaml: str | None = None


class ActivationIn(SeenSet):
    reason: str = Field(min_length=1, max_length=MAX_REASON, description="Why; kept with the set.")


class ChangeOut(BaseModel):
    """One field that differs from what the set goes on from; `field` is null where a whole policy came or went."""

    policy_id: str
    field: str | None
    text: str


class PolicySetSummary(BaseModel):
    """A set without its policies."""

    id: str
    number: int
    name: str
    state: SetState
    version: str
    based_on: str | None
    created_at: datetime
    created_by: str
    changed_at: datetime | None
    changed_by: str | None
    activated_at: datetime | None
    activated_by: str | None
    reason: str | None
    retired_at: datetime | None
    retired_by: str | None


class PolicySetOut(PolicySetSummary):
    """A set, and how it differs from what it goes on from."""

    policies: list[dict[str, Any]] = Field(description="With a policies' file's fields.")
    changes: list[ChangeOut]
    unscored: list[str] = Field(description="Policies whose question nobody asked yet: scoring them costs time.")


class PolicySetPage(BaseModel):
    items: list[PolicySetSummary]
    next_before: int | None = Field(description="For the next page: `?before=`.")


def policies_out(policies: PolicySet, set_id: str | None) -> PoliciesOut:
    """What is in force, as the API shows it."""
    shown = [PolicyOut(**to_document(policy)) for policy in policies.policies]
    return PoliciesOut(version=policies.version, policy_set_id=set_id, policies=shown)


def summary_out(row: PolicySetRow) -> PolicySetSummary:
    """A set's row without its policies."""
    return PolicySetSummary(**row.model_dump(exclude={"tenant_id", "policies"}))


def policy_set_out(row: PolicySetRow, made: Sequence[Change], unscored: Sequence[str]) -> PolicySetOut:
    """A set's row, and how it differs from what it goes on from."""
    shown = [ChangeOut(policy_id=one.policy_id, field=one.field, text=str(one)) for one in made]
    return PolicySetOut(**row.model_dump(exclude={"tenant_id"}), changes=shown, unscored=list(unscored))
