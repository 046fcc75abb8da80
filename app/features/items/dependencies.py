from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request, Security
from starlette.datastructures import State

from app.accounts.dependencies import claimant_with, get_caller
from app.core.db import SessionDep
from app.core.events import Events
from app.core.repository import Units
from app.core.security import Caller, Claimant
from app.core.session import Session
from app.features.items.repository import ItemRepository
from app.features.items.service import BulkItems, ItemService

ItemsReader = Annotated[Claimant, claimant_with("items:read")]
ItemsWriter = Annotated[Claimant, claimant_with("items:write")]
# What does its work in other statements than those that confirm a claimant.
ItemsExporter = Annotated[Caller, Security(get_caller, scopes=["items:read"])]
ItemsImporter = Annotated[Caller, Security(get_caller, scopes=["items:write"])]


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
