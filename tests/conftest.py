"""Every test that asks for a database runs on SQLite, and on PostgreSQL too when TEST_POSTGRES_URL
names a server (with a user who may create databases). Each test has a database of its own: a copy
of one that was migrated."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from blockbuster import blockbuster_ctx
from fastapi import FastAPI
from passlib.context import CryptContext
from sqlalchemy import event, make_url

os.environ["ENVIRONMENT"] = "test"

from app.accounts.models import User
from app.accounts.repository import AccountRepository
from app.accounts.service import allowed_scopes, email_key
from app.core.config import Settings
from app.core.orm import utc_now
from app.core.security import AccessTokens
from app.main import create_app

ROOT = Path(__file__).parents[1]
SECRET_KEY = "a secret that only the tests know"
PASSWORD = "correct horse battery"
POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL")
BACKENDS = ["sqlite", "postgresql"] if POSTGRES_URL else ["sqlite"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not POSTGRES_URL:
        terminalreporter.section("PostgreSQL was NOT tested", red=True, bold=True)
        terminalreporter.line("TEST_POSTGRES_URL=postgresql+asyncpg://USER:PASSWORD@HOST/postgres")


@pytest.fixture(autouse=True)
def _never_blocked() -> Iterator[None]:
    with blockbuster_ctx():
        yield


def alembic(database_url: str, *arguments: str) -> None:
    """In a process of its own: it runs an event loop, and reads files on it."""
    subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url},
        check=True,
        stdout=subprocess.DEVNULL,
    )


class Sqlite:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, name: str, template: str | None = None) -> str:
        path = self._folder / f"{name}.db"
        if template:
            shutil.copy(make_url(template).database or "", path)
        return f"sqlite+aiosqlite:///{path}"

    def drop(self, url: str) -> None:
        Path(make_url(url).database or "").unlink()


class Postgres:
    def __init__(self, server: str) -> None:
        self._server = make_url(server)

    def create(self, name: str, template: str | None = None) -> str:
        like = make_url(template).database if template else "template0"
        # Of its own locale: Debian's default may be one that knows no "Ü".
        locale = "ENCODING 'UTF8' LOCALE 'C.UTF-8'" if template is None else ""
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}" {locale}')
        return self._server.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self._execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        url = self._server.set(drivername="postgresql")

        async def execute() -> None:
            connection = await asyncpg.connect(url.render_as_string(hide_password=False))
            await connection.execute(statement)
            await connection.close()

        asyncio.run(execute())


@pytest.fixture(scope="session", params=BACKENDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("databases")
    return Sqlite(folder) if request.param == "sqlite" else Postgres(POSTGRES_URL or "")


@pytest.fixture
def empty_database_url(server: Any) -> Iterator[str]:
    url = server.create(f"test_{uuid4().hex}")
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def template_url(server: Any) -> Iterator[str]:
    url = server.create(f"test_template_{uuid4().hex}")
    alembic(url, "upgrade", "head")
    yield url
    server.drop(url)


@pytest.fixture
def database_url(server: Any, template_url: str) -> Iterator[str]:
    url = server.create(f"test_{uuid4().hex}", template_url)
    yield url
    server.drop(url)


def make_settings(database_url: str, **changes: Any) -> Settings:
    values = {"environment": "test", "secret_key": SECRET_KEY, "database_url": database_url}
    return Settings(_env_file=None, **values | changes)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    app = await asyncio.to_thread(create_app, settings)  # it looks for files
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def settings(database_url: str) -> Settings:
    return make_settings(database_url)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with running(settings) as app:
        yield app


def client_of(app: FastAPI, token: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody is signed in."""
    async with client_of(app) as client:
        yield client


@dataclass
class Person:
    id: int
    email: str
    token: str
    client: httpx.AsyncClient


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Hashing takes a while, so that all the test users share one."""
    return CryptContext(["argon2"]).hash(PASSWORD)


async def make_person(
    app: FastAPI, password_hash: str, name: str, *, is_superuser: bool = False
) -> Person:
    """Somebody who is signed in with all their scopes."""
    email = f"{name}@example.com"
    user = User(
        email=email,
        email_key=email_key(email),
        password_hash=password_hash,
        is_superuser=is_superuser,
    )
    async with app.state.database.transaction() as session:
        accounts = AccountRepository(session)
        await accounts.add(user)
        auth_session = await accounts.open_session(user, utc_now() + timedelta(days=1))
    tokens = AccessTokens(SECRET_KEY, timedelta(minutes=15))
    token = tokens.issue(user.id, auth_session.id, allowed_scopes(is_superuser))
    return Person(user.id, email, token, client_of(app, token))


@pytest.fixture
async def ann(app: FastAPI, password_hash: str) -> AsyncIterator[Person]:
    person = await make_person(app, password_hash, "ann")
    async with person.client:
        yield person


@pytest.fixture
async def bob(app: FastAPI, password_hash: str) -> AsyncIterator[Person]:
    person = await make_person(app, password_hash, "bob")
    async with person.client:
        yield person


@pytest.fixture
async def root(app: FastAPI, password_hash: str) -> AsyncIterator[Person]:
    person = await make_person(app, password_hash, "root", is_superuser=True)
    async with person.client:
        yield person


@asynccontextmanager
async def counted_statements(app: FastAPI) -> AsyncIterator[list[str]]:
    """The statements that are sent to the database meanwhile."""
    database, seen = app.state.database, list[str]()

    def see(*arguments: Any) -> None:
        seen.append(arguments[2])

    engines = {database.engine.sync_engine, database.reader.sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", see)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", see)
