"""Fixtures for all tests.

Each test that uses a database runs on SQLite, and on PostgreSQL too if TEST_POSTGRES_URL names a
server whose user may create databases. TEST_REDIS_URL names a Redis database, which is emptied;
each further process of the tests uses the next database. The application uses Redis on PostgreSQL,
and runs without Redis on SQLite. The tests in a browser need Chromium, and some tests need
PgBouncer.
"""

import asyncio
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from fastapi import FastAPI
from passlib.context import CryptContext
from redis import Redis
from sqlalchemy import event
from uvicorn.loops.auto import auto_loop_factory
from xdist.scheduler import LoadScopeScheduling

# Steps explain their failed assertions, as test modules do.
pytest.register_assert_rewrite("tests.accounts", "tests.core", "tests.features")

from tests.coverage import measure_coverage, save_coverage

measure_coverage()  # before the application is imported

from tests.isolation import (
    ENV_FILE,
    empty_folder,
    extend_timeouts,
    forget_settings,
    unset_settings,
    use_cheap_hashes,
)

forget_settings()
use_cheap_hashes()
extend_timeouts()

from app.accounts.models import AuthSession, User, email_key
from app.accounts.repository import Accounts
from app.accounts.scopes import allowed_scopes
from app.core.config import Settings, get_settings
from app.core.database.models import utc_now
from app.core.database.session import Session
from app.core.security.tokens import AccessTokens
from app.main import create_app, freeze_garbage
from app.resources import app_resources
from tests import server as servers
from tests.databases import ROOT, Databases, Postgres, Sqlite, alembic, created, emptied
from tests.engines import reuse_engines
from tests.isolation import DEADLINE_SECONDS
from tests.pgbouncer import PGBOUNCER
from tests.server import http_client, serving
from tests.slices import is_missing
from tests.waiting import Clock

reuse_engines()

SECRET_KEY, REDIS_URL, PASSWORD = servers.SECRET_KEY, servers.REDIS_URL, servers.PASSWORD
redis_url_for = servers.redis_url_for
POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL")
CHROMIUM = shutil.which("chromium")
SERVER, TWO_WORKERS = "server", "two workers"
WEBHOOK_LOOK_UP = "FROM webhooks JOIN users"
# Tests share the rate limit of sign-ins. With a small pool, leaked connections make a test fail.
SERVER_SETTINGS = {
    "RATE_LIMIT_LOGIN": "1000/minute",
    "DATABASE_POOL_SIZE": "5",
    "MAX_CONNECTIONS": "1100",
}
# The settings that the lifespan reads, and `create_app` does not.
OPENED_WITH = (
    "database_url",
    "database_pool_size",
    "database_pool_timeout",
    "database_prepared_statements",
    "database_statement_timeout",
    "rate_limit_login",
    "redis_url",
    "session_cache",
    "smtp_url",
)
idle_apps = defaultdict[str, list[FastAPI]](list)
# The drill runs one case of each test where little is deleted.
FIRST_CASES = os.environ.get("TEST_FIRST_CASES") == "true"
BACKENDS = ["sqlite", "postgresql"] if POSTGRES_URL else ["sqlite"]


