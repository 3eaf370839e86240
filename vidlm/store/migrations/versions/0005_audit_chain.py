"""the audit becomes a chain of hashes for each tenant, and the database refuses to change it

SQLite forgets triggers with the table: a later revision that makes `audit` anew has to make them anew, too.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from vidlm.store.chain import START, chained
from vidlm.store.columns import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH = 5000
NEW: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("number", sa.BigInteger()),
    ("details", sa.Text()),
    ("previous", sa.String()),
    ("hash", sa.String()),
)
WRITTEN = ("id", "number", "details", "previous", "hash")

SQLITE_GUARDS = {
    "audit_unchanged": "BEFORE UPDATE ON audit",
    "audit_undeleted": "BEFORE DELETE ON audit",
    # INSERT OR REPLACE takes rows away without asking the trigger above
    "audit_unreplaced": """BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id
        OR (tenant_id = NEW.tenant_id AND number = NEW.number))""",
    "audit_head_undeleted": "BEFORE DELETE ON audit_head",
    "audit_head_forward": """BEFORE UPDATE ON audit_head
        WHEN NEW.number < OLD.number OR NEW.tenant_id <> OLD.tenant_id""",
}
POSTGRES_GUARDS = {
    "audit_unchanged": "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT",
    "audit_head_undeleted": "BEFORE DELETE OR TRUNCATE ON audit_head FOR EACH STATEMENT",
    "audit_head_forward": """BEFORE UPDATE ON audit_head FOR EACH ROW
        WHEN (NEW.number < OLD.number OR NEW.tenant_id <> OLD.tenant_id)""",
}
REFUSAL = "the audit is only ever added to"


def upgrade() -> None:
    with op.batch_alter_table("audit") as batch_op:
        for name, kind in NEW:
            batch_op.add_column(sa.Column(name, kind, nullable=True))
    op.create_table(
        "audit_head",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_audit_head_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_audit_head")),
    )
    for tenant_id in op.get_bind().execute(sa.text("SELECT DISTINCT tenant_id FROM audit")).scalars().all():
        _chain(tenant_id)
    with op.batch_alter_table("audit") as batch_op:
        for name, kind in NEW:
            batch_op.alter_column(name, existing_type=kind, nullable=False)
        batch_op.drop_index(op.f("ix_audit_tenant_id"))
        batch_op.create_unique_constraint(op.f("uq_audit_tenant_id_number"), ["tenant_id", "number"])
    _guard()


def _chain(tenant_id: str) -> None:
    """Rows that exist already get their places in order of id."""
    connection = op.get_bind()
    read = sa.text(
        "SELECT id, tenant_id, at, actor, event, target_id FROM audit"
        " WHERE tenant_id = :tenant_id AND id > :after ORDER BY id LIMIT :batch"
    ).columns(at=UtcDateTime())
    write = sa.text(
        "UPDATE audit SET number = :number, details = :details, previous = :previous, hash = :hash WHERE id = :id"
    )
    number, previous, after = 0, START, 0
    while rows := connection.execute(read, {"tenant_id": tenant_id, "after": after, "batch": BATCH}).mappings().all():
        links = chained([{**row, "details": "{}"} for row in rows], number, previous)
        connection.execute(write, [{name: link[name] for name in WRITTEN} for link in links])
        number, previous, after = links[-1]["number"], links[-1]["hash"], links[-1]["id"]
    head = sa.text("INSERT INTO audit_head (tenant_id, number, hash) VALUES (:tenant_id, :number, :hash)")
    connection.execute(head, {"tenant_id": tenant_id, "number": number, "hash": previous})


def _guard() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name, when in SQLITE_GUARDS.items():
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END")
        return
    op.execute(
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for name, when in POSTGRES_GUARDS.items():
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION refuse_audit_change()")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in SQLITE_GUARDS:
            op.execute(f"DROP TRIGGER {name}")
    else:
        op.execute("DROP FUNCTION refuse_audit_change() CASCADE")  # and its triggers
    op.drop_table("audit_head")
    with op.batch_alter_table("audit") as batch_op:
        batch_op.drop_constraint(op.f("uq_audit_tenant_id_number"), type_="unique")
        for name, _ in reversed(NEW):
            batch_op.drop_column(name)
        batch_op.create_index(op.f("ix_audit_tenant_id"), ["tenant_id"])
