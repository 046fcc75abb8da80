"""Tests of commits, rollbacks, lost connections and locks through the whole application."""

import asyncio
import gc
import sqlite3
import weakref
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import literal, make_url, select, text, update

from app.accounts.models import User
from app.core.database import engine as engines
from app.core.database.dependencies import SessionDep
from app.core.database.migrations import Migrations
from app.core.database.queries import Query
from app.core.database.unit_of_work import Database
from app.core.errors import Unavailable
from tests.conftest import Person, client_of, make_settings, only, running
from tests.core.conftest import until_asleep
from tests.databases import Databases
from tests.isolation import DEADLINE_SECONDS
from tests.slices import needs

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}


class One(BaseModel):
    one: int


ONE = Query(select(literal(1).label("one")), One)


def assert_is_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["Retry-After"] == "5"
    assert response.headers["Content-Type"] == "application/problem+json"


@needs("items")
async def test_commit_precedes_the_response(app: FastAPI, ann: Person) -> None:
    """Another connection sees the change when the first byte of the response is sent."""
    seen = []

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def watch(message: Any) -> None:
            if message["type"] == "http.response.start":
                async with app.state.resources.database.reading() as session:
                    seen.append(await session.scalar(text("SELECT count(*) FROM items")))
            await send(message)

        await app(scope, receive, watch)

    transport = httpx.ASGITransport(watching)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {"Authorization": f"Bearer {ann.token}"}
        assert (await client.post(ITEMS, json=LAMP, headers=headers)).status_code == 201
    assert seen == [1]


async def test_error_after_a_write_rolls_back(app: FastAPI, client: Any) -> None:
    @app.post("/api/v1/fails")
    async def fails(session: SessionDep) -> None:
        session.add(User(email="a@b.c", email_key="a@b.c", password_hash="x"))
        await session.flush()
        raise ZeroDivisionError

    assert (await client.post("/api/v1/fails")).status_code == 500
    async with app.state.resources.database.reading() as session:
        assert await session.scalar(select(User)) is None


@needs("items")
async def test_reading_sends_no_begin_and_no_rollback(
    app: FastAPI, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="sqlalchemy.engine")
    await ann.client.get(ITEMS)
    messages = [r.getMessage() for r in caplog.records if r.name.startswith("sqlalchemy.engine")]
    assert [message for message in messages if message.startswith("SELECT")]
    for message in messages:
        if message.startswith(("BEGIN", "ROLLBACK", "COMMIT")):
            assert "autocommit" in message


WRITES = [
    "DELETE FROM users",
    "INSERT INTO users DEFAULT VALUES",
    "\n -- a comment\n WITH gone AS (DELETE FROM users RETURNING id) SELECT id FROM gone",
    "WITH x AS (UPDATE ONLY users AS u SET id = 1 RETURNING id) SELECT id FROM x",
]


@pytest.mark.parametrize("statement", WRITES)
async def test_write_through_reading_session_is_refused(app: FastAPI, statement: str) -> None:
    async with app.state.resources.database.reading() as session:
        with pytest.raises(TypeError, match="only reads"):
            await session.execute(text(statement))


async def test_prepared_write_through_reading_session_is_refused(app: FastAPI, ann: Person) -> None:
    values = {"full_name": "x", "updated_at": User.updated_at}
    rename = Query(update(User).values(values).returning(literal(1).label("one")), One)
    async with app.state.resources.database.reading() as session:
        with pytest.raises(TypeError, match="only reads"):
            await session.fetch(rename, {})


async def test_entity_added_to_reading_session_is_an_error(app: FastAPI) -> None:
    user = User(email="a@b.c", email_key="a@b.c", password_hash="x")
    with pytest.raises(TypeError, match="only reads"):
        async with app.state.resources.database.reading() as session:
            session.add(user)


async def test_entity_changed_in_reading_session_is_an_error(app: FastAPI, ann: Person) -> None:
    with pytest.raises(TypeError, match="only reads"):
        async with app.state.resources.database.reading() as session:
            (await session.get_one(User, ann.id)).full_name = "Ann"


async def test_concurrent_read_modify_writes_lose_nothing(app: FastAPI) -> None:
    """Services read, modify and write in Python, 20 of them concurrently."""
    database: Database = app.state.resources.database
    async with database.transaction() as session:
        session.add(User(email="a@b.c", email_key="a@b.c", password_hash="x", full_name="0"))

    async def add_one() -> None:
        async with database.transaction() as session:
            statement = select(User).with_for_update()
            user = (await session.scalars(statement)).one()
            await asyncio.sleep(0)
            user.full_name = str(int(user.full_name or 0) + 1)

    await asyncio.gather(*(add_one() for _ in range(20)))
    async with database.reading() as session:
        assert await session.scalar(select(User.full_name)) == "20"


