"""what deleted videos came to, for reports"""

import sqlalchemy as sa
from alembic import op


revision = "0012"
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('day_tally',
    sa.Column('tenant_id', sa.String(), nullable=False),
    sa.Column('day', sa.String(), nullable=False),
    sa.Column('what', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('amount', sa.Float(), nullable=False),
    sa.CheckConstraint('amount >= 0', name=op.f('ck_day_tally_amount_not_negative')),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenant.id'], name=op.f('fk_day_tally_tenant_id')),
    sa.PrimaryKeyConstraint('tenant_id', 'day', 'what', 'name', name=op.f('pk_day_tally'))
    )


def downgrade() -> None:
    op.drop_table('day_tally')
