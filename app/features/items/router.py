from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from app.core.pagination import Page, link_to_next
from app.features.items.dependencies import ItemServiceDep, ItemsReader, ItemsWriter
from app.features.items.models import Item
from app.features.items.schemas import ItemCreate, ItemQuery, ItemRead, ItemUpdate

router = APIRouter(prefix="/items", tags=["items"])


@router.post("", response_model=ItemRead, status_code=status.HTTP_201_CREATED)
async def create_item(
    data: ItemCreate,
    items: ItemServiceDep,
    caller: ItemsWriter,
    request: Request,
    response: Response,
) -> Item:
    """Creates an item of your own."""
    item = await items.create(caller, data)
    response.headers["Location"] = f"{request.url.path}/{item.id}"
    return item


@router.get("")
async def list_items(
    query: Annotated[ItemQuery, Query()],
    items: ItemServiceDep,
    caller: ItemsReader,
    request: Request,
    response: Response,
) -> Page[ItemRead]:
    """A page of your items; of everybody's for a superuser."""
    page = await items.list(caller, query)
    if page.next:
        response.headers["Link"] = link_to_next(request, page.next)
    return page


@router.get("/{item_id}", response_model=ItemRead)
async def read_item(item_id: int, items: ItemServiceDep, caller: ItemsReader) -> Item:
    """One item."""
    return await items.get(caller, item_id)


@router.put("/{item_id}", response_model=ItemRead)
async def replace_item(
    item_id: int, data: ItemCreate, items: ItemServiceDep, caller: ItemsWriter
) -> Item:
    """Replaces all that a client may set; what is absent gets its default."""
    return await items.replace(caller, item_id, data)


@router.patch("/{item_id}", response_model=ItemRead)
async def update_item(
    item_id: int, data: ItemUpdate, items: ItemServiceDep, caller: ItemsWriter
) -> Item:
    """Changes what is sent: absent is unchanged, null is a value."""
    return await items.update(caller, item_id, data)


@router.delete("/{item_id}", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def delete_item(item_id: int, items: ItemServiceDep, caller: ItemsWriter) -> None:
    """Deletes an item for good."""
    await items.delete(caller, item_id)
