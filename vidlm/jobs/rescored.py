"""What a backfill's scores become: rows beside the segments and, where it applies, more flags and a stronger verdict.

The analysis itself, its document and its segments' own scores, is never changed: it is what was found then. Knows rows;
when a video is through is decided by `vidlm.jobs.backfills`. The caller holds the locks of job and backfill.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from vidlm.domain import Action, Policy, Segment, Verdict
from vidlm.jobs import events
from vidlm.moderation.additions import Additions, Known, additions, strengthened
from vidlm.moderation.decisions import ReviewState
from vidlm.moderation.flags import flags_from_scores
from vidlm.moderation.policies import PolicySet, read_policies
from vidlm.store.backfill import Backfill, BackfilledScore
from vidlm.store.chain import audit
from vidlm.store.tables import FlagRow, Job, SegmentRow


def policy_of(backfill: Backfill) -> Policy:
    """The policy as it was when the backfill was asked for."""
    (policy,) = read_policies([backfill.policy])
    return policy


def keep(session: Session, job: Job, backfill: Backfill, scores: Mapping[int, float], model_revision: str) -> None:
    """Write down P(Yes) by window, over what the same question was answered before."""
    if not scores:
        return
    of_job = select(SegmentRow.id, SegmentRow.index).where(SegmentRow.job_id == job.id)
    between = (col(SegmentRow.index) >= min(scores), col(SegmentRow.index) <= max(scores))
    ids = {index: segment_id for segment_id, index in session.exec(of_job.where(*between)).all()}
    shared = {
        "policy_id": backfill.policy_id,
        "question_version": backfill.question_version,
        "tenant_id": job.tenant_id,
        "job_id": job.id,
        "backfill_id": backfill.id,
        "model_revision": model_revision,
    }
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(BackfilledScore)
    changed = {name: getattr(statement.excluded, name) for name in ("backfill_id", "model_revision", "score")}
    statement = statement.on_conflict_do_update(
        index_elements=["segment_id", "policy_id", "question_version"], set_=changed
    )
    rows = [{"segment_id": ids[index], "score": score, **shared} for index, score in scores.items()]
    session.connection().execute(statement, rows)


def judge(session: Session, job: Job, backfill: Backfill, *, actor: str) -> None:
    """Count a video that the policy flags; where the backfill applies, add the flags and let the verdict follow."""
    policy = policy_of(backfill)
    found = flags_from_scores(_segments(session, job, backfill), PolicySet(backfill.question_version, (policy,)))
    if not found:
        return
    backfill.videos_flagged += 1
    if not backfill.apply:
        return
    of_policy = (FlagRow.job_id == job.id, FlagRow.policy_id == policy.id)
    rows = {row.id: row for row in session.exec(select(FlagRow).where(*of_policy).with_for_update()).all()}
    known = [Known(row.id, row.start_s, row.end_s, Action(row.action)) for row in rows.values()]
    added = additions(found, known)
    backfill.flags_added += len(added.flags)
    _add(session, job, backfill, added, rows)
    if added.new and job.review_state == ReviewState.APPROVED:
        job.review_state = ReviewState.NONE.value  # it was approved without this: the sweeper has people look again
    verdict = strengthened(Action(job.verdict_action or Action.ALLOW), policy, added.flags)
    if verdict is not None:
        _strengthen(session, job, backfill, verdict, actor)


def _segments(session: Session, job: Job, backfill: Backfill) -> list[Segment]:
    """The job's segments with the backfill's scores alone; without one where its tokens were gone."""
    asked = (
        col(BackfilledScore.segment_id) == col(SegmentRow.id),
        col(BackfilledScore.backfill_id) == backfill.id,
        col(BackfilledScore.policy_id) == backfill.policy_id,
    )
    columns = (SegmentRow.index, SegmentRow.start_s, SegmentRow.end_s, BackfilledScore.score)
    query = select(*columns).join(BackfilledScore, asked[0] & asked[1] & asked[2], isouter=True)
    rows = session.exec(query.where(SegmentRow.job_id == job.id).order_by(col(SegmentRow.index))).all()
    return [
        Segment(index, start_s, end_s, (), "", {} if score is None else {backfill.policy_id: score})
        for index, start_s, end_s, score in rows
    ]


def _add(session: Session, job: Job, backfill: Backfill, added: Additions, rows: Mapping[str, FlagRow]) -> None:
    for flag in added.new:
        row = FlagRow.of(job, flag)
        row.backfill_id = backfill.id
        session.add(row)
        events.flag_told(session, job, row)
    for flag_id, flag in added.raised:
        row = rows[flag_id]
        row.action, row.score, row.backfill_id = flag.action.value, max(row.score, flag.score), backfill.id


def _strengthen(session: Session, job: Job, backfill: Backfill, verdict: Verdict, actor: str) -> None:
    details = {
        "before": job.verdict_action,
        "after": verdict.action.value,
        "policy": backfill.policy_id,
        "backfill": backfill.id,
    }
    job.verdict_action, job.verdict_reason = verdict.action.value, verdict.reason
    backfill.verdicts_raised += 1
    audit(
        session,
        tenant_id=job.tenant_id,
        actor=actor,
        event="video.verdict_raised",
        target_id=job.video_id,
        details=details,
    )
