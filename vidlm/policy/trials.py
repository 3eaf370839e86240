"""What another set of policies would have made of a tenant's videos, from their stored scores: nothing is looked at
again and nothing is changed.

    in force ----- .                                        before
                    >  stored scores  --- whatif.outcome -->         side by side: queue, flags, verdicts
    proposed ----- '                                        after

Both sides are judged from the same scores, those after second looks. A question that a video was never asked neither
flags nor clears it: the video is judged by the others, and what is missing is told, with what it would cost. A video
that was asked none of them, or was asked and not scored everywhere, is for review.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from sqlmodel import Session

from vidlm.domain import Policy
from vidlm.jobs import forecast
from vidlm.moderation import whatif
from vidlm.moderation.policies import PolicySet
from vidlm.moderation.whatif import ACTIONS, Decisions, Floats, Library, Outcome
from vidlm.policy import stored_scores
from vidlm.policy.backfills import question_version
from vidlm.policy.later_scores import with_later
from vidlm.policy.stored_scores import Stored, question_of

MOST_GONE: Final = 100
"""Overturned decisions that a trial names one by one."""

DecisionsOf = Callable[[Sequence[str], Sequence[Policy]], Decisions]
"""Past decisions of people on these jobs' flags: videos and policies by their places in the two arguments."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A policy of the proposed set whose question was not asked of so many videos, `duration_s` long together."""

    policy_id: str
    videos: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Overturned:
    """Past decisions that the proposed set would not lead to: confirmed flags that would be none, and rejected ones."""

    missed: int
    spared: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A flag that people decided about and that would be none: `[start_s, end_s)`, and whether they confirmed it."""

    job_id: str
    policy_id: str
    start_s: float
    end_s: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """Two sets of policies over one library.

    `flags`: (policy's id, before, after), before None where a policy is new and after None where it is gone or was
    never asked of any video.  `moved`: (before, after, videos) for every pair of actions.  `missing_s`: seconds of
    video that miss any question.  `gpu_s`: what scoring those costs at most, None where nothing was learnt yet.
    `gone`: what `overturned` counts, up to `MOST_GONE` of it, the confirmed first.
    """

    videos: int
    segments: int
    queue_before: int
    queue_after: int
    flags: tuple[tuple[str, int | None, int | None], ...]
    moved: tuple[tuple[str, str, int], ...]
    missing: tuple[Missing, ...]
    missing_s: float
    gpu_s: float | None
    overturned: Overturned
    gone: tuple[Gone, ...]


def run(
    session: Session,
    tenant_id: str,
    before: PolicySet,
    after: PolicySet,
    own: PolicySet,
    *,
    created_from: datetime | None = None,
    created_until: datetime | None = None,
    decisions_of: DecisionsOf,
) -> Trial:
    """The sets `before` and `after` over the tenant's videos created in `[created_from, created_until)`.

    `own`: the service's own policies. Raises `ConflictError` (`library_too_large`).
    """
    asking = {question_of(policy): policy for policy in (*before.policies, *after.policies)}
    questions = list(asking)
    stored = stored_scores.read(
        session, tenant_id, questions, own, created_from=created_from, created_until=created_until
    )
    versions = {(one.id, question_version(one)): column for column, one in enumerate(asking.values())}
    stored = with_later(session, tenant_id, stored, versions)
    scored = {question for question, videos in zip(questions, stored.asked.T, strict=True) if videos.any()}
    places = {question: column for column, question in enumerate(questions)}
    sides = [[policy for policy in side.policies if question_of(policy) in scored] for side in (before, after)]
    first, second = (_judged(stored, side, [places[question_of(p)] for p in side]) for side in sides)
    missing, missing_s = _missing(stored, after.policies, places)
    pace = forecast.load(session).pace if missing else None
    overturned, gone = _overturned(decisions_of(stored.job_ids, sides[1]), stored, sides[1], second)
    change = whatif.change(first, second, max(len(side) for side in sides))
    return Trial(
        videos=len(stored.job_ids),
        segments=len(stored.videos),
        queue_before=change.queue_before,
        queue_after=change.queue_after,
        flags=_flags(sides, (change.flags_before, change.flags_after)),
        moved=tuple(
            (one.value, other.value, change.moved[a][b])
            for a, one in enumerate(ACTIONS)
            for b, other in enumerate(ACTIONS)
        ),
        missing=missing,
        missing_s=missing_s,
        gpu_s=pace.analyzing * missing_s if pace is not None else None,
        overturned=overturned,
        gone=gone,
    )


def _judged(stored: Stored, side: Sequence[Policy], columns: Sequence[int]) -> Outcome:
    """What one set makes of the library; a question that a video was never asked counts as no finding in it."""
    scores: Floats = stored.scores[:, columns]
    of_side = stored.asked[:, columns]
    scores[~of_side[stored.videos]] = 0.0
    cleared = stored.whole & of_side.any(axis=1)
    return whatif.outcome(Library(stored.videos, stored.start_s, stored.end_s, scores, cleared), side)


def _missing(
    stored: Stored, policies: Sequence[Policy], places: dict[stored_scores.Question, int]
) -> tuple[tuple[Missing, ...], float]:
    """What was not asked of whom, and the seconds of all videos that miss anything."""
    found, anything = [], np.zeros(len(stored.job_ids), np.bool_)
    for policy in policies:
        without = ~stored.asked[:, places[question_of(policy)]]
        anything |= without
        if without.any():
            found.append(Missing(policy.id, int(without.sum()), float(stored.duration_s[without].sum())))
    return tuple(found), float(stored.duration_s[anything].sum())


def _flags(
    sides: Sequence[Sequence[Policy]], counts: Sequence[Sequence[int]]
) -> tuple[tuple[str, int | None, int | None], ...]:
    before, after = (
        {policy.id: counted[place] for place, policy in enumerate(side)}
        for side, counted in zip(sides, counts, strict=True)
    )
    return tuple((name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after]))


def _overturned(
    decisions: Decisions, stored: Stored, side: Sequence[Policy], after: Outcome
) -> tuple[Overturned, tuple[Gone, ...]]:
    told = whatif.overturned(decisions, after)
    places = [*np.flatnonzero(told.missed), *np.flatnonzero(told.spared)][:MOST_GONE]
    gone = tuple(
        Gone(
            job_id=stored.job_ids[decisions.videos[place]],
            policy_id=side[decisions.policies[place]].id,
            start_s=float(decisions.start_s[place]),
            end_s=float(decisions.end_s[place]),
            confirmed=bool(decisions.confirmed[place]),
        )
        for place in places
    )
    return Overturned(int(told.missed.sum()), int(told.spared.sum())), gone
