from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Security
from starlette.datastructures import State

from app.accounts.dependencies import get_caller
from app.core.db import Database, DatabaseDep, SessionDep
from app.core.events import Events
from app.core.pagination import CursorsDep
from app.core.repository import Units
from app.core.security import Caller
from app.features.items.repository import ItemRepository
from app.features.items.service import BulkItems, ItemService

ItemsReader = Annotated[Caller, Security(get_caller, scopes=["items:read"])]
ItemsWriter = Annotated[Caller, Security(get_caller, scopes=["items:write"])]


async def get_item_service(session: SessionDep, cursors: CursorsDep) -> ItemService:
    return ItemService(ItemRepository(session), Events(session), cursors)


@asynccontextmanager
async def item_service(state: State) -> AsyncIterator[ItemService]:
    """For who has no dependencies; committed at the end of the block."""
    async with state.database.transaction() as session:
        yield await get_item_service(session, state.cursors)


def bulk_items(database: Database) -> BulkItems:
    return BulkItems(Units(ItemRepository, database))


async def get_bulk_items(database: DatabaseDep) -> BulkItems:
    return bulk_items(database)


ItemServiceDep = Annotated[ItemService, Depends(get_item_service)]
BulkItemsDep = Annotated[BulkItems, Depends(get_bulk_items)]
