"""What people decided about a policy, as arrays: rows in, numbers for `vidlm.moderation` out. Changes nothing.

The unit is a video under a policy:

    score        the highest of its segments'; of a deleted video, that of its flags or of what was missed
    violation    its last standing decision says so: a flag confirmed or moved in time, something missed, or another
                 policy's flag that is really this one's
    weight       1 / (chance to be looked at x share of its class that was decided)

Of several decisions about a video the last one counts, once the video is settled. Left out are: decisions that were
undone or settle nothing, golden items, restricted videos, and scores that are no answer to the question as it is asked
now, by the model that is used now. A class is a queue's items of like rank: people take the most urgent first, so where
not all was decided, what was decided is not like what waits, but within a class it is.

        filed      cleared by the model, drawn with 1/8     flagged
        weights    8      8   8        8      8             1 1 1 1 1      all were decided
                                                            2   2   1      half of the less urgent still wait
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select
from sqlmodel import Session, col

from vidlm.domain import Policy
from vidlm.moderation.decisions import Occasion
from vidlm.moderation.estimates import Decisions, Performance, flagged_at, precision_at, recall_at
from vidlm.moderation.intervals import Flags, Floats
from vidlm.moderation.revisions import ASKED
from vidlm.review.scores import peaks
from vidlm.review.standing import ALWAYS, Filed, Last, Window, filed, roots, standing, violated
from vidlm.store.moderation import PolicySetRow
from vidlm.store.review import FlagDecision, ReviewItem


@dataclass(frozen=True, slots=True)
class Source:
    """What made the scores."""

    model: str
    prompts: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Videos that were filed and do not count: `waiting` for a decision, of these `unreached` where nobody decided
    anything of their class; decided under another `question` or by another `source`; `unscored`, as deleted."""

    waiting: int
    unreached: int
    question: int
    source: int
    unscored: int


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Decisions on one policy, arrays of one length n.

    `ids` (n,) of decisions; `flagged_from` (n,) in [0, 1]: the policy's review threshold when the video was scored;
    `drawn` (n,): filed after cleared videos began to be drawn, so that nothing but chance left a video out.
    """

    ids: tuple[str, ...]
    decisions: Decisions
    flagged_from: Floats
    drawn: Flags
    source: Source | None
    left_out: LeftOut

    def at_random(self) -> Decisions:
        """Those that stand for all videos; none where cleared videos were never looked at."""
        return self.decisions.where(self.drawn)

    def known_above(self, threshold: float) -> Decisions:
        """Those that stand for all videos with scores at or above the threshold: as high, everything was flagged."""
        sure = self.drawn | (self.flagged_from <= threshold)
        return self.decisions.where(sure & (self.decisions.scores >= threshold))

    def evenly(self) -> Decisions:
        """As many as stand for all videos above one score: `at_random`, or else those above every threshold there was.

        What a threshold for a precision may be looked for in.
        """
        if self.drawn.any() or not len(self.ids):
            return self.at_random()
        return self.known_above(float(self.flagged_from.max()))

    def performance(self, threshold: float) -> Performance:
        """What flagging from `threshold` on does; unknown is what nobody looked for."""
        everything = self.at_random()
        return Performance(
            threshold=threshold,
            precision=precision_at(self.known_above(threshold), threshold),
            recall=recall_at(everything, threshold),
            flagged=flagged_at(everything, threshold),
        )

    def digest(self) -> str:
        """SHA-256 of the decisions' ids in order: whoever has the rows can say whether these were they."""
        return hashlib.sha256("\n".join(sorted(self.ids)).encode()).hexdigest()