def only(backend: str) -> pytest.MarkDecorator:
    """Run a test on one kind of database only."""
    return pytest.mark.only(backend)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def fits(item: pytest.Item) -> bool:
        if is_missing(item):
            return False
        mark = item.get_closest_marker("only")
        return not mark or item.callspec.params["databases"] in mark.args  # type: ignore[attr-defined]  # Parametrized tests have it.

    items[:] = filter(fits, items)
    if FIRST_CASES:
        tests = {
            (item.path, getattr(item, "originalname", item.name)): item for item in items[::-1]
        }
        items[:] = tests.values()
        items.reverse()


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loop of the server, and another one if the test advances its clock."""
    factory = asyncio.new_event_loop if "clock" in item.fixturenames else auto_loop_factory()
    return {"loop": factory}


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # The base class has no types.
    """A scheduler that gives all tests with the same server or browser to one process."""

    def _split_scope(self, nodeid: str) -> str:
        parameters = nodeid.partition("[")[2]
        for backend in BACKENDS:
            for shared in (SERVER, TWO_WORKERS):
                if parameters.startswith((f"{backend}-{shared}", f"{shared}-{backend}")):
                    return f"{backend}-{shared}"
        file = nodeid.partition("::")[0]
        if file.startswith("tests/e2e/"):
            return file
        return "tests/faults" if file.startswith("tests/faults/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    freeze_garbage()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Save the coverage at once: a process that takes 10 s to exit is killed by xdist."""
    save_coverage()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not POSTGRES_URL:
        terminalreporter.section("PostgreSQL was NOT tested", red=True, bold=True)
        terminalreporter.line("TEST_POSTGRES_URL=postgresql+asyncpg://USER:PASSWORD@HOST/postgres")
    elif not PGBOUNCER:
        terminalreporter.section("PgBouncer was NOT tested", red=True, bold=True)
        terminalreporter.line("apt-get install pgbouncer (it is looked for in PATH and /usr/sbin)")
    if not REDIS_URL:
        terminalreporter.section("Redis was NOT tested", red=True, bold=True)
        terminalreporter.line("TEST_REDIS_URL=redis://HOST:PORT/NUMBER (it is emptied)")
    if not CHROMIUM:
        terminalreporter.section("Chromium was NOT tested", red=True, bold=True)
        terminalreporter.line("apt-get install chromium (it is looked for in PATH)")
    reports = terminalreporter.getreports("skipped")
    for reason, count in Counter(each.longrepr[2] for each in reports).items():
        title = f"{count} skipped: {reason.removeprefix('Skipped: ')}"
        terminalreporter.section(title, red=True, bold=True)


