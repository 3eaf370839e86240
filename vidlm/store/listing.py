"""A page of a tenant's videos: which filters there are, and how few rows are looked at to find it.

The list is in the order of the ids, which sort by birth. One filter drives: an index on it holds the ids of what it
lets through in that very order, so a page is the next few entries and nothing is sorted. What else is asked for is
looked at entry by entry. Where the driving filter allows several values, each value's entries are read so, and merged.

Two are found otherwise. `policy`: through all flags of that policy, since they do not say whose video they are of.
`text`: through the rarest of its words (`vidlm.store.word_search`), unless none of them narrows anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, exists, false, func, select, union_all
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col

from vidlm.domain import Action, JobState, Priority
from vidlm.moderation.decisions import ReviewState
from vidlm.store.queries import STATUSES, VideoStatus, status_of
from vidlm.store.tables import FlagRow, Job, Video
from vidlm.store.word_search import has_word, rarest
from vidlm.store.words import Term, VideoWord, terms_of

ID_SLACK_S: Final = 600.0
"""A video's id is made a moment before its row, on the same machine. Longer than that moment ever is."""

Where = ColumnElement[bool]
Driver = type[Video] | type[Job] | type[FlagRow] | type[VideoWord]


@dataclass(frozen=True, slots=True)
class Filters:
    """What to list. Empty or None lets everything through, but deleted videos show only where `states` ask for them.

    `policy`: with a flag of this policy. `text`: with all its words, the last of which may go on; only videos that are
    ready have words. Created in `[created_from, created_until)`, both aware.
    """

    states: frozenset[JobState] = frozenset()
    verdicts: frozenset[Action] = frozenset()
    reviews: frozenset[ReviewState] = frozenset()
    client_id: str | None = None
    sha256: str | None = None
    priority: Priority | None = None
    policy: str | None = None
    text: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Up to `limit` videos, newest or oldest first, that follow the video `after` in this order."""

    limit: int
    newest_first: bool = True
    after: str | None = None


def list_videos(session: Session, tenant_id: str, filters: Filters, page: Page) -> list[VideoStatus]:
    """One page of the tenant's videos."""
    terms = terms_of(filters.text or "")
    if filters.text is not None and not terms:
        return []  # no video has what is no word
    term = rarest(session, tenant_id, terms)
    table, values = _driver(filters) if term is None else (VideoWord, [term.fits(col(VideoWord.word))])
    words = [one for one in terms if one != term]
    entries = (_entries(table, [col(table.tenant_id) == tenant_id, value], filters, words, page) for value in values)
    found = union_all(*entries).subquery()
    query = STATUSES.join(found, found.c.id == col(Video.id))
    rows = session.execute(query, {"tenant_id": tenant_id}).all()
    listed = sorted((status_of(row) for row in rows), key=lambda status: status.id, reverse=page.newest_first)
    return listed[: page.limit]


def measure(session: Session, tenant_id: str, filters: Filters) -> tuple[int, float]:
    """(how many of the tenant's videos, their seconds in all) the filters let through. Looks at every one."""
    query = select(func.count(), func.coalesce(func.sum(Job.duration_s), 0.0)).select_from(Video)
    query = query.join(Job, col(Job.video_id) == col(Video.id)).where(col(Video.tenant_id) == tenant_id)
    if filters.policy is not None:
        query = query.where(
            exists().where(col(FlagRow.job_id) == col(Job.id), col(FlagRow.policy_id) == filters.policy)
        )
    if filters.text is not None:
        terms = terms_of(filters.text)
        query = query.where(*(has_word(col(Video.id), term) for term in terms)) if terms else query.where(false())
    count, seconds = session.execute(query.where(*_on_video(filters), *_on_job(filters))).one()
    return int(count), float(seconds)


