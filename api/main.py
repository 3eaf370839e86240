"""The REST API as a FastAPI app. Imports nothing that needs torch: the API runs on machines that have none.

Run it with `python -m api` (settings from `VIDLM_*`), or let `vidlm serve` do so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.types import Scope

from api import dashboard, problems, tus
from api.dashboard import access
from api.dashboard.kept import Kept
from api.dashboard.live import Watch
from api.deps import Service
from api.following import Followers
from api.middleware import BodyLimit, SecurityHeaders
from api.routes import (
    appeals,
    backfills,
    banks,
    control,
    deliveries,
    events,
    golden,
    pictures,
    policies,
    policy_sets,
    proposals,
    quality,
    questions,
    reports,
    review,
    review_queues,
    service,
    uploads,
    videos,
    webhooks,
    what_if,
)
from api.shedding import Shedding
from vidlm.audit.checks import Checks
from vidlm.config import Settings, load_settings
from vidlm.jobs.forecast import Forecast
from vidlm.moderation.policies import load_policies
from vidlm.queue import connect
from vidlm.room import Meter
from vidlm.store.blobs import BlobStore
from vidlm.store.engine import Database

ROUTES: Final = (
    videos,
    events,
    uploads,
    control,
    pictures,
    questions,
    policies,
    what_if,
    policy_sets,
    review,
    review_queues,
    golden,
    appeals,
    reports,
    backfills,
    banks,
    quality,
    proposals,
    deliveries,
    webhooks,
    service,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app over the parts that `settings` name. Raises `SettingsError` or `PolicyError` where they cannot work."""
    settings = settings or load_settings()
    parts = Service(
        settings=settings,
        database=Database(settings.sql_url),
        blobs=BlobStore(settings.data),
        policies=load_policies(settings.policies),
        broker=connect(settings.redis_url) if settings.redis_url else None,
    )

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.checks.close()
        parts.database.close()

    app = FastAPI(
        title="vidlm",
        version="1",
        description="Upload videos; get captions, a summary, policy scores, flags and answers with timestamps.",
        lifespan=life,
        docs_url=None,  # both pages load scripts from somebody else's servers
        redoc_url=None,
    )
    app.state.service = parts
    app.state.forecast = Forecast()
    app.state.followers = Followers(parts.database, app.state.forecast)
    app.state.watch = Watch()
    app.state.waiting = Kept(1.0)
    app.state.meter = Meter(settings)
    app.state.checks = Checks(parts.database, settings.audit_anchor)
    problems.install(app)
    access.install(app, otherwise=problems.on_http)
    for part in ROUTES:
        app.include_router(part.router)
    for page in dashboard.PAGES:
        app.include_router(page.router)
    _describe_problems(app)
    app.add_middleware(BodyLimit, streamed=lambda path: _takes_files(path) or banks.takes_list(path))
    app.add_middleware(tus.TusReplies)
    app.add_middleware(Shedding, is_upload=_is_upload, is_stream=lambda scope: scope["path"].endswith("/events"))
    app.add_middleware(SecurityHeaders)
    return app


def _is_upload(scope: Scope) -> bool:
    return scope["method"] in ("POST", "PATCH") and _takes_files(scope["path"])


def _takes_files(path: str) -> bool:
    return path == videos.router.prefix or tus.is_below(path)


def _describe_problems(app: FastAPI) -> None:
    """Put the problem document's schema into OpenAPI in place of FastAPI's own validation error."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    schemas["Problem"] = problems.Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
