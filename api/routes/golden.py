"""Golden items: videos whose right decision a lead knows, shown to reviewers as any other."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response
from fastapi.responses import JSONResponse

from api import examples, review_examples
from api.deps import CallerDep, ServiceDep
from api.once import OnceDep, respond
from api.problems import documented, not_found
from api.review_schemas import GoldenIn, GoldenOut, GoldensOut
from vidlm.jobs.idempotency import Reply
from vidlm.review import golden
from vidlm.store.queries import find_video, job_of

router = APIRouter(prefix="/v1/review/golden", tags=["review"])


@router.post(
    "",
    status_code=201,
    response_model=GoldenOut,
    responses=documented({201: examples.shown("The answer", review_examples.GOLDEN)}, 404, 409, 413, 422),
)
def add_golden(
    asked: Annotated[GoldenIn, Body(examples=[review_examples.GOLDEN_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Say what is right about a video. Reviewers get it now and then (`golden_share`) and are not told.

    422 `invalid_golden`; 409 `not_ready`, `already_golden`.
    """
    with service.database.write() as session:

        def do() -> Reply:
            video = None if "\0" in asked.video_id else find_video(session, caller.tenant_id, asked.video_id)
            if video is None or video.deleted_at is not None:
                raise not_found("video")
            job = job_of(session, video.id, lock=True)
            if not golden.may_see(session, caller, video.id):
                raise not_found("video")
            answer = golden.add(
                session,
                caller,
                job,
                outcome=asked.outcome,
                violated=asked.violated,
                note=asked.note,
            )
            return Reply(201, GoldenOut.model_validate(answer, from_attributes=True).model_dump(mode="json"), {})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.get(
    "",
    response_model=GoldensOut,
    responses=documented({200: examples.shown("The answers", review_examples.GOLDENS)}),
)
def get_golden(service: ServiceDep, caller: CallerDep) -> GoldensOut:
    """The answers that are still shown, the newest first."""
    with service.database.read() as session:
        rows = golden.all_of(session, caller)
        return GoldensOut(golden=[GoldenOut.model_validate(row, from_attributes=True) for row in rows])


@router.delete("/{golden_id}", status_code=204, responses=documented({}, 404, 422))
def retire_golden(
    golden_id: Annotated[str, Path(max_length=64, examples=[review_examples.GOLDEN["id"]])],
    service: ServiceDep,
    caller: CallerDep,
) -> Response:
    """Show it to nobody any more. What was decided about it still counts."""
    with service.database.write() as session:
        answer = None if "\0" in golden_id else golden.find(session, caller, golden_id)
        if answer is None:
            raise not_found("golden answer")
        golden.retire(session, caller, answer)
    return Response(status_code=204)
