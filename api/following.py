"""Live followers of videos, as server-sent events (html.spec.whatwg.org, section 9.2).

    all streams of a process   one short read twice a second: whose video has a new sign?
    that stream                one short read of its video, and what is new goes out

So five hundred quiet streams cost what one costs. An event goes out with its number, and a client that comes back with
the last one it had gets the next one: nothing is lost and nothing comes twice, whichever process it comes back to.
Progress has no number; it is true for a second. Reads happen in a few threads of their own, off the event loop, so
that streams never stand in the way of other requests.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session
from starlette.types import Receive, Scope, Send

from api.problems import problem_response
from api.schemas import progress_out
from vidlm.jobs import events, outbox
from vidlm.jobs.forecast import Forecast, own, signs
from vidlm.jobs.progress import Own, Progress
from vidlm.jobs.states import ACTIVE, OPEN
from vidlm.store.engine import Database
from vidlm.store.ledger import Event
from vidlm.store.queries import VideoStatus, video_status

log = structlog.get_logger(__name__)

MOST_STREAMS: Final = 500
"""Open streams of one process; the next one is asked to come back."""
POLL_S: Final = 0.5
PROGRESS_EVERY_S: Final = 1.0
HEARTBEAT_S: Final = 15.0
"""After so long without a word a comment is sent, so that nobody in between takes the connection for dead."""
RETRY_MS: Final = 2000
_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Look:
    """A video at one moment: its job, what that did, and the events the client has not had, oldest first."""

    status: VideoStatus
    own: Own | None
    events: Sequence[Event]

    @property
    def over(self) -> bool:
        """Whether these are the last events, unless the job is retried."""
        return self.status.state not in OPEN and len(self.events) < outbox.BATCH


def look_at(session: Session, status: VideoStatus, after: int) -> Look:
    """What is new since event number `after`. The status is older than the events: an end comes with all it tells."""
    done = own(session, [status]).get(status.id) if status.state in ACTIVE else None
    return Look(status, done, events.since(session, status.id, after))


@dataclass(eq=False, slots=True)
class Seat:
    """One open stream. `changed` is set whenever there may be something new about its video."""

    tenant_id: str
    video_id: str
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sign: Hashable = None


class Followers:
    """The open streams of this process. Belongs to its event loop."""

    def __init__(self, database: Database, forecast: Forecast, most: int = MOST_STREAMS) -> None:
        self._database, self._forecast, self._most = database, forecast, most
        self._seats: set[Seat] = set()
        self._threads = CapacityLimiter(_THREADS)
        self._watch: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def is_idle(self) -> bool:
        """Whether nobody looks at the database for anybody's sake."""
        return self._watch is None or self._watch.done()

    def take_seat(self, tenant_id: str, video_id: str) -> Seat | None:
        """A place for one more stream, or None where all are taken. `leave` must follow."""
        if len(self._seats) >= self._most:
            return None
        seat = Seat(tenant_id, video_id)
        self._seats.add(seat)
        if self.is_idle:
            self._watch = asyncio.create_task(self._watch_all())
        return seat

    def leave(self, seat: Seat) -> None:
        self._seats.discard(seat)

    async def messages(self, seat: Seat, after: int) -> AsyncIterator[str]:
        """What goes out to one client, until its job has ended."""
        yield f"retry: {RETRY_MS}\n\n"
        looked: Look | None = None
        said: tuple[Progress, float] | None = None
        looked_s = spoke_s = time.monotonic()
        seat.changed.set()
        while True:
            if seat.changed.is_set() or time.monotonic() - looked_s >= HEARTBEAT_S:
                seat.changed.clear()
                looked_s = time.monotonic()
                looked = await self._look(seat, after) or looked
                for event in looked.events if looked else ():
                    if event.id is not None and event.id > after:
                        after, spoke_s = event.id, looked_s
                        yield event_message(event)
                if looked is not None and looked.over:
                    return
            if looked is not None:
                progress = self._forecast.estimate(looked.status, looked.own)
                if is_news(said, progress, time.monotonic()):
                    spoke_s = time.monotonic()
                    said = progress, spoke_s
                    yield _message("progress", progress_out(looked.status, progress).model_dump(mode="json"))
            if time.monotonic() - spoke_s >= HEARTBEAT_S:
                spoke_s = time.monotonic()
                yield ": still here\n\n"
            await _until(seat.changed, PROGRESS_EVERY_S)

    async def _look(self, seat: Seat, after: int) -> Look | None:
        """None while the database is away; then it is looked again soon."""

        def read() -> Look:
            with self._database.read() as session:
                status = video_status(session, seat.tenant_id, seat.video_id)
                assert status is not None  # rows of videos stay
                return look_at(session, status, after)

        try:
            look = await to_thread.run_sync(read, limiter=self._threads)
        except SQLAlchemyError as exc:
            log.warning("follower.waiting", error=type(exc).__name__)
            seat.sign = None  # whatever is seen next is new
            return None
        if len(look.events) >= outbox.BATCH:
            seat.changed.set()
        return look

    async def _watch_all(self) -> None:
        """Wake every stream whose video has a new sign, as long as there are streams."""
        while self._seats:
            try:
                followed = {seat.video_id for seat in self._seats}
                found = await to_thread.run_sync(self._signs, followed, limiter=self._threads)
            except SQLAlchemyError:  # the streams that have something to say will meet it too, and tell
                found = {}
            for seat in self._seats:
                sign = found.get(seat.video_id)
                if sign is not None and sign != seat.sign:
                    seat.sign = sign
                    seat.changed.set()
            await asyncio.sleep(POLL_S)

    def _signs(self, video_ids: set[str]) -> dict[str, Hashable]:
        with self._database.read() as session:
            self._forecast.renew(session)
            return signs(session, video_ids)


