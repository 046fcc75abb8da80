from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.accounts.dependencies import Member
from app.core.http.export import export
from app.core.translation import mark
from app.features.items.dependencies import MemberItems
from app.features.items.schemas import ItemCreate, ItemExportQuery, ItemQuery, ItemRead
from app.web.bulk_delete import add_bulk_delete
from app.web.forms import FormDep
from app.web.navigation import Link
from app.web.once import SubmitOnceDep
from app.web.resource_pages import ResourcePages

LINKS = [Link(mark("Items"), "/items", "members", order=1)]

router = APIRouter(prefix="/items", include_in_schema=False)


class ItemPages(ResourcePages):
    name = "item"
    title_field = "name"
    folder = "items"
    list_page = "show_items"
    query = ItemQuery
    schema = ItemCreate


async def get_item_pages(request: Request, member: Member, items: MemberItems) -> ItemPages:
    return ItemPages(request, member, items)


ItemPagesDep = Annotated[ItemPages, Depends(get_item_pages)]
add_bulk_delete(router, get_item_pages, "items")
DASHBOARD = [get_item_pages]


@router.get("")
async def show_items(pages: ItemPagesDep) -> Response:
    return await pages.show_list()


@router.get("/export")
async def export_items(query: Annotated[ItemExportQuery, Query()], items: MemberItems) -> Response:
    return await export(items.export(query), ItemRead, query.format, "items")


@router.get("/new")
async def show_new_item(pages: ItemPagesDep) -> Response:
    return pages.show_new()


@router.post("/new")
async def create_item(form: FormDep, pages: ItemPagesDep, once: SubmitOnceDep) -> Response:
    return await pages.create(form, once)


@router.get("/{item_id:int}/edit")
async def show_item(item_id: int, pages: ItemPagesDep) -> Response:
    return await pages.show_edit(item_id)


@router.post("/{item_id:int}/edit")
async def save_item(item_id: int, form: FormDep, pages: ItemPagesDep) -> Response:
    return await pages.edit(item_id, form)


@router.get("/{item_id:int}/delete")
async def show_delete_item(item_id: int, pages: ItemPagesDep) -> Response:
    return await pages.show("delete", item_id)


@router.post("/{item_id:int}/delete")
async def delete_item(item_id: int, form: FormDep, pages: ItemPagesDep) -> Response:
    return await pages.delete(item_id, form)


@router.post("/undo-delete")
async def undo_delete_items(form: FormDep, pages: ItemPagesDep) -> Response:
    return await pages.undo_delete(form)