async def test_cancelled_request_returns_its_connection(database_url: str) -> None:
    settings = make_settings(database_url, database_pool_size=1)
    async with running(settings) as app:
        database: Database = app.state.resources.database

        async def hang(block: Any) -> None:
            async with block() as session:
                await session.execute(text("SELECT 1"))
                hangs.set()
                await asyncio.Event().wait()

        for block in (database.reading, database.transaction):
            hangs = asyncio.Event()
            task = asyncio.create_task(hang(block))
            await hangs.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with block() as session:
                assert await session.scalar(text("SELECT 1")) == 1


async def test_exhausted_pool_returns_503(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(database_url, database_pool_size=1)
    async with running(settings) as app, client_of(app) as client:
        async with app.state.resources.database.reading() as session:
            await session.execute(text("SELECT 1"))
            # Change it only now: the setting is also the time-out for opening a connection.
            monkeypatch.setattr(app.state.resources.database.reader.pool, "_seconds", 0.1)
            assert_is_unavailable(await client.get("/health/ready"))
        assert (await client.get("/health/ready")).status_code == 200


async def test_timed_out_requests_are_released(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise requests that time out would stay in memory while all connections hang."""
    settings = make_settings(database_url, database_pool_size=1)
    async with running(settings) as app:
        database: Database = app.state.resources.database

        async def wait(held: Any) -> None:
            async with database.reading() as session:
                await session.execute(text("SELECT 1"))

        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
            monkeypatch.setattr(database.reader.pool, "_seconds", 0.05)
            held = One(one=1)
            there = weakref.ref(held)
            with pytest.raises(Unavailable) as raised:
                await wait(held)
            assert isinstance(raised.value.__cause__, TimeoutError)
            del held, raised
            gc.collect()
            assert there() is None


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:////nowhere/app.db",
        "postgresql+asyncpg://app@127.0.0.1:1/app",
        "postgresql+asyncpg://app@127.0.0.1/app?host=/nowhere",
        "postgresql+asyncpg://app@no-such-host.invalid/app",
    ],
)
async def test_unavailable_database_returns_503(url: str) -> None:
    async with running(make_settings(url)) as app, client_of(app) as client:
        assert_is_unavailable(await client.get("/health/ready"))
        user = {"email": "ann@example.com", "password": "correct horse battery"}
        assert_is_unavailable(await client.post("/api/v1/users", json=user))
        assert (await client.get("/health/live")).status_code == 200


async def test_failed_connections_do_not_delay_other_requests() -> None:
    url = "postgresql+asyncpg://app@127.0.0.1:1/app"
    settings = make_settings(url, database_pool_size=1, database_pool_timeout=600)
    database = Database(settings)

    async def read(query: bool) -> None:
        async with database.reading() as session:
            await (session.fetch(ONE, {}) if query else session.execute(text("SELECT 1")))

    async with asyncio.timeout(DEADLINE_SECONDS):
        reads = (read(query) for query in (True, False, True, False))
        errors = await asyncio.gather(*reads, return_exceptions=True)
    detail = "The database is not reachable. Try again in a moment."
    assert [str(error) for error in errors] == [detail] * 4
    await database.dispose()


@only("postgresql")
async def test_wrong_password_or_database_returns_503(database_url: str) -> None:
    url = make_url(database_url).set(database="no_such_database")
    settings = make_settings(url.render_as_string(hide_password=False))
    async with running(settings) as app, client_of(app) as client:
        assert_is_unavailable(await client.get("/health/ready"))


@only("postgresql")
async def test_parameters_of_libpq_reach_the_server(database_url: str) -> None:
    parameters = {
        "sslmode": "prefer",
        "channel_binding": "prefer",
        "application_name": "web",
        "options": "-c search_path=elsewhere",
        "target_session_attrs": "any",
    }
    url = make_url(database_url).update_query_dict(parameters)
    database = Database(make_settings(url.render_as_string(hide_password=False)))
    show = "current_setting('application_name'), current_setting('search_path')"
    async with database.reading() as session:
        found = (await session.execute(text(f"SELECT {show}"))).one()
    assert tuple(found) == ("web", "elsewhere")
    await database.dispose()


@only("postgresql")
async def test_connections_cut_while_idle_fail_no_request(own_database_url: str, cut: Any) -> None:
    async with running(make_settings(own_database_url)) as app, client_of(app) as client:
        await asyncio.gather(*(client.get("/health/ready") for _ in range(5)))
        await cut()
        responses = await asyncio.gather(*(client.get("/health/ready") for _ in range(5)))
    assert [response.status_code for response in responses] == [200] * 5


@only("postgresql")
async def test_connection_cut_in_a_transaction_returns_503(own_database_url: str, cut: Any) -> None:
    async with running(make_settings(own_database_url)) as app, client_of(app) as client:

        @app.post("/api/v1/slow")
        async def slow(session: SessionDep) -> None:
            session.add(User(email="a@b.c", email_key="a@b.c", password_hash="x"))
            await session.flush()
            await session.execute(text("SELECT pg_sleep(3600)"))

        task = asyncio.create_task(client.post("/api/v1/slow"))
        await until_asleep(own_database_url)
        await cut()
        assert_is_unavailable(await task)
        assert (await client.get("/health/ready")).status_code == 200
        async with app.state.resources.database.reading() as session:
            assert await session.scalar(select(User)) is None


@only("postgresql")
async def test_connection_cut_before_the_commit_returns_503(
    own_database_url: str, cut: Any
) -> None:
    async with running(make_settings(own_database_url)) as app:
        database: Database = app.state.resources.database
        with pytest.raises(Unavailable):
            async with database.transaction() as session:
                session.add(User(email="a@b.c", email_key="a@b.c", password_hash="x"))
                await session.flush()
                await cut()
        async with database.reading() as session:
            assert await session.scalar(select(User)) is None


@only("sqlite")
@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
async def test_sqlite_commits_are_as_durable_as_the_setting_says(
    database_url: str, synchronous: str, level: int
) -> None:
    settings = make_settings(database_url, sqlite_synchronous=synchronous)
    database = await asyncio.to_thread(Database, settings)
    async with database.transaction() as session:
        assert await session.scalar(text("PRAGMA synchronous")) == level
    await database.dispose()


@only("sqlite")
async def test_sqlite_enforces_foreign_keys_and_uses_wal(app: FastAPI) -> None:
    async with app.state.resources.database.transaction() as session:
        assert await session.scalar(text("PRAGMA foreign_keys")) == 1
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"


async def test_read_modify_writes_of_two_processes_lose_nothing(
    database_url: str, password_hash: str
) -> None:
    """Each engine has its own pool, like a worker, and waits for rows that another one has read."""
    settings = make_settings(database_url)
    one, two = [await asyncio.to_thread(Database, settings) for _ in range(2)]
    async with one.transaction() as session:
        session.add(User(email="a@b.c", email_key="a@b.c", password_hash="x", full_name="0"))

    async def add_one(database: Database) -> None:
        async with database.transaction() as session:
            user = (await session.scalars(select(User).with_for_update())).one()
            await asyncio.sleep(0.001)
            user.full_name = str(int(user.full_name or 0) + 1)

    await asyncio.gather(*(add_one(each) for each in (one, two) * 10))
    async with one.reading() as session:
        assert await session.scalar(select(User.full_name)) == "20"
    await one.dispose()
    await two.dispose()


@only("postgresql")
async def test_migration_under_a_running_server_returns_at_most_503(
    databases: Databases, own_database_url: str
) -> None:
    async with running(make_settings(own_database_url)) as app, client_of(app) as client:
        form = {"grant_type": "password", "username": "x@example.com", "password": "x"}
        await client.post("/api/v1/auth/token", data=form)
        change = "ALTER TABLE users ALTER COLUMN email_key TYPE varchar(320)"
        await asyncio.to_thread(databases.execute, own_database_url, change)
        first = await client.post("/api/v1/auth/token", data=form)
        second = await client.post("/api/v1/auth/token", data=form)
    assert first.status_code in (400, 503)
    assert second.status_code == 400


@only("sqlite")
async def test_locked_sqlite_returns_503_and_stays_ready(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "SQLITE_BUSY_SECONDS", 0.1)
    other = await asyncio.to_thread(
        sqlite3.connect, make_url(database_url).database or "", check_same_thread=False
    )
    async with running(make_settings(database_url)) as app, client_of(app) as client:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        user = {"email": "ann@example.com", "password": "correct horse battery"}
        assert_is_unavailable(await client.post("/api/v1/users", json=user))
        assert (await client.get("/health/ready")).status_code == 200  # Readers are not blocked.
        await asyncio.to_thread(other.rollback)
        assert (await client.post("/api/v1/users", json=user)).status_code == 201
    other.close()


async def test_hanging_database_is_not_ready(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> bool:
        await asyncio.sleep(60)
        return False

    monkeypatch.setattr(Migrations, "is_behind", hang)
    monkeypatch.setattr("app.core.http.health.READY_SECONDS", 0.01)
    assert_is_unavailable(await client.get("/health/ready"))


@only("postgresql")
async def test_disabled_prepared_statements_are_not_created(database_url: str) -> None:
    settings = make_settings(database_url, database_prepared_statements=False)
    async with running(settings) as app, client_of(app) as client:
        for _ in range(3):
            assert (await client.get("/health/ready")).status_code == 200
        async with app.state.resources.database.reading() as session:
            names = await session.scalars(text("SELECT name FROM pg_prepared_statements"))
            assert names.all() == []


async def test_schema_ahead_of_the_code_is_ready(
    databases: Databases, own_database_url: str
) -> None:
    """During a rollout, old code runs on the new schema."""
    await asyncio.to_thread(
        databases.execute, own_database_url, "UPDATE alembic_version SET version_num = 'later'"
    )
    async with running(make_settings(own_database_url)) as app, client_of(app) as client:
        assert (await client.get("/health/ready")).status_code == 200
