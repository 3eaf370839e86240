"""What reviewers said of golden items against what is right: of one policy, and of each reviewer. Changes nothing.

Restricted videos, decisions that were undone and those that settle nothing (somebody else was asked) do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy import ColumnElement, case, func, select
from sqlmodel import Session, col

from vidlm.moderation.agreement import GoldenRecord, golden_record
from vidlm.moderation.decisions import FINAL, Occasion, Outcome
from vidlm.moderation.reviewer_errors import GoldenCounts
from vidlm.review.standing import ALWAYS, Window, says_violation
from vidlm.store.review import FlagDecision, GoldenAnswer, ReviewDecision, ReviewItem

ENOUGH: Final = 20
"""Looks at golden violations, and as many at clean golden videos, from which on decisions are corrected by them: with
fewer, the interval of what is corrected says hardly more than that anything is possible."""


@dataclass(frozen=True, slots=True)
class GoldenLooks:
    """Looks at golden videos under one policy. `flagged`: at videos with a flag of it; `unflagged`: at clean videos
    without one, with the violations of the others, as a golden answer tells of flags only."""

    flagged: GoldenCounts
    unflagged: GoldenCounts

    @property
    def suffice_above(self) -> bool:
        """Whether they can correct what is said of flagged videos."""
        return min(self.flagged.violations, self.flagged.clean) >= ENOUGH

    @property
    def suffice_below(self) -> bool:
        """Whether they can correct what is said of the others as well."""
        return self.suffice_above and self.unflagged.clean >= ENOUGH


def looks(session: Session, tenant_id: str, policy_id: str, window: Window = ALWAYS) -> GoldenLooks:
    """What all reviewers together said of the policy; `window` is of the times they said it.

    Of a golden video the policy is violated if one of its flags is right by the answer, and else clean. One that is to
    be removed for something that is no flag is not counted where the policy was not flagged: it may be just that.
    """
    where = _golden(tenant_id, window)
    base = select(
        col(ReviewDecision.id), col(GoldenAnswer.outcome), col(GoldenAnswer.violated), says_violation(policy_id)
    )
    query = (
        base.add_columns(col(FlagDecision.flag_id), col(FlagDecision.policy_id) == policy_id)
        .join(ReviewItem, col(ReviewItem.id) == col(ReviewDecision.item_id))
        .join(GoldenAnswer, col(GoldenAnswer.id) == col(ReviewItem.golden_id))
        .join(FlagDecision, col(FlagDecision.decision_id) == col(ReviewDecision.id), isouter=True)
        .where(*where)
    )
    said: dict[str, bool] = {}
    flagged: dict[str, bool] = {}
    right: dict[str, bool] = {}
    unclear: set[str] = set()
    for decision_id, outcome, violated, says, flag_id, is_its in session.execute(query).all():
        its_flag = bool(is_its) and flag_id is not None
        said[decision_id] = said.get(decision_id, False) or bool(says)
        flagged[decision_id] = flagged.get(decision_id, False) or its_flag
        right[decision_id] = right.get(decision_id, False) or (its_flag and flag_id in violated)
        if outcome == Outcome.REMOVE and not violated:
            unclear.add(decision_id)
    counts = Counter((flagged[one], right[one], said[one]) for one in said if flagged[one] or one not in unclear)
    seen, overlooked = counts[True, True, True], counts[True, True, False]
    return GoldenLooks(
        flagged=_counts(seen, overlooked, counts[True, False, False], counts[True, False, True]),
        unflagged=_counts(seen, overlooked, counts[False, False, False], counts[False, False, True]),
    )


def records(session: Session, tenant_id: str, window: Window = ALWAYS) -> dict[str, GoldenRecord]:
    """By reviewer: removed is what was to be removed, approved what was to stay."""
    query = (
        select(col(ReviewDecision.actor), col(ReviewDecision.outcome), col(GoldenAnswer.outcome))
        .join(ReviewItem, col(ReviewItem.id) == col(ReviewDecision.item_id))
        .join(GoldenAnswer, col(GoldenAnswer.id) == col(ReviewItem.golden_id))
        .where(*_golden(tenant_id, window))
    )
    by_actor: dict[str, list[tuple[bool, bool]]] = {}
    for actor, said, right in session.execute(query).all():
        by_actor.setdefault(actor, []).append((said == Outcome.REMOVE, right == Outcome.REMOVE))
    return {actor: golden_record(*np.asarray(pairs).T) for actor, pairs in by_actor.items()}


@dataclass(frozen=True, slots=True)
class Tried:
    """What reviewers said of one golden item: how many decided, and how many of them as is right."""

    looks: int
    right: int


def tried(session: Session, tenant_id: str, answers: Sequence[str], window: Window = ALWAYS) -> dict[str, Tried]:
    """By golden answer, of these; one that nobody decided about is not there."""
    is_right = case((col(ReviewDecision.outcome) == col(GoldenAnswer.outcome), 1), else_=0)
    query = (
        select(col(GoldenAnswer.id), func.count(), func.sum(is_right))
        .join(ReviewItem, col(ReviewItem.golden_id) == col(GoldenAnswer.id))
        .join(ReviewDecision, col(ReviewDecision.item_id) == col(ReviewItem.id))
        .where(col(GoldenAnswer.id).in_(answers), *_golden(tenant_id, window))
        .group_by(col(GoldenAnswer.id))
    )
    return {answer: Tried(looks, right) for answer, looks, right in session.execute(query).all()}


def _golden(tenant_id: str, window: Window) -> list[ColumnElement[bool]]:
    return [
        col(ReviewDecision.tenant_id) == tenant_id,
        col(ReviewDecision.occasion) == Occasion.GOLDEN.value,
        col(ReviewDecision.outcome).in_([outcome.value for outcome in FINAL]),
        col(ReviewDecision.undone_at).is_(None),
        col(ReviewDecision.restricted).is_(False),
        *window.holds(col(ReviewDecision.created_at)),
    ]


def _counts(seen: int, overlooked: int, passed: int, accused: int) -> GoldenCounts:
    return GoldenCounts(seen, seen + overlooked, passed, passed + accused)
