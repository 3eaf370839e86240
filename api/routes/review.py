"""Review: take an item, decide, take a decision back. What leads arrange stands in `review_queues` and `golden`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples, review_examples
from api.deps import CallerDep, ServiceDep
from api.once import OnceDep, respond
from api.problems import documented, not_found
from api.queue_schemas import QueueName
from api.review_schemas import (
    ClaimIn,
    ClaimOut,
    DecidedOut,
    DecisionIn,
    ExposureOut,
    LockOut,
    ReviewCaseOut,
    ReviewItemPage,
    TokenIn,
)
from api.review_views import case_out, claim_out, decision_out, exposure_out, item_out
from vidlm.domain import Severity
from vidlm.jobs.idempotency import Reply
from vidlm.moderation.decisions import ItemState
from vidlm.review import deciding, items, listing, queues, serving
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewItem, ReviewQueue

router = APIRouter(prefix="/v1/review", tags=["review"])

ItemId = Annotated[str, Path(max_length=64, examples=[review_examples.ITEM["id"]])]
DecisionId = Annotated[str, Path(max_length=64, examples=[review_examples.DECISION["id"]])]


@router.post(
    "/claim",
    response_model=ClaimOut,
    responses=documented({200: examples.shown("Yours", review_examples.CLAIM)}, 404, 409, 422),
)
def claim_item(
    service: ServiceDep, caller: CallerDep, asked: Annotated[ClaimIn | None, Body(examples=[{}])] = None
) -> ClaimOut:
    """Take the next item: nobody else gets it before your lock runs out. `item` is null where nothing waits.

    409 `too_many_claims` while you hold five.
    """
    with service.database.write() as session:
        return _next(session, caller, asked or ClaimIn())


@router.get(
    "/items",
    response_model=ReviewItemPage,
    responses=documented({200: examples.shown("What waits", review_examples.ITEM_PAGE)}, 404, 422),
)
def get_items(
    service: ServiceDep,
    caller: CallerDep,
    *,
    state: Annotated[ItemState, Query()] = ItemState.WAITING,
    queue: Annotated[QueueName | None, Query()] = None,
    severity: Annotated[Severity | None, Query()] = None,
    mine: Annotated[bool, Query(description="Only those you hold or held.")] = False,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=80, description="`next_cursor` of the page before.")] = None,
) -> ReviewItemPage:
    """Items in one state, the most urgent first."""
    with service.database.read() as session:
        known = {one.id: one for one in queues.listed(session, caller.tenant_id)}
        wanted = listing.Wanted(
            state=state,
            queue_id=None if queue is None else _named(tuple(known.values()), queue).id,
            severity=severity,
            mine=mine,
            after=None if cursor is None else listing.place_of(cursor),
        )
        rows = listing.list_items(session, caller, wanted, limit + 1)
        shown = [item_out(caller, item, job, known[item.queue_id]) for item, job in rows[:limit]]
    last = rows[limit - 1][0] if len(rows) > limit else None
    return ReviewItemPage(items=shown, next_cursor=None if last is None else listing.cursor_of(last))


@router.get(
    "/items/{item_id}",
    response_model=ReviewCaseOut,
    responses=documented({200: examples.shown("The item", review_examples.CASE)}, 404, 422),
)
def get_item(item_id: ItemId, service: ServiceDep, caller: CallerDep) -> ReviewCaseOut:
    """An item with all that is to be decided."""
    with service.database.read() as session:
        return case_out(session, caller, item_of(session, caller, item_id))


@router.post(
    "/items/{item_id}/keep",
    response_model=LockOut,
    responses=documented({200: examples.shown("Still yours", review_examples.LOCK)}, 404, 409, 422),
)
def keep_item(
    item_id: ItemId,
    asked: Annotated[TokenIn, Body(examples=[review_examples.TOKEN])],
    service: ServiceDep,
    caller: CallerDep,
) -> LockOut:
    """Say that you are still at it. 409 `claim_lost` once somebody else is."""
    with service.database.write() as session:
        item = item_of(session, caller, item_id, locked=True)
        items.keep(session, item, caller, asked.token)
        assert item.claimed_until is not None
        return LockOut(token=item.token, until=item.claimed_until)


@router.post("/items/{item_id}/release", status_code=204, responses=documented({}, 404, 409, 422))
def release_item(
    item_id: ItemId,
    asked: Annotated[TokenIn, Body(examples=[review_examples.TOKEN])],
    service: ServiceDep,
    caller: CallerDep,
) -> Response:
    """Put it back into the line, at its old place."""
    with service.database.write() as session:
        items.release(session, item_of(session, caller, item_id, locked=True), caller, asked.token)
    return Response(status_code=204)


@router.post(
    "/items/{item_id}/decision",
    response_model=DecidedOut,
    responses=documented({200: examples.shown("Decided", review_examples.DECIDED)}, 404, 409, 413, 422),
)
def decide_item(
    item_id: ItemId,
    asked: Annotated[DecisionIn, Body(examples=[review_examples.DECISION_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """Decide about the video and each of its flags, and take the next item if you like.

    422 `invalid_decision` says what is missing; 409 `claim_lost` that somebody else is at it, `already_decided` that it
    is done. With an `Idempotency-Key` it may be sent as often as it takes.
    """
    with service.database.write() as session:

        def do() -> Reply:
            item = item_of(session, caller, item_id, locked=True)
            said = asked.said()
            done = deciding.decide(session, caller, item, token=asked.token, said=said, own=service.policies)
            session.flush()
            ((decision, flags),) = deciding.with_flags(session, [done.decision])
            out = DecidedOut(
                decision=decision_out(decision, flags),
                review=done.state,
                asked_next=done.next,
                next=None if asked.advance is None else _next(session, caller, asked.advance),
            )
            return Reply(200, out.model_dump(mode="json"), {})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.post(
    "/decisions/{decision_id}/undo",
    response_model=ReviewCaseOut,
    responses=documented({200: examples.shown("Yours again", review_examples.CASE)}, 404, 409, 422),
)
def undo_decision(decision_id: DecisionId, service: ServiceDep, caller: CallerDep) -> ReviewCaseOut:
    """Take a decision back: the item is yours again. Your own, or as a lead anybody's, and only for a while.

    409 `too_late`, `not_yours`, `already_undone`, or `went_on` once somebody went on from it.
    """
    with service.database.write() as session:
        decision = None if "\0" in decision_id else deciding.find(session, caller, decision_id)
        if decision is None:
            raise not_found("decision")
        item = deciding.undo(session, caller, decision)
        session.flush()
        return case_out(session, caller, item)


@router.get(
    "/me/exposure",
    response_model=ExposureOut,
    responses=documented({200: examples.shown("Time for a break", review_examples.EXPOSURE)}),
)
def get_exposure(service: ServiceDep, caller: CallerDep) -> ExposureOut:
    """What you have looked at lately, and whether a break is due."""
    with service.database.read() as session:
        return exposure_out(session, caller)


def item_of(session: Session, caller: Caller, item_id: str, *, locked: bool = False) -> ReviewItem:
    """One of the caller's items. Raises `ProblemError` 404."""
    item = None if "\0" in item_id else items.find(session, caller, item_id, locked=locked)
    if item is None:
        raise not_found("item")
    return item


def _next(session: Session, caller: Caller, asked: ClaimIn) -> ClaimOut:
    lines = queues.all_of(session, caller.tenant_id)
    chosen = [_named(lines, name) for name in asked.queues] or lines
    item = serving.next_item(session, caller, chosen, without=asked.without)
    session.flush()
    return claim_out(session, caller, item)


def _named(lines: Sequence[ReviewQueue], name: str) -> ReviewQueue:
    found = next((queue for queue in lines if queue.name == name), None)
    if found is None:
        raise not_found(f"queue {name!r}")
    return found
