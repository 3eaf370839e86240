"""Banks of known videos as the API takes and shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from vidlm.domain import Bank
from vidlm.store.likeness import BankEntry, MatchRow

MAX_REASON = 2000


class EntryIn(BaseModel):
    """A video that somebody has decided about."""

    video_id: str = Field(max_length=64)
    reason: str = Field(min_length=1, max_length=MAX_REASON, description="Why; kept with the entry.")
    decision_id: str | None = Field(default=None, max_length=64, description="What you call the decision.")
    restricted: bool = Field(default=False, description="What matches it always goes to people.")


class EntryOut(BaseModel):
    """A known video. It outlives its video, of which it then keeps hashes alone."""

    id: str
    bank: Bank
    video_id: str | None = Field(description="Null for an entry out of a list.")
    label: str | None = Field(description="What the list calls it.")
    source: str | None = Field(description="Who made the list.")
    sha256: str | None = Field(description="Of its bytes; null for an entry out of a list.")
    frame_count: int = Field(description="0: it is known by its bytes alone.")
    restricted: bool
    decision_id: str | None
    reason: str
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    removed_by: str | None
    removed_reason: str | None


class EntryPage(BaseModel):
    items: list[EntryOut]
    next_before: str | None = Field(description="For the next page: `?before=`.")


class MatchOut(BaseModel):
    """A stretch `[start_s, end_s)` of the video that shows `[known_start_s, known_end_s)` of a known one."""

    entry_id: str
    bank: Bank
    exact: bool = Field(description="The very same bytes.")
    similarity: float = Field(ge=0, le=1, description="Of the frames that agree: 1 is hash for hash, 0 as strangers.")
    mirrored: bool
    start_s: float
    end_s: float
    known_start_s: float
    known_end_s: float
    share: float = Field(ge=0, le=1, description="Of all its frames, how many meet their like, unaltered.")
    known_share: float = Field(ge=0, le=1, description="And of the known video's.")
    known_video_id: str | None
    label: str | None
    source: str | None
    decision_id: str | None
    restricted: bool
    withdrawn: bool = Field(description="The entry has left its bank since.")
    found_at: datetime


class MatchesOut(BaseModel):
    """What a video was recognised as when it was prepared."""

    video_id: str
    compared: bool = Field(description="False: it could not be compared with all that was known.")
    items: list[MatchOut]


class ImportOut(BaseModel):
    """What became of a list's videos."""

    added: int
    unchanged: int = Field(description="The bank had them, frame for frame.")
    replaced: int = Field(description="They took the place of others with the same label and source.")
    frames: int = Field(description="Of the whole list.")


def entry_out(row: BankEntry) -> EntryOut:
    """An entry's row as the API shows it."""
    return EntryOut(**row.model_dump(exclude={"tenant_id", "frames"}))


def match_out(row: MatchRow, entry: BankEntry) -> MatchOut:
    """A match's row and its entry as the API shows them."""
    shown = row.model_dump(exclude={"id", "tenant_id", "video_id"})
    times = {name: round(value, 3) for name, value in shown.items() if name.endswith("_s")}
    shares = {name: round(shown[name], 3) for name in ("similarity", "share", "known_share")}
    return MatchOut(
        **shown | times | shares,
        bank=Bank(entry.bank),
        known_video_id=entry.video_id,
        label=entry.label,
        source=entry.source,
        decision_id=entry.decision_id,
        restricted=entry.restricted,
        withdrawn=entry.removed_at is not None,
    )


def matches_out(video_id: str, compared: bool, found: Sequence[tuple[MatchRow, BankEntry]]) -> MatchesOut:
    """All that a video matched."""
    return MatchesOut(video_id=video_id, compared=compared, items=[match_out(*pair) for pair in found])
