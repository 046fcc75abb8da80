"""Databases for the tests: empty ones, and ones that are migrated."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

ROOT = Path(__file__).parents[1]


class Databases(Protocol):
    def create(self, template: str | None = None) -> str:
        """The URL of an empty database, or of a copy of one."""

    def drop(self, url: str) -> None: ...

    def lend(self, template: str) -> str:
        """The URL of a database like the template, and without rows."""

    def take_back(self, url: str) -> None: ...

    def execute(self, url: str, *statements: str) -> None: ...


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

    lend, take_back = create, drop

    def execute(self, url: str, *statements: str) -> None:
        connection = sqlite3.connect(make_url(url).database or "")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()


class Postgres:
    """Lends one and the same database again and again: to make one takes half a second."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._lent: str | None = None

    def create(self, template: str | None = None) -> str:
        name = f"test_{uuid4().hex}"
        like = make_url(template).database if template else "template0"
        # With a locale of its own: the server's may be one that knows no "Ü".
        locale = "ENCODING 'UTF8' LOCALE 'C.UTF-8'" if template is None else ""
        self.execute(self._server, f"CREATE DATABASE {name} TEMPLATE {like} {locale}")
        return make_url(self._server).set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self.execute(self._server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def lend(self, template: str) -> str:
        self._lent = self._lent or self.create(template)
        return self._lent

    def take_back(self, url: str) -> None:
        # TRUNCATE makes the files of each table and index anew, which takes fifty times as long.
        restart = "SELECT setval(seqrelid::regclass, 1, false) FROM pg_sequence"
        self.execute(url, "DELETE FROM users", restart)

    def close(self) -> None:
        if self._lent:
            self.drop(self._lent)

    def execute(self, url: str, *statements: str) -> None:
        asyncio.run(self._execute(url.replace("+asyncpg", ""), *statements))

    async def _execute(self, url: str, *statements: str) -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()


def alembic(database_url: str, *arguments: str, folder: Path = ROOT) -> str:
    """In a process of its own: it runs an event loop, and reads files on it."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=folder,
        env=os.environ | {"DATABASE_URL": database_url},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout
