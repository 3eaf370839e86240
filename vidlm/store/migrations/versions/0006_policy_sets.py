"""sets of policies, drafted and put in force; a job says under which it is scored"""

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import CleanText, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_set",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("policies", sa.JSON(), nullable=False),
        sa.Column("based_on", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=True),
        sa.Column("changed_by", sa.String(), nullable=True),
        sa.Column("activated_at", UtcDateTime(), nullable=True),
        sa.Column("activated_by", sa.String(), nullable=True),
        sa.Column("reason", CleanText(), nullable=True),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.Column("retired_by", sa.String(), nullable=True),
        sa.CheckConstraint("state IN ('draft', 'active', 'retired')", name=op.f("ck_policy_set_state_known")),
        sa.CheckConstraint("state <> 'active' OR activated_at IS NOT NULL", name=op.f("ck_policy_set_active_since")),
        sa.ForeignKeyConstraint(["based_on"], ["policy_set.id"], name=op.f("fk_policy_set_based_on")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_policy_set_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_set")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_policy_set_tenant_id_number")),
    )
    active = sa.text("state = 'active'")
    op.create_index(
        op.f("uq_policy_set_active"),
        "policy_set",
        ["tenant_id"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    with op.batch_alter_table("job") as batch_op:
        batch_op.add_column(sa.Column("policy_set_id", sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("job") as batch_op:
        batch_op.drop_column("policy_set_id")
    op.drop_table("policy_set")
