"""Tests of statements that take too long, silent connections and transient errors."""

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest
from pydantic import BaseModel
from sqlalchemy import Text, bindparam, cast, func, make_url, select, text

from app.core.database import engine as engines
from app.core.database.queries import Query
from app.core.database.unit_of_work import Database
from app.core.errors import LockTimeout, Unavailable
from app.core.http import health
from tests.conftest import client_of, make_settings, only, running
from tests.databases import Databases
from tests.isolation import DEADLINE_SECONDS
from tests.relay import relaying
from tests.server import serving, sign_up

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "price": "19.99"}
RAISE = """
    CREATE FUNCTION raise(code text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a test' USING ERRCODE = code; END $$
"""
# Canceled, deadlock, not serializable, disk full, out of memory, too many connections, locked.
TRANSIENT = ["57014", "40P01", "40001", "53100", "53200", "53300", "55P03"]
READ_ONLY = "25006"


class Size(BaseModel):
    size: int | None


SLEEP = select(func.length(cast(func.pg_sleep(60), Text)).label("size"))
RAISING = select(func.__getattr__("raise")(bindparam("code", type_=Text)).label("size"))


@pytest.fixture
def _patient_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server end a statement, and not the driver, however busy the machine is."""
    monkeypatch.setattr(engines, "DRIVER_GRACE_SECONDS", DEADLINE_SECONDS)


@asynccontextmanager
async def lock_on(table: str, database_url: str) -> AsyncIterator[None]:
    """Hold a lock on the table, as a long transaction of another client does."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table}")
            yield
    finally:
        await connection.close()


@contextmanager
def lock_on_items(database_url: str) -> Any:
    with psycopg.connect(database_url.replace("+asyncpg", "")) as connection:
        connection.execute("SELECT id FROM items FOR UPDATE")
        yield


def send_and_leave(client: httpx.Client, request: httpx.Request) -> None:
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    address = client.base_url.host, client.base_url.port or 80
    with socket.create_connection(address) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.read())


async def run(session: Any, statement: Any, params: dict[str, Any], *, prepared: bool) -> None:
    if prepared:
        await session.fetch(Query(statement, Size), params)
    else:
        await session.execute(statement, params)


@only("postgresql")
def test_disconnected_clients_do_not_hold_the_pool_at_a_locked_row(own_database_url: str) -> None:
    pool = {"DATABASE_POOL_SIZE": "2", "DATABASE_POOL_TIMEOUT": "4"}
    with serving(own_database_url, **pool) as client:
        sign_up(client)
        url = client.post(ITEMS, json=LAMP).headers["Location"]
        with lock_on_items(own_database_url):
            for _ in range(12):
                send_and_leave(client, client.build_request("PATCH", url, json={"price": 1}))
            assert client.get(ITEMS).status_code == 200


@only("postgresql")
def test_silent_connections_time_out_and_the_pool_is_renewed(own_database_url: str) -> None:
    url = make_url(own_database_url)
    with relaying(url.host or "", url.port or 5432) as relay:
        behind = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        bounds = {"DATABASE_STATEMENT_TIMEOUT": "1", "DATABASE_POOL_TIMEOUT": "5"}
        with serving(behind, **bounds) as client:
            sign_up(client)
            with ThreadPoolExecutor(10) as threads:
                warm = list(threads.map(lambda _: client.get(ITEMS).status_code, range(50)))
            relay.silence()
            first, second = client.get(ITEMS), client.get(ITEMS)
    assert set(warm) == {200}
    assert (first.status_code, first.headers["Retry-After"]) == (503, "5")
    assert second.status_code == 200


