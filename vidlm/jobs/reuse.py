"""The same bytes analysed in the same way give the same result: a job may take over what an earlier one found.

Only where the setting asks for it, only within one tenant, and only what was made with the same recipe
(`vidlm.provenance.recipe`) and compared with the tenant's banks as they are now. Knows rows; not files or models.
"""

from __future__ import annotations

import copy

from sqlalchemy import or_
from sqlmodel import Session, col, select

from vidlm.domain import JobState, WorkState
from vidlm.errors import LeaseLost
from vidlm.jobs import events, outbox, wording
from vidlm.jobs.claims import Claim, hold
from vidlm.jobs.life import let_go
from vidlm.store.engine import clock
from vidlm.store.likeness import BankEntry, BankVersion, FingerprintRow, MatchRow
from vidlm.store.tables import AnalysisRow, FlagRow, Job, SecondLookRow, SegmentRow, SpanWork, Video


def find_twin(session: Session, job: Job, recipe: str) -> Job | None:
    """The tenant's newest ready job on the same bytes with this recipe whose pictures are still there, if any."""
    same_bytes = select(Video.sha256).where(Video.id == job.video_id).scalar_subquery()
    banks = session.get(BankVersion, job.tenant_id)
    never_compared = col(FingerprintRow.video_id).is_(None)
    query = (
        select(Job)
        .join(Video)
        .outerjoin(FingerprintRow, col(FingerprintRow.video_id) == col(Video.id))
        .where(
            col(FingerprintRow.bank_version) == banks.version
            if banks is not None
            else or_(never_compared, col(FingerprintRow.bank_version) == 0),
            Video.tenant_id == job.tenant_id,
            col(Video.sha256) == same_bytes,
            col(Video.deleted_at).is_(None),
            Job.state == JobState.READY.value,
            Job.recipe == recipe,
            col(Job.work_folder).is_not(None),
        )
    )
    return session.exec(query.order_by(col(Job.id).desc()).limit(1)).first()


def reused(session: Session, held: Claim, twin_id: str, *, work_folder: str) -> None:
    """The claimed job is `ready` with everything its twin found; `work_folder` holds copies of the twin's files.

    Raises `LeaseLost` where the claim, or the twin, is gone meanwhile.
    """
    job = hold(session, held, Job)
    twin = session.get(Job, twin_id, with_for_update=True, populate_existing=True)
    analysis = session.get(AnalysisRow, twin_id)
    if twin is None or twin.state != JobState.READY or twin.prepared is None or analysis is None:
        raise LeaseLost("what was to be taken over has gone")
    filename = session.get_one(Video, job.video_id).filename or ""
    job.prepared = copy.deepcopy(twin.prepared) | {"info": twin.prepared["info"] | {"filename": filename}}
    job.work_folder, job.recipe, job.duration_s = work_folder, twin.recipe, twin.duration_s
    job.policy_set_id = twin.policy_set_id
    job.prepared_share, job.spans_total, job.spans_done = 1.0, twin.spans_total, twin.spans_done
    job.verdict_action, job.verdict_reason, job.toy_model = twin.verdict_action, twin.verdict_reason, twin.toy_model
    job.prepared_at = job.analyzed_at = clock(session)
    let_go(job)
    outbox.settle(session, held.task, held.target_id)
    document = analysis.document | {"video": analysis.document["video"] | {"filename": filename}}
    session.add(AnalysisRow(job_id=job.id, tenant_id=job.tenant_id, document=document))
    wording.keep(session, job, document)
    _copy_segments(session, twin, job)
    for look in session.exec(select(SecondLookRow).where(SecondLookRow.job_id == twin.id)).all():
        session.add(SecondLookRow(**look.model_dump(exclude={"id", "job_id"}), job_id=job.id))
    _copy_likeness(session, twin.video_id, job)
    for flag in session.exec(select(FlagRow).where(FlagRow.job_id == twin.id).order_by(col(FlagRow.id))).all():
        own = FlagRow(**flag.model_dump(exclude={"id", "job_id"}), job_id=job.id)
        session.add(own)
        events.flag_told(session, job, own)
    events.moved(session, job, JobState.READY)


def _copy_likeness(session: Session, twin_id: str, job: Job) -> None:
    for made in session.exec(select(FingerprintRow).where(FingerprintRow.video_id == twin_id)).all():
        session.merge(FingerprintRow(**made.model_dump(exclude={"video_id", "made_at"}), video_id=job.video_id))
    matches = select(MatchRow, BankEntry).join(BankEntry, col(BankEntry.id) == col(MatchRow.entry_id))
    for match, entry in session.exec(matches.where(MatchRow.video_id == twin_id)).all():
        own = MatchRow(**match.model_dump(exclude={"id", "video_id", "found_at"}), video_id=job.video_id)
        session.add(own)
        events.known_told(session, job, own, bank=entry.bank, decision_id=entry.decision_id)


def _copy_segments(session: Session, twin: Job, job: Job) -> None:
    own_spans: dict[str, str] = {}
    for span in session.exec(select(SpanWork).where(SpanWork.job_id == twin.id)).all():
        own = SpanWork(
            tenant_id=job.tenant_id,
            job_id=job.id,
            index=span.index,
            first_window=span.first_window,
            last_window=span.last_window,
            state=WorkState.DONE.value,
        )
        own_spans[span.id] = own.id
        session.add(own)
    session.flush()
    for segment in session.exec(select(SegmentRow).where(SegmentRow.job_id == twin.id)).all():
        copied = segment.model_dump(exclude={"id", "job_id", "span_id"})
        session.add(SegmentRow(**copied, job_id=job.id, span_id=own_spans[segment.span_id]))