class EventStream(StreamingResponse):
    """A stream that holds a seat from its first byte to its last, or to the moment its client is gone."""

    media_type = "text/event-stream"

    def __init__(self, followers: Followers, tenant_id: str, video_id: str, after: int) -> None:
        super().__init__((), headers={"X-Accel-Buffering": "no"})
        self._followers, self._tenant_id, self._video_id, self._after = followers, tenant_id, video_id, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seat = self._followers.take_seat(self._tenant_id, self._video_id)
        if seat is None:
            refusal = problem_response(
                503, "too_many_streams", "too many streams are open here; try again soon", {"Retry-After": "5"}
            )
            await refusal(scope, receive, send)
            return
        try:
            self.body_iterator = self._followers.messages(seat, self._after)
            await super().__call__(scope, receive, send)
        finally:
            self._followers.leave(seat)


def is_news(said: tuple[Progress, float] | None, progress: Progress, now_s: float) -> bool:
    """Whether a client who was told `said` then wants to hear of `progress` now, at most once a second.

    An estimate that merely ran down is no news.
    """
    if said is None:
        return True
    before, at_s = said
    if now_s - at_s < PROGRESS_EVERY_S:
        return False
    if replace(before, eta_s=None) != replace(progress, eta_s=None):
        return True
    if before.eta_s is None or progress.eta_s is None:
        return before.eta_s != progress.eta_s
    run_down_s = max(0.0, before.eta_s - (now_s - at_s))
    return abs(progress.eta_s - run_down_s) > max(1.0, 0.1 * run_down_s)


def event_message(event: Event) -> str:
    """An event with its number, as it goes over the wire."""
    at = event.at.isoformat().replace("+00:00", "Z")
    return f"id: {event.id}\n" + _message(event.kind, event.document | {"at": at})


def _message(kind: str, document: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"


async def _until(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        pass


def get_forecast(request: Request) -> Forecast:
    """The app's forecast."""
    forecast: Forecast = request.app.state.forecast
    return forecast


def get_followers(request: Request) -> Followers:
    """The streams of the app that serves this request."""
    followers: Followers = request.app.state.followers
    return followers


ForecastDep = Annotated[Forecast, Depends(get_forecast)]
FollowersDep = Annotated[Followers, Depends(get_followers)]
