"""Questions about one video, and their answers. With `Prefer: wait=N` a request waits up to N seconds for them."""

from __future__ import annotations

import re
from typing import Annotated, Final

import anyio
from fastapi import APIRouter, Body, Header, Path, Response
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool

from api import examples
from api.deps import CallerDep, Service, ServiceDep
from api.once import Once, OnceDep
from api.problems import ProblemError, documented, not_found
from api.routes.videos import VideoId, not_ready, shown
from api.schemas import QuestionIn, QuestionOut, question_out
from vidlm.domain import JobState, WorkState
from vidlm.errors import ConflictError
from vidlm.jobs import life
from vidlm.jobs.idempotency import Reply
from vidlm.store.keys import Caller
from vidlm.store.queries import find_conversation, find_question, job_of

router = APIRouter(prefix="/v1", tags=["questions"])

MAX_WAIT_S: Final = 60.0
_POLL_S: Final = 0.1

PreferHeader = Annotated[
    str | None, Header(max_length=200, description="`wait=30`: answer when there is one, at most 30 s later.")
]


@router.post(
    "/videos/{video_id}/questions",
    status_code=202,
    response_model=QuestionOut,
    responses=documented(
        {
            200: examples.shown("Answered while the request waited", examples.QUESTION_READY),
            202: examples.shown("Queued", examples.QUESTION_QUEUED),
        },
        404,
        409,
        410,
        413,
        422,
    ),
)
async def ask_question(
    *,
    video_id: VideoId,
    question: Annotated[QuestionIn, Body(examples=[examples.QUESTION, examples.FOLLOW_UP])],
    response: Response,
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
    prefer: PreferHeader = None,
) -> QuestionOut:
    """Ask a question about a video that is `ready`. 202 with a place to look, or 200 with the answer after a wait.

    With the `conversation_id` of an earlier question this one follows it; 409 `conversation_busy` while an earlier
    question of the conversation has no answer yet.
    """
    reply = await run_in_threadpool(_ask, service, caller, once, video_id, question)
    asked = QuestionOut.model_validate(reply.body)
    response.headers.update(reply.headers)
    found = await _wait(service, caller, asked, prefer, response)
    response.status_code = 202 if found.state in ("queued", "answering") else 200
    return found


@router.get(
    "/questions/{question_id}",
    response_model=QuestionOut,
    responses=documented({200: examples.shown("The question as it stands", examples.QUESTION_READY)}, 404, 422),
)
async def get_question(
    question_id: Annotated[str, Path(max_length=64, examples=[examples.QUESTION_QUEUED["id"]])],
    response: Response,
    service: ServiceDep,
    caller: CallerDep,
    prefer: PreferHeader = None,
) -> QuestionOut:
    """A question and, once it is `ready`, its answer."""
    found = await run_in_threadpool(_read, service, caller, question_id)
    return await _wait(service, caller, found, prefer, response)


def wait_s(prefer: str | None) -> float | None:
    """Seconds of `wait=` in a Prefer header (RFC 7240), at most `MAX_WAIT_S`; None where there is none."""
    asked = re.search(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", prefer or "", re.IGNORECASE)
    return min(float(asked[1]), MAX_WAIT_S) if asked else None


async def _wait(
    service: Service, caller: Caller, question: QuestionOut, prefer: str | None, response: Response
) -> QuestionOut:
    """The question once it has ended or the preferred wait is over."""
    seconds = wait_s(prefer)
    if seconds is None:
        return question
    response.headers["Preference-Applied"] = f"wait={seconds:.0f}"
    deadline = anyio.current_time() + seconds
    while question.state in ("queued", "answering") and anyio.current_time() < deadline:
        await anyio.sleep(_POLL_S)
        question = await run_in_threadpool(_read, service, caller, question.id)
    return question


def _ask(service: Service, caller: Caller, once: Once, video_id: str, question: QuestionIn) -> Reply:
    text = clean_question(question.question, service.settings.max_question_chars)

    def do() -> Reply:
        status = shown(session, caller, video_id)
        job = job_of(session, video_id, lock=True)
        if job.state != JobState.READY:
            raise not_ready(status)
        if job.work_folder is None:
            raise ConflictError("the frames of this video are not kept any more", code="frames_removed")
        if question.conversation_id is not None:  # the job is locked: nobody else asks about this video meanwhile
            _check_turn(session, caller, video_id, question.conversation_id)
        asked = life.ask(
            session,
            tenant_id=caller.tenant_id,
            video_id=video_id,
            text=text,
            conversation_id=question.conversation_id,
        )
        session.flush()
        body = question_out(asked).model_dump(mode="json")
        return Reply(202, body, {"Location": f"/v1/questions/{asked.id}"})

    with service.database.write() as session:
        return once(session, question.model_dump(), do)


def _check_turn(session: Session, caller: Caller, video_id: str, conversation_id: str) -> None:
    """Whether a conversation may go on. Raises `ProblemError` 404, or 409 while an earlier question has not ended.

    The history of a question is what was answered before it: two at once would not know of each other.
    """
    if not conversation_id.isprintable():  # a NUL, half a surrogate pair: no id of ours, and no database keeps it
        raise not_found("conversation")
    turns = find_conversation(session, caller.tenant_id, video_id, conversation_id)
    if not turns:
        raise not_found("conversation")
    for question_id, state in turns:
        if state in (WorkState.WAITING, WorkState.RUNNING):
            detail = f"an earlier question of this conversation has not been answered yet: {question_id}"
            raise ProblemError(409, "conversation_busy", detail, question_id=question_id)


def clean_question(raw: str, max_chars: int) -> str:
    """One line of text that any database keeps. Raises `ProblemError` 422 where nothing or too much is left."""
    text = " ".join(raw.replace("\0", " ").encode("utf-8", "replace").decode().split())
    if not text:
        raise ProblemError(422, "invalid_question", "the question is empty")
    if len(text) > max_chars:
        raise ProblemError(422, "invalid_question", f"the question is longer than {max_chars} characters")
    return text


def _read(service: Service, caller: Caller, question_id: str) -> QuestionOut:
    with service.database.read() as session:
        row = None if "\0" in question_id else find_question(session, caller.tenant_id, question_id)
        if row is None:
            raise not_found("question")
        return question_out(row)
