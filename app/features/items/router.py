from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response, status
from fastapi.responses import StreamingResponse

from app.core.database.pagination import Page
from app.core.http.conditional import NOT_MODIFIED, IfMatch, IfNoneMatch, not_modified, tagged
from app.core.http.export import EXPORTED, export
from app.core.http.idempotency import IdempotencyDep, IdempotentRoute
from app.core.http.links import link_to_next
from app.core.http.openapi import has_fields
from app.features.items.dependencies import ExportItems, ReadItems, WriteItems
from app.features.items.models import Item
from app.features.items.schemas import ItemCreate, ItemExportQuery, ItemQuery, ItemRead, ItemUpdate

MAX_BATCH = 1000
CREATED = has_fields(201, "ETag", "Location")
FOUND = has_fields(200, "ETag")

router = APIRouter(prefix="/items", tags=["items"], route_class=IdempotentRoute)


@router.post("", response_model=ItemRead, status_code=status.HTTP_201_CREATED, responses=CREATED)
async def create_item(
    data: ItemCreate,
    items: WriteItems,
    idempotency: IdempotencyDep,
    request: Request,
    response: Response,
) -> ItemRead | Response:
    """Creates an item of your own."""
    if replay := await idempotency.replay():
        return replay
    item = await items.create(data)
    response.headers["Location"] = f"{request.url.path}/{item.id}"
    return tagged(response, item)


@router.post("/batch", response_model=list[ItemRead], status_code=status.HTTP_201_CREATED)
async def create_items(
    data: Annotated[list[ItemCreate], Body(min_length=1, max_length=MAX_BATCH)],
    items: WriteItems,
    idempotency: IdempotencyDep,
) -> Sequence[Item] | Response:
    """Creates all of them or none, and answers them in their order."""
    if replay := await idempotency.replay():
        return replay
    return await items.create_many(data)


@router.get("", responses=has_fields(200, "Link"))
async def list_items(
    query: Annotated[ItemQuery, Query()],
    items: ReadItems,
    request: Request,
    response: Response,
) -> Page[ItemRead]:
    """A page of your items; of everybody's for a superuser."""
    page = await items.list(query)
    if page.next:
        response.headers["Link"] = link_to_next(request, page.next)
    return page


@router.get("/export", response_class=StreamingResponse, responses=EXPORTED)
async def export_items(
    query: Annotated[ItemExportQuery, Query()], items: ExportItems
) -> StreamingResponse:
    """All of the list in one file: CSV for a spreadsheet, or NDJSON, an item a line."""
    return await export(items.pages(query), ItemRead, query.format, "items")


@router.get("/{item_id}", response_model=ItemRead, responses=FOUND | NOT_MODIFIED)
async def read_item(
    item_id: int,
    items: ReadItems,
    known: IfNoneMatch,
    response: Response,
) -> ItemRead | Response:
    """One item."""
    item = await items.get(item_id)
    return not_modified(known, item) or tagged(response, item)


@router.put("/{item_id}", response_model=ItemRead, responses=FOUND)
async def replace_item(
    item_id: int,
    data: ItemCreate,
    items: WriteItems,
    expected: IfMatch,
    response: Response,
) -> ItemRead:
    """Replaces all that a client may set; what is absent gets its default."""
    return tagged(response, await items.update(item_id, data, expected))


@router.patch("/{item_id}", response_model=ItemRead, responses=FOUND)
async def update_item(
    item_id: int,
    data: ItemUpdate,
    items: WriteItems,
    expected: IfMatch,
    response: Response,
) -> ItemRead:
    """Changes what is sent: absent is unchanged, null is a value."""
    return tagged(response, await items.update(item_id, data, expected))


@router.delete("/{item_id}", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def delete_item(item_id: int, items: WriteItems, expected: IfMatch) -> None:
    """Deletes an item for good."""
    await items.delete(item_id, expected)
