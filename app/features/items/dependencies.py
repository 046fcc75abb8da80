from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request, Security
from starlette.datastructures import State

from app.accounts.dependencies import get_principal
from app.core.db import SessionDep
from app.core.events import Events
from app.core.repository import Units
from app.core.security import Principal
from app.core.session import Session
from app.features.items.repository import ItemRepository
from app.features.items.service import BulkItems, ItemService

ItemsReader = Annotated[Principal, Security(get_principal, scopes=["items:read"])]
ItemsWriter = Annotated[Principal, Security(get_principal, scopes=["items:write"])]


def build(session: Session, state: State) -> ItemService:
    return ItemService(ItemRepository(session), Events(session), state.cursors, state.searches)


async def get_item_service(request: Request, session: SessionDep) -> ItemService:
    return build(session, request.app.state)


@asynccontextmanager
async def item_service(state: State) -> AsyncIterator[ItemService]:
    """For who has no dependencies; committed at the end of the block."""
    async with state.database.transaction() as session:
        yield build(session, state)


def bulk_items(state: State) -> BulkItems:
    return BulkItems(Units(ItemRepository, state.database), state.searches)


async def get_bulk_items(request: Request) -> BulkItems:
    return bulk_items(request.app.state)


ItemServiceDep = Annotated[ItemService, Depends(get_item_service)]
BulkItemsDep = Annotated[BulkItems, Depends(get_bulk_items)]
