import asyncio
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from app.core.database.migrations import alembic_config
from app.core.database.unit_of_work import Database
from tests.conftest import make_settings, only
from tests.databases import ROOT, Databases, alembic, alembic_process
from tests.isolation import empty_folder
from tests.slices import needs

ROWS = (
    """INSERT INTO users (id, email, email_key, password_hash, is_active, is_superuser,
                          created_at, updated_at)
       VALUES (1, 'a@b.c', 'a@b.c', 'x', true, false, '2026-01-01', '2026-01-01')""",
    """INSERT INTO auth_sessions (id, user_id, scope, created_at, last_used_at, expires_at)
       VALUES ('00000000000000000000000000000001', 1, '', '2026-01-01', '2026-01-01',
               '2026-01-01')""",
    """INSERT INTO refresh_tokens (token_hash, session_id)
       VALUES ('x', '00000000000000000000000000000001')""",
    """INSERT INTO items (id, name, price, is_offer, owner_id, version, created_at, updated_at)
       VALUES (1, 'Lamp', 1, false, 1, 1, '2026-01-01', '2026-01-01'),
              (2, 'Desk', 2, false, 1, 1, '2026-01-01', '2026-01-01')""",
    """INSERT INTO orders (id, number, status, placed_at, owner_id, version, created_at, updated_at)
       VALUES (1, 1, 'placed', '2026-01-01', 1, 2, '2026-01-01', '2026-01-01')""",
    """INSERT INTO order_lines (id, order_id, item_id, position, quantity, unit_price, owner_id)
       VALUES (1, 1, 1, 0, 3, 1, 1)""",
)
TABLES = (
    "users",
    "auth_sessions",
    "refresh_tokens",
    "email_tokens",
    "items",
    "orders",
    "order_lines",
    "idempotency_records",
)


