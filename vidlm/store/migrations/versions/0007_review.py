"""review: queues, items, decisions, golden answers, appeals; roles of keys"""

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review_queue",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("rule", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("needs_role", sa.String(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("opinions", sa.Integer(), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "needs_role IN ('viewer', 'reviewer', 'lead', 'admin')", name=op.f("ck_review_queue_needs_role_known")
        ),
        sa.CheckConstraint("opinions IN (1, 2)", name=op.f("ck_review_queue_opinions_one_or_two")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_review_queue_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_queue")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_review_queue_tenant_id_name")),
    )
    op.create_table(
        "review_settings",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("lock_s", sa.Float(), nullable=False),
        sa.Column("undo_s", sa.Float(), nullable=False),
        sa.Column("golden_share", sa.Float(), nullable=False),
        sa.Column("doubled_share", sa.Float(), nullable=False),
        sa.Column("weighted_minutes", sa.Float(), nullable=False),
        sa.Column("stretch_minutes", sa.Float(), nullable=False),
        sa.Column("severe_in_a_row", sa.Integer(), nullable=False),
        sa.Column("appeals_most", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "0 <= doubled_share AND doubled_share <= 1", name=op.f("ck_review_settings_doubled_is_share")
        ),
        sa.CheckConstraint(
            "0 <= golden_share AND golden_share <= 0.5", name=op.f("ck_review_settings_golden_is_share")
        ),
        sa.CheckConstraint("0 <= undo_s AND undo_s <= 86400", name=op.f("ck_review_settings_undo_in_reason")),
        sa.CheckConstraint("10 <= lock_s AND lock_s <= 86400", name=op.f("ck_review_settings_lock_in_reason")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_review_settings_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_review_settings")),
    )
    op.create_table(
        "golden_answer",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("violated", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('approve', 'remove', 'escalate', 'second_opinion')",
            name=op.f("ck_golden_answer_outcome_known"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_golden_answer_job_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_golden_answer_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_golden_answer_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_answer")),
    )
    with op.batch_alter_table("golden_answer") as batch_op:
        batch_op.create_index(batch_op.f("ix_golden_answer_tenant_id"), ["tenant_id"])
        batch_op.create_index(
            "uq_golden_answer_video",
            ["video_id"],
            unique=True,
            sqlite_where=sa.text("retired_at IS NULL"),
            postgresql_where=sa.text("retired_at IS NULL"),
        )

    op.create_table(
        "review_item",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("queue_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("inclusion", sa.Float(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("golden_id", sa.String(), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.Column("claimed_at", UtcDateTime(), nullable=True),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("(occasion = 'golden') = (golden_id IS NOT NULL)", name=op.f("ck_review_item_golden_known")),
        sa.CheckConstraint(
            "occasion IN ('flagged', 'sampled', 'second', 'escalated', 'appeal', 'golden')",
            name=op.f("ck_review_item_occasion_known"),
        ),
        sa.CheckConstraint(
            "severity IN ('none', 'low', 'medium', 'high', 'severe')", name=op.f("ck_review_item_severity_known")
        ),
        sa.CheckConstraint(
            "state <> 'claimed' OR (claimed_by IS NOT NULL AND claimed_until IS NOT NULL)",
            name=op.f("ck_review_item_claimant"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'claimed', 'decided', 'withdrawn')", name=op.f("ck_review_item_state_known")
        ),
        sa.CheckConstraint("0 < inclusion AND inclusion <= 1", name=op.f("ck_review_item_inclusion_is_probability")),
        sa.ForeignKeyConstraint(["golden_id"], ["golden_answer.id"], name=op.f("fk_review_item_golden_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_review_item_job_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["review_item.id"], name=op.f("fk_review_item_parent_id")),
        sa.ForeignKeyConstraint(["queue_id"], ["review_queue.id"], name=op.f("fk_review_item_queue_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_review_item_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_review_item_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_item")),
    )
    with op.batch_alter_table("review_item") as batch_op:
        batch_op.create_index(batch_op.f("ix_review_item_claimed_by_state"), ["claimed_by", "state"])
        batch_op.create_index(batch_op.f("ix_review_item_golden_id"), ["golden_id"])
        batch_op.create_index(batch_op.f("ix_review_item_parent_id"), ["parent_id"])
        batch_op.create_index(batch_op.f("ix_review_item_queue_id_state_rank_id"), ["queue_id", "state", "rank", "id"])
        batch_op.create_index(
            "ix_review_item_counts",
            ["tenant_id", "queue_id", "state", "severity", "occasion", "restricted", "created_at"],
        )
        batch_op.create_index(
            batch_op.f("ix_review_item_tenant_id_state_rank_id"), ["tenant_id", "state", "rank", "id"]
        )
        batch_op.create_index(batch_op.f("ix_review_item_video_id"), ["video_id"])
        batch_op.create_index(
            "uq_review_item_open",
            ["video_id"],
            unique=True,
            sqlite_where=sa.text("state IN ('waiting', 'claimed') AND occasion <> 'golden'"),
            postgresql_where=sa.text("state IN ('waiting', 'claimed') AND occasion <> 'golden'"),
        )

    op.create_table(
        "review_decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("state_before", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("watched_s", sa.Float(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("inclusion", sa.Float(), nullable=False),
        sa.Column("pinned", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("undone_at", UtcDateTime(), nullable=True),
        sa.Column("undone_by", sa.String(), nullable=True),
        sa.CheckConstraint(
            "occasion IN ('flagged', 'sampled', 'second', 'escalated', 'appeal', 'golden')",
            name=op.f("ck_review_decision_occasion_known"),
        ),
        sa.CheckConstraint(
            "outcome IN ('approve', 'remove', 'escalate', 'second_opinion')",
            name=op.f("ck_review_decision_outcome_known"),
        ),
        sa.CheckConstraint(
            "(undone_at IS NULL) = (undone_by IS NULL)", name=op.f("ck_review_decision_undone_by_somebody")
        ),
        sa.CheckConstraint("watched_s >= 0", name=op.f("ck_review_decision_watched_not_negative")),
        sa.ForeignKeyConstraint(["item_id"], ["review_item.id"], name=op.f("fk_review_decision_item_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_review_decision_job_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_review_decision_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_review_decision_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_decision")),
    )
    with op.batch_alter_table("review_decision") as batch_op:
        batch_op.create_index(batch_op.f("ix_review_decision_tenant_id_actor_id"), ["tenant_id", "actor", "id"])
        batch_op.create_index(batch_op.f("ix_review_decision_tenant_id_id"), ["tenant_id", "id"])
        batch_op.create_index(batch_op.f("ix_review_decision_video_id_id"), ["video_id", "id"])
        batch_op.create_index(
            "uq_review_decision_item",
            ["item_id"],
            unique=True,
            sqlite_where=sa.text("undone_at IS NULL"),
            postgresql_where=sa.text("undone_at IS NULL"),
        )

    op.create_table(
        "review_look",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "severity IN ('none', 'low', 'medium', 'high', 'severe')", name=op.f("ck_review_look_severity_known")
        ),
        sa.CheckConstraint("seconds >= 0", name=op.f("ck_review_look_seconds_not_negative")),
        sa.ForeignKeyConstraint(["item_id"], ["review_item.id"], name=op.f("fk_review_look_item_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_review_look_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_look")),
    )
    with op.batch_alter_table("review_look") as batch_op:
        batch_op.create_index(batch_op.f("ix_review_look_tenant_id_actor_at"), ["tenant_id", "actor", "at"])

    op.create_table(
        "appeal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=True),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["review_decision.id"], name=op.f("fk_appeal_decision_id")),
        sa.ForeignKeyConstraint(["item_id"], ["review_item.id"], name=op.f("fk_appeal_item_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_appeal_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_appeal_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appeal")),
        sa.UniqueConstraint("item_id", name=op.f("uq_appeal_item_id")),
    )
    with op.batch_alter_table("appeal") as batch_op:
        batch_op.create_index(batch_op.f("ix_appeal_tenant_id_id"), ["tenant_id", "id"])
        batch_op.create_index(batch_op.f("ix_appeal_video_id_id"), ["video_id", "id"])

    op.create_table(
        "flag_decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("flag_id", sa.String(), nullable=True),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("review_threshold", sa.Float(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("evidence_s", sa.JSON(), nullable=False),
        sa.Column("right_policy_id", sa.String(), nullable=True),
        sa.Column("right_start_s", sa.Float(), nullable=True),
        sa.Column("right_end_s", sa.Float(), nullable=True),
        sa.CheckConstraint(
            "reason IN ('not_there', 'lookalike', 'allowed', 'fiction', 'other')",
            name=op.f("ck_flag_decision_reason_known"),
        ),
        sa.CheckConstraint(
            "severity IN ('none', 'low', 'medium', 'high', 'severe')", name=op.f("ck_flag_decision_severity_known")
        ),
        sa.CheckConstraint(
            "verdict IN ('confirm', 'reject', 'wrong_policy', 'wrong_time', 'missed')",
            name=op.f("ck_flag_decision_verdict_known"),
        ),
        sa.CheckConstraint("0 <= start_s AND start_s <= end_s", name=op.f("ck_flag_decision_interval")),
        sa.CheckConstraint(
            "score IS NULL OR (0 <= score AND score <= 1)", name=op.f("ck_flag_decision_score_is_probability")
        ),
        sa.ForeignKeyConstraint(["decision_id"], ["review_decision.id"], name=op.f("fk_flag_decision_decision_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_flag_decision_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flag_decision")),
    )
    with op.batch_alter_table("flag_decision") as batch_op:
        batch_op.create_index(batch_op.f("ix_flag_decision_decision_id"), ["decision_id"])
        batch_op.create_index(batch_op.f("ix_flag_decision_tenant_id_policy_id_id"), ["tenant_id", "policy_id", "id"])

    with op.batch_alter_table("api_key") as batch_op:
        batch_op.add_column(sa.Column("role", sa.String(), server_default="admin", nullable=False))
        batch_op.add_column(sa.Column("restricted", sa.Boolean(), server_default="false", nullable=False))
        batch_op.create_check_constraint(
            op.f("ck_api_key_role_known"), "role IN ('viewer', 'reviewer', 'lead', 'admin')"
        )

    with op.batch_alter_table("job") as batch_op:
        batch_op.add_column(sa.Column("review_state", sa.String(), server_default="none", nullable=False))
        batch_op.create_check_constraint(
            op.f("ck_job_review_state_known"),
            "review_state IN ('none', 'pending', 'in_review', 'approved', 'removed', 'escalated')",
        )
        batch_op.create_index(
            "ix_job_unfiled",
            ["state", "review_state", "id"],
            sqlite_where=sa.text("state = 'ready' AND review_state = 'none' AND verdict_action <> 'allow'"),
            postgresql_where=sa.text("state = 'ready' AND review_state = 'none' AND verdict_action <> 'allow'"),
        )
        batch_op.create_index(
            batch_op.f("ix_job_tenant_id_review_state_video_id"), ["tenant_id", "review_state", "video_id"]
        )

    with op.batch_alter_table("video") as batch_op:
        batch_op.add_column(sa.Column("language", sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("video") as batch_op:
        batch_op.drop_column("language")

    with op.batch_alter_table("job") as batch_op:
        batch_op.drop_index(batch_op.f("ix_job_tenant_id_review_state_video_id"))
        batch_op.drop_index(
            "ix_job_unfiled",
            sqlite_where=sa.text("state = 'ready' AND review_state = 'none' AND verdict_action <> 'allow'"),
            postgresql_where=sa.text("state = 'ready' AND review_state = 'none' AND verdict_action <> 'allow'"),
        )
        batch_op.drop_constraint(op.f("ck_job_review_state_known"), type_="check")
        batch_op.drop_column("review_state")

    with op.batch_alter_table("api_key") as batch_op:
        batch_op.drop_column("restricted")
        batch_op.drop_constraint(op.f("ck_api_key_role_known"), type_="check")
        batch_op.drop_column("role")

    op.drop_table("flag_decision")
    op.drop_table("appeal")
    op.drop_table("review_look")
    op.drop_table("review_decision")
    op.drop_table("review_item")
    op.drop_table("golden_answer")
    op.drop_table("review_settings")
    op.drop_table("review_queue")