def _driver(filters: Filters) -> tuple[Driver, list[Where]]:
    """The filter by whose index the page is found: the first of these that is asked for, once for each value."""
    table: Driver = Video
    if filters.policy is not None:
        table, values = FlagRow, [col(FlagRow.policy_id) == filters.policy]
    elif filters.client_id is not None:
        values = [col(Video.client_id) == filters.client_id]
    elif filters.sha256 is not None:
        values = [col(Video.sha256) == filters.sha256]
    elif filters.reviews:
        table, values = Job, [col(Job.review_state) == state.value for state in sorted(filters.reviews)]
    elif filters.verdicts:
        table, values = Job, [col(Job.verdict_action) == verdict.value for verdict in sorted(filters.verdicts)]
    elif filters.states:
        table, values = Job, [col(Job.state) == state.value for state in sorted(filters.states)]
    elif filters.priority is not None:
        table, values = Job, [col(Job.priority) == filters.priority.rank]
    else:
        values = [col(Video.deleted_at).is_(None)]
    return table, values


def _entries(table: Driver, driving: list[Where], filters: Filters, words: Sequence[Term], page: Page) -> Select[Any]:
    """The ids of the page, or of what one value of the driving filter has of it. `words`: those that do not drive."""
    key = {Video: col(Video.id), VideoWord: col(VideoWord.video_id)}.get(table, col(Job.video_id))
    query: Select[Any] = select(key.label("id"))
    if table is FlagRow:
        query = query.distinct().join(FlagRow, col(FlagRow.job_id) == col(Job.id))
    if table is VideoWord:
        query = query.distinct()  # of the words that begin alike a video may have several
    of_video, of_job = _on_video(filters), _on_job(filters)
    aside = _fits(of_video) if table is Video else _has(Video, of_video, key)
    aside += _has(Job, of_job, key) if table in (Video, VideoWord) else _fits(of_job)
    aside += [has_word(key, word) for word in words]
    aside += _flagged(filters.policy, key) if table is VideoWord else []
    after, before = _bounds(filters, page)
    between: list[Where] = [key > after] if after is not None else []
    between += [key < before] if before is not None else []
    query = query.where(*driving, *between, *aside).order_by(key.desc() if page.newest_first else key)
    return select(query.limit(page.limit).subquery().c.id)  # a limit inside a union needs a select of its own


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
        found.append(col(Job.state).in_(sorted(filters.states)))
    elif filters.sha256 is not None or filters.priority is not None or filters.reviews:
        # all else is taken off a video with its deletion
        found.append(col(Job.state) != JobState.DELETED.value)
    if filters.reviews:
        found.append(col(Job.review_state).in_(sorted(filters.reviews)))
    if filters.verdicts:
        found.append(col(Job.verdict_action).in_(sorted(filters.verdicts)))
    if filters.priority is not None:
        found.append(col(Job.priority) == filters.priority.rank)
    return found


def _fits(conditions: list[Where]) -> list[Where]:
    """The entry's own row fits. Said so that no database takes it for a reason to begin with another index: a number
    that is hardly ever 0."""
    return [_number(conditions) != 0] if conditions else []


def _has(table: type[Video | Job], conditions: list[Where], key: Mapped[str]) -> list[Where]:
    """The row of another table fits, found by the entry's id, `key`, and by nothing else."""
    if not conditions:
        return []
    own = col(Video.id) if table is Video else col(Job.video_id)
    return [select(_number(conditions)).select_from(table).where(own == key).scalar_subquery() != 0]


def _flagged(policy: str | None, key: Mapped[str]) -> list[Where]:
    """The video of an entry that is a word has a flag of this policy."""
    if policy is None:
        return []
    found = select(func.count()).select_from(FlagRow).join(Job, col(Job.id) == col(FlagRow.job_id))
    return [found.where(col(Job.video_id) == key, col(FlagRow.policy_id) == policy).scalar_subquery() != 0]


def _number(conditions: list[Where]) -> ColumnElement[int]:
    return case((and_(*conditions), 1), else_=0)
