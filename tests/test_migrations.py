import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from typer.testing import CliRunner, Result

from app.cli import cli
from app.core.config import get_settings
from app.core.database.migrations import alembic_config
from app.core.database.models import Base
from app.core.database.unit_of_work import Database
from tests.conftest import make_settings, only
from tests.databases import ROOT, Databases, alembic, alembic_process
from tests.isolation import empty_folder
from tests.rows import ROWS
from tests.slices import needs

TABLES = (
    "users",
    "auth_sessions",
    "refresh_tokens",
    "email_tokens",
    "items",
    "orders",
    "order_lines",
    "idempotency_records",
    "security_events",
    "api_keys",
    "second_factors",
    "recovery_codes",
    "sign_in_challenges",
)


def read_schema(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """Return what a batch change could lose: rows, columns, indexes and constraints."""
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


def schema_of(database_url: str) -> dict[str, tuple[Any, ...]]:
    async def read() -> dict[str, tuple[Any, ...]]:
        database = Database(make_settings(database_url))
        async with database.engine.connect() as connection:
            found = await connection.run_sync(read_schema)
        await database.dispose()
        return found

    return asyncio.run(read())


@needs("items", "orders")
def test_downgrade_to_base_and_upgrade_restore_the_schema(
    databases: Databases, empty_database_url: str
) -> None:
    url = empty_database_url
    alembic(url, "upgrade", "head")
    before = schema_of(url)
    databases.execute(url, *ROWS)
    alembic(url, "downgrade", "base")
    alembic(url, "upgrade", "head")
    assert schema_of(url) == before


@needs("items", "orders")
def test_downgrade_and_upgrade_by_one_step_succeed_with_rows(
    databases: Databases, own_database_url: str
) -> None:
    databases.execute(own_database_url, *ROWS)
    alembic(own_database_url, "downgrade", "-1")
    alembic(own_database_url, "upgrade", "+1")


@only("sqlite")
def test_created_database_is_readable_by_its_owner_only(
    databases: Databases, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "app.db"
    alembic(f"sqlite+aiosqlite:///{path}", "upgrade", "head")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_migrated_schema_matches_the_models(own_database_url: str) -> None:
    assert "No new upgrade operations detected" in alembic(own_database_url, "check")


def add_migration(migrations: Path, upgrade: str) -> None:
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    lines = [
        "import sqlalchemy as sa",
        "from alembic import op",
        f"revision, down_revision = 'added', {head!r}",
        "def upgrade():",
        *(f"    {line}" for line in upgrade.splitlines()),
    ]
    (migrations / "alembic/versions/added.py").write_text("\n".join(lines))


def test_generated_migration_does_not_import_the_application(
    migrations: Path, empty_database_url: str
) -> None:
    """The command of `make migration` writes all tables into one migration."""
    shutil.rmtree(migrations / "alembic/versions")
    (migrations / "alembic/versions").mkdir()
    alembic(empty_database_url, "revision", "--autogenerate", "-m", "all of it", folder=migrations)
    (script,) = (migrations / "alembic/versions").glob("*.py")
    assert "app." not in script.read_text()
    alembic(empty_database_url, "upgrade", "head", folder=migrations)
    assert "No new upgrade operations" in alembic(empty_database_url, "check", folder=migrations)


@needs("items", "orders")
@only("sqlite")
def test_batch_change_of_a_parent_table_keeps_child_rows(
    databases: Databases, own_database_url: str, migrations: Path
) -> None:
    """SQLite drops and recreates the table, which would delete the items by their foreign keys."""
    databases.execute(own_database_url, *ROWS)
    before = schema_of(own_database_url)
    add_migration(
        migrations,
        "with op.batch_alter_table('users', recreate='always') as users:\n"
        "    users.add_column(sa.Column('nickname', sa.String(50)))\n",
    )
    alembic(own_database_url, "upgrade", "head", folder=migrations)
    after = schema_of(own_database_url)
    for child in ("items", "order_lines", "auth_sessions", "refresh_tokens"):
        assert after[child] == before[child]
    rows, columns, *constraints = after["users"]
    rows_before, columns_before, *constraints_before = before["users"]
    assert rows == rows_before == 1
    assert columns == [*columns_before, ("nickname", "VARCHAR(50)")]
    assert constraints == constraints_before


@needs("items", "orders")
@only("sqlite")
def test_batch_change_keeps_rows_and_constraints(
    databases: Databases, own_database_url: str, migrations: Path
) -> None:
    databases.execute(own_database_url, *ROWS)
    before = schema_of(own_database_url)
    add_migration(
        migrations, "with op.batch_alter_table('items', recreate='always') as items: pass"
    )
    alembic(own_database_url, "upgrade", "head", folder=migrations)
    assert schema_of(own_database_url) == before


@needs("items", "orders")
@only("sqlite")
def test_migration_that_leaves_orphans_is_rolled_back(
    databases: Databases, own_database_url: str, migrations: Path
) -> None:
    databases.execute(own_database_url, *ROWS)
    before = schema_of(own_database_url)
    add_migration(migrations, "op.execute('DELETE FROM users')")
    with pytest.raises(RuntimeError, match="without their parents"):
        alembic(own_database_url, "upgrade", "head", folder=migrations)
    assert schema_of(own_database_url) == before


@only("postgresql")
def test_concurrent_upgrades_succeed(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(
            threads.map(lambda _: alembic_process(empty_database_url, "upgrade", "head"), range(2))
        )
    assert "No new upgrade operations" in alembic(empty_database_url, "check")


def test_upgrade_of_a_schema_that_is_ahead_succeeds(
    databases: Databases, own_database_url: str
) -> None:
    """The application must start after it is rolled back to an older version."""
    databases.execute(own_database_url, "UPDATE alembic_version SET version_num = 'later'")
    process = migrate(own_database_url, "upgrade", "head")
    assert process.returncode == 0
    assert "ahead of this code (later)" in process.stderr
    assert migrate(own_database_url, "downgrade", "-1").returncode != 0


def migrate(
    database_url: str, *arguments: str, folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "alembic", "--config", str(folder / "pyproject.toml"), *arguments],
        cwd=empty_folder(),
        env=os.environ | {"DATABASE_URL": database_url},
        text=True,
        capture_output=True,
        check=False,
    )


BEFORE_ITEM_LISTS = "b7d2e06f4c15"  # The migration that follows it changes the items' indexes.


@only("postgresql")
@pytest.mark.slow("the migration waits 5 s for the lock")
def test_migration_of_a_locked_table_fails_with_one_line(own_database_url: str) -> None:
    """A migration that waits for a long transaction would block all later statements."""
    with psycopg.connect(own_database_url.replace("+asyncpg", "")) as connection:
        connection.execute("SELECT count(*) FROM items")
        process = migrate(own_database_url, "downgrade", BEFORE_ITEM_LISTS)
    assert process.returncode == 1
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("The migration waited 5 s for a lock on a table")
    assert migrate(own_database_url, "downgrade", BEFORE_ITEM_LISTS).returncode == 0


def test_folder_of_any_name_migrates_in_the_plainest_locale(
    tmp_path: Path, migrations: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ConfigParser takes a % for a variable, and Python has no UTF-8 by itself there."""
    folder = tmp_path / "100%x 색"
    folder.mkdir()
    for name in ("alembic", "pyproject.toml"):
        shutil.move(migrations / name, folder / name)
    monkeypatch.setenv("LC_ALL", "C")
    assert migrate(empty_database_url, "upgrade", "head", folder=folder).returncode == 0


def add_file(migrations: Path, revision: str, follows: str | None) -> None:
    source = f"revision, down_revision = {revision!r}, {follows!r}\ndef upgrade(): pass\n"
    (migrations / f"alembic/versions/{revision}.py").write_text(source)


def add_two_heads(migrations: Path) -> None:
    for revision in ("one", "two"):
        add_file(migrations, revision, "6c59cb8319cc")


def remove_a_migration(migrations: Path) -> None:
    add_file(migrations, "one", "deleted")


@pytest.mark.parametrize(
    ("break_history", "line"),
    [
        (add_two_heads, "Multiple head revisions are present"),
        (remove_a_migration, "Revision deleted referenced from deleted -> one"),
    ],
)
def test_broken_history_is_refused_in_one_line(
    migrations: Path,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    break_history: Callable[[Path], None],
    line: str,
) -> None:
    break_history(migrations)
    process = migrate(empty_database_url, "upgrade", "head", folder=migrations)
    (printed,) = (process.stdout + process.stderr).splitlines()
    assert process.returncode != 0
    assert line in printed

    monkeypatch.setattr("app.core.database.migrations.PYPROJECT", migrations / "pyproject.toml")
    for command in ("upgrade", "check"):
        result = run_app(empty_database_url, "db", command)
        assert isinstance(result.exception, SystemExit)
        (printed,) = str(result.exception).splitlines()
        assert line in printed


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("postgresql+asyncpg://app@127.0.0.1:1/app", "The database is not reachable. "),
        ("sqlite+aiosqlite:////dev/null/x/app.db", "The folder of the database cannot be made: "),
    ],
)
def test_unreachable_database_is_reported_in_one_line(url: str, line: str) -> None:
    process = migrate(url, "upgrade", "head")
    (printed,) = (process.stdout + process.stderr).splitlines()
    assert process.returncode == 1
    assert printed.startswith(line)

    result = run_app(url, "db", "upgrade")
    assert isinstance(result.exception, SystemExit)
    (printed,) = str(result.exception).splitlines()
    assert printed.startswith(line)


def test_changes_of_models_without_a_migration_are_a_line_each(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Base.metadata.tables["users"].c.full_name
    monkeypatch.setattr(name, "nullable", not name.nullable)
    monkeypatch.setattr(name, "type", sa.String(7))
    examples = sa.Table("examples", Base.metadata, sa.Column("color", sa.String(7), index=True))
    try:
        result = run_app(empty_database_url, "db", "check")
    finally:
        Base.metadata.remove(examples)
    assert isinstance(result.exception, SystemExit)
    first, *differences, last = str(result.exception).splitlines()
    assert first == "The models have changed without a migration:"
    assert sorted(differences) == [
        "- add index ix_examples_color",
        "- add table examples",
        "- modify nullable users.full_name",
        "- modify type users.full_name",
    ]
    assert last == 'Write it: make migration m="..."'


def run_app(url: str, *arguments: str) -> Result:
    """Run the application's own command line; what it sets in the environment is taken back."""
    with patch.dict(os.environ, DATABASE_URL=url):
        get_settings.cache_clear()
        try:
            return CliRunner().invoke(cli, arguments)
        finally:
            get_settings.cache_clear()
