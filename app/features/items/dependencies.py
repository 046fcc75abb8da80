from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import Depends, Security

from app.accounts.dependencies import Member, PrincipalDep
from app.core.database.dependencies import SessionDep
from app.core.database.events import Events
from app.core.database.repository import UnitsOfWork
from app.core.database.session import Session
from app.core.resources import Resources, ResourcesDep
from app.core.security.principal import Principal
from app.features.items.repository import ItemRepository
from app.features.items.service import BulkItems, ItemService


def build_service(session: Session, principal: Principal, resources: Resources) -> ItemService:
    repository = ItemRepository(session, principal)
    return ItemService(repository, Events(session), resources.cursors, resources.searches)


def build_bulk(principal: Principal, resources: Resources) -> BulkItems:
    repositories = partial(ItemRepository, principal=principal)
    return BulkItems(UnitsOfWork(repositories, resources.database), principal, resources.searches)


@asynccontextmanager
async def item_service(principal: Principal, resources: Resources) -> AsyncIterator[ItemService]:
    """Build the service where there are no dependencies. Commits at the end of the block."""
    async with resources.database.transaction() as session:
        yield build_service(session, principal, resources)


async def get_item_service(
    session: SessionDep, principal: PrincipalDep, resources: ResourcesDep
) -> ItemService:
    return build_service(session, principal, resources)


async def get_member_items(
    session: SessionDep, member: Member, resources: ResourcesDep
) -> ItemService:
    return build_service(session, member, resources)


async def get_item_export(principal: PrincipalDep, resources: ResourcesDep) -> BulkItems:
    return build_bulk(principal, resources)


async def get_member_export(member: Member, resources: ResourcesDep) -> BulkItems:
    return build_bulk(member, resources)


# FastAPI hands the scopes down to get_principal, which demands them of the access token.
ReadItems = Annotated[ItemService, Security(get_item_service, scopes=["items:read"])]
WriteItems = Annotated[ItemService, Security(get_item_service, scopes=["items:write"])]
ExportItems = Annotated[BulkItems, Security(get_item_export, scopes=["items:read"])]
# The pages': the cookie says who it is.
MemberItems = Annotated[ItemService, Depends(get_member_items)]
ExportMemberItems = Annotated[BulkItems, Depends(get_member_export)]
