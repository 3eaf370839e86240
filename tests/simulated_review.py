"""Libraries whose truth is known, reviewed by people with known errors, written as the rows that review leaves behind.

Rows are made a table at a time: thousands of videos in a second. That review itself writes such rows is for the tests
that go through `vidlm.review`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from vidlm.domain import PIPELINE_VERSION
from vidlm.moderation.policies import load_policies
from vidlm.store.engine import Database
from vidlm.store.review import FlagDecision, GoldenAnswer, ReviewDecision, ReviewItem, ReviewQueue
from vidlm.store.tables import FlagRow, Job, SegmentRow, SpanWork, Tenant, Video

OWN = load_policies()
POLICY = next(policy for policy in OWN.policies if policy.id == "violence.fight")
FLAGGED_FROM = POLICY.review_threshold
PINNED = {"provenance": {"model_revision": "r1", "prompt_version": "1"}, "verdict": {}}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Reviewers:
    """How often each sees a violation, and lets a clean video pass."""

    sensitivity: float = 0.95
    specificity: float = 0.98
    people: int = 5

    def say(self, rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
        """What one of them says of each video."""
        return np.where(truth, rng.random(len(truth)) < self.sensitivity, rng.random(len(truth)) > self.specificity)


@dataclass(frozen=True)
class World:
    """What is simulated: `rate` of videos violate, cleared ones are looked at with the chance `sampled`."""

    videos: int = 4000
    rate: float = 0.08
    sampled: float = 0.1
    doubled: float = 0.0
    golden: int = 0
    reviewers: Reviewers = field(default_factory=Reviewers)
    decided: float = 1.0  # of what was flagged, the most urgent first

    def draw(self, rng: np.random.Generator, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(scores, truth): a model that finds about four of five violations at one half."""
        count = self.videos if count is None else count
        truth = rng.random(count) < self.rate
        return np.round(np.where(truth, rng.beta(4, 2, count), rng.beta(1, 6, count)), 9), truth


def tenant(database: Database) -> str:
    """An empty tenant of its own."""
    name = f"ten_{next(_numbers):06d}"
    with database.write() as session:
        session.add(Tenant(id=name, name=name))
        session.flush()
        session.add(ReviewQueue(id=f"rvq_{name}", tenant_id=name, name="all", title="all", position=1))
    return name


def reviewed(database: Database, rng: np.random.Generator, world: World, *, whole: bool = False) -> str:
    """A tenant whose library was filed and decided upon; its id. `whole`: with the videos that nobody is to look at."""
    owner = tenant(database)
    scores, truth = world.draw(rng)
    flagged = scores >= FLAGGED_FROM
    filed = flagged | (rng.random(world.videos) < world.sampled)
    if not whole:
        scores, truth, flagged, filed = scores[filed], truth[filed], flagged[filed], filed[filed]
    least = np.quantile(scores[flagged], 1 - world.decided) if world.decided < 1 else 0.0
    settled = filed & (~flagged | (scores >= least))
    library = Library(owner, rng, world)
    with database.write() as session:
        library.analysed(session, scores)
        library.filed(session, filed, settled)
        library.decided(session, "first", settled, world.reviewers.say(rng, truth))
        doubled = settled & (rng.random(len(scores)) < world.doubled)
        library.decided(session, "second", doubled, world.reviewers.say(rng, truth))
        if world.golden:
            library.golden(session, truth)
    return owner


