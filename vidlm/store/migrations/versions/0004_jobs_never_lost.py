"""priorities and turns, events, idempotency, webhooks, workers; blobs shared by videos with the same bytes"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from vidlm.store.columns import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JOB_STATES = "queued preparing analyzing finishing ready rejected failed cancelled expired deleted".split()
WORK_STATES = "waiting running done rejected failed".split()
LISTED_BY = "state verdict_action priority".split()


def _known(states: list[str]) -> str:
    return f"state IN ({', '.join(repr(state) for state in states)})"


def _states(table: str, states: list[str]) -> None:
    with op.batch_alter_table(table) as batch_op:
        batch_op.drop_constraint(op.f(f"ck_{table}_state_known"), type_="check")
        batch_op.create_check_constraint(op.f(f"ck_{table}_state_known"), _known(states))


def _claimable() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="2", nullable=False),
        sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
    )


def _ordered(batch_op: Any, table: str) -> None:
    batch_op.create_index(op.f(f"ix_{table}_state_priority_turn"), ["state", "priority", "turn"])
    batch_op.create_index(
        op.f(f"ix_{table}_tenant_id_state_priority_turn"), ["tenant_id", "state", "priority", "turn"]
    )


def _unordered(batch_op: Any, table: str) -> None:
    batch_op.drop_index(op.f(f"ix_{table}_tenant_id_state_priority_turn"))
    batch_op.drop_index(op.f(f"ix_{table}_state_priority_turn"))


def upgrade() -> None:
    with op.batch_alter_table("tenant") as batch_op:
        batch_op.add_column(sa.Column("webhook_secret", sa.String(), nullable=True))
    with op.batch_alter_table("video") as batch_op:
        batch_op.add_column(sa.Column("client_id", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("legal_hold", sa.Boolean(), server_default="false", nullable=False))
        batch_op.drop_constraint(op.f("ck_video_blob_until_deleted"), type_="check")
        batch_op.create_check_constraint(op.f("ck_video_blob_has_digest"), "blob IS NULL OR sha256 <> ''")
        batch_op.create_check_constraint(
            op.f("ck_video_purged_holds_nothing"), "purged_at IS NULL OR (deleted_at IS NOT NULL AND blob IS NULL)"
        )
        batch_op.create_check_constraint(op.f("ck_video_hold_keeps"), "NOT legal_hold OR deleted_at IS NULL")
        batch_op.create_index(op.f("ix_video_blob"), ["blob"])
        batch_op.drop_index(op.f("ix_video_tenant_id_id"))
        batch_op.create_index(op.f("ix_video_tenant_id_client_id_id"), ["tenant_id", "client_id", "id"])
        batch_op.create_index(op.f("ix_video_tenant_id_sha256_id"), ["tenant_id", "sha256", "id"])
    for name, columns, where in (
        ("ix_video_deleted_at", ["deleted_at"], sa.text("deleted_at IS NOT NULL")),
        ("ix_video_tenant_id_id_kept", ["tenant_id", "id"], sa.text("deleted_at IS NULL")),
    ):
        op.create_index(op.f(name), "video", columns, sqlite_where=where, postgresql_where=where)
    for table, states in (
        ("job", ["uploading", *JOB_STATES]),
        ("span", [*WORK_STATES, "cancelled"]),
        ("question", [*WORK_STATES, "cancelled"]),
    ):
        _states(table, states)
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(sa.Column("priority", sa.Integer(), server_default="2", nullable=False))
            batch_op.add_column(sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False))
            _ordered(batch_op, table)
    with op.batch_alter_table("job") as batch_op:
        for name in ("webhook_url", "recipe"):
            batch_op.add_column(sa.Column(name, sa.String(), nullable=True))
        for name in ("deadline_at", "started_at", "prepared_at", "analyzed_at"):
            batch_op.add_column(sa.Column(name, UtcDateTime(), nullable=True))
        batch_op.create_index(op.f("ix_job_deadline_at"), ["deadline_at"])
        batch_op.create_index(op.f("ix_job_finished_at"), ["finished_at"])
        for name in LISTED_BY:
            batch_op.create_index(op.f(f"ix_job_tenant_id_{name}_video_id"), ["tenant_id", name, "video_id"])
    with op.batch_alter_table("span") as batch_op:
        batch_op.add_column(sa.Column("changed_at", UtcDateTime(), nullable=True))
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("video_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_event_tenant_id")),
        sa.ForeignKeyConstraint(["video_id"], ["video.id"], name=op.f("fk_event_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("public_id", name=op.f("uq_event_public_id")),
    )
    op.create_index(op.f("ix_event_video_id_id"), "event", ["video_id", "id"])
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_idempotency_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"])
    op.create_table(
        "worker",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("task", sa.String(), nullable=True),
        sa.Column("target_id", sa.String(), nullable=True),
        sa.Column("task_since", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_index(op.f("ix_worker_seen_at"), "worker", ["seen_at"])
    _create_webhooks()


def _create_webhooks() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_webhook_endpoint_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index(op.f("ix_webhook_endpoint_tenant_id"), "webhook_endpoint", ["tenant_id"])
    op.create_table(
        "delivery",
        *_claimable(),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("replay", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(_known([*WORK_STATES, "cancelled"]), name=op.f("ck_delivery_state_known")),
        sa.ForeignKeyConstraint(["endpoint_id"], ["webhook_endpoint.id"], name=op.f("fk_delivery_endpoint_id")),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_delivery_event_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_delivery_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("event_id", "url", "replay", name=op.f("uq_delivery_event_id_url_replay")),
    )
    with op.batch_alter_table("delivery") as batch_op:
        _ordered(batch_op, "delivery")
        batch_op.create_index(op.f("ix_delivery_endpoint_id"), ["endpoint_id"])
        batch_op.create_index(op.f("ix_delivery_state_lease_until"), ["state", "lease_until"])
        batch_op.create_index(op.f("ix_delivery_tenant_id_id"), ["tenant_id", "id"])
    op.create_table(
        "delivery_attempt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_delivery_attempt_delivery_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_delivery_attempt_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempt")),
        sa.UniqueConstraint("delivery_id", "number", name=op.f("uq_delivery_attempt_delivery_id_number")),
    )


def downgrade() -> None:
    for table in ("delivery_attempt", "delivery", "webhook_endpoint", "worker", "idempotency", "event"):
        op.drop_table(table)
    # what the older code cannot say: an upload that is not whole is no video to it, work given up has failed
    unfinished = "(SELECT video_id FROM job WHERE state = 'uploading')"
    op.execute(f"UPDATE video SET sha256 = id WHERE id IN {unfinished}")
    op.execute("UPDATE job SET state = 'cancelled' WHERE state = 'uploading'")
    for table in ("span", "question"):
        op.execute(f"UPDATE {table} SET state = 'failed', error_code = 'cancelled' WHERE state = 'cancelled'")
    with op.batch_alter_table("span") as batch_op:
        batch_op.drop_column("changed_at")
    with op.batch_alter_table("job") as batch_op:
        for name in LISTED_BY:
            batch_op.drop_index(op.f(f"ix_job_tenant_id_{name}_video_id"))
        batch_op.drop_index(op.f("ix_job_finished_at"))
        batch_op.drop_index(op.f("ix_job_deadline_at"))
        for name in ("analyzed_at", "prepared_at", "started_at", "deadline_at", "webhook_url", "recipe"):
            batch_op.drop_column(name)
    for table, states in (("job", JOB_STATES), ("span", WORK_STATES), ("question", WORK_STATES)):
        with op.batch_alter_table(table) as batch_op:
            _unordered(batch_op, table)
            batch_op.drop_column("turn")
            batch_op.drop_column("priority")
        _states(table, states)
    op.execute("UPDATE video SET blob = 'removed/' || id WHERE blob IS NULL AND deleted_at IS NULL")
    with op.batch_alter_table("video") as batch_op:
        for name in ("blob_has_digest", "purged_holds_nothing", "hold_keeps"):
            batch_op.drop_constraint(op.f(f"ck_video_{name}"), type_="check")
        for columns in ("tenant_id_id_kept", "tenant_id_sha256_id", "tenant_id_client_id_id", "deleted_at", "blob"):
            batch_op.drop_index(op.f(f"ix_video_{columns}"))
        batch_op.create_index(op.f("ix_video_tenant_id_id"), ["tenant_id", "id"])
        batch_op.drop_column("legal_hold")
        batch_op.drop_column("client_id")
    op.execute("UPDATE video SET blob = NULL WHERE deleted_at IS NOT NULL")
    with op.batch_alter_table("video") as batch_op:
        batch_op.create_check_constraint(
            op.f("ck_video_blob_until_deleted"), "(deleted_at IS NULL) = (blob IS NOT NULL)"
        )
    with op.batch_alter_table("tenant") as batch_op:
        batch_op.drop_column("webhook_secret")
