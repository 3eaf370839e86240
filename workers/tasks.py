"""The tasks. Each is a shell around one stage: claim a row, call the pipeline's plain function, save under the claim.

    prepare(job) -> analyze_span(span) ... -> finish(job)          answer(question)          backfill(video)

A message only wakes: what is done is the most urgent unit of its queue. What goes wrong is settled in one place, `_do`:
the input's fault ends the job, ours is tried again, a lost lease is dropped in silence because somebody else is at it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog
from celery import Celery

from vidlm import crash
from vidlm.domain import JobState
from vidlm.errors import InputError, LeaseLost, QuestionError
from vidlm.jobs import life, reuse
from vidlm.jobs.claims import Claim, claim, claim_next, heartbeat, hold
from vidlm.jobs.progress import SAID_EVERY_S
from vidlm.queue import CONSUME_ORDER, Queue, Task, tasks_of
from vidlm.review import filing
from vidlm.store.queries import job_of, segments_of, turns_before
from vidlm.store.tables import Job, Question, SpanWork, Video
from workers.backfilling import backfill
from workers.runtime import Runtime, StoppingError

if TYPE_CHECKING:
    from vidlm.preparation import Prepared

log = structlog.get_logger(__name__)

Stage = Callable[[Runtime, Claim, threading.Event], None]
"""A stage's work under a claim. The event is set when the lease is lost, and the work is then in vain."""


PROGRESS_EVERY_S: Final = SAID_EVERY_S


