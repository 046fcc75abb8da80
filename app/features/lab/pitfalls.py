"""Pitfalls of async code: each as a small function, followed by a correct version.

tests/features/lab/test_pitfalls.py shows that each first version fails and each second one works.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Annotated
from urllib.request import urlopen

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, joinedload
from starlette.concurrency import run_in_threadpool

from app.features.lab.models import Item
from app.features.lab.step1_sync import EngineDep
from app.features.lab.step3_bridge import AsyncEngineDep

FETCH_SECONDS = 1

router = APIRouter(prefix="/lab/pitfalls", tags=["pitfalls"])


# 1. A blocking call in `async def`. It blocks the event loop: no other request is served
#    meanwhile, not even a health check.


async def wait_wrong(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the pitfall


async def wait_right(seconds: float) -> None:
    await asyncio.sleep(seconds)


# 2. A lazy load. The attribute needs a query, but an attribute cannot be awaited. SQLAlchemy raises
#    MissingGreenlet.


async def owner_wrong(session: AsyncSession, item_id: int) -> str:
    item = await session.get_one(Item, item_id)
    return item.owner.email


async def owner_right(session: AsyncSession, item_id: int) -> str:
    item = await session.get_one(Item, item_id, options=[joinedload(Item.owner)])
    return item.owner.email


# 3. An attribute after the commit. The commit expires the attributes, so this is a lazy load too.


async def rename_wrong(engine: AsyncEngine, item_id: int, name: str) -> str:
    async with AsyncSession(engine) as session:
        item = await session.get_one(Item, item_id)
        item.name = name
        await session.commit()
        return item.name


async def rename_right(engine: AsyncEngine, item_id: int, name: str) -> str:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        item = await session.get_one(Item, item_id)
        item.name = name
        await session.commit()
        return item.name


# 4. A session that two tasks share. It has one connection, which runs one statement at a time.


async def prices_wrong(engine: AsyncEngine, *item_ids: int) -> list[Decimal]:
    async with AsyncSession(engine) as session, asyncio.TaskGroup() as tasks:
        items = [tasks.create_task(session.get_one(Item, item_id)) for item_id in item_ids]
    return [item.result().price for item in items]


async def prices_right(engine: AsyncEngine, *item_ids: int) -> list[Decimal]:
    async def get_item(item_id: int) -> Item:
        async with AsyncSession(engine) as session:
            return await session.get_one(Item, item_id)

    async with asyncio.TaskGroup() as tasks:
        items = [tasks.create_task(get_item(item_id)) for item_id in item_ids]
    return [item.result().price for item in items]


# 5. A commit after the response. By default the code after a dependency's `yield` runs after the
#    response is sent. If the commit fails, the client has already received 201.


async def get_session(engine: AsyncEngineDep) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session
        await session.commit()


@router.post("/create_wrong", status_code=201)
async def create_wrong(name: str, session: Annotated[AsyncSession, Depends(get_session)]) -> None:
    session.add(Item(name=name, price=1, owner_id=1))


@router.post("/create_right", status_code=201)
async def create_right(
    name: str, session: Annotated[AsyncSession, Depends(get_session, scope="function")]
) -> None:
    session.add(Item(name=name, price=1, owner_id=1))


# 6. A sync HTTP call in `async def`. It blocks the event loop as `time.sleep` does. If the other
#    server calls this one before it responds, the two deadlock. An async client works as well.


async def fetch_wrong(url: str) -> bytes:
    return fetch(url)


async def fetch_right(url: str) -> bytes:
    return await run_in_threadpool(fetch, url)


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=FETCH_SECONDS) as response:  # noqa: S310 - the callers pass only http URLs
        body: bytes = response.read()
        return body


# 7. A test whether a value is true instead of whether it was sent. A price of 0 cannot be set.


class Change(BaseModel):
    name: str | None = None
    price: Decimal | None = None


def change_wrong(item: Item, data: Change) -> None:
    if data.name:
        item.name = data.name
    if data.price:
        item.price = data.price


def change_right(item: Item, data: Change) -> None:
    for name, value in data.model_dump(exclude_unset=True).items():
        setattr(item, name, value)


# 8. A dependency that yields the session of a `def` endpoint. It keeps the connection until the
#    response is built, for which FastAPI needs a thread again. With more requests than connections,
#    all threads wait for a connection, and all connections wait for a thread.


def get_sync_session(engine: EngineDep) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@router.get("/name_wrong")
def name_wrong(item_id: int, session: Annotated[Session, Depends(get_sync_session)]) -> str:
    return session.get_one(Item, item_id).name


@router.get("/name_right")
def name_right(item_id: int, engine: EngineDep) -> str:
    with Session(engine) as session:
        return session.get_one(Item, item_id).name
