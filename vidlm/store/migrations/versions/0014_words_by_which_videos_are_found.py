"""words by which videos are found"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_UNWORDED = sa.text("state = 'ready' AND NOT worded")


def upgrade() -> None:
    op.create_table(
        "video_word",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("word", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_video_word_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_video_word_video_id")),
        sa.PrimaryKeyConstraint("tenant_id", "word", "video_id", name=op.f("pk_video_word")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_video_word_video_id_word"), "video_word", ["video_id", "word"])
    with op.batch_alter_table("job") as batch_op:
        batch_op.add_column(sa.Column("worded", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_job_unworded", "job", ["id"], sqlite_where=_UNWORDED, postgresql_where=_UNWORDED)


def downgrade() -> None:
    op.drop_index("ix_job_unworded", "job")
    with op.batch_alter_table("job") as batch_op:
        batch_op.drop_column("worded")
    op.drop_table("video_word")