def prepare(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    """Uploaded bytes -> proxy, windows, spans; or, where the same was decided about before, the end."""
    from vidlm import pipeline, preparation  # noqa: PLC0415  decord and PyAV: not for the relay
    from vidlm.known import matches, recognition  # noqa: PLC0415
    from vidlm.video.sampling import plan_spans  # noqa: PLC0415

    with runtime.database.read() as session:
        job = session.get_one(Job, held.target_id)
        video = session.get_one(Video, job.video_id)
    if video.blob is None:
        raise LeaseLost("the video was deleted meanwhile")
    force = runtime.in_force(job.tenant_id)
    recipe = runtime.recipe(force.policies)
    folder = runtime.blobs.new_work_folder(job.id, held.token)
    if runtime.settings.reuse_results and _take_over(runtime, held, job, folder, recipe):
        return
    saved_s = time.monotonic()
    watch = recognition.Watch()

    def keep(done: float) -> None:
        nonlocal saved_s
        runtime.go_on(lost)
        if time.monotonic() - saved_s >= PROGRESS_EVERY_S:
            with runtime.database.write() as session:
                life.preparing(session, held, done)
            saved_s = time.monotonic()

    try:
        prepared = preparation.prepare(
            runtime.blobs.path(video.blob),
            runtime.blobs.path(folder),
            filename=video.filename or "",
            geometry=runtime.geometry,
            settings=runtime.settings,
            on_progress=keep,
            on_frames=watch.add,
        )
        length_s = prepared.info.duration_s
        found = runtime.recognizer.compare(job.tenant_id, video.sha256, length_s, watch.finish())
        decides = runtime.settings.carry_over == "decide" and found.bank_version is not None
        carried = pipeline.carry_over(prepared, found.known) if decides else None
        document = prepared.to_document()
        with runtime.database.write() as session:
            matches.keep(session, hold(session, held, Job), found)
            if carried is not None:
                life.carried_over(session, held, carried, document=document, work_folder=folder)
                filing.carried(session.get_one(Job, job.id))
            else:
                life.prepared(
                    session,
                    held,
                    document=document,
                    recipe=recipe,
                    policy_set_id=force.id,
                    work_folder=folder,
                    duration_s=length_s,
                    spans=plan_spans(prepared.windows, runtime.settings.span_s),
                )
    except BaseException:
        runtime.blobs.remove(folder)
        raise
    runtime.blobs.keep_only(folder)


def _take_over(runtime: Runtime, held: Claim, job: Job, folder: str, recipe: str) -> bool:
    """Whether an earlier job on the same bytes had all there is to find, and this one now has it too."""
    with runtime.database.read() as session:
        twin = reuse.find_twin(session, job, recipe)
    if twin is None or twin.work_folder is None or not runtime.blobs.path(twin.work_folder).is_dir():
        return False
    runtime.blobs.fill_work_folder(folder, twin.work_folder)
    with runtime.database.write() as session:
        reuse.reused(session, held, twin.id, work_folder=folder)
        filing.file(session, session.get_one(Job, job.id))
    return True


def analyze_span(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    """A run of windows -> their segments."""
    from vidlm import pipeline  # noqa: PLC0415

    with runtime.database.read() as session:
        span = session.get_one(SpanWork, held.target_id)
        job = session.get_one(Job, span.job_id)
    prepared = _prepared(runtime, job)

    windows = prepared.windows[span.first_window : span.last_window]
    segments = pipeline.analyze_windows(
        prepared, windows, runtime.eyes(), runtime.pinned(job), lambda _: runtime.go_on(lost)
    )
    with runtime.database.write() as session:
        life.span_analyzed(session, held, segments)


def finish(runtime: Runtime, held: Claim, lost: threading.Event) -> None:
    """All segments, the doubtful ones seen again -> the document."""
    from vidlm import pipeline, second_look  # noqa: PLC0415
    from vidlm.known import matches  # noqa: PLC0415
    from vidlm.pinpoint import pinpoint  # noqa: PLC0415

    with runtime.database.read() as session:
        job = session.get_one(Job, held.target_id)
        blob = session.get_one(Video, job.video_id).blob
        segments = segments_of(session, job.id)
        before = matches.comparison_of(session, job.video_id)
        sha256 = session.get_one(Video, job.video_id).sha256
    prepared, policies, settings = _prepared(runtime, job), runtime.pinned(job), runtime.settings
    eyes, go_on = runtime.eyes(), lambda: runtime.go_on(lost)
    source = runtime.blobs.path(blob) if blob is not None else None
    again = second_look.look_again(prepared, segments, source, eyes, policies, settings=settings, go_on=go_on)
    parts = pinpoint(prepared, again.segments, again.looks, eyes, policies, go_on=go_on)
    found = runtime.recognizer.up_to_date(job.tenant_id, sha256, prepared.info.duration_s, before)
    analysis = pipeline.finish(
        prepared,
        again.segments,
        runtime.engine(),
        policies,
        settings,
        looks=again.looks,
        look_sampling=again.sampling,
        parts=parts,
        known=found.known,
        compared=found.bank_version is not None,
    )
    with runtime.database.write() as session:
        matches.keep(session, hold(session, held, Job), found)
        life.finished(session, held, analysis)
        filing.file(session, session.get_one(Job, job.id))


def answer(runtime: Runtime, held: Claim, _lost: threading.Event) -> None:
    """A question about a ready video, and what was said before it -> its answer."""
    from vidlm.answer import HISTORY_MOST, answer_question  # noqa: PLC0415

    with runtime.database.read() as session:
        question = session.get_one(Question, held.target_id)
        job = job_of(session, question.video_id)
        history = turns_before(session, question, HISTORY_MOST)
    if job.state == JobState.READY and job.work_folder is None:
        raise QuestionError("the frames of this video are not kept any more", code="frames_removed")
    eyes = runtime.eyes(urgent=True)
    said = answer_question(_prepared(runtime, job), question.text, eyes, runtime.settings, history=history)
    with runtime.database.write() as session:
        life.answered(session, held, replace(said, conversation_id=question.conversation_id))


STAGES: dict[Task, Stage] = {
    Task.PREPARE: prepare,
    Task.ANALYZE_SPAN: analyze_span,
    Task.FINISH: finish,
    Task.ANSWER: answer,
    Task.BACKFILL: backfill,
}


def work(runtime: Runtime, task: Task, target_id: str) -> str:
    """Claim one unit, run its stage, settle how it ended. Returns "done", "skipped", "lost", or `gave_up`'s word."""
    settings = runtime.settings
    with runtime.database.write() as session:
        held = claim(session, task, target_id, lease_s=settings.lease_s, max_attempts=settings.max_attempts)
    return _do(runtime, held) if held is not None else "skipped"


def work_next(runtime: Runtime, queue: Queue) -> str:
    """The same for the most urgent unit that waits on `queue`, after a wake-up; "skipped" where nothing is to do."""
    settings = runtime.settings
    with runtime.database.write() as session:
        held = claim_next(
            session,
            _ORDER[queue],
            lease_s=settings.lease_s,
            max_attempts=settings.max_attempts,
            woken=True,
        )
    return _do(runtime, held) if held is not None else "skipped"  # wake-ups may come twice


_ORDER: Final = {queue: tuple(reversed(tasks_of(queue))) for queue in CONSUME_ORDER}
"""Of equally urgent units those of the later stage go first: what was begun is brought to its end."""


def _do(runtime: Runtime, held: Claim) -> str:
    told = log.bind(task=held.task.value, target=held.target_id, attempt=held.attempt)
    began_s = time.monotonic()
    runtime.at = held
    crash.point(f"{held.task.value}.claimed")
    try:
        with heartbeat(runtime.database, held, runtime.settings.lease_s) as lost:
            STAGES[held.task](runtime, held, lost)
    except LeaseLost as exc:
        told.warning("task.lost", reason=exc.detail)
        return "lost"
    except StoppingError:
        return _give_back(runtime, held, told)
    except Exception as exc:  # noqa: BLE001  the one place where work of any kind may fail and a worker must live on
        return _settle(runtime, held, exc, told)
    finally:
        runtime.at = None
    crash.point(f"{held.task.value}.saved")
    told.info("task.done", seconds=round(time.monotonic() - began_s, 3))
    return "done"


def register(app: Celery, runtime: Runtime) -> None:
    """Give `app` one Celery task for each of ours."""
    for task in tasks_of(*CONSUME_ORDER):
        app.task(name=task.value)(_shell(runtime, task))


def _shell(runtime: Runtime, task: Task) -> Callable[[str], None]:
    def run(_target_id: str) -> None:
        runtime.busy = True
        try:
            work_next(runtime, task.queue)
        finally:
            runtime.busy, runtime.last_active_s = False, time.monotonic()

    return run


def _give_back(runtime: Runtime, held: Claim, told: structlog.stdlib.BoundLogger) -> str:
    with suppress(LeaseLost), runtime.database.write() as session:
        life.given_back(session, held)
    told.info("task.given_back")
    return "waiting"


def _settle(runtime: Runtime, held: Claim, error: Exception, told: structlog.stdlib.BoundLogger) -> str:
    try:
        with runtime.database.write() as session:
            became = life.gave_up(session, held, error, max_attempts=runtime.settings.max_attempts)
    except LeaseLost:
        became = "lost"
    if isinstance(error, InputError):
        told.info("task.rejected", code=error.code, detail=error.detail)
    else:
        told.error("task.failed", became=became, exc_info=error)
    return became


def _prepared(runtime: Runtime, job: Job) -> Prepared:
    from vidlm import preparation  # noqa: PLC0415

    if job.prepared is None or job.work_folder is None:
        raise LeaseLost("the job was deleted meanwhile")
    return preparation.Prepared.from_document(job.prepared, runtime.blobs.path(job.work_folder))
