"""a library scored under one more policy, from what the model saw before"""

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import CleanText, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backfill",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("question_version", sa.String(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("policy_set_id", sa.String(), nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("apply", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("planned_after", sa.String(), nullable=True),
        sa.Column("planned_all", sa.Boolean(), nullable=False),
        sa.Column("videos_total", sa.Integer(), nullable=False),
        sa.Column("videos_planned", sa.Integer(), nullable=False),
        sa.Column("videos_done", sa.Integer(), nullable=False),
        sa.Column("videos_need_decode", sa.Integer(), nullable=False),
        sa.Column("videos_failed", sa.Integer(), nullable=False),
        sa.Column("videos_gone", sa.Integer(), nullable=False),
        sa.Column("videos_flagged", sa.Integer(), nullable=False),
        sa.Column("seconds_total", sa.Float(), nullable=False),
        sa.Column("scored_s", sa.Float(), nullable=False),
        sa.Column("needs_decode_s", sa.Float(), nullable=False),
        sa.Column("flags_added", sa.Integer(), nullable=False),
        sa.Column("verdicts_raised", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("cancelled_by", sa.String(), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done', 'cancelled')", name=op.f("ck_backfill_state_known")),
        sa.CheckConstraint("(state = 'running') = (ended_at IS NULL)", name=op.f("ck_backfill_ended_when")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_backfill_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill")),
    )
    op.create_index(op.f("ix_backfill_tenant_id_id"), "backfill", ["tenant_id", "id"])
    running = sa.text("state = 'running'")
    op.create_index(
        op.f("uq_backfill_running"),
        "backfill",
        ["tenant_id", "policy_id", "question_version"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )
    op.create_table(
        "backfill_work",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("backfill_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("next_window", sa.Integer(), nullable=False),
        sa.Column("needs_decode_s", sa.Float(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="2", nullable=False),
        sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_detail", CleanText(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'rejected', 'failed', 'cancelled')",
            name=op.f("ck_backfill_work_state_known"),
        ),
        sa.CheckConstraint("next_window >= 0", name=op.f("ck_backfill_work_window_not_negative")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_backfill_work_tenant_id")),
        sa.ForeignKeyConstraint(["backfill_id"], ["backfill.id"], name=op.f("fk_backfill_work_backfill_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_backfill_work_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill_work")),
        sa.UniqueConstraint("backfill_id", "video_id", name=op.f("uq_backfill_work_backfill_id_video_id")),
    )
    for columns in (
        ["state", "lease_until"],
        ["state", "priority", "turn"],
        ["tenant_id", "state", "priority", "turn"],
        ["video_id", "state"],
    ):
        op.create_index(op.f(f"ix_backfill_work_{'_'.join(columns)}"), "backfill_work", columns)
    op.create_table(
        "backfilled_score",
        sa.Column("segment_id", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("question_version", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("backfill_id", sa.String(), nullable=False),
        sa.Column("model_revision", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.CheckConstraint("0 <= score AND score <= 1", name=op.f("ck_backfilled_score_score_is_probability")),
        sa.ForeignKeyConstraint(["segment_id"], ["segment.id"], name=op.f("fk_backfilled_score_segment_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_backfilled_score_tenant_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_backfilled_score_job_id")),
        sa.ForeignKeyConstraint(["backfill_id"], ["backfill.id"], name=op.f("fk_backfilled_score_backfill_id")),
        sa.PrimaryKeyConstraint("segment_id", "policy_id", "question_version", name=op.f("pk_backfilled_score")),
    )
    op.create_index(op.f("ix_backfilled_score_job_id_policy_id"), "backfilled_score", ["job_id", "policy_id"])
    with op.batch_alter_table("flag") as batch_op:
        batch_op.add_column(sa.Column("backfill_id", sa.String(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE task = 'vidlm.backfill'")
    with op.batch_alter_table("flag") as batch_op:
        batch_op.drop_column("backfill_id")
    op.drop_table("backfilled_score")
    op.drop_table("backfill_work")
    op.drop_table("backfill")
