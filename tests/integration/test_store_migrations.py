"""The migrations make exactly the tables the code believes in, on either database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from jobs_helpers import accepted, prepared
from servers import PostgresServer
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel, col, select, update
from test_jobs_life import ready

from vidlm.errors import SettingsError
from vidlm.jobs import control, intake, life, webhooks
from vidlm.store import keys, tables
from vidlm.store.columns import new_id
from vidlm.store.engine import Database, migrate, migration, open_engine
from vidlm.store.tables import DEFAULT_TENANT


def test_tables_and_migrations_agree(database_url: str) -> None:
    with open_engine(database_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_migrating_twice_changes_nothing(database_url: str, database: Database) -> None:
    migrate(database_url)
    with database.read() as session:
        assert [tenant.id for tenant in session.exec(select(tables.Tenant)).all()] == [DEFAULT_TENANT]
    assert database.is_migrated()


def test_conversations_come_and_go_and_questions_stay(database_url: str, database: Database) -> None:
    job = ready(database)
    with database.write() as session:
        asked = life.ask(session, tenant_id=DEFAULT_TENANT, video_id=job.video_id, text="what?")
    with migration(database_url) as config:
        command.downgrade(config, "0002")
    engine = open_engine(database_url)
    assert "conversation_id" not in {column["name"] for column in inspect(engine).get_columns("question")}
    assert not database.is_migrated()
    migrate(database_url)
    test_tables_and_migrations_agree(database_url)
    with database.read() as session:
        row = session.exec(select(tables.Question)).one()
    assert (row.id, row.text, row.conversation_id) == (asked.id, "what?", None)
    with pytest.raises(IntegrityError, match="done_has_answer"), database.write() as session:  # no rule was lost
        session.exec(update(tables.Question).where(col(tables.Question.id) == asked.id).values(state="done"))


def test_going_back_keeps_every_video_in_words_the_older_code_knows(database_url: str, database: Database) -> None:
    """What only the newer tables can say (an upload on its way, a part called off, a file that was removed)."""
    arriving, gone, kept, called_off = new_id("vid"), ready(database), ready(database), accepted(database)
    prepared(database, called_off)
    with database.write() as session:
        intake.begin_upload(
            session, video_id=arriving, tenant_id=DEFAULT_TENANT, actor="key_test", size_bytes=5, patience_s=60
        )
        webhooks.create(session, tenant_id=DEFAULT_TENANT, actor="key_test", url="http://127.0.0.1:9/", events=())
        control.cancel(session, session.get_one(tables.Job, called_off.id), actor="key_test")
        session.get_one(tables.Video, kept.video_id).blob = None  # its original was old enough
        control.deleted(session, session.get_one(tables.Video, gone.video_id), actor="key_test")
    with migration(database_url) as config:
        command.downgrade(config, "0003")
    with open_engine(database_url).connect() as connection:
        videos = {row.id: row for row in connection.execute(text("SELECT * FROM video"))}
        states = {row.video_id: row.state for row in connection.execute(text("SELECT video_id, state FROM job"))}
        spans = set(
            connection.execute(text("SELECT state, error_code FROM span WHERE job_id = :job"), {"job": called_off.id})
        )
        assert videos.keys() == states.keys() == {arriving, gone.video_id, kept.video_id, called_off.video_id}
    assert states == {
        arriving: "cancelled",
        gone.video_id: "deleted",
        kept.video_id: "ready",
        called_off.video_id: "cancelled",
    }
    assert spans == {("failed", "cancelled")}
    assert videos[arriving].sha256 != ""
    assert [videos[one].blob is None for one in (arriving, gone.video_id, kept.video_id)] == [False, True, False]
    migrate(database_url)
    test_tables_and_migrations_agree(database_url)
    with database.read() as session:
        assert {video.id for video in session.exec(select(tables.Video)).all()} == videos.keys()


def test_a_key_that_was_revoked_stays_so_in_older_code(database_url: str, database: Database) -> None:
    with database.write() as session:
        keys.create_key(session, "kept")
        keys.create_key(session, "gone")
        gone = session.exec(select(tables.ApiKey).where(tables.ApiKey.name == "gone")).one()
        keys.revoke(session, gone, actor="cli")
    with migration(database_url) as config:
        command.downgrade(config, "0013")
    with open_engine(database_url).connect() as connection:
        assert [row.name for row in connection.execute(text("SELECT name FROM api_key"))] == ["kept"]
    migrate(database_url)
    test_tables_and_migrations_agree(database_url)


def test_several_processes_may_migrate_at_once_sqlite(tmp_path: Path) -> None:
    _migrate_at_once(f"sqlite:///{tmp_path / 'new.db'}")


@pytest.mark.postgres
def test_several_processes_may_migrate_at_once_postgres(postgres_server: PostgresServer) -> None:
    _migrate_at_once(postgres_server.empty_database())


def _migrate_at_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [url] * 4))
    assert Database(url).is_migrated()


def test_an_empty_database_is_not_migrated(tmp_path: Path) -> None:
    assert not Database(f"sqlite:///{tmp_path / 'empty.db'}").is_migrated()


def test_every_row_belongs_to_a_tenant() -> None:
    for name, table in SQLModel.metadata.tables.items():
        # a browser and a view are a person's, who is a tenant's; whoever failed to sign in is nobody's
        if name not in ("tenant", "worker", "sign_in", "saved_view", "sign_in_failure"):
            column = table.columns["tenant_id"]
            assert not column.nullable
            assert [key.target_fullname for key in column.foreign_keys] == ["tenant.id"]


@pytest.mark.parametrize("url", ["nonsense", "mysql://root@localhost/x", "nosuchdialect://x"])
def test_other_databases_are_refused_in_words(url: str) -> None:
    with pytest.raises(SettingsError, match="VIDLM_DATABASE_URL"):
        Database(url)