def question_of(policy: Policy) -> str:
    """SHA-256 of what the model is asked: scores of another question are other scores."""
    return hashlib.sha256("\0".join(getattr(policy, name) for name in ASKED).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Library:
    """What is the same for all policies: videos as they were filed in a window, and the last decision of each job."""

    videos: Sequence[Filed]
    last_of: Mapping[str, Last]

    @property
    def sampled(self) -> bool:
        """Whether anybody was asked to look at cleared videos: without that, nobody knows what is missed."""
        return any(row.occasion == Occasion.SAMPLED for row in self.videos)


def library(session: Session, tenant_id: str, window: Window = ALWAYS) -> Library:
    """To be read once where several policies are asked about."""
    return Library(filed(session, tenant_id, window), standing(session, tenant_id))


def judged(
    session: Session,
    tenant_id: str,
    policy: Policy,
    own: Policy | None,
    window: Window = ALWAYS,
    *,
    of: Library | None = None,
) -> Judged:
    """All that counts of a policy in force. `own`: the policy of this id in the service's own set, if it has one; `of`:
    the library of this window, where it was read before."""
    read = of or library(session, tenant_id, window)
    videos, last_of = read.videos, read.last_of
    asked = _asked(session, tenant_id, policy, own)
    settled = [(row, last_of[row.job_id]) for row in videos if row.job_id in last_of]
    same = [(row, last) for row, last in settled if last.policy_set_id in asked]
    source = _newest_source([last for _, last in same])
    ours = [(row, last) for row, last in same if Source(last.model, last.prompts) == source]
    scores = _scores(session, tenant_id, policy.id, window, [last for _, last in ours])
    kept = [(row, last, scores[last.id]) for row, last in ours if last.id in scores]
    bad = violated(session, tenant_id, policy.id)
    shares = _decided_shares(videos, last_of)
    sampled = any(row.occasion == Occasion.SAMPLED for row, _, _ in kept)
    return Judged(
        ids=tuple(last.id for _, last, _ in kept),
        decisions=Decisions.of(
            [score for _, _, score in kept],
            [last.id in bad for _, last, _ in kept],
            [row.inclusion * shares[row.likes] for row, _, _ in kept],
        ),
        flagged_from=np.asarray([asked[last.policy_set_id] for _, last, _ in kept], dtype=np.float64),
        drawn=np.asarray([sampled and bool(row.while_drawn) for row, _, _ in kept], dtype=bool),
        source=source,
        left_out=LeftOut(
            waiting=len(videos) - len(settled),
            unreached=sum(not shares[row.likes] for row in videos),
            question=len(settled) - len(same),
            source=len(same) - len(ours),
            unscored=len(ours) - len(kept),
        ),
    )


def _asked(session: Session, tenant_id: str, policy: Policy, own: Policy | None) -> dict[str | None, float]:
    """The sets, None for the service's own, that asked the same question as `policy`, each with its threshold."""
    query = select(col(PolicySetRow.id), col(PolicySetRow.policies)).where(
        col(PolicySetRow.tenant_id) == tenant_id, col(PolicySetRow.activated_at).is_not(None)
    )
    words = {name: getattr(policy, name) for name in ASKED}
    found: dict[str | None, float] = {}
    for set_id, rows in session.execute(query).all():
        row = next((row for row in rows if row["id"] == policy.id), None)
        if row is not None and row["enabled"] and {name: row[name] or "" for name in ASKED} == words:
            found[set_id] = row["review"]
    if own is not None and question_of(own) == question_of(policy):
        found[None] = own.review_threshold
    return found


def _scores(
    session: Session, tenant_id: str, policy_id: str, window: Window, decisions: Sequence[Last]
) -> dict[str, float]:
    """By decision, the video's score; without its segments, the highest of what the decision speaks of."""
    if not decisions:
        return {}
    jobs = select(col(ReviewItem.job_id)).where(*roots(tenant_id, window))
    whole = peaks(session, jobs, policy_id)
    query = select(col(FlagDecision.decision_id), func.max(col(FlagDecision.score))).where(
        col(FlagDecision.tenant_id) == tenant_id,
        col(FlagDecision.policy_id) == policy_id,
        col(FlagDecision.score).is_not(None),
    )
    rows = session.execute(query.group_by(col(FlagDecision.decision_id))).all()
    spoken: dict[str, float] = dict(map(tuple, rows))
    found = {last.id: whole.get(last.job_id, spoken.get(last.id)) for last in decisions}
    return {decision_id: score for decision_id, score in found.items() if score is not None}


def _newest_source(decisions: Sequence[Last]) -> Source | None:
    newest = max(decisions, key=lambda last: last.id, default=None)
    return None if newest is None else Source(newest.model, newest.prompts)


def _decided_shares(videos: Sequence[Filed], last_of: Mapping[str, Last]) -> dict[tuple[str, int], float]:
    """By class, the share in [0, 1] of what was filed that is settled."""
    there = Counter(row.likes for row in videos)
    settled = Counter(row.likes for row in videos if row.job_id in last_of)
    return {key: settled[key] / count for key, count in there.items()}
