"""A video's own page: what was seen in it, what is asked of it, what was decided about it, and how its job went.

What changes something goes through the API's routes, by `static/js/video.js`. Captions and scores are handed out as
files here; the API has them in the analysis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.encoders import jsonable_encoder
from sqlmodel import Session

from api.bank_schemas import match_out
from api.dashboard import rendering
from api.dashboard.access import PageRoute, PersonDep
from api.dashboard.video_document import VideoShown, video_shown
from api.deps import Service, ServiceDep
from api.following import ForecastDep
from api.problems import not_found
from api.review_views import decision_out
from api.roles import needed
from api.routes.videos import VideoId, existing, not_ready
from api.schemas import question_out
from vidlm import downloads
from vidlm.domain import Action, JobState, Segment
from vidlm.jobs import history
from vidlm.jobs.history import Step
from vidlm.jobs.progress import SHARES, Progress
from vidlm.jobs.states import OPEN, RETRIABLE
from vidlm.known import matches
from vidlm.moderation.decisions import FINAL, MAX_NOTE, Outcome, ReviewState
from vidlm.people import accounts
from vidlm.policy import policy_sets
from vidlm.review import appeals, deciding, grants, items
from vidlm.store.keys import Caller
from vidlm.store.queries import VideoStatus, job_of, questions_of, segments_of
from vidlm.store.review import Appeal, FlagDecision, ReviewDecision
from vidlm.store.tables import Video

router = APIRouter(include_in_schema=False, route_class=PageRoute, prefix="/videos/{video_id}")

MOST_QUESTIONS: Final = 50
"""Earlier questions that are shown, the newest ones."""
STAGES: Final = tuple(SHARES)
"""What a job goes through until it has ended, in order."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch worth seeing, with what is said about it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class VideoPage:
    """A video, wherever its job stands.

    veiled: it begins as its viewer wants flagged video to begin; only what a machine or people cleared does not.
    data: what scripts draw.  review_item: what waits to be decided about it.  original: the uploaded bytes are kept.
    prepared: its frames are.  decisions: whoever looks may know of them.
    """

    video: VideoStatus
    shown: VideoShown
    data: dict[str, Any]
    veiled: bool
    restricted: bool
    progress: Progress
    steps: tuple[Step, ...]
    chapters: tuple[Moment, ...]
    highlights: tuple[Moment, ...]
    appeals: Sequence[tuple[Appeal, Outcome | None]]
    names: dict[str, str]
    decisions: bool
    review_item: str | None
    original: bool
    prepared: bool
    stages: tuple[JobState, ...] = STAGES
    note_most: int = MAX_NOTE

    @property
    def title(self) -> str:
        return self.video.client_id or self.video.filename or self.video.id

    @property
    def is_ready(self) -> bool:
        return self.video.state is JobState.READY

    @property
    def is_open(self) -> bool:
        return self.video.state in OPEN

    @property
    def can_ask(self) -> bool:
        return self.is_ready and self.prepared

    @property
    def is_retriable(self) -> bool:
        """A job that stopped goes on from what was prepared, or from the bytes."""
        return self.video.state in RETRIABLE and (self.original or self.prepared)

    @property
    def is_settled(self) -> bool:
        """People decided about it, and nobody is about to: an appeal can be heard."""
        return self.video.review_state in FINAL.values() and self.review_item is None


@router.get("")
def get_video_page(video_id: VideoId, person: PersonDep, service: ServiceDep, forecast: ForecastDep) -> Response:
    """The page, in whatever state the video is."""
    with service.database.read() as session:
        status = _seen(session, person.caller, video_id)
        (progress,) = forecast.progress(session, [status])
        page = _page(session, service, person.caller, status, progress)
    return rendering.html("video.html", rendering.frame("library", person), page)


@router.get("/captions.vtt")
def get_captions(video_id: VideoId, person: PersonDep, service: ServiceDep) -> Response:
    """What the model said of each segment, as subtitles. Raises `ProblemError` 409 before there are any."""
    segments, _ = _segments(service, person.caller, video_id)
    return _file(downloads.webvtt(segments), downloads.VTT_TYPE, f"{video_id}.vtt")


