"""Backfills as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import BaseModel, Field

from api.wishes import MAX_CLIENT_ID_CHARS
from vidlm.domain import Action, Priority
from vidlm.jobs.backfills import videos_ended
from vidlm.moderation.additions import BackfillState
from vidlm.policy.backfills import LaterScore
from vidlm.store.backfill import Backfill


class BackfillIn(BaseModel):
    """Which policy of that name, which videos, and whether anything but scores comes of it."""

    policy_set_id: str | None = Field(
        default=None,
        max_length=64,
        description="The set, a draft or the active one, whose policy it is. Without it, the policy in force; where "
        "none of that name is, the service's own.",
    )
    apply: bool = Field(
        default=False,
        description="Also add flags, and make verdicts stronger (never weaker). Only for a policy that is in force.",
    )
    verdict: list[Action] | None = Field(default=None, max_length=3, description="Only videos so judged.")
    client_id: str | None = Field(default=None, min_length=1, max_length=MAX_CLIENT_ID_CHARS)
    priority: Priority | None = None
    policy: str | None = Field(
        default=None, max_length=200, pattern=r"^[a-z0-9_.]+$", description="Only videos with a flag of this policy."
    )
    created_from: str | None = Field(default=None, max_length=64, description="Not before this; RFC 3339 with a zone.")
    created_until: str | None = Field(default=None, max_length=64, description="Before this.")


class BackfillVideos(BaseModel):
    """Videos, by what became of them; those in none of the columns are still to come."""

    total: int = Field(description="An estimate until the last of them is planned.")
    done: int
    needs_decode: int = Field(description="Of some or all of it nothing is kept, so that it was not scored there.")
    failed: int
    gone: int = Field(description="Deleted meanwhile.")
    flagged: int = Field(description="Those that the policy flags, whether or not the flags were added.")


class BackfillMinutes(BaseModel):
    """Minutes of video."""

    total: float
    done: float
    needs_decode: float = Field(description="Not scored: only decoding and looking again would show them.")


class BackfillOut(BaseModel):
    """A policy under which a library is scored from what was kept of it, and how far that is."""

    id: str
    policy_id: str
    policy_set_id: str | None = Field(description="Null for one of the service's own policies.")
    question_version: str = Field(description="Of what the model is asked; scores of equal ones can be compared.")
    policy: dict[str, Any] = Field(description="As it was when this was asked for, with a policies' file's fields.")
    filters: dict[str, Any]
    apply: bool
    state: BackfillState
    fraction: float = Field(ge=0, le=1, description="How much of it is done, by videos.")
    videos: BackfillVideos
    minutes: BackfillMinutes
    flags_added: int
    verdicts_raised: int
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    cancelled_by: str | None


class BackfillPage(BaseModel):
    items: list[BackfillOut]
    next_before: str | None = Field(description="For the next page: `?before=`.")


class LaterScoreOut(BaseModel):
    """P(Yes) of one segment, `[start_s, end_s)`."""

    index: int
    start_s: float
    end_s: float
    score: float


class LaterScoresOut(BaseModel):
    """A video's scores under a policy that was asked after its analysis."""

    policy_id: str
    question_version: str
    backfill_id: str
    model_revision: str
    segments: list[LaterScoreOut]


class BackfilledOut(BaseModel):
    """What later backfills found in a video. Its analysis holds what was found then, and stays as it is."""

    items: list[LaterScoresOut]


def backfill_out(row: Backfill) -> BackfillOut:
    """A backfill's row as the API shows it."""
    ended = videos_ended(row)
    done = row.state == BackfillState.DONE
    videos = BackfillVideos(
        total=max(row.videos_total, row.videos_planned),
        done=row.videos_done,
        needs_decode=row.videos_need_decode,
        failed=row.videos_failed,
        gone=row.videos_gone,
        flagged=row.videos_flagged,
    )
    return BackfillOut(
        **row.model_dump(include=BackfillOut.model_fields.keys() & set(Backfill.model_fields)),
        fraction=1.0 if done else round(ended / max(videos.total, 1), 3),
        videos=videos,
        minutes=BackfillMinutes(
            total=_minutes(row.seconds_total),
            done=_minutes(row.scored_s),
            needs_decode=_minutes(row.needs_decode_s),
        ),
    )


def backfilled_out(scores: Sequence[LaterScore]) -> BackfilledOut:
    """Scores, those of one policy and question together, as the API shows them."""
    items = []
    for _, group in groupby(scores, key=lambda one: (one.policy_id, one.question_version, one.backfill_id)):
        found = list(group)
        first = found[0]
        segments = [
            LaterScoreOut(
                index=one.index, start_s=round(one.start_s, 3), end_s=round(one.end_s, 3), score=round(one.score, 6)
            )
            for one in found
        ]
        shown = LaterScoresOut(
            policy_id=first.policy_id,
            question_version=first.question_version,
            backfill_id=first.backfill_id,
            model_revision=first.model_revision,
            segments=segments,
        )
        items.append(shown)
    return BackfilledOut(items=items)


def _minutes(seconds: float) -> float:
    return round(seconds / 60, 2)
