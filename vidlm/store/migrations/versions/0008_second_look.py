"""scores that were looked at a second time"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OUTCOMES = "IN ('confirmed', 'rejected', 'unverified')"


def upgrade() -> None:
    op.create_table(
        "second_look",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=False),
        sa.Column("end_s", sa.Float(), nullable=False),
        sa.Column("first_score", sa.Float(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("second_score", sa.Float(), nullable=True),
        sa.Column("peak_score", sa.Float(), nullable=True),
        sa.Column("peak_start_s", sa.Float(), nullable=True),
        sa.Column("peak_end_s", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.CheckConstraint("0 <= start_s AND start_s <= end_s", name=op.f("ck_second_look_interval")),
        sa.CheckConstraint(
            "(outcome = 'unverified') = (second_score IS NULL)", name=op.f("ck_second_look_seen_is_scored")
        ),
        sa.CheckConstraint(f"outcome {_OUTCOMES}", name=op.f("ck_second_look_outcome_known")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_second_look_job_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_second_look_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_second_look")),
        sa.UniqueConstraint("job_id", "segment", "policy_id", name=op.f("uq_second_look_job_id_segment_policy_id")),
    )
    op.create_index(
        op.f("ix_second_look_tenant_id_policy_id_outcome"), "second_look", ["tenant_id", "policy_id", "outcome"]
    )
    with op.batch_alter_table("flag") as batch_op:
        batch_op.add_column(sa.Column("second_look", sa.String(), nullable=True))
        batch_op.create_check_constraint(op.f("ck_flag_second_look_known"), f"second_look {_OUTCOMES}")


def downgrade() -> None:
    with op.batch_alter_table("flag") as batch_op:
        batch_op.drop_constraint(op.f("ck_flag_second_look_known"), type_="check")
        batch_op.drop_column("second_look")
    op.drop_table("second_look")