def describe(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """All that a batch change could lose: rows, columns, indexes and constraints."""
    inspector = inspect(connection)
    return {
        table: (
            connection.scalar(text(f"SELECT count(*) FROM {table}")),
            [(each["name"], str(each["type"])) for each in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_foreign_keys(table), key=str),
            sorted(inspector.get_indexes(table), key=str),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(inspector.get_check_constraints(table), key=str),
        )
        for table in TABLES
    }


def description(database_url: str) -> dict[str, tuple[Any, ...]]:
    async def read() -> dict[str, tuple[Any, ...]]:
        database = Database(make_settings(database_url))
        async with database.engine.connect() as connection:
            found = await connection.run_sync(describe)
        await database.dispose()
        return found

    return asyncio.run(read())


@needs("items", "orders")
def test_up_down_and_up_again_with_rows(databases: Databases, empty_database_url: str) -> None:
    url = empty_database_url
    alembic(url, "upgrade", "head")
    before = description(url)
    databases.execute(url, *ROWS)
    alembic(url, "downgrade", "base")
    alembic(url, "upgrade", "head")
    assert description(url) == before


@needs("items", "orders")
def test_each_step_down_and_up_again_with_rows(databases: Databases, own_database_url: str) -> None:
    databases.execute(own_database_url, *ROWS)
    alembic(own_database_url, "downgrade", "-1")
    alembic(own_database_url, "upgrade", "+1")


@only("sqlite")
def test_database_that_is_made_is_its_owners_alone(databases: Databases, tmp_path: Path) -> None:
    path = tmp_path / "data" / "app.db"
    alembic(f"sqlite+aiosqlite:///{path}", "upgrade", "head")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_the_migrations_make_what_the_models_say(own_database_url: str) -> None:
    assert "No new upgrade operations detected" in alembic(own_database_url, "check")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the migrations, for a test to add to."""
    shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    return tmp_path


def add_migration(copy: Path, upgrade: str) -> None:
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    lines = [
        "import sqlalchemy as sa",
        "from alembic import op",
        f"revision, down_revision = 'added', {head!r}",
        "def upgrade():",
        *(f"    {line}" for line in upgrade.splitlines()),
    ]
    (copy / "alembic/versions/added.py").write_text("\n".join(lines))


def test_a_generated_migration_needs_nothing_of_the_application(
    copy: Path, empty_database_url: str
) -> None:
    """All the tables, written by `make migration`'s command instead of by hand."""
    shutil.rmtree(copy / "alembic/versions")
    (copy / "alembic/versions").mkdir()
    alembic(empty_database_url, "revision", "--autogenerate", "-m", "all of it", folder=copy)
    (script,) = (copy / "alembic/versions").glob("*.py")
    assert "app." not in script.read_text()
    alembic(empty_database_url, "upgrade", "head", folder=copy)
    assert "No new upgrade operations" in alembic(empty_database_url, "check", folder=copy)


@needs("items", "orders")
@only("sqlite")
def test_a_batch_change_of_a_parent_keeps_its_children(
    databases: Databases, own_database_url: str, copy: Path
) -> None:
    """SQLite drops the table and makes it again: with foreign keys on, the items would go too."""
    databases.execute(own_database_url, *ROWS)
    before = description(own_database_url)
    add_migration(
        copy,
        "with op.batch_alter_table('users', recreate='always') as users:\n"
        "    users.add_column(sa.Column('nickname', sa.String(50)))\n",
    )
    alembic(own_database_url, "upgrade", "head", folder=copy)
    after = description(own_database_url)
    for child in ("items", "order_lines", "auth_sessions", "refresh_tokens"):
        assert after[child] == before[child]
    rows, columns, *constraints = after["users"]
    rows_before, columns_before, *constraints_before = before["users"]
    assert rows == rows_before == 1
    assert columns == [*columns_before, ("nickname", "VARCHAR(50)")]
    assert constraints == constraints_before


@needs("items", "orders")
@only("sqlite")
def test_a_batch_change_keeps_the_tables_own_constraints(
    databases: Databases, own_database_url: str, copy: Path
) -> None:
    databases.execute(own_database_url, *ROWS)
    before = description(own_database_url)
    add_migration(copy, "with op.batch_alter_table('items', recreate='always') as items: pass")
    alembic(own_database_url, "upgrade", "head", folder=copy)
    assert description(own_database_url) == before


@needs("items", "orders")
@only("sqlite")
def test_a_migration_that_leaves_orphans_is_undone(
    databases: Databases, own_database_url: str, copy: Path
) -> None:
    databases.execute(own_database_url, *ROWS)
    before = description(own_database_url)
    add_migration(copy, "op.execute('DELETE FROM users')")
    with pytest.raises(RuntimeError, match="without their parents"):
        alembic(own_database_url, "upgrade", "head", folder=copy)
    assert description(own_database_url) == before


@only("postgresql")
def test_two_that_migrate_at_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(
            threads.map(lambda _: alembic_process(empty_database_url, "upgrade", "head"), range(2))
        )
    assert "No new upgrade operations" in alembic(empty_database_url, "check")


def test_upgrade_of_a_schema_that_is_ahead_succeeds(
    databases: Databases, own_database_url: str
) -> None:
    """An application that is rolled back has to start."""
    databases.execute(own_database_url, "UPDATE alembic_version SET version_num = 'later'")
    process = migrate(own_database_url, "upgrade", "head")
    assert process.returncode == 0
    assert "ahead of this code (later)" in process.stderr
    assert migrate(own_database_url, "downgrade", "-1").returncode != 0


def migrate(database_url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "alembic", "--config", str(ROOT / "alembic.ini"), *arguments],
        cwd=empty_folder(),
        env=os.environ | {"DATABASE_URL": database_url},
        text=True,
        capture_output=True,
        check=False,
    )


@only("postgresql")
@pytest.mark.slow("the migration waits 5 s for the lock")
def test_migration_gives_up_on_a_locked_table_and_says_so(own_database_url: str) -> None:
    """Everybody who comes later waits behind a migration that waits for a long transaction."""
    with psycopg.connect(own_database_url.replace("+asyncpg", "")) as connection:
        connection.execute("SELECT count(*) FROM items")
        process = migrate(own_database_url, "downgrade", "-2")
    assert process.returncode == 1
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("The migration waited 5 s for a lock on a table")
    assert migrate(own_database_url, "downgrade", "-2").returncode == 0
