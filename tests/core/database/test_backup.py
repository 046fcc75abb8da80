"""Backups of both databases, restored into others."""

import asyncio
import itertools
import os
import shutil
import stat
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner, Result

from app.accounts.models import User
from app.cli import cli
from app.core.config import Settings, get_settings
from app.core.database.backup import BackupError, back_up, restore
from app.core.database.migrations import get_migrations
from app.core.database.unit_of_work import Database
from tests.conftest import make_settings, only
from tests.databases import Databases
from tests.waiting import eventually_async

CHECKS = {
    "sqlite": ["PRAGMA integrity_check", "PRAGMA foreign_key_check"],
    "postgresql": [
        "CREATE EXTENSION amcheck",
        """
        SELECT bt_index_check(pg_class.oid, true) FROM pg_class JOIN pg_am ON pg_am.oid = relam
        WHERE amname = 'btree' AND relkind = 'i' AND relnamespace = 'public'::regnamespace
        """,
    ],
}


@pytest.fixture(autouse=True)
def client_programs(databases: Databases, database_url: str) -> None:
    if database_url.startswith("postgresql") and not shutil.which("pg_dump"):
        pytest.skip("PostgreSQL's client programs are not installed")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "the backup"


async def add_users(database: Database, *names: str) -> None:
    async with database.transaction() as session:
        session.add_all(User(email=name, email_key=name, password_hash="x") for name in names)


async def emails(settings: Settings) -> set[str]:
    database = Database(settings)
    try:
        async with database.reading() as session:
            return set(await session.scalars(select(User.email)))
    finally:
        await database.dispose()


async def fill(settings: Settings, *names: str) -> None:
    database = Database(settings)
    await add_users(database, *names)
    await database.dispose()


