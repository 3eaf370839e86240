"""What a lead may wish for from a threshold, and whether decisions suffice to propose one. Pure; knows no rows.

proposed --accept--> accepted        a set of policies with the threshold was put in force
   |-----decline---> declined
   '-----(a newer one of the same policy)--> superseded
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vidlm.errors import ConflictError, InputError
from vidlm.moderation import promises
from vidlm.moderation.estimates import Decisions
from vidlm.moderation.thresholds import (
    DELTA,
    Suggestion,
    Traffic,
    threshold_for_precision,
    threshold_for_queue,
    threshold_for_recall,
)

CONFIDENCES: Final = (0.5, 0.999)
"""The least and the most that a promise may be sure."""


class Goal(StrEnum):
    """What the threshold is to have."""

    PRECISION = "precision"
    RECALL = "recall"
    QUEUE = "queue"


class ProposalState(StrEnum):
    """Where a proposal stands."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    SUPERSEDED = "superseded"


METHODS: Final = {
    Goal.PRECISION: "learn then test",
    Goal.RECALL: "conformal risk control",
    Goal.QUEUE: "conformal risk control",
}
SURELY: Final = "risk-controlling prediction sets"
"""The method for a recall with a stated confidence."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A precision or a recall in (0, 1), or a queue of at most so many videos a day, more than 0.

    `confidence`: how sure the promise is to be; None: 1 - `thresholds.DELTA` for a precision, and on average for a
    recall. A queue's is always on average. Made with other values it raises `InputError` (`invalid_proposal`).
    """

    goal: Goal
    value: float
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.goal is Goal.QUEUE:
            if not 0 < self.value < float("inf"):
                raise _invalid("value: videos a day, more than 0")
            if self.confidence is not None:
                raise _invalid("confidence: the length of a queue is promised on average; leave it out")
        elif not 0 < self.value < 1:
            raise _invalid(f"value: a {self.goal} between 0 and 1, without these")
        if self.confidence is not None and not CONFIDENCES[0] <= self.confidence <= CONFIDENCES[1]:
            raise _invalid(f"confidence: between {CONFIDENCES[0]:g} and {CONFIDENCES[1]:g}")

    @property
    def delta(self) -> float | None:
        """How often the promise may be broken; None where it is one about the average."""
        if self.confidence is not None:
            return 1 - self.confidence
        return DELTA if self.goal is Goal.PRECISION else None

    @property
    def method(self) -> str:
        """What the promise rests on, by its name in the literature."""
        return SURELY if self.goal is Goal.RECALL and self.confidence is not None else METHODS[self.goal]


def suggest(wish: Wish, decisions: Decisions, traffic: Traffic | None) -> Suggestion:
    """The threshold that grants the wish. `decisions`: on all items that had a chance to be reviewed, for a precision
    on those above some score; `traffic`: None where nothing has come in.

    Raises `ConflictError`: `too_few_decisions` says how many of what are needed, `no_threshold` that there are enough
    and still none will do.
    """
    _check_enough(wish, decisions, traffic)
    if wish.goal is Goal.PRECISION:
        found = threshold_for_precision(decisions, wish.value, delta=wish.delta or DELTA, traffic=traffic)
    elif wish.goal is Goal.RECALL:
        found = threshold_for_recall(decisions, wish.value, delta=wish.delta, traffic=traffic)
    else:
        assert traffic is not None
        found = threshold_for_queue(traffic, wish.value)
    if found.threshold is None:
        raise ConflictError(found.reason, code="no_threshold")
    if not found.threshold:
        raise ConflictError("only a threshold of 0 would do, which flags every video", code="no_threshold")
    return found


def _check_enough(wish: Wish, decisions: Decisions, traffic: Traffic | None) -> None:
    if wish.goal is Goal.QUEUE:
        return _check_traffic(wish, traffic)
    if wish.goal is Goal.PRECISION:
        needed = promises.least_flagged(wish.value, wish.delta or DELTA)
    else:
        heaviest = float(decisions.weights.max()) if len(decisions) else 1.0
        needed = promises.least_recalled(wish.value, wish.delta, heaviest)
    there = int(decisions.violations.sum())
    if there < needed:
        raise ConflictError(
            f"{needed} decided videos with a violation are needed, there are {there}", code="too_few_decisions"
        )
    return None


def _check_traffic(wish: Wish, traffic: Traffic | None) -> None:
    if traffic is None:
        raise ConflictError("no videos were analysed lately: nobody knows how many come in", code="too_few_decisions")
    share = wish.value / traffic.items_per_day
    if (len(traffic.scores) + 1) * share < 1:  # (0 + 1) / (n + 1) <= share has to be possible
        raise ConflictError(
            f"{1 / share - 1:.0f} analysed videos are needed, there are {len(traffic.scores)}", code="too_few_decisions"
        )


def _invalid(why: str) -> InputError:
    return InputError(why, code="invalid_proposal")
