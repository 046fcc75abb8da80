"""Step 3, the bridge: the loop is not blocked, and sync code does not have to be rewritten yet.

There are two ways to call the code of step 1. `run_in_threadpool` runs a blocking call in a thread,
so that the number of threads is still the limit. `AsyncSession.run_sync` runs code for a `Session`
on the async driver, without a thread. It still sends one query for each owner.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from starlette.concurrency import run_in_threadpool

from app.features.lab import step1_sync
from app.features.lab.schemas import ItemCreate, ItemRead, ItemUpdate, OwnerItems
from app.features.lab.step1_sync import EngineDep

router = APIRouter(prefix="/lab/step3", tags=["3: bridge"])


async def get_async_engine(request: Request) -> AsyncEngine:  # changed: a second engine
    engine: AsyncEngine = request.app.state.async_engine
    return engine


AsyncEngineDep = Annotated[AsyncEngine, Depends(get_async_engine)]


@router.post("/items", status_code=201)
async def create_item(data: ItemCreate, engine: EngineDep) -> ItemRead:
    return await run_in_threadpool(step1_sync.create_item, data, engine)  # changed


@router.get("/items")
async def list_items(engine: EngineDep) -> list[ItemRead]:
    return await run_in_threadpool(step1_sync.list_items, engine)  # changed


@router.patch("/items/{item_id}")
async def update_item(item_id: int, data: ItemUpdate, engine: EngineDep) -> ItemRead:
    return await run_in_threadpool(step1_sync.update_item, item_id, data, engine)  # changed


@router.delete("/items/{item_id}", status_code=204, response_class=Response)
async def delete_item(item_id: int, engine: EngineDep) -> None:
    await run_in_threadpool(step1_sync.delete_item, item_id, engine)  # changed


@router.get("/report")
async def report_items(engine: AsyncEngineDep) -> list[OwnerItems]:  # changed
    async with AsyncSession(engine) as session:  # changed
        return await session.run_sync(step1_sync.items_by_owner)  # changed
