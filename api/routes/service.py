"""The service itself: is it alive, can it work."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError

from api import examples
from api.deps import ServiceDep
from api.problems import ProblemError, documented_problem
from api.schemas import HealthOut
from vidlm.jobs import presence
from vidlm.queue import ping

router = APIRouter()


@router.get(
    "/healthz",
    tags=["service"],
    response_model=HealthOut,
    responses={200: examples.shown("This process answers", {"status": "ok"})},
)
def healthz() -> HealthOut:
    """Alive: the process answers. Says nothing of what it depends on."""
    return HealthOut(status="ok")


@router.get(
    "/readyz",
    tags=["service"],
    response_model=HealthOut,
    responses={
        200: examples.shown("Database and broker answer, workers are there", {"status": "ready"}),
        503: documented_problem(503),
    },
)
def readyz(service: ServiceDep) -> HealthOut:
    """Ready: the database is there and migrated, the broker answers, and every queue has a worker that was heard of
    lately. Uploads are taken without the last two.
    """
    checks = {"database": _database_state(service), "broker": _broker_state(service), "workers": _workers(service)}
    if set(checks.values()) != {"ok"}:
        said = "; ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
        raise ProblemError(503, "not_ready", said, headers={"Retry-After": "2"}, checks=checks)
    return HealthOut(status="ready")


def _database_state(service: ServiceDep) -> str:
    try:
        return "ok" if service.database.is_migrated() else "not migrated"
    except SQLAlchemyError:
        return "away"


def _workers(service: ServiceDep) -> str:
    try:
        with service.database.read() as session:
            missing = presence.unattended(session)
    except SQLAlchemyError:
        return "unknown"
    return f"nobody works on {', '.join(missing)}" if missing else "ok"


def _broker_state(service: ServiceDep) -> str:
    if service.broker is None:
        return "not configured"
    return "ok" if ping(service.broker) else "away"