@pytest.fixture(autouse=True)
def blocking_detector(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    if not iscoroutinefunction(request.function):  # Sync tests may block.
        yield None
        return
    with blockbuster_ctx() as blockbuster:
        # asyncpg always looks for ~/.pgpass and certificates when it connects.
        for call in ("os.stat", "io.TextIOWrapper.read", "os.path.abspath"):
            if call in blockbuster.functions:
                function = blockbuster.functions[call]
                function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        # Coverage looks at the path of each module that is imported.
        for call in ("os.stat", "os.path.abspath"):
            blockbuster.functions[call].can_block_in("slipcover/importer.py", "matches")
        yield blockbuster


@pytest.fixture(scope="session", params=BACKENDS)
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    if request.param == "sqlite":
        yield Sqlite(tmp_path_factory.mktemp("databases"))
    else:
        postgres = Postgres(POSTGRES_URL or "")
        yield postgres
        postgres.close()


@pytest.fixture(scope="session")
def template_url(databases: Databases) -> Iterator[str]:
    url = databases.create()
    alembic(url, "upgrade", "head")
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def shared_database_url(databases: Databases, template_url: str) -> Iterator[str]:
    yield from created(databases, template_url)


@pytest.fixture
def database_url(databases: Databases, shared_database_url: str) -> Iterator[str]:
    """Yield a migrated database without rows, and empty it after the test."""
    yield from emptied(databases, shared_database_url)


@pytest.fixture(scope="session")
def shared_server_database_url(databases: Databases, template_url: str) -> Iterator[str]:
    """Yield the database of the shared servers, which run until all tests have ended.

    In the database of the other tests they would run the jobs that a test is about to run.
    """
    yield from created(databases, template_url)


@pytest.fixture
def server_database_url(databases: Databases, shared_server_database_url: str) -> Iterator[str]:
    """Yield the database of the shared servers, and empty it after the test."""
    yield from emptied(databases, shared_server_database_url)


@pytest.fixture(scope="session", params=[SERVER])
def server_url(shared_server_database_url: str) -> Iterator[str]:
    with serving(shared_server_database_url, **SERVER_SETTINGS) as client:
        yield str(client.base_url)


@pytest.fixture(scope="session", params=[TWO_WORKERS])
def two_workers_url(shared_server_database_url: str) -> Iterator[str]:
    with serving(shared_server_database_url, WEB_CONCURRENCY="2", **SERVER_SETTINGS) as client:
        yield str(client.base_url)


@pytest.fixture
def server(server_url: str, server_database_url: str) -> Iterator[httpx.Client]:
    """Yield a client of a real server that many tests share."""
    with http_client(server_url) as client:
        yield client


@pytest.fixture
def two_workers(two_workers_url: str, server_database_url: str) -> Iterator[httpx.Client]:
    """Yield a client of a shared server with two workers."""
    with http_client(two_workers_url) as client:
        yield client


@pytest.fixture
def own_database_url(databases: Databases, template_url: str) -> Iterator[str]:
    """Yield a migrated database for a test that changes the schema or cuts connections."""
    yield from created(databases, template_url)


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    if REDIS_URL:
        with Redis.from_url(REDIS_URL) as redis:
            redis.flushdb()


@pytest.fixture
def redis_url() -> str:
    """Return the URL of an empty Redis database, or skip the test without TEST_REDIS_URL."""
    if not REDIS_URL:
        pytest.skip("TEST_REDIS_URL is not set")
    return REDIS_URL


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """Yield a database without tables."""
    yield from created(databases)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Return a folder with a copy of the migrations, to which a test can add one."""
    shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def make_settings(database_url: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "environment": "test",
        "secret_key": SECRET_KEY,
        "database_url": database_url,
        "database_pool_timeout": DEADLINE_SECONDS,
        "database_statement_timeout": DEADLINE_SECONDS,
        "redis_url": redis_url_for(database_url),
        "storage_folder": Path(empty_folder()) / "files",
    }
    return Settings(**values | changes)


@cache
def default_settings(database_url: str) -> Settings:
    return make_settings(database_url)


def build_of(settings: Settings) -> str:
    """Return a key that is equal for all settings that can share one application."""
    return repr(settings.model_copy(update=dict.fromkeys(OPENED_WITH)))


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """Open an application that another test has built, or a new one: building it is slow."""
    idle = idle_apps[build_of(settings)]
    # It reads files, which would block the event loop.
    app = idle.pop() if idle else await asyncio.to_thread(create_app, settings.model_copy())
    with restored(app):
        app.state.settings = settings
        async with app.router.lifespan_context(app):
            yield app
    idle.append(app)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return default_settings(database_url).model_copy()


@pytest.fixture(scope="session")
def shared_app(shared_database_url: str) -> FastAPI:
    """Build an application once, without opening its resources.

    Most of the time to build an application is for its routes.
    """
    app = create_app(make_settings(shared_database_url))
    for step in app.state.warm_up:
        step()

    async def build() -> None:
        async with client_of(app) as client:
            await client.get("/health/live")  # The first request builds the middleware.

    asyncio.run(build())
    return app


@contextmanager
def restored(app: FastAPI) -> Iterator[None]:
    """Remove the routes, overrides and state that a test has added."""
    routes, state, router = [*app.router.routes], {**app.state._state}, app.router.middleware_stack
    yield
    app.state._state.clear()
    app.state._state.update(state)
    app.router.middleware_stack = router
    app.dependency_overrides.clear()
    if app.router.routes != routes:
        app.router.routes[:] = routes
        app.openapi_schema = None


@pytest.fixture
async def app(shared_app: FastAPI, settings: Settings) -> AsyncIterator[FastAPI]:
    """Yield the shared application with new resources for this test.

    If a test file overrides `settings`, each of its tests gets a new application.
    """
    if settings != shared_app.state.settings:
        async with running(settings) as app:
            yield app
        return
    with restored(shared_app):
        async with app_resources(settings) as resources:
            shared_app.state.resources = resources
            yield shared_app


def client_of(
    app: FastAPI, token: str | None = None, address: str = "127.0.0.1"
) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app, client=(address, 123))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client without a signed-in user."""
    async with client_of(app) as client:
        yield client


def browser_of(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    """Return a client that sends the headers of a browser on a page of this site."""
    browser = client_of(app)
    browser.headers.update({"Accept": "text/html", "Sec-Fetch-Site": "same-origin"} | headers)
    return browser


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser_of(app) as browser:
        yield browser


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder without any setting in the environment.

    The settings are read from the `.env` file of that folder, if a test creates one.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ENV_FILE)
    get_settings.cache_clear()
    monkeypatch.delenv("ENVIRONMENT")
    yield
    unset_settings()  # A command may have set some.
    get_settings.cache_clear()


@dataclass
class Person:
    id: int
    email: str
    token: str
    client: httpx.AsyncClient


@pytest.fixture(scope="session")
def password_hash() -> str:
    return CryptContext(["argon2"], argon2__parallelism=1).hash(PASSWORD)


async def make_person(
    app: FastAPI, password_hash: str, name: str, *, is_superuser: bool = False
) -> Person:
    """Create a user with a session that is confirmed and has all allowed scopes."""
    email = f"{name}@example.com"
    user = User(
        email=email,
        email_key=email_key(email),
        password_hash=password_hash,
        is_superuser=is_superuser,
    )
    async with app.state.resources.database.transaction() as session:
        accounts = Accounts(session)
        await accounts.users.add(user)
        scopes = allowed_scopes(is_superuser)
        auth_session = await accounts.sessions.add(
            AuthSession(
                user_id=user.id,
                scope=" ".join(scopes),
                confirmed_at=utc_now(),
                expires_at=utc_now() + timedelta(days=1),
            )
        )
    tokens = AccessTokens(SECRET_KEY, timedelta(minutes=15))
    token = tokens.issue(user.id, auth_session.id, scopes)
    return Person(user.id, email, token, client_of(app, token))


@pytest.fixture
async def ann(app: FastAPI, password_hash: str) -> AsyncIterator[Person]:
    person = await make_person(app, password_hash, "ann")
    async with person.client:
        yield person


async def sign_in(browser: httpx.AsyncClient, person: Person) -> httpx.Response:
    form = {"email": person.email, "password": PASSWORD}
    response = await browser.post("/login", data=form)
    assert response.status_code == 303
    return response


async def delete_account(person: Person) -> httpx.Response:
    """Delete the person's own account."""
    body = {"current_password": PASSWORD}
    return await person.client.request("DELETE", "/api/v1/users/me", json=body)


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


@pytest.fixture
async def admin(app: FastAPI, root: Person) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a browser in which the superuser is signed in."""
    async with browser_of(app) as browser:
        await sign_in(browser, root)
        yield browser


@asynccontextmanager
async def counted_statements(app: FastAPI) -> AsyncIterator[list[str]]:
    """Record the statements that are sent to the database.

    The look-up of the user's session is left out: on PostgreSQL, sessions are cached in memory
    (`app/accounts/session_cache.py`). So is the look-up of webhooks, which is remembered under the
    same lease (`app/accounts/memory.py`).
    """
    database, seen = app.state.resources.database, list[str]()

    def record(*arguments: Any) -> None:
        statement = arguments[2]
        is_look_up = statement.startswith("SELECT") and "JOIN" in statement
        if "pg_notify" in statement or WEBHOOK_LOOK_UP in statement:
            return
        if not (is_look_up and "auth_sessions" in statement):
            seen.append(statement)

    engines = [database.engine.sync_engine, database.reader.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)

    send = Session._send

    async def record_and_send(*arguments: Any) -> Any:
        if WEBHOOK_LOOK_UP not in arguments[2].sql:
            seen.append(arguments[2].sql)
        return await send(*arguments)

    with patch.object(Session, "_send", record_and_send):
        yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", record)
