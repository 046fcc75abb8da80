from collections.abc import Sequence
from typing import Annotated

from fastapi import Body, Query, Response
from fastapi.responses import StreamingResponse

from app.core.database.pagination import Page
from app.core.errors import InUse
from app.core.http.conditional import IfMatch, IfNoneMatch
from app.core.http.export import EXPORT_RESPONSES, export
from app.core.http.idempotency import idempotent
from app.core.http.problem_kinds import problem_response
from app.core.http.routing import ApiRouter
from app.features.items.dependencies import ReadItems, WriteItems
from app.features.items.schemas import ItemCreate, ItemExportQuery, ItemQuery, ItemRead, ItemUpdate

IN_USE = problem_response(InUse, "The item is in use")

router = ApiRouter(prefix="/items", tags=["items"])  # adds ETag, Location, Link and 304


@router.post("", status_code=201, dependencies=[idempotent])
async def create_item(data: ItemCreate, items: WriteItems) -> ItemRead:
    """Create an item."""
    return await items.create(data)


@router.post("/batch", status_code=201, dependencies=[idempotent])
async def create_items(
    data: Annotated[list[ItemCreate], Body(min_length=1, max_length=1000)], items: WriteItems
) -> Sequence[ItemRead]:
    """Create up to 1,000 items, all or none, and return them in the order given."""
    return await items.create_many(data)


@router.get("")
async def list_items(query: Annotated[ItemQuery, Query()], items: ReadItems) -> Page[ItemRead]:
    """List your items, a page at a time. The scope `items:all` lists those of all users."""
    return await items.list(query)


@router.get("/export", response_class=StreamingResponse, responses=EXPORT_RESPONSES)
async def export_items(
    query: Annotated[ItemExportQuery, Query()], items: ReadItems
) -> StreamingResponse:
    """Download the whole list as CSV for a spreadsheet, or as NDJSON, one on each line."""
    return await export(items.export(query), ItemRead, query.format, "items")


@router.get("/{item_id}")
async def read_item(item_id: int, items: ReadItems, known: IfNoneMatch) -> ItemRead:
    """Get an item."""
    return await items.get(item_id)


@router.put("/{item_id}")
async def replace_item(
    item_id: int, data: ItemCreate, items: WriteItems, expected: IfMatch
) -> ItemRead:
    """Replace an item; omitted fields get their defaults."""
    return await items.update(item_id, data, expected)


@router.patch("/{item_id}")
async def update_item(
    item_id: int, data: ItemUpdate, items: WriteItems, expected: IfMatch
) -> ItemRead:
    """Change the fields that are sent. `null` is a value; omitted fields stay as they are."""
    return await items.update(item_id, data, expected)


@router.delete("/{item_id}", status_code=204, response_class=Response, responses=IN_USE)
async def delete_item(item_id: int, items: WriteItems, expected: IfMatch) -> None:
    """Delete an item. One that is in use stays."""
    await items.delete(item_id, expected)
