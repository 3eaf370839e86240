"""What leads arrange for review: queues with their rules, and how the tenant reviews."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response
from fastapi.responses import JSONResponse
from sqlmodel import Session

from api import examples, review_examples
from api.deps import CallerDep, ServiceDep
from api.once import OnceDep, respond
from api.problems import documented, not_found
from api.queue_schemas import (
    QueueChange,
    QueueIn,
    QueueName,
    QueueOut,
    QueuesOut,
    ReviewSettingsChange,
    ReviewSettingsOut,
)
from api.review_views import queue_out
from vidlm.jobs.idempotency import Reply
from vidlm.review import queues, settings
from vidlm.store.keys import Caller
from vidlm.store.review import ReviewQueue

router = APIRouter(prefix="/v1/review", tags=["review"])

Name = Annotated[QueueName, Path(examples=[review_examples.QUEUE["name"]])]


@router.get(
    "/queues",
    response_model=QueuesOut,
    responses=documented({200: examples.shown("The queues", review_examples.QUEUES)}),
)
def get_queues(service: ServiceDep, caller: CallerDep) -> QueuesOut:
    """All queues in the order in which their rules are asked, and how much waits in each."""
    with service.database.read() as session:
        waits = queues.waiting(session, caller.tenant_id, restricted=caller.restricted)
        lines = queues.listed(session, caller.tenant_id)
        return QueuesOut(queues=[queue_out(queue, waits.get(queue.id)) for queue in lines])


@router.post(
    "/queues",
    status_code=201,
    response_model=QueueOut,
    responses=documented({201: examples.shown("The queue", review_examples.QUEUE)}, 409, 413, 422),
)
def create_queue(
    asked: Annotated[QueueIn, Body(examples=[review_examples.QUEUE_IN])],
    service: ServiceDep,
    caller: CallerDep,
    once: OnceDep,
) -> JSONResponse:
    """A queue of your own. A video goes to the first queue whose rule it meets.

    422 `invalid_rule` says which part is wrong; 409 `queue_exists`.
    """
    with service.database.write() as session:

        def do() -> Reply:
            queue = queues.create(session, caller, **asked.model_dump())
            session.flush()
            body = queue_out(queue, None).model_dump(mode="json")
            return Reply(201, body, {"Location": f"/v1/review/queues/{queue.name}"})

        reply = once(session, asked.model_dump(mode="json"), do)
    return respond(reply)


@router.patch(
    "/queues/{name}",
    response_model=QueueOut,
    responses=documented({200: examples.shown("As it is now", review_examples.QUEUE)}, 404, 409, 413, 422),
)
def change_queue(
    name: Name,
    asked: Annotated[QueueChange, Body(examples=[review_examples.QUEUE_CHANGE])],
    service: ServiceDep,
    caller: CallerDep,
) -> QueueOut:
    """Another rule or place; what waits in the queue stays in it. 409 `built_in` for what is always there."""
    with service.database.write() as session:
        queue = _queue_of(session, caller, name)
        queues.change(session, caller, queue, **asked.model_dump())
        session.flush()
        waits = queues.waiting(session, caller.tenant_id, restricted=caller.restricted)
        return queue_out(queue, waits.get(queue.id))


@router.delete("/queues/{name}", status_code=204, responses=documented({}, 404, 409, 422))
def remove_queue(name: Name, service: ServiceDep, caller: CallerDep) -> Response:
    """Remove a queue; what waits in it goes to `everything`."""
    with service.database.write() as session:
        queues.remove(session, caller, _queue_of(session, caller, name))
    return Response(status_code=204)


@router.get(
    "/settings",
    response_model=ReviewSettingsOut,
    responses=documented({200: examples.shown("The settings", review_examples.SETTINGS)}),
)
def get_settings(service: ServiceDep, caller: CallerDep) -> ReviewSettingsOut:
    """How the tenant reviews."""
    with service.database.read() as session:
        row = settings.settings_of(session, caller.tenant_id)
        return ReviewSettingsOut.model_validate(row, from_attributes=True)


@router.patch(
    "/settings",
    response_model=ReviewSettingsOut,
    responses=documented({200: examples.shown("As they are now", review_examples.SETTINGS)}, 413, 422),
)
def change_settings(
    asked: Annotated[ReviewSettingsChange, Body(examples=[review_examples.SETTINGS_CHANGE])],
    service: ServiceDep,
    caller: CallerDep,
) -> ReviewSettingsOut:
    """Change how the tenant reviews. 422 `invalid_settings` names what is out of bounds."""
    with service.database.write() as session:
        row = settings.change(session, caller, asked.model_dump(exclude_none=True))
        session.flush()
        return ReviewSettingsOut.model_validate(row, from_attributes=True)


def _queue_of(session: Session, caller: Caller, name: str) -> ReviewQueue:
    queues.all_of(session, caller.tenant_id)
    queue = queues.by_name(session, caller.tenant_id, name)
    if queue is None:
        raise not_found("queue")
    return queue
