"""The tables by which videos are known again.

fingerprint     what is kept of a video's frames for that, and how far it was compared
bank_entry      what a tenant knows as bad or as fine: of a video that was decided about, or out of a list of hashes
known_match     a stretch of a video that shows a stretch of an entry
bank_version    counts the changes of a tenant's banks: whoever keeps them in memory sees that they are others now

An entry holds its own copy of the hashes: it outlives its video, of which it then keeps nothing else. Entries are never
changed, only taken out of their bank, because matches name them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from vidlm.domain import Bank
from vidlm.store.columns import CleanText, UtcDateTime, new_id, utc_now
from vidlm.store.tables import one_of

_IN_BANK = text("removed_at IS NULL")


class FingerprintRow(SQLModel, table=True):
    """A prepared video's frames as hashes, and the version of the banks it was compared with."""

    __tablename__: ClassVar[Any] = "fingerprint"

    video_id: str = Field(foreign_key="video.id", primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    frames: bytes | None = Field(default=None, sa_type=LargeBinary)  # `vidlm.likeness.packing`; None: it went wrong
    bank_version: int | None = Field(default=None, sa_type=BigInteger)  # None: nobody could compare
    made_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class BankEntry(SQLModel, table=True):
    """A known video: by its bytes, by its frames, or by both."""

    __tablename__: ClassVar[Any] = "bank_entry"
    __table_args__ = (
        one_of("bank", Bank),
        CheckConstraint("sha256 IS NOT NULL OR frames IS NOT NULL", name="holds_something"),
        CheckConstraint("(video_id IS NULL) = (label IS NOT NULL)", name="from_video_or_list"),
        CheckConstraint("(label IS NULL) = (source IS NULL)", name="label_has_source"),
        CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by_somebody"),
        Index(None, "tenant_id", "bank", "id"),
        Index(None, "tenant_id", "sha256"),
        Index(
            "uq_bank_entry_video",
            "tenant_id",
            "video_id",
            unique=True,
            sqlite_where=_IN_BANK,
            postgresql_where=_IN_BANK,
        ),
        Index(
            "uq_bank_entry_label",
            "tenant_id",
            "bank",
            "source",
            "label",
            unique=True,
            sqlite_where=_IN_BANK,
            postgresql_where=_IN_BANK,
        ),
    )

    id: str = Field(default_factory=lambda: new_id("bke"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    bank: str
    video_id: str | None = Field(default=None, foreign_key="video.id")  # None: out of a list
    label: str | None = Field(default=None, sa_type=CleanText)  # what the list calls it, and who made the list
    source: str | None = Field(default=None, sa_type=CleanText)
    sha256: str | None = None
    frames: bytes | None = Field(default=None, sa_type=LargeBinary)
    frame_count: int = 0
    restricted: bool = False  # no machine settles what matches it
    decision_id: str | None = None
    reason: str = Field(sa_type=CleanText)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str  # whoever did it: an API key's id
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    removed_by: str | None = None
    removed_reason: str | None = Field(default=None, sa_type=CleanText)


class MatchRow(SQLModel, table=True):
    """A `vidlm.domain.Known` of a video."""

    __tablename__: ClassVar[Any] = "known_match"
    __table_args__ = (
        UniqueConstraint("video_id", "entry_id"),
        CheckConstraint("0 <= start_s AND start_s <= end_s", name="interval"),
        CheckConstraint("0 <= known_start_s AND known_start_s <= known_end_s", name="known_interval"),
        CheckConstraint("0 <= similarity AND similarity <= 1", name="similarity_is_share"),
        CheckConstraint("0 <= share AND share <= 1", name="share_is_share"),
        CheckConstraint("0 <= known_share AND known_share <= 1", name="known_share_is_share"),
    )

    id: str = Field(default_factory=lambda: new_id("kmt"), primary_key=True)
    tenant_id: str = Field(foreign_key="tenant.id")
    video_id: str = Field(foreign_key="video.id")
    entry_id: str = Field(foreign_key="bank_entry.id", index=True)
    exact: bool
    similarity: float
    mirrored: bool
    start_s: float
    end_s: float
    known_start_s: float
    known_end_s: float
    share: float
    known_share: float
    found_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class BankVersion(SQLModel, table=True):
    """A tenant whose banks were never changed has no row: that is version 0."""

    __tablename__: ClassVar[Any] = "bank_version"

    tenant_id: str = Field(foreign_key="tenant.id", primary_key=True)
    version: int = Field(sa_type=BigInteger)
