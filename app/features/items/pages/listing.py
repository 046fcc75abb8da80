"""The list of the user's items, to search, sort and page through, and to download."""

from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.core.http.export import export
from app.core.http.links import CursorsDep
from app.features.items.dependencies import ExportMemberItems, MemberItems
from app.features.items.schemas import ItemExportQuery, ItemFilter, ItemQuery, ItemRead
from app.web.forms import FORM_ERRORS, Form
from app.web.paging import page_with_previous
from app.web.rendering import render

NEWEST_FIRST = "-id"
# Of a column, the sort that a first press gives, and that of a second.
COLUMNS = (
    ("Name", "name", "-name"),
    ("Price", "price", "-price"),
    ("Added", NEWEST_FIRST, "id"),
    ("Changed", "-updated_at", "updated_at"),
)
NOTICES = {
    "created": "Item created.",
    "saved": "Changes saved.",
    "deleted": "Item deleted.",
}

router = APIRouter(prefix="/items")


@router.get("")
async def show_items(request: Request, items: MemberItems, cursors: CursorsDep) -> Response:
    form, page = Form(request.query_params), None
    try:
        query = form.read(ItemQuery, sort=form.get("sort") or NEWEST_FIRST)
        page = await page_with_previous(items.list, query, form.get("before"), cursors)
    except FORM_ERRORS as error:
        form.add_error(error)
    return render(
        request,
        "items/list.html",
        form=form,
        notice=NOTICES.get(form.get("notice")),
        page=page,
        columns=COLUMNS,
        at=partial(address, form),
    )


@router.get("/export")
async def export_items(
    query: Annotated[ItemExportQuery, Query()], items: ExportMemberItems
) -> Response:
    """The API's, for who has no token."""
    return await export(items.pages(query), ItemRead, query.format, "items")


def address(form: Form, path: str = "/items", **changes: str) -> str:
    """Of the same list, otherwise; from its start on unless `cursor` or `before` says."""
    kept = {name: form.get(name) for name in ItemFilter.model_fields}
    query = {name: value for name, value in (kept | changes).items() if value}
    return f"{path}?{urlencode(query)}"
