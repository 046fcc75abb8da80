"""Tests of the application behind PgBouncer in transaction mode.

Each transaction may get another server connection, without the state of the transaction before."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from app.accounts import session_cache
from app.accounts.session_cache import CHANNEL, SessionCache
from app.core.config import Settings
from app.core.database.unit_of_work import Database
from tests.accounts.session_cache import counted_session_look_ups
from tests.conftest import SERVER_SETTINGS, make_person, make_settings, only, running
from tests.databases import Databases
from tests.isolation import DEADLINE_SECONDS
from tests.pgbouncer import PGBOUNCER, POOL_SIZE, pooling
from tests.server import serving, sign_up

ITEMS = "/api/v1/items"
ME = "/api/v1/users/me"
CLIENTS = 20
ROUNDS = 5
BEATS = 10
pytestmark = [
    only("postgresql"),
    pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed"),
]


@pytest.fixture
def pooled_url(own_database_url: str, tmp_path: Path) -> Iterator[str]:
    with pooling(own_database_url, tmp_path) as url:
        yield url


def settings_of(pooled_url: str) -> Settings:
    return make_settings(pooled_url, database_prepared_statements=False)


@pytest.fixture
def server(pooled_url: str) -> Iterator[httpx.Client]:
    """Return a signed-in client of two workers that share PgBouncer's connections."""
    environment = {"DATABASE_PREPARED_STATEMENTS": "false", "WEB_CONCURRENCY": "2"}
    with serving(pooled_url, **SERVER_SETTINGS, **environment) as client:
        sign_up(client)
        yield client


async def read_one(database: Database) -> int:
    async with database.reading() as session:
        one: int = (await session.execute(text("SELECT 1"))).scalar_one()
        return one


async def read_and_write(client: httpx.AsyncClient, number: int) -> list[httpx.Response]:
    """Create items, change them, and read them by every kind of statement."""
    responses = []
    for round_ in range(ROUNDS):
        item = {"name": f"Lamp {number}.{round_}", "price": "19.99"}
        created = await client.post(ITEMS, json=item)
        url = f"{ITEMS}/{created.json().get('id')}"
        responses += [
            created,
            await client.get(url),
            await client.patch(url, json={"price": "17.50"}),
            await client.get(ITEMS, params={"limit": 10}),
            await client.get(ITEMS, params={"q": f"lamp {number}."}),
            await client.get(ME),
        ]
    return responses


async def statements_left(pooled_url: str) -> set[str]:
    """Return the prepared statements on all connections of PgBouncer, which it uses in turn."""
    connection = await asyncpg.connect(pooled_url.replace("+asyncpg", ""), statement_cache_size=0)
    query = "SELECT pg_backend_pid(), array(SELECT name FROM pg_prepared_statements)"
    async with asyncio.timeout(DEADLINE_SECONDS):
        found = dict[int, list[str]]()
        while len(found) < POOL_SIZE:
            pid, names = await connection.fetchrow(query)
            found[pid] = names
    await connection.close()
    return {name for names in found.values() for name in names}


async def test_twenty_clients_behind_pgbouncer_get_no_error_and_lose_no_item(
    server: httpx.Client, pooled_url: str
) -> None:
    async with httpx.AsyncClient(
        base_url=server.base_url, headers=server.headers, timeout=DEADLINE_SECONDS
    ) as client:
        answers = await asyncio.gather(*(read_and_write(client, n) for n in range(CLIENTS)))
        responses = [response for each in answers for response in each]
        assert {response.status_code for response in responses} == {200, 201}
        export = await client.get(f"{ITEMS}/export", params={"format": "ndjson"})
    names = {f"Lamp {number}.{round_}" for number in range(CLIENTS) for round_ in range(ROUNDS)}
    lines = export.text.splitlines()
    assert len(lines) == len(names)
    assert all(any(f'"{name}"' in line for line in lines) for name in names)
    assert await statements_left(pooled_url) == set()


async def test_new_engine_behind_pgbouncer_sends_no_named_statement(pooled_url: str) -> None:
    """SQLAlchemy reads the server's version between the transactions of other engines."""
    async with AsyncExitStack() as databases:
        engines = [Database(settings_of(pooled_url)) for _ in range(CLIENTS)]
        for engine in engines:
            databases.push_async_callback(engine.dispose)
        assert await asyncio.gather(*map(read_one, engines)) == [1] * CLIENTS
    assert await statements_left(pooled_url) == set()


async def test_statement_timeout_behind_pgbouncer_holds_on_each_connection(
    pooled_url: str,
) -> None:
    query = text("SELECT pg_backend_pid(), current_setting('statement_timeout')")
    found = dict[int, str]()
    async with AsyncExitStack() as databases, asyncio.timeout(DEADLINE_SECONDS):
        settings = settings_of(pooled_url).model_copy(update={"database_statement_timeout": 15})
        database = Database(settings)
        databases.push_async_callback(database.dispose)
        while len(found) < POOL_SIZE:
            for block in (database.reading, database.transaction):
                async with block() as session:
                    pid, timeout = (await session.execute(query)).one()
                    found[pid] = timeout
    assert {*found.values()} == {"15s"}


@asynccontextmanager
async def heard_beats(database_url: str) -> AsyncIterator[asyncio.Queue[str]]:
    """Collect the application's notifications on a direct connection, not through PgBouncer."""
    beats = asyncio.Queue[str]()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        if str(payload).startswith("beat:"):
            beats.put_nowait(str(payload))

    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    await connection.add_listener(CHANNEL, hear)
    yield beats
    await connection.close()


async def test_lease_behind_pgbouncer_is_never_held(
    own_database_url: str,
    pooled_url: str,
    password_hash: str,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = list[float]()
    monkeypatch.setattr(SessionCache, "hold_until", lambda _, until: held.append(until))
    monkeypatch.setattr(session_cache, "HEARTBEAT_SECONDS", 0.01)
    async with (
        heard_beats(own_database_url) as beats,
        running(settings_of(pooled_url)) as app,
        asyncio.timeout(DEADLINE_SECONDS),
    ):
        ann = await make_person(app, password_hash, "ann")
        async with ann.client, counted_session_look_ups(app) as look_ups:
            for _ in range(BEATS):
                await beats.get()
                assert (await ann.client.get(ME)).status_code == 200
            assert len(look_ups) == BEATS
            await asyncio.to_thread(
                databases.execute, own_database_url, "DELETE FROM auth_sessions"
            )
            assert (await ann.client.get(ME)).status_code == 401
    assert held == []