class Library:
    """One tenant's videos and what follows, by number."""

    def __init__(self, owner: str, rng: np.random.Generator, world: World, at: datetime | None = None) -> None:
        self.owner, self.rng, self.world = owner, rng, world
        self.mark = f"{next(_numbers):06d}"
        self.at = at or datetime.now(UTC) - timedelta(days=1)
        self.scores = np.zeros(0)

    def id(self, kind: str, number: int) -> str:
        return f"{kind}_{self.mark}{number:07d}"

    def analysed(self, session: Session, scores: np.ndarray, more: dict[str, np.ndarray] | None = None) -> None:
        """Videos with two segments each, of which one has the score."""
        self.scores = scores
        flagged = scores >= FLAGGED_FROM
        common = {"tenant_id": self.owner}
        rows: dict[type[SQLModel], list[dict[str, Any]]] = {
            Video: [], Job: [], SpanWork: [], SegmentRow: [], FlagRow: []
        }  # fmt: skip
        for number, score in enumerate(scores.tolist()):
            video, job, span = (self.id(kind, number) for kind in ("vid", "job", "spn"))
            rows[Video].append({"id": video, "sha256": "0" * 64, "size_bytes": 5, **common})
            rows[Job].append(
                {"id": job, "video_id": video, "pipeline_version": PIPELINE_VERSION, "state": "ready",
                 "verdict_action": "review" if flagged[number] else "allow", "finished_at": self.at, **common}
            )  # fmt: skip
            rows[SpanWork].append(
                {"id": span, "job_id": job, "index": 0, "first_window": 0, "last_window": 2, "state": "done", **common}
            )
            others = {name: float(values[number]) for name, values in (more or {}).items()}
            for index, part in enumerate((score, score / 2)):
                rows[SegmentRow].append(
                    {"id": f"{self.id('seg', number)}_{index}", "job_id": job, "span_id": span, "index": index,
                     "start_s": 5.0 * index, "end_s": 5.0 * index + 5, "frame_times_s": [], "caption": "",
                     "scores": {POLICY.id: part, **others}, **common}
                )  # fmt: skip
            if flagged[number]:
                rows[FlagRow].append(
                    {"id": self.id("flg", number), "job_id": job, "policy_id": POLICY.id, "start_s": 0.0, "end_s": 5.0,
                     "score": score, "severity": "medium", "action": "review", **common}
                )  # fmt: skip
        for table, values in rows.items():
            insert(session, table, values)

    def filed(self, session: Session, filed: np.ndarray, settled: np.ndarray) -> None:
        """An item for each of these."""
        insert(session, ReviewItem, [
            self._item(
                "first", number,
                state="decided" if settled[number] else "waiting",
                occasion="flagged" if self._flagged(number) else "sampled",
                inclusion=1.0 if self._flagged(number) else self.world.sampled,
            )
            for number in np.flatnonzero(filed).tolist()
        ])  # fmt: skip

    def decided(self, session: Session, look: str, which: np.ndarray, said: np.ndarray) -> None:
        """What one reviewer each says of these on the "first" or the "second" look; the last look settles the video."""
        numbers = np.flatnonzero(which).tolist()
        people = self.rng.integers(self.world.reviewers.people, size=len(numbers)).tolist()
        if look == "second":
            insert(session, ReviewItem, [
                self._item(look, number, state="decided", occasion="second", parent_id=self.id("rvi_first", number))
                for number in numbers
            ])  # fmt: skip
        told = [
            (look, number, bool(said[number]), f"{look}_{person}")
            for number, person in zip(numbers, people, strict=True)
        ]
        self._decisions(session, told)
        states = [{"job": self.id("job", n), "to": "removed" if said[n] else "approved"} for n in numbers]
        if states:
            settle = sa.update(Job.__table__).where(Job.__table__.c.id == sa.bindparam("job"))
            session.execute(settle.values(review_state=sa.bindparam("to")), states)

    def golden(self, session: Session, truth: np.ndarray) -> None:
        """So many looks at golden videos of each kind: violating, clean and flagged, clean and not flagged."""
        flagged = self.scores >= FLAGGED_FROM
        looked: list[tuple[str, int, bool, str]] = []
        for kind in (truth & flagged, ~truth & flagged, ~truth & ~flagged):
            chosen = np.resize(np.flatnonzero(kind), self.world.golden)
            said = self.world.reviewers.say(self.rng, truth[chosen])
            for number, says in zip(chosen.tolist(), said.tolist(), strict=True):
                looked.append(
                    (f"gold{len(looked)}", number, says, f"first_{len(looked) % self.world.reviewers.people}")
                )
        insert(session, GoldenAnswer, [
            {"id": self.id("gld", number), "tenant_id": self.owner, "video_id": self.id("vid", number),
             "job_id": self.id("job", number), "outcome": "remove" if truth[number] else "approve",
             "violated": [self.id("flg", number)] if truth[number] else [], "created_by": "key_lead",
             "created_at": self.at}
            for number in sorted({number for _, number, _, _ in looked})
        ])  # fmt: skip
        insert(session, ReviewItem, [
            self._item(look, number, state="decided", occasion="golden", golden_id=self.id("gld", number))
            for look, number, _, _ in looked
        ])  # fmt: skip
        self._decisions(session, looked)

    def _flagged(self, number: int) -> bool:
        return bool(self.scores[number] >= FLAGGED_FROM)

    def _item(self, look: str, number: int, **more: Any) -> dict[str, Any]:
        score = float(self.scores[number])
        return {
            "id": self.id(f"rvi_{look}", number), "tenant_id": self.owner, "queue_id": f"rvq_{self.owner}",
            "video_id": self.id("vid", number), "job_id": self.id("job", number), "severity": "medium", "score": score,
            "rank": 2000 + round((1 - score) * 999), "created_at": self.at,
        } | more  # fmt: skip

    def _decisions(self, session: Session, told: Iterable[tuple[str, int, bool, str]]) -> None:
        """Of (look, number, whether it violates, who says so)."""
        decisions, about = [], []
        for look, number, says, who in told:
            flagged = self._flagged(number)
            occasions = {"first": "flagged" if flagged else "sampled", "second": "second"}
            decisions.append(
                {"id": self.id(f"dec_{look}", number), "tenant_id": self.owner,
                 "item_id": self.id(f"rvi_{look}", number), "video_id": self.id("vid", number),
                 "job_id": self.id("job", number), "actor": f"key_{who}", "occasion": occasions.get(look, "golden"),
                 "outcome": "remove" if says else "approve", "state_before": "pending", "watched_s": 4.0,
                 "severity": "medium", "inclusion": 1.0 if flagged else self.world.sampled, "pinned": PINNED,
                 "created_at": self.at + timedelta(hours=1 if look == "first" else 2)}
            )  # fmt: skip
            if flagged or says:
                about.append(
                    {"id": self.id(f"fdc_{look}", number), "tenant_id": self.owner,
                     "decision_id": self.id(f"dec_{look}", number),
                     "flag_id": self.id("flg", number) if flagged else None, "policy_id": POLICY.id, "start_s": 0.0,
                     "end_s": 5.0, "score": float(self.scores[number]), "severity": "medium",
                     "verdict": ("confirm" if says else "reject") if flagged else "missed",
                     "reason": None if says else "not_there"}
                )  # fmt: skip
        insert(session, ReviewDecision, decisions)
        insert(session, FlagDecision, about)


def insert(session: Session, table: type[SQLModel], rows: list[dict[str, Any]]) -> None:
    """All rows in one statement."""
    if rows:
        session.execute(sa.insert(table), rows)
