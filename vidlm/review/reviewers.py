"""How well reviewers do: against golden items, against each other, and against who looked after them. Changes nothing.

A decision is overturned where the video is settled and the last standing decision, by somebody else, is the other one.
Agreement is of people who looked without knowing that, or what, somebody else decides: the first look and the second.
Who was asked because others disagreed or complained is no such person.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from sqlalchemy import select
from sqlmodel import Session, col

from vidlm.moderation.agreement import Agreement, GoldenRecord, cohen_kappa, fleiss_kappa, golden_record
from vidlm.moderation.decisions import FINAL, Occasion, Outcome
from vidlm.moderation.intervals import UNKNOWN, Estimate, wilson
from vidlm.review.golden_looks import records
from vidlm.review.standing import ALWAYS, Window, is_settled, stands
from vidlm.store.review import ReviewDecision
from vidlm.store.tables import Job

LEAST_SHARED: Final = 10
"""Videos that two people have to have decided both, for their agreement to be told."""
MOST_PAIRS: Final = 50
_INDEPENDENT: Final = (Occasion.FLAGGED.value, Occasion.SAMPLED.value, Occasion.SECOND.value)


@dataclass(frozen=True, slots=True)
class Reviewer:
    """One person's decisions that were not undone. `outcomes`: how many of each; `golden_looks`: how many of them were
    about golden items; `overturned`: of those somebody else decided again; `median_watched_s`: of those that say how
    long they took, None where none does."""

    actor: str
    decisions: int
    outcomes: dict[Outcome, int]
    undone: int
    golden: GoldenRecord
    overturned: Estimate
    median_watched_s: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people's agreement on the videos that both decided, Cohen's kappa."""

    first: str
    second: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class ReviewQuality:
    """All reviewers, who decided most first; the agreement of any two (Fleiss' kappa) and of pairs, most videos first.

    Categories are approve and remove.
    """

    reviewers: tuple[Reviewer, ...]
    agreement: Agreement
    pairs: tuple[Pair, ...]


def review_quality(session: Session, tenant_id: str, window: Window = ALWAYS) -> ReviewQuality:
    """Of decisions made in the window; restricted videos are left out."""
    made = _made(session, tenant_id, window)
    final = _final(session, tenant_id, window)
    golden = records(session, tenant_id, window)
    overturned = overturns([row for row in final if row.settled])
    blank = golden_record([], [])
    actors = sorted({row.actor for row in made})
    mine: dict[str, list[Any]] = {actor: [] for actor in actors}
    for row in made:
        mine[row.actor].append(row)
    people = [
        _reviewer(actor, mine[actor], golden.get(actor, blank), overturned.get(actor, (0, 0))) for actor in actors
    ]
    looks = _independent(final)
    return ReviewQuality(
        reviewers=tuple(sorted(people, key=lambda one: (-one.decisions, one.actor))),
        agreement=fleiss_kappa(_counted(looks)),
        pairs=_pairs(looks),
    )


def overturns(final: list[Any]) -> dict[str, tuple[int, int]]:
    """By actor, (overturned, decided again by somebody else), of rows (job_id, actor, outcome) in order of time."""
    last = {row.job_id: row for row in final}
    again = Counter[str]()
    other = Counter[str]()
    for row in final:
        end = last[row.job_id]
        if end.actor != row.actor:
            again[row.actor] += 1
            other[row.actor] += end.outcome != row.outcome
    return {actor: (other[actor], count) for actor, count in again.items()}


def _made(session: Session, tenant_id: str, window: Window) -> list[Any]:
    """(actor, outcome, watched_s, undone) of all decisions."""
    query = select(
        col(ReviewDecision.actor),
        col(ReviewDecision.outcome),
        col(ReviewDecision.watched_s),
        col(ReviewDecision.undone_at).is_not(None).label("undone"),
    ).where(
        col(ReviewDecision.tenant_id) == tenant_id,
        col(ReviewDecision.restricted).is_(False),
        *window.holds(col(ReviewDecision.created_at)),
    )
    return list(session.execute(query).all())


def _final(session: Session, tenant_id: str, window: Window) -> list[Any]:
    """(job_id, actor, outcome, occasion, settled) of what was decided one way or the other, oldest first."""
    query = (
        select(
            col(ReviewDecision.job_id),
            col(ReviewDecision.actor),
            col(ReviewDecision.outcome),
            col(ReviewDecision.occasion),
            is_settled().label("settled"),
        )
        .join(Job, col(Job.id) == col(ReviewDecision.job_id))
        .where(
            col(ReviewDecision.tenant_id) == tenant_id,
            *stands(),
            *window.holds(col(ReviewDecision.created_at)),
        )
        .order_by(col(ReviewDecision.created_at), col(ReviewDecision.id))
    )
    return list(session.execute(query).all())


def _reviewer(actor: str, made: list[Any], golden: GoldenRecord, overturned: tuple[int, int]) -> Reviewer:
    counted = [row for row in made if not row.undone]
    outcomes = Counter(row.outcome for row in counted)
    watched_s = [row.watched_s for row in counted if row.watched_s > 0]
    other, again = overturned
    return Reviewer(
        actor=actor,
        decisions=len(counted),
        outcomes={outcome: outcomes[outcome.value] for outcome in Outcome},
        undone=len(made) - len(counted),
        golden=golden,
        overturned=Estimate(other / again, *wilson(other, again), again) if again else UNKNOWN,
        median_watched_s=float(np.median(watched_s)) if watched_s else None,
    )


def _independent(final: list[Any]) -> list[dict[str, int]]:
    """Of each video that several decided without knowing of each other: 0 (approve) or 1 (remove) by actor."""
    looks: dict[str, dict[str, int]] = {}
    places = {outcome.value: place for place, outcome in enumerate(FINAL)}
    for row in final:
        if row.occasion in _INDEPENDENT:
            looks.setdefault(row.job_id, {})[row.actor] = places[row.outcome]
    return [said for said in looks.values() if len(said) > 1]


def _counted(looks: list[dict[str, int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """[videos, categories]: how many said so."""
    removed = np.asarray([sum(said.values()) for said in looks], dtype=np.int64)
    return np.column_stack([np.asarray([len(said) for said in looks], dtype=np.int64) - removed, removed])


def _pairs(looks: list[dict[str, int]]) -> tuple[Pair, ...]:
    shared: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for said in looks:
        for first, second in combinations(sorted(said), 2):
            shared.setdefault((first, second), []).append((said[first], said[second]))
    enough = {pair: both for pair, both in shared.items() if len(both) >= LEAST_SHARED}
    most = sorted(enough, key=lambda pair: (-len(enough[pair]), pair))[:MOST_PAIRS]
    return tuple(Pair(*pair, cohen_kappa(*np.asarray(enough[pair]).T)) for pair in most)
