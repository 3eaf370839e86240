"""The rows that figures of quality begin with: videos as they were filed, decisions that stand. Changes nothing.

review_item (no parent, not golden)  ->  Filed        one a video
review_decision (not undone, yes or no)  ->  Last     the last one of a settled video
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, false, func, or_, select
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col

from vidlm.moderation.decisions import FINAL, FlagVerdict, ItemState, Occasion
from vidlm.review.case import MISSED
from vidlm.store.review import FlagDecision, ReviewDecision, ReviewItem
from vidlm.store.tables import Job

RANKS_ALIKE: Final = 100
"""Ranks of one class: a tenth of a severity's (`vidlm.review.items.rank_of`)."""
_FIRST: Final = (Occasion.FLAGGED.value, Occasion.SAMPLED.value)
_VIOLATED: Final = (*(one.value for one in FlagVerdict if one.is_violation), MISSED)


@dataclass(frozen=True, slots=True)
class Window:
    """Videos that were filed for review in [since, until); None: without an end."""

    since: datetime | None = None
    until: datetime | None = None

    def holds(self, column: Mapped[Any]) -> list[ColumnElement[bool]]:
        """As conditions on a column of times."""
        bounds = [] if self.since is None else [column >= self.since]
        return bounds if self.until is None else [*bounds, column < self.until]


ALWAYS: Final = Window()


class Filed(NamedTuple):
    """A video as it was filed. `while_drawn`: cleared ones were being drawn by then."""

    job_id: str
    queue_id: str
    rank: int
    inclusion: float
    occasion: str
    while_drawn: bool

    @property
    def likes(self) -> tuple[str, int]:
        """Its class: the queue, and about how urgent it is."""
        return self.queue_id, self.rank // RANKS_ALIKE


class Last(NamedTuple):
    """A video's last standing decision, and what made the scores it is about."""

    job_id: str
    id: str
    model: str
    prompts: str
    policy_set_id: str | None


def stands() -> list[ColumnElement[bool]]:
    """What makes a decision one that stands and says yes or no, about a video that may be counted."""
    return [
        col(ReviewDecision.undone_at).is_(None),
        col(ReviewDecision.outcome).in_([outcome.value for outcome in FINAL]),
        col(ReviewDecision.occasion) != Occasion.GOLDEN.value,
        col(ReviewDecision.restricted).is_(False),
    ]


def is_settled() -> ColumnElement[bool]:
    """Whether a `Job`'s video needs nobody any more: no second opinion is awaited, nobody disagrees."""
    return col(Job.review_state).in_([state.value for state in FINAL.values()])


def roots(tenant_id: str, window: Window) -> list[ColumnElement[bool]]:
    """The item that a video was filed with."""
    return [
        col(ReviewItem.tenant_id) == tenant_id,
        col(ReviewItem.parent_id).is_(None),
        col(ReviewItem.occasion).in_(_FIRST),
        col(ReviewItem.state) != ItemState.WITHDRAWN.value,
        col(ReviewItem.restricted).is_(False),
        *window.holds(col(ReviewItem.created_at)),
    ]


def filed(session: Session, tenant_id: str, window: Window) -> list[Filed]:
    """Each video, oldest first."""
    where = roots(tenant_id, window)
    sampled = col(ReviewItem.occasion) == Occasion.SAMPLED.value
    begun = session.execute(select(func.min(col(ReviewItem.created_at))).where(*where, sampled)).scalar_one()
    while_drawn = false() if begun is None else col(ReviewItem.created_at) >= begun
    columns = (ReviewItem.job_id, ReviewItem.queue_id, ReviewItem.rank, ReviewItem.inclusion, ReviewItem.occasion)
    query = select(*map(col, columns), while_drawn.label("while_drawn")).where(*where)
    rows: Sequence[Any] = session.execute(query.order_by(col(ReviewItem.id))).all()
    return [Filed(*row) for row in rows]


def standing(session: Session, tenant_id: str) -> dict[str, Last]:
    """By job, its last standing decision; of settled videos."""
    provenance = col(ReviewDecision.pinned)["provenance"]
    query = (
        select(
            col(ReviewDecision.job_id),
            col(ReviewDecision.id),
            provenance["model_revision"].as_string(),
            provenance["prompt_version"].as_string(),
            col(Job.policy_set_id),
        )
        .join(Job, col(Job.id) == col(ReviewDecision.job_id))
        .where(col(ReviewDecision.tenant_id) == tenant_id, *stands(), is_settled())
    )
    ordered = query.order_by(col(ReviewDecision.created_at), col(ReviewDecision.id))
    rows: Sequence[Any] = session.execute(ordered).all()
    return {row[0]: Last(*row) for row in rows}


def violated(session: Session, tenant_id: str, policy_id: str) -> set[str]:
    """Decisions by which the video violates the policy."""
    query = select(col(FlagDecision.decision_id)).where(
        col(FlagDecision.tenant_id) == tenant_id, says_violation(policy_id)
    )
    return set(session.execute(query).scalars())


def says_violation(policy_id: str) -> ColumnElement[bool]:
    """Of a `FlagDecision`: whether it says that the policy is violated."""
    return or_(
        and_(col(FlagDecision.policy_id) == policy_id, col(FlagDecision.verdict).in_(_VIOLATED)),
        and_(
            col(FlagDecision.right_policy_id) == policy_id,
            col(FlagDecision.verdict) == FlagVerdict.WRONG_POLICY.value,
        ),
    )
