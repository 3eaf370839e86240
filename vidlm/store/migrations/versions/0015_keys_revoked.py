"""keys that are revoked, and an audit that can be looked through"""

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import UtcDateTime

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None

LOOKED_FOR = ('actor', 'event', 'target_id')


def upgrade() -> None:
    op.add_column('api_key', sa.Column('used_at', UtcDateTime(), nullable=True))
    op.add_column('api_key', sa.Column('revoked_at', UtcDateTime(), nullable=True))
    for column in LOOKED_FOR:
        op.create_index(op.f(f'ix_audit_tenant_id_{column}_number'), 'audit', ['tenant_id', column, 'number'])


def downgrade() -> None:
    for column in LOOKED_FOR:
        op.drop_index(op.f(f'ix_audit_tenant_id_{column}_number'), table_name='audit')
    op.execute(sa.text('DELETE FROM api_key WHERE revoked_at IS NOT NULL'))  # older code would let them in again
    with op.batch_alter_table('api_key', schema=None) as batch_op:
        batch_op.drop_column('revoked_at')
        batch_op.drop_column('used_at')
