"""Step 4, the goal: an async driver, an `AsyncSession`, and explicit loading.

While the database works, neither a thread nor the loop waits. The limit is the number of
connections. In return nothing is loaded lazily: the query has to load all that the response needs.
"""

from fastapi import APIRouter, Response
from sqlalchemy import URL, select  # changed
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine  # changed
from sqlalchemy.orm import joinedload, selectinload  # changed

from app.core.database.engine import asyncpg_arguments  # changed
from app.core.errors import Invalid
from app.features.lab.models import Item, User
from app.features.lab.schemas import ItemCreate, ItemRead, ItemUpdate, OwnerItems
from app.features.lab.step1_sync import PAGE, found
from app.features.lab.step3_bridge import AsyncEngineDep as EngineDep  # changed

router = APIRouter(prefix="/lab/step4", tags=["4: async"])


def open_async_engine(url: URL, pool_size: int) -> AsyncEngine:
    url, connect_args = asyncpg_arguments(url)  # changed: asyncpg has other names than psycopg
    return create_async_engine(  # changed
        url, connect_args=connect_args, pool_size=pool_size, max_overflow=0
    )


@router.post("/items", status_code=201)
async def create_item(data: ItemCreate, engine: EngineDep) -> ItemRead:
    # changed: the commit must not expire the item, since it could not be loaded lazily afterwards.
    async with AsyncSession(engine, expire_on_commit=False) as session:
        owner = await session.get(User, data.owner_id)  # changed: await
        if owner is None:
            raise Invalid("There is no such user.", "body", "owner_id")
        item = Item(name=data.name, price=data.price, owner=owner)
        session.add(item)
        await session.commit()  # changed: await
        return ItemRead.model_validate(item)


@router.get("/items")
async def list_items(engine: EngineDep) -> list[ItemRead]:
    async with AsyncSession(engine) as session:  # changed
        query = select(Item).options(joinedload(Item.owner))  # changed: select()
        items = await session.scalars(query.order_by(Item.id).limit(PAGE))  # changed: await
        return [ItemRead.model_validate(item) for item in items]


@router.patch("/items/{item_id}")
async def update_item(item_id: int, data: ItemUpdate, engine: EngineDep) -> ItemRead:
    async with AsyncSession(engine, expire_on_commit=False) as session:  # changed
        owner = [joinedload(Item.owner)]  # changed: the owner has to be loaded with the item
        item = found(await session.get(Item, item_id, options=owner), item_id)  # changed: await
        for name, value in data.model_dump().items():
            setattr(item, name, value)
        await session.commit()  # changed: await
        return ItemRead.model_validate(item)


@router.delete("/items/{item_id}", status_code=204, response_class=Response)
async def delete_item(item_id: int, engine: EngineDep) -> None:
    async with AsyncSession(engine) as session:  # changed
        await session.delete(found(await session.get(Item, item_id), item_id))  # changed: await
        await session.commit()  # changed: await


@router.get("/report")
async def report_items(engine: EngineDep) -> list[OwnerItems]:
    async with AsyncSession(engine) as session:  # changed
        query = select(User).options(selectinload(User.items))  # changed: one query for all items
        owners = await session.scalars(query.order_by(User.id))  # changed: await
        return [OwnerItems.model_validate(owner) for owner in owners]
