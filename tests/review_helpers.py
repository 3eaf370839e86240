"""Videos that wait for people, and people, for tests of review."""

from __future__ import annotations

from dataclasses import replace

from jobs_helpers import accepted, analysis, must_take, prepared, segment
from sqlmodel import col, select

from vidlm.domain import Action, Evidence, Flag, Role, Verdict
from vidlm.jobs import life
from vidlm.jobs.intake import Wishes
from vidlm.moderation.decisions import FlagDecision, FlagVerdict, Outcome, RejectReason, Submission
from vidlm.moderation.policies import load_policies
from vidlm.queue import Task
from vidlm.review import deciding, filing, items, queues, serving
from vidlm.review.deciding import Decided
from vidlm.store.engine import Database
from vidlm.store.keys import Caller
from vidlm.store.queries import flags_of
from vidlm.store.review import ReviewItem
from vidlm.store.tables import DEFAULT_TENANT, Job, SpanWork

OWN = load_policies()


def person(name: str, role: Role = Role.REVIEWER, *, restricted: bool = False) -> Caller:
    """Somebody of the default tenant."""
    return Caller(DEFAULT_TENANT, f"key_{name}", role, restricted)


def flag(policy_id: str = "weapons.shown", score: float = 0.75, start_s: float = 0.0) -> Flag:
    """A flag of five seconds with one frame of evidence."""
    policy = next(one for one in OWN.policies if one.id == policy_id)
    evidence = (Evidence(start_s + 1.0),)
    return Flag(policy_id, start_s, start_s + 5.0, score, score, policy.severity, Action.REVIEW, evidence)


def analysed(database: Database, *flags: Flag, verdict: Action | None = None, wishes: Wishes | None = None) -> Job:
    """A video whose analysis has ended so, and that was filed for review if somebody has to look."""
    job = accepted(database, wishes=wishes or Wishes())
    prepared(database, job)
    with database.read() as session:
        spans = session.exec(select(SpanWork).where(SpanWork.job_id == job.id).order_by(col(SpanWork.index))).all()
    for span in spans:
        held = must_take(database, Task.ANALYZE_SPAN, span.id)
        with database.write() as session:
            life.span_analyzed(session, held, [segment(span.index)])
    held = must_take(database, Task.FINISH, job.id)
    action = verdict or (Action.REVIEW if flags else Action.ALLOW)
    with database.write() as session:
        life.finished(session, held, replace(analysis(), flags=flags, verdict=Verdict(action, "because")))
        filing.file(session, session.get_one(Job, job.id))
    return job_now(database, job)


def job_now(database: Database, job: Job) -> Job:
    with database.read() as session:
        return session.get_one(Job, job.id)


def claim(database: Database, caller: Caller, *names: str) -> ReviewItem | None:
    """The next item for somebody."""
    with database.write() as session:
        lines = queues.all_of(session, caller.tenant_id)
        return serving.next_item(session, caller, [queue for queue in lines if not names or queue.name in names])


def must_claim(database: Database, caller: Caller, *names: str) -> ReviewItem:
    item = claim(database, caller, *names)
    assert item is not None
    return item


def decide(database: Database, caller: Caller, item: ReviewItem, outcome: Outcome, note: str = "") -> Decided:
    """Remove: all flags are right; approve: all are wrong."""
    with database.write() as session:
        found = items.find(session, caller, item.id, locked=True)
        assert found is not None
        right = FlagVerdict.CONFIRM if outcome is Outcome.REMOVE else FlagVerdict.REJECT
        reason = None if right is FlagVerdict.CONFIRM else RejectReason.NOT_THERE
        told = tuple(FlagDecision(one.id, right, reason) for one in flags_of(session, item.job_id))
        said = Submission(outcome, told, note=note or "because", watched_s=3.0)
        return deciding.decide(session, caller, found, token=item.token, said=said, own=OWN)
