"""Scoring a whole library under one more policy, from what was kept of its videos; and what that found in a video."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import backfill_examples, examples, policy_examples
from api.backfill_schemas import BackfilledOut, BackfillIn, BackfillOut, BackfillPage, backfill_out, backfilled_out
from api.deps import CallerDep, ServiceDep
from api.lists import moment
from api.once import OnceDep, respond
from api.problems import ProblemError, documented, not_found
from api.routes.videos import VideoId, existing
from vidlm.jobs.idempotency import Reply
from vidlm.policy import backfills
from vidlm.store.backfill import Backfill
from vidlm.store.keys import Caller
from vidlm.store.queries import job_of

router = APIRouter(prefix="/v1", tags=["policies"])

PolicyId = Annotated[str, Path(max_length=200, examples=[policy_examples.POLICIES["policies"][0]["id"]])]
BackfillId = Annotated[str, Path(max_length=64, examples=[backfill_examples.BACKFILL["id"]])]

_FILTERS: Final = ("verdict", "client_id", "priority", "policy")


@router.post(
    "/policies/{policy_id}/backfill",
    status_code=202,
    response_model=BackfillOut,
    responses=documented({202: examples.shown("Begun", backfill_examples.BACKFILL)}, 404, 409, 413, 422),
)
def begin_backfill(
    policy_id: PolicyId,
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
    asked: Annotated[BackfillIn | None, Body(examples=[backfill_examples.BACKFILL_IN])] = None,
) -> JSONResponse:
    """Score every ready video under a policy, from what was kept of it: nothing is decoded, and uploads go first.

    409 `backfill_running` names the one that asks the same and has not ended; `not_in_force` where `apply` is asked for
    a policy that videos are not judged by; `too_many_backfills`.
    """
    wanted = asked or BackfillIn()
    filters = _filters(wanted)
    with service.database.write() as session:

        def do() -> Reply:
            chosen = None
            if "\0" not in policy_id + (wanted.policy_set_id or ""):
                chosen = backfills.choose(session, caller.tenant_id, policy_id, service.policies, wanted.policy_set_id)
            if chosen is None:
                raise not_found("policy")
            other = backfills.running(session, caller.tenant_id, chosen.policy)
            if other is not None:
                detail = f"this question is being put to the library already: {other.id}"
                raise ProblemError(409, "backfill_running", detail, backfill_id=other.id)
            row = backfills.ask(
                session,
                tenant_id=caller.tenant_id,
                actor=caller.id,
                chosen=chosen,
                filters=filters,
                apply=wanted.apply,
            )
            session.flush()
            body = backfill_out(row).model_dump(mode="json")
            return Reply(202, body, {"Location": f"/v1/backfills/{row.id}"})

        reply = once(session, wanted.model_dump(mode="json"), do)
    return respond(reply)


@router.get(
    "/backfills",
    response_model=BackfillPage,
    responses=documented({200: examples.shown("A page of backfills", backfill_examples.BACKFILL_PAGE)}, 422),
)
def get_backfills(
    service: ServiceDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[
        str | None, Query(max_length=64, pattern=r"^bfl_\w+$", description="Only those older than this one.")
    ] = None,
) -> BackfillPage:
    """The tenant's backfills, the newest first."""
    with service.database.read() as session:
        rows = backfills.list_all(session, caller.tenant_id, most=limit + 1, before=before)
    items = [backfill_out(row) for row in rows[:limit]]
    return BackfillPage(items=items, next_before=items[-1].id if len(rows) > limit else None)


@router.get(
    "/backfills/{backfill_id}",
    response_model=BackfillOut,
    responses=documented({200: examples.shown("How far it is", backfill_examples.BACKFILL)}, 404, 422),
)
def get_backfill(backfill_id: BackfillId, service: ServiceDep, caller: CallerDep) -> BackfillOut:
    """How far a backfill is, and what it found so far."""
    with service.database.read() as session:
        return backfill_out(_of(session, caller, backfill_id))


@router.post(
    "/backfills/{backfill_id}/cancel",
    status_code=202,
    response_model=BackfillOut,
    responses=documented({202: examples.shown("Called off", backfill_examples.CANCELLED)}, 404, 409, 422),
)
def cancel_backfill(backfill_id: BackfillId, service: ServiceDep, caller: CallerDep, once: OnceDep) -> JSONResponse:
    """Call a backfill off; what it found so far stays. 409 `already_ended`."""
    with service.database.write() as session:

        def do() -> Reply:
            row = _of(session, caller, backfill_id, lock=True)
            backfills.cancel(session, row, actor=caller.id)
            session.flush()
            return Reply(202, backfill_out(row).model_dump(mode="json"))

        reply = once(session, None, do)
    return respond(reply)


@router.get(
    "/videos/{video_id}/backfilled",
    response_model=BackfilledOut,
    responses=documented({200: examples.shown("What was asked later", backfill_examples.BACKFILLED)}, 404, 410, 422),
)
def get_backfilled(video_id: VideoId, service: ServiceDep, caller: CallerDep) -> BackfilledOut:
    """A video's scores under policies that were asked after its analysis, which itself stays as it was made."""
    with service.database.read() as session:
        existing(session, caller, video_id)
        return backfilled_out(backfills.later_scores(session, [job_of(session, video_id).id]))


def _of(session: Session, caller: Caller, backfill_id: str, *, lock: bool = False) -> Backfill:
    """One of the caller's backfills. Raises `ProblemError` 404."""
    row = None if "\0" in backfill_id else backfills.find(session, caller.tenant_id, backfill_id, lock=lock)
    if row is None:
        raise not_found("backfill")
    return row


def _filters(asked: BackfillIn) -> dict[str, Any]:
    """What was asked for, as a backfill keeps it. Raises `ProblemError` 422."""
    if asked.client_id is not None and not asked.client_id.isprintable():
        raise ProblemError(422, "invalid_request", "client_id: printable characters only")
    kept = {name: value for name, value in asked.model_dump(mode="json", include=set(_FILTERS)).items() if value}
    for name in ("created_from", "created_until"):
        if (raw := getattr(asked, name)) is not None:
            kept[name] = moment(raw, name).isoformat()
    return kept
