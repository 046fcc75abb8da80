from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import get_caller
from app.core.db import SessionDep
from app.core.events import Events
from app.core.pagination import CursorsDep
from app.core.security import Caller
from app.features.items.repository import ItemRepository
from app.features.items.service import ItemService

ItemsReader = Annotated[Caller, Security(get_caller, scopes=["items:read"])]
ItemsWriter = Annotated[Caller, Security(get_caller, scopes=["items:write"])]


async def get_item_service(session: SessionDep, cursors: CursorsDep) -> ItemService:
    return ItemService(ItemRepository(session), Events(session), cursors)


ItemServiceDep = Annotated[ItemService, Depends(get_item_service)]