@only("postgresql")
@pytest.mark.parametrize("prepared", [True, False])
async def test_connection_cut_during_its_setup_raises_unavailable(
    database_url: str, prepared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover, all connections of the pool are set up again."""
    cut = "SELECT pg_terminate_backend(pg_backend_pid())"
    monkeypatch.setattr(engines, "timeout_statements", lambda _: cut)
    count = select(func.count().label("size")).select_from(text("users"))
    database = Database(make_settings(database_url))
    for block in (database.reading, database.transaction):
        with pytest.raises(Unavailable):
            async with block() as session:
                await run(session, count, {}, prepared=prepared)
    pool: Any = database.engine.pool
    assert pool.checkedout() == 0
    await database.dispose()


@only("postgresql")
@pytest.mark.parametrize("prepared", [True, False])
async def test_wait_for_a_lock_times_out(
    database_url: str, prepared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LOCK_TIMEOUT_SECONDS", 0.1)
    count = select(func.count().label("size")).select_from(text("users"))
    async with running(make_settings(database_url)) as app, lock_on("users", database_url):
        with pytest.raises(LockTimeout):
            async with app.state.resources.database.transaction() as session:
                await run(session, count, {}, prepared=prepared)


@only("postgresql")
@pytest.mark.parametrize("way", ["reading", "transaction"])
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.usefixtures("_patient_driver")
async def test_statement_times_out_and_keeps_its_connection(
    database_url: str, way: str, prepared: bool
) -> None:
    changes = {"database_pool_size": 1, "database_statement_timeout": 0.2}
    async with running(make_settings(database_url, **changes)) as app:
        block, pids = getattr(app.state.resources.database, way), set[int]()
        for _ in range(2):
            async with block() as session:
                pids.add(await session.scalar(select(func.pg_backend_pid())))
            with pytest.raises(Unavailable, match="cannot do this now"):
                async with block() as session:
                    await run(session, SLEEP, {}, prepared=prepared)
    assert len(pids) == 1


@only("postgresql")
@pytest.mark.parametrize("code", [*TRANSIENT, READ_ONLY])
@pytest.mark.parametrize("prepared", [True, False])
async def test_transient_database_error_raises_unavailable(
    databases: Databases, own_database_url: str, code: str, prepared: bool
) -> None:
    await asyncio.to_thread(databases.execute, own_database_url, RAISE)
    async with running(make_settings(own_database_url)) as app:
        for block in (
            app.state.resources.database.reading,
            app.state.resources.database.transaction,
        ):
            with pytest.raises(Unavailable):
                async with block() as session:
                    await run(session, RAISING, {"code": code}, prepared=prepared)


@only("postgresql")
@pytest.mark.usefixtures("_patient_driver")
async def test_timed_out_readiness_check_does_not_report_an_old_schema(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "READY_SECONDS", DEADLINE_SECONDS)
    settings = make_settings(database_url, database_statement_timeout=0.2)
    async with running(settings) as app, client_of(app) as client:
        async with lock_on("alembic_version", database_url):
            response = await client.get("/health/ready")
        assert response.status_code == 503
        assert "behind" not in response.json()["detail"]
        assert (await client.get("/health/ready")).status_code == 200


@only("postgresql")
async def test_read_only_connection_is_replaced(
    databases: Databases, own_database_url: str
) -> None:
    """A primary that becomes a standby keeps its connections, and refuses all writes."""
    name = make_url(own_database_url).database
    async with running(make_settings(own_database_url, database_pool_size=1)) as app:

        async def write() -> None:
            async with app.state.resources.database.transaction() as session:
                await session.execute(text("UPDATE users SET full_name = 'x'"))

        await write()
        alter = f"ALTER DATABASE {name} SET default_transaction_read_only"
        await asyncio.to_thread(databases.execute, own_database_url, f"{alter} = on")
        app.state.resources.database.engine.pool.recycle_all()
        with pytest.raises(Unavailable):
            await write()
        with pytest.raises(Unavailable, match="cannot be written to"):
            await app.state.resources.database.check_writable()
        writable = "SET default_transaction_read_only = off", f"{alter} = off"
        await asyncio.to_thread(databases.execute, own_database_url, *writable)
        await write()
