"""thresholds that decisions suggest, proposed to leads"""

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "threshold_proposal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("policy_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("goal", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("threshold_before", sa.Float(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("promise", sa.String(), nullable=False),
        sa.Column("basis", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("settled_by", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("policy_set_id", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state IN ('proposed', 'accepted', 'declined', 'superseded')",
            name=op.f("ck_threshold_proposal_state_known"),
        ),
        sa.CheckConstraint("goal IN ('precision', 'recall', 'queue')", name=op.f("ck_threshold_proposal_goal_known")),
        sa.CheckConstraint(
            "0 < threshold AND threshold <= 1", name=op.f("ck_threshold_proposal_threshold_is_probability")
        ),
        sa.CheckConstraint(
            "(state = 'accepted') = (policy_set_id IS NOT NULL)",
            name=op.f("ck_threshold_proposal_accepted_is_in_force"),
        ),
        sa.CheckConstraint(
            "(state = 'proposed') = (settled_at IS NULL)", name=op.f("ck_threshold_proposal_settled_once")
        ),
        sa.ForeignKeyConstraint(
            ["policy_set_id"], ["policy_set.id"], name=op.f("fk_threshold_proposal_policy_set_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_threshold_proposal_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_threshold_proposal")),
    )
    with op.batch_alter_table("threshold_proposal") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_threshold_proposal_tenant_id_policy_id_id"), ["tenant_id", "policy_id", "id"]
        )
        batch_op.create_index(
            "uq_threshold_proposal_open",
            ["tenant_id", "policy_id"],
            unique=True,
            sqlite_where=sa.text("state = 'proposed'"),
            postgresql_where=sa.text("state = 'proposed'"),
        )


def downgrade() -> None:
    op.drop_table("threshold_proposal")
