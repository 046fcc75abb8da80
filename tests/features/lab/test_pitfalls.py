"""Each pitfall fails, and its correct version works."""

import asyncio
import gc
from collections.abc import Awaitable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from blockbuster import BlockBuster
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.features.lab import pitfalls
from app.features.lab.models import Item
from app.features.lab.schemas import ServerOptions
from app.features.lab.server import create_lab_app
from tests.isolation import DEADLINE_SECONDS

MISSING_GREENLET = "greenlet_spawn has not been called"  # SQLite raises a StatementError.
NEVER_AWAITED = "ignore:coroutine .* was never awaited"


@pytest.fixture
def engine(app: FastAPI) -> AsyncEngine:
    engine: AsyncEngine = app.state.async_engine
    return engine


@pytest.fixture
def _query_is_collected() -> Iterator[None]:
    """Collect the coroutine that was never awaited in this test, and not in a later one."""
    yield
    gc.collect()


async def lets_others_run(call: Awaitable[Any]) -> bool:
    others: list[str] = []

    async def other() -> None:
        others.append("ran")

    task = asyncio.create_task(other())
    await call
    ran = bool(others)
    await task
    return ran


async def test_blocking_call_blocks_the_loop(blocking_detector: BlockBuster) -> None:
    blocking_detector.functions["time.sleep"].can_block_in(
        "app/features/lab/pitfalls.py", "wait_wrong"  # It blocks the loop on purpose.
    )  # fmt: skip
    assert not await lets_others_run(pitfalls.wait_wrong(0.01))
    assert await lets_others_run(pitfalls.wait_right(0.01))


@pytest.mark.filterwarnings(NEVER_AWAITED)
@pytest.mark.usefixtures("_query_is_collected")
async def test_lazy_load_raises_missing_greenlet(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        with pytest.raises(SQLAlchemyError, match=MISSING_GREENLET):
            await pitfalls.owner_wrong(session, 7)
    async with AsyncSession(engine) as session:
        assert await pitfalls.owner_right(session, 7) == "owner7@example.com"


@pytest.mark.filterwarnings(NEVER_AWAITED)
@pytest.mark.usefixtures("_query_is_collected")
async def test_attribute_after_the_commit_raises_missing_greenlet(engine: AsyncEngine) -> None:
    with pytest.raises(SQLAlchemyError, match=MISSING_GREENLET):
        await pitfalls.rename_wrong(engine, 7, "Lamp")
    assert await pitfalls.rename_right(engine, 7, "Lantern") == "Lantern"


async def test_session_of_two_tasks_raises(engine: AsyncEngine) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await pitfalls.prices_wrong(engine, 1, 11)
    assert raised.group_contains(InvalidRequestError, match="concurrent operations")
    assert await pitfalls.prices_right(engine, 1, 11) == [1, 2]


async def test_failed_commit_after_the_response_is_hidden(
    app: FastAPI, engine: AsyncEngine
) -> None:
    """The database refuses an empty name at the commit, and not before."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        wrong = await client.post("/lab/pitfalls/create_wrong", params={"name": ""})
        right = await client.post("/lab/pitfalls/create_right", params={"name": ""})
        assert (wrong.status_code, right.status_code) == (201, 500)
        for name in ("create_wrong", "create_right"):
            stored = await client.post(f"/lab/pitfalls/{name}", params={"name": name})
            assert stored.status_code == 201
    async with AsyncSession(engine) as session:
        names = (await session.scalars(select(Item.name).where(Item.id > 100))).all()
    assert set(names) == {"create_wrong", "create_right"}


async def test_sync_http_call_deadlocks(
    monkeypatch: pytest.MonkeyPatch, blocking_detector: BlockBuster
) -> None:
    """The server runs on the same loop: it cannot respond while the caller blocks it."""
    monkeypatch.setattr(pitfalls, "FETCH_SECONDS", 0.2)
    for function in blocking_detector.functions.values():  # Opening and reading both block.
        function.can_block_in("app/features/lab/pitfalls.py", "fetch_wrong")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://{}:{}".format(*server.sockets[0].getsockname())
    async with server:
        with pytest.raises(TimeoutError):
            await pitfalls.fetch_wrong(url)
        monkeypatch.setattr(pitfalls, "FETCH_SECONDS", DEADLINE_SECONDS)
        assert await pitfalls.fetch_right(url) == b"ok"


async def test_price_of_zero_is_ignored() -> None:
    item = Item(name="Lamp", price=Decimal("19.99"))
    data = pitfalls.Change(price=Decimal(0))
    pitfalls.change_wrong(item, data)
    assert item.price == Decimal("19.99")
    pitfalls.change_right(item, data)
    assert (item.name, item.price) == ("Lamp", Decimal(0))


@pytest.mark.usefixtures("app")  # It creates the items.
async def test_session_of_a_dependency_deadlocks(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread, one connection and two requests are the smallest case of the deadlock."""
    options = ServerOptions(database_url=database_url, thread_limit=1)
    app = await asyncio.to_thread(create_lab_app, options)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            async def statuses(name: str) -> list[int]:
                path = f"/lab/pitfalls/{name}?item_id=7"
                responses = await asyncio.gather(client.get(path), client.get(path))
                return sorted(response.status_code for response in responses)

            pool = app.state.engine.pool
            monkeypatch.setattr(pool, "_timeout", 0.2)  # The default is 30 s.
            assert await statuses("name_wrong") == [200, 500]
            monkeypatch.setattr(pool, "_timeout", DEADLINE_SECONDS)
            assert await statuses("name_right") == [200, 200]
