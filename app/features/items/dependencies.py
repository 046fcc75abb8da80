from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import Member, PrincipalDep
from app.accounts.listing import OwnedListing
from app.core.database.dependencies import SessionDep
from app.core.database.events import Events
from app.core.resources import ResourcesDep
from app.features.items.repository import ItemRepository
from app.features.items.service import ItemService


async def get_item_service(
    session: SessionDep, principal: PrincipalDep, resources: ResourcesDep
) -> ItemService:
    """Build the service for a request of the API, with an access token."""
    items = ItemRepository(session, principal)
    return ItemService(items, OwnedListing(items, resources), Events(session))


async def get_member_items(
    session: SessionDep, member: Member, resources: ResourcesDep
) -> ItemService:
    """Build the service for a page, whose user is signed in by a cookie."""
    return await get_item_service(session, member, resources)


# FastAPI passes the scopes on to get_principal, which requires the access token to have them.
ReadItems = Annotated[ItemService, Security(get_item_service, scopes=["items:read"])]
WriteItems = Annotated[ItemService, Security(get_item_service, scopes=["items:write"])]
MemberItems = Annotated[ItemService, Depends(get_member_items)]
