"""What every route may ask for, as type names: the service's parts and who is calling."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import redis
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.exc import SQLAlchemyError

from api import browsers
from api.problems import ProblemError
from api.roles import needed
from vidlm.config import Settings
from vidlm.moderation.policies import PolicySet
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database
from vidlm.store.keys import Caller, find_caller, is_stale, used


@dataclass(frozen=True, slots=True)
class Service:
    """The parts an API process works with, made once by `api.main.create_app`."""

    settings: Settings
    database: Database
    blobs: BlobStore
    policies: PolicySet
    broker: redis.Redis | None


def get_service(request: Request) -> Service:
    """The parts of the app that serves this request."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]

_bearer = HTTPBearer(auto_error=False, description="An API key, `vk_...`.")


def get_caller(
    request: Request,
    service: ServiceDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Who calls, by an API key or signed in with a browser; 401 without either, 403 where their role does not allow
    what is asked, or where another site asks for it."""
    caller = None
    if credentials is not None:
        with service.database.read() as session:
            caller = find_caller(session, credentials.credentials)
        if caller is not None and is_stale(caller):
            _note_use(service.database, caller)
    elif (found := browsers.signed_in(request, service.database)) is not None:
        browsers.check_origin(request)
        caller = found.caller
    if caller is None:
        raise ProblemError(
            401,
            "unauthorized",
            "an API key is needed: Authorization: Bearer vk_...",
            headers={"WWW-Authenticate": "Bearer"},
        )
    check_role(request, caller)
    return caller


def check_role(request: Request, caller: Caller) -> None:
    """Raises `ProblemError` 403 where the caller's role does not allow the route."""
    role = needed(request.method, request.scope["route"].path)
    if not caller.role.covers(role):
        raise ProblemError(403, "forbidden", f"this needs the role {role}; yours is {caller.role}")


def _note_use(database: Database, caller: Caller) -> None:
    """Nobody's request fails because of this: the next one writes it down."""
    with suppress(SQLAlchemyError), database.write() as session:
        used(session, caller.id)


CallerDep = Annotated[Caller, Depends(get_caller)]
