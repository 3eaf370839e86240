"""fingerprints, banks of known videos, and what matched them"""

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import CleanText, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fingerprint",
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("frames", sa.LargeBinary(), nullable=True),
        sa.Column("bank_version", sa.BigInteger(), nullable=True),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_fingerprint_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_fingerprint_video_id")),
        sa.PrimaryKeyConstraint("video_id", name=op.f("pk_fingerprint")),
    )
    op.create_table(
        "bank_version",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_bank_version_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_bank_version")),
    )
    op.create_table(
        "bank_entry",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=True),
        sa.Column("label", CleanText(), nullable=True),
        sa.Column("source", CleanText(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("frames", sa.LargeBinary(), nullable=True),
        sa.Column("frame_count", sa.Integer(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=True),
        sa.Column("reason", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.Column("removed_by", sa.String(), nullable=True),
        sa.Column("removed_reason", CleanText(), nullable=True),
        sa.CheckConstraint("bank IN ('known_bad', 'known_ok')", name=op.f("ck_bank_entry_bank_known")),
        sa.CheckConstraint("sha256 IS NOT NULL OR frames IS NOT NULL", name=op.f("ck_bank_entry_holds_something")),
        sa.CheckConstraint("(video_id IS NULL) = (label IS NOT NULL)", name=op.f("ck_bank_entry_from_video_or_list")),
        sa.CheckConstraint("(label IS NULL) = (source IS NULL)", name=op.f("ck_bank_entry_label_has_source")),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("ck_bank_entry_removed_by_somebody")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_bank_entry_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_bank_entry_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_entry")),
    )
    op.create_index(op.f("ix_bank_entry_tenant_id_bank_id"), "bank_entry", ["tenant_id", "bank", "id"])
    op.create_index(op.f("ix_bank_entry_tenant_id_sha256"), "bank_entry", ["tenant_id", "sha256"])
    in_bank = sa.text("removed_at IS NULL")
    for name, columns in (
        ("uq_bank_entry_video", ["tenant_id", "video_id"]),
        ("uq_bank_entry_label", ["tenant_id", "bank", "source", "label"]),
    ):
        op.create_index(
            op.f(name), "bank_entry", columns, unique=True, sqlite_where=in_bank, postgresql_where=in_bank
        )
    op.create_table(
        "known_match",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("entry_id", sa.String(), nullable=False),
        sa.Column("exact", sa.Boolean(), nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.Column("mirrored", sa.Boolean(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.Column("known_start_s", sa.Float(), nullable=False),
        sa.Column("known_end_s", sa.Float(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("known_share", sa.Float(), nullable=False),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("0 <= start_s AND start_s <= end_s", name=op.f("ck_known_match_interval")),
        sa.CheckConstraint(
            "0 <= known_start_s AND known_start_s <= known_end_s", name=op.f("ck_known_match_known_interval")
        ),
        sa.CheckConstraint("0 <= similarity AND similarity <= 1", name=op.f("ck_known_match_similarity_is_share")),
        sa.CheckConstraint("0 <= share AND share <= 1", name=op.f("ck_known_match_share_is_share")),
        sa.CheckConstraint("0 <= known_share AND known_share <= 1", name=op.f("ck_known_match_known_share_is_share")),
        sa.ForeignKeyConstraint(["entry_id"], ["bank_entry.id"], name=op.f("fk_known_match_entry_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_known_match_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_known_match_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_match")),
        sa.UniqueConstraint("video_id", "entry_id", name=op.f("uq_known_match_video_id_entry_id")),
    )
    op.create_index(op.f("ix_known_match_entry_id"), "known_match", ["entry_id"])


def downgrade() -> None:
    for table in ("known_match", "bank_entry", "bank_version", "fingerprint"):
        op.drop_table(table)
