"""A page of a tenant's videos: which filters there are, and how few rows are looked at to find it.

The list is in the order of the ids, which sort by birth. One filter drives: an index on it holds the ids of what it
lets through in that very order, so a page is the next few entries and nothing is sorted. What else is asked for is
looked at entry by entry. Where the driving filter allows several values, each value's entries are read so, and merged.

Only `policy` is found otherwise: through all flags of that policy, since they do not say whose video they are of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, exists, literal_column, select, union_all
from sqlmodel import Session, col

from vidlm.domain import Action, JobState, Priority
from vidlm.store.queries import VideoStatus, status_of, statuses
from vidlm.store.tables import FlagRow, Job, Video

ID_SLACK_S: Final = 600.0
"""A video's id is made a moment before its row, on the same machine. Longer than that moment ever is."""

Where = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Filters:
    """What to list. Empty or None lets everything through, but deleted videos show only where `states` ask for them.

    `policy`: with a flag of this policy. Created in `[created_from, created_until)`, both aware.
    """

    states: frozenset[JobState] = frozenset()
    verdicts: frozenset[Action] = frozenset()
    client_id: str | None = None
    sha256: str | None = None
    priority: Priority | None = None
    policy: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None

    @property
    def by_video(self) -> bool:
        """Whether a page is found by what stands in the video's own row, and not by its job's."""
        about_job = self.states or self.verdicts or self.priority is not None
        return self.client_id is not None or self.sha256 is not None or not about_job


@dataclass(frozen=True, slots=True)
class Page:
    """Up to `limit` videos, newest or oldest first, that follow the video `after` in this order."""

    limit: int
    newest_first: bool = True
    after: str | None = None


def list_videos(session: Session, tenant_id: str, filters: Filters, page: Page) -> list[VideoStatus]:
    """One page of the tenant's videos."""
    found = union_all(*(_entries(tenant_id, part, page) for part in _parts(filters))).subquery()
    rows = session.execute(statuses(tenant_id).join(found, found.c.id == col(Video.id))).all()
    listed = sorted((status_of(row) for row in rows), key=lambda status: status.id, reverse=page.newest_first)
    return listed[: page.limit]


def _parts(filters: Filters) -> list[Filters]:
    """The same with one value of the filter that drives in each, where that is one with several."""
    if filters.policy is not None or filters.by_video:
        return [filters]
    if filters.verdicts:
        return [replace(filters, verdicts=frozenset({value})) for value in sorted(filters.verdicts)]
    return [replace(filters, states=frozenset({value})) for value in sorted(filters.states)] or [filters]


def _entries(tenant_id: str, filters: Filters, page: Page) -> Select[Any]:
    """The ids of the page, found by the filter that drives."""
    of_video, of_job = _on_video(filters), _on_job(filters)
    key = col(Video.id) if filters.by_video and filters.policy is None else col(Job.video_id)
    query: Select[Any] = select(key.label("id"))
    if filters.policy is not None:
        flagged = (col(FlagRow.tenant_id) == tenant_id, col(FlagRow.policy_id) == filters.policy)
        query = query.distinct().join(FlagRow, col(FlagRow.job_id) == col(Job.id))
        query = query.where(*flagged, *of_job, *_has(Video, of_video))
    elif filters.by_video:
        query = query.where(col(Video.tenant_id) == tenant_id, *of_video, *_has(Job, of_job))
    else:
        query = query.where(col(Job.tenant_id) == tenant_id, *of_job, *_has(Video, of_video))
    after, before = _bounds(filters, page)
    between: list[Where] = [key > after] if after is not None else []
    between += [key < before] if before is not None else []
    ordered = query.where(*between).order_by(key.desc() if page.newest_first else key).limit(page.limit)
    return select(ordered.subquery().c.id)  # a limit inside a union needs a select of its own around it


def _bounds(filters: Filters, page: Page) -> tuple[str | None, str | None]:
    """Between which two ids, neither included, the page lies."""
    lows = [] if filters.created_from is None else [_id_at(filters.created_from, -ID_SLACK_S)]
    highs = [] if filters.created_until is None else [_id_at(filters.created_until, ID_SLACK_S)]
    if page.after is not None:
        (highs if page.newest_first else lows).append(page.after)
    return max(lows, default=None), min(highs, default=None)


def _id_at(moment: datetime, offset_s: float) -> str:
    """What the ids of videos that are born then begin with (`columns.new_id`)."""
    return f"vid_{max(0, int((moment.timestamp() + offset_s) * 1000)):012x}"


def _on_video(filters: Filters) -> list[Where]:
    found: list[Where] = []
    if filters.by_video and not filters.states:
        found.append(col(Video.deleted_at).is_(None))
    if filters.client_id is not None:
        found.append(col(Video.client_id) == filters.client_id)
    if filters.sha256 is not None:
        found.append(col(Video.sha256) == filters.sha256)
    if filters.created_from is not None:
        found.append(col(Video.created_at) >= filters.created_from)
    if filters.created_until is not None:
        found.append(col(Video.created_at) < filters.created_until)
    return found


def _on_job(filters: Filters) -> list[Where]:
    found: list[Where] = []
    if filters.states:
        found.append(_one_of(Job.state, filters.states))
    elif not filters.by_video:
        found.append(col(Job.state) != JobState.DELETED.value)
    if filters.verdicts:
        found.append(_one_of(Job.verdict_action, filters.verdicts))
    if filters.priority is not None:
        found.append(col(Job.priority) == filters.priority.rank)
    return found


def _one_of(column: Any, values: frozenset[Any]) -> Where:
    wanted = sorted(value.value for value in values)
    return col(column) == wanted[0] if len(wanted) == 1 else col(column).in_(wanted)


def _has(table: type[Video | Job], conditions: list[Where]) -> list[Where]:
    """The row of the other table fits too; nothing where nothing is asked of it."""
    same = col(Job.video_id) == col(Video.id)
    return [exists(literal_column("1")).select_from(table).where(same, *conditions)] if conditions else []