def truncate(file: Path) -> None:
    os.truncate(file, 3 * file.stat().st_size // 4)


async def require_intact(settings: Settings) -> None:
    database = Database(settings)
    async with database.engine.connect() as connection:
        for check in CHECKS[settings.database.get_backend_name()]:
            result = await connection.execute(text(check))
            rows = result.all() if result.returns_rows else []
            assert {value for row in rows for value in row} <= {"ok", "", None}
    migrations = await asyncio.to_thread(get_migrations)
    assert not await migrations.is_behind(database)
    await database.dispose()


async def back_up_under_load(settings: Settings, file: Path) -> tuple[set[str], set[str]]:
    """Return the writes acknowledged before the backup began, and all that were."""
    acknowledged, numbers = list[str](), itertools.count()
    database, stopped = Database(settings), asyncio.Event()

    async def write() -> None:
        while not stopped.is_set():
            name = f"user{next(numbers)}"
            await add_users(database, name)
            acknowledged.append(name)

    async def has_written(count: int) -> bool:
        return len(acknowledged) >= count

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(write())
        await eventually_async(partial(has_written, 20))
        before = set(acknowledged)
        await asyncio.to_thread(back_up, settings, file)
        await eventually_async(partial(has_written, len(acknowledged) + 1))
        stopped.set()
    await database.dispose()
    return before, set(acknowledged)


def test_backup_under_write_load_holds_every_write_acknowledged_before_it(
    settings: Settings, empty_database_url: str, file: Path
) -> None:
    before, acknowledged = asyncio.run(back_up_under_load(settings, file))
    target = make_settings(empty_database_url)
    restore(target, file)
    asyncio.run(require_intact(target))
    assert before <= asyncio.run(emails(target)) < acknowledged
    asyncio.run(fill(target, "another"))  # The ids continue after those of the backup.


def test_backup_is_readable_by_its_owner_only(settings: Settings, file: Path) -> None:
    back_up(settings, file)
    mode = (file.stat()).st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_restore_replaces_all_data(settings: Settings, own_database_url: str, file: Path) -> None:
    target = make_settings(own_database_url)
    asyncio.run(fill(settings, "ann"))
    asyncio.run(fill(target, "bob", "eve"))
    back_up(settings, file)
    restore(target, file)
    assert asyncio.run(emails(target)) == {"ann"}


def test_restore_drops_tables_that_the_backup_lacks(
    settings: Settings, databases: Databases, own_database_url: str, file: Path
) -> None:
    """A later migration has created one that refers to a table of the backup."""
    back_up(settings, file)
    later = "CREATE TABLE later (user_id bigint REFERENCES users (id))"
    databases.execute(own_database_url, later)
    target = make_settings(own_database_url)
    restore(target, file)
    asyncio.run(require_intact(target))
    databases.execute(own_database_url, later)


def test_restore_of_a_truncated_backup_changes_nothing(
    settings: Settings, own_database_url: str, file: Path
) -> None:
    asyncio.run(fill(settings, *(f"user{n}" for n in range(2000))))
    target = make_settings(own_database_url)
    asyncio.run(fill(target, "ann"))
    back_up(settings, file)
    truncate(file)
    with pytest.raises(BackupError):
        restore(target, file)
    assert asyncio.run(emails(target)) == {"ann"}


@pytest.mark.parametrize("content", [b"", b"no backup", b"SQLite format 3\0", b"PGDMP"])
def test_restore_refuses_a_file_that_is_no_backup(
    settings: Settings, file: Path, content: bytes
) -> None:
    asyncio.run(fill(settings, "ann"))
    file.write_bytes(content)
    with pytest.raises(BackupError) as caught:
        restore(settings, file)
    assert "\n" not in str(caught.value)
    assert asyncio.run(emails(settings)) == {"ann"}


def test_backup_refuses_the_database_of_another_application(
    settings: Settings, databases: Databases, empty_database_url: str, file: Path
) -> None:
    asyncio.run(fill(settings, "ann"))
    create = "CREATE TABLE users (name varchar)"
    databases.execute(empty_database_url, create)
    other = make_settings(empty_database_url)
    with pytest.raises(BackupError, match="not a database of this application"):
        back_up(other, file)
    assert not file.exists()


@pytest.fixture
def environment(
    database_url: str, empty_working_directory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("DATABASE_URL", database_url)


def invoke(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["db", *arguments], input=typed)


def refusal(*arguments: str) -> str:
    """Return the line with which a command that fails ends the program."""
    result = invoke(*arguments)
    assert isinstance(result.exception, SystemExit), result.output
    assert result.exit_code == 1
    message = str(result.exception)
    assert "\n" not in message
    return message


@pytest.mark.usefixtures("environment")
def test_restore_refuses_a_database_with_tables_without_yes(database_url: str, file: Path) -> None:
    settings = make_settings(database_url)
    asyncio.run(fill(settings, "ann"))
    assert str(file) in invoke("backup", str(file)).output
    asyncio.run(fill(settings, "bob"))
    assert "not empty. Pass --yes" in refusal("restore", str(file))
    assert asyncio.run(emails(settings)) == {"ann", "bob"}
    assert invoke("restore", str(file), "--yes").exit_code == 0
    assert asyncio.run(emails(settings)) == {"ann"}


def test_restore_fills_a_database_that_does_not_exist_yet(
    database_url: str,
    empty_database_url: str,
    environment: None,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asyncio.run(fill(make_settings(database_url), "ann"))
    invoke("backup", str(file))
    if empty_database_url.startswith("sqlite"):
        empty_database_url = f"sqlite+aiosqlite:///{file.parent}/new/app.db"
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    get_settings.cache_clear()
    assert invoke("restore", str(file)).exit_code == 0
    assert asyncio.run(emails(make_settings(empty_database_url))) == {"ann"}


@pytest.mark.usefixtures("environment")
def test_backup_failure_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "there"
    file.touch()
    assert "exists already" in refusal("backup", str(file))
    folder = tmp_path / "none"
    assert f"{folder} is not a folder." in refusal("backup", str(folder / "file"))
    assert "is not a file" in refusal("restore", str(tmp_path / "none"), "--yes")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.usefixtures("environment")
def test_reset_asks_and_leaves_an_empty_database(database_url: str) -> None:
    settings = make_settings(database_url)
    asyncio.run(fill(settings, "ann"))
    result = invoke("reset", typed="n\n")
    assert result.exit_code == 1
    assert "Delete all data of" in result.output
    assert asyncio.run(emails(settings)) == {"ann"}
    assert invoke("reset", typed="y\n").exit_code == 0
    assert asyncio.run(emails(settings)) == set()


@only("postgresql")
@pytest.mark.usefixtures("environment")
def test_missing_program_is_one_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(file.parent))
    assert "pg_dump is missing" in refusal("backup", str(file))
    assert list(file.parent.iterdir()) == []


OLDER = """#!/bin/sh
echo "$@" > "$RECORD"; echo "$PGPASSWORD $PGHOST $PGSSLMODE" >> "$RECORD"
echo "pg_dump: error: aborting because of server version mismatch" >&2
echo "pg_dump: detail: server version: 17.0; pg_dump version: 15.20" >&2
exit 1
"""


@only("postgresql")
@pytest.mark.usefixtures("environment")
def test_older_program_is_one_line_and_no_argument_is_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, record = tmp_path / "pg_dump", tmp_path / "record"
    program.write_text(OLDER)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv(
        "DATABASE_URL", "postgresql+asyncpg://app@db.example.com/app?sslmode=require"
    )
    monkeypatch.setenv("POSTGRES_PASSWORD", "a secret")
    get_settings.cache_clear()
    assert "server version mismatch; pg_dump: detail" in refusal("backup", str(tmp_path / "file"))
    arguments, variables = record.read_text().splitlines()
    assert "secret" not in arguments
    assert variables == "a secret db.example.com require"