@router.get("/segments.csv")
def get_segments(video_id: VideoId, person: PersonDep, service: ServiceDep) -> Response:
    """Every segment with its caption and its scores. Raises `ProblemError` 409 before there are any."""
    segments, policies = _segments(service, person.caller, video_id)
    return _file(downloads.segments_csv(segments, policies), downloads.CSV_TYPE, f"{video_id}.csv")


def _seen(session: Session, caller: Caller, video_id: str) -> VideoStatus:
    """A video that the caller may see. Raises `ProblemError` 404, and 410 where it was deleted."""
    status = existing(session, caller, video_id)
    if not caller.restricted and grants.is_restricted(session, video_id):
        raise not_found("video")
    return status


def _page(session: Session, service: Service, caller: Caller, status: VideoStatus, progress: Progress) -> VideoPage:
    video, job = session.get_one(Video, status.id), job_of(session, status.id)
    shown = video_shown(session, service, video, job)
    waiting = items.open_of(session, caller, status.id)
    decisions = caller.role.covers(needed("GET", "/v1/videos/{video_id}/decisions"))
    made = deciding.of_video(session, caller, status.id) if decisions else []
    appealed = appeals.of_video(session, caller.tenant_id, status.id)
    spoke = {decision.actor for decision, _ in made} | {appeal.created_by for appeal, _ in appealed}
    names = {one: name for one, name in accounts.names(session, caller.tenant_id).items() if one in spoke}
    veiled = _is_veiled(status, shown)
    return VideoPage(
        video=status,
        shown=shown,
        data=_document(session, shown, veiled=veiled, names=names, made=made),
        veiled=veiled,
        restricted=grants.is_restricted(session, job.video_id),
        progress=progress,
        steps=history.steps_of(session, status.id),
        chapters=tuple(Moment(one["start_s"], one["end_s"], one["title"]) for one in shown.summary.get("chapters", [])),
        highlights=_highlights(shown),
        appeals=appealed,
        names=names,
        decisions=decisions,
        review_item=None if waiting is None else waiting.id,
        original=video.blob is not None,
        prepared=job.work_folder is not None,
    )


def _document(
    session: Session,
    shown: VideoShown,
    *,
    veiled: bool,
    names: dict[str, str],
    made: Sequence[tuple[ReviewDecision, list[FlagDecision]]],
) -> dict[str, Any]:
    """What scripts draw, and after which event they are to listen."""
    video_id = shown.video["id"]
    tenant_id = session.get_one(Video, video_id).tenant_id
    more = {
        "veiled": veiled,
        "names": names,
        "history": [decision_out(*row) for row in made],
        "known": [match_out(*row) for row in matches.matches_of(session, video_id)],
        "questions": [question_out(row) for row in questions_of(session, tenant_id, video_id, MOST_QUESTIONS)],
        "told": history.newest_event(session, video_id),
    }
    found: dict[str, Any] = jsonable_encoder(asdict(shown) | more)
    return found


def _is_veiled(status: VideoStatus, shown: VideoShown) -> bool:
    """What nobody has looked at yet, or not wholly, may be anything."""
    cleared = status.verdict_action == Action.ALLOW or status.review_state == ReviewState.APPROVED
    return bool(shown.flags) or not cleared


def _highlights(shown: VideoShown) -> tuple[Moment, ...]:
    """In order of time; those beyond what the document holds are left out."""
    wanted = sorted(index for index in shown.summary.get("highlights", []) if index < len(shown.segments))
    return tuple(Moment(*shown.segments[index]) for index in wanted)


def _segments(service: Service, caller: Caller, video_id: str) -> tuple[list[Segment], list[str]]:
    """The segments of a ready video, and all policies that any was asked about, in the order of their set."""
    with service.database.read() as session:
        status = _seen(session, caller, video_id)
        if status.state is not JobState.READY:
            raise not_ready(status)
        job = job_of(session, video_id)
        segments = segments_of(session, job.id)
        pinned = policy_sets.pinned(session, job.policy_set_id, service.policies)
    asked = {policy_id for segment in segments for policy_id in segment.scores}
    known = [policy.id for policy in pinned.policies if policy.id in asked]
    return segments, [*known, *sorted(asked - set(known))]


def _file(text: str, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode("utf-8", "replace"), media_type=media_type, headers=headers)
