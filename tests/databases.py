"""Create and delete databases for the tests."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Protocol
from unittest.mock import patch
from uuid import uuid4

import asyncpg
import psycopg
from alembic.config import CommandLine, Config
from psycopg.rows import TupleRow
from sqlalchemy import make_url

from app.core.config import get_settings
from app.core.database.models import Base
from tests.isolation import DEADLINE_SECONDS, empty_folder

ROOT = Path(__file__).parents[1]


class Databases(Protocol):
    def create(self, template: str | None = None) -> str:
        """Create an empty database, or a copy of one, and return its URL."""

    def drop(self, url: str) -> None: ...

    def empty(self, url: str) -> None:
        """Delete all rows of all tables, and restart the ids at 1."""

    def execute(self, url: str, *statements: str) -> None: ...


def created(databases: Databases, template: str | None = None) -> Iterator[str]:
    """Yield a new database, for a fixture, and drop it afterwards."""
    url = databases.create(template)
    yield url
    databases.drop(url)


def emptied(databases: Databases, url: str) -> Iterator[str]:
    """Yield a database, for a fixture, and empty it afterwards."""
    yield url
    databases.empty(url)


def deletions() -> list[str]:
    """Return a statement for each table, children first."""
    return [f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)]


class Sqlite:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, template: str | None = None) -> str:
        path = self._folder / f"{uuid4().hex}.db"
        if template:
            shutil.copy(make_url(template).database or "", path)
        return f"sqlite+aiosqlite:///{path}"

    def drop(self, url: str) -> None:
        Path(make_url(url).database or "").unlink(missing_ok=True)

    def empty(self, url: str) -> None:
        self.execute(url, "PRAGMA synchronous = OFF", "BEGIN IMMEDIATE", *deletions(), "COMMIT")

    def execute(self, url: str, *statements: str) -> None:
        path = make_url(url).database or ""
        with closing(sqlite3.connect(path, DEADLINE_SECONDS, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)


class Postgres:
    """Databases on a PostgreSQL server.

    One connection stays open, to the database that is emptied after each test.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._kept: tuple[str, psycopg.Connection[TupleRow]] | None = None

    def create(self, template: str | None = None) -> str:
        name = f"test_{uuid4().hex}"
        like = make_url(template).database if template else "template0"
        # The server's default locale may not support characters such as "Ü".
        locale = "ENCODING 'UTF8' LOCALE 'C.UTF-8'" if template is None else ""
        self.execute(self._server, f"CREATE DATABASE {name} TEMPLATE {like} {locale}")
        return make_url(self._server).set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self.close()
        self.execute(self._server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def empty(self, url: str) -> None:
        # TRUNCATE recreates the files of each table and index, which takes fifty times as long.
        restart = "SELECT setval(seqrelid::regclass, 1, false) FROM pg_sequence"
        if self._kept is None or self._kept[0] != url:
            self.close()
            self._kept = url, self._connect(url)
        self._kept[1].execute(";".join([*deletions(), restart]))

    def close(self) -> None:
        if self._kept:
            self._kept[1].close()
            self._kept = None

    def execute(self, url: str, *statements: str) -> None:
        with closing(self._connect(url)) as connection:
            for statement in statements:
                connection.execute(statement)

    def _connect(self, url: str) -> "psycopg.Connection[TupleRow]":
        """Return a connection that waits for locks until the deadline."""
        options = f"-c lock_timeout={DEADLINE_SECONDS}s"
        return psycopg.connect(url.replace("+asyncpg", ""), autocommit=True, options=options)


def connect(database_url: str) -> "psycopg.Connection[TupleRow]":
    """Return a connection to PostgreSQL."""
    return psycopg.connect(database_url.replace("+asyncpg", ""))


async def run_sql(database_url: str, *statements: str) -> None:
    """Run statements on PostgreSQL, as another program does."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def alembic(database_url: str, *arguments: str, folder: Path = ROOT) -> str:
    """Run Alembic's command line and return what it prints.

    Alembic runs an event loop of its own: call this in a thread if a loop is running already.
    """
    command, output = CommandLine(), StringIO()
    options = command.parser.parse_args(arguments)
    config = Config(toml_file=folder / "pyproject.toml", stdout=output, cmd_opts=options)
    with patch.dict(os.environ, DATABASE_URL=database_url):
        get_settings.cache_clear()
        try:
            command.run_cmd(config, options)
        finally:
            get_settings.cache_clear()
    return output.getvalue()


def alembic_process(database_url: str, *arguments: str) -> None:
    """Run Alembic's command line in a separate process."""
    command = [
        sys.executable,
        "-m",
        "alembic",
        "--config",
        str(ROOT / "pyproject.toml"),
        *arguments,
    ]
    environment = os.environ | {"DATABASE_URL": database_url}
    subprocess.run(command, cwd=empty_folder(), env=environment, check=True)
