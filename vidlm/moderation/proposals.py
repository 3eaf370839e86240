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
    if wish.goal is Goal.PRECISION:
        found = threshold_for_precision(decisions, wish.value, delta=wish.delta or DELTA, traffic=traffic)
    elif wish.goal is Goal.RECALL:
        found = threshold_for_recall(decisions, wish.value, delta=wish.delta, traffic=traffic)
    elif traffic is None:
        raise ConflictError("no videos were analysed lately: nobody knows how many come in", code="too_few_decisions")
    else:
        found = threshold_for_queue(traffic, wish.value)
    if found.threshold is None:
        lacking = _lacking(wish, decisions, traffic)
        raise ConflictError(lacking or found.reason, code="too_few_decisions" if lacking else "no_threshold")
    if not found.threshold:
        raise ConflictError("only a threshold of 0 would do, which flags every video", code="no_threshold")
    return found


def _lacking(wish: Wish, decisions: Decisions, traffic: Traffic | None) -> str | None:
    """How many of what are needed at least for such a promise, in a sentence; None where there are so many."""
    if wish.goal is Goal.QUEUE:
        assert traffic is not None
        there, needed = len(traffic.scores), promises.least_scored(wish.value / traffic.items_per_day)
        what = "analysed videos"
    else:
        there, what = int(decisions.violations.sum()), "decided videos with a violation"
        if wish.goal is Goal.PRECISION:
            needed = promises.least_flagged(wish.value, wish.delta or DELTA)
        else:
            heaviest = float(decisions.weights.max()) if len(decisions) else 1.0
            needed = promises.least_recalled(wish.value, wish.delta, heaviest)
    return f"{needed} {what} are needed, there are {there}" if there < needed else None


def _invalid(why: str) -> InputError:
    return InputError(why, code="invalid_proposal")
