"""The page that confirms the deletion of the records selected in a list, and deletes them.

All of them are deleted, or none: a record that has changed or is in use is named, and can be left
out. A record that is gone already is no failure, since that was the aim.
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.core.errors import AppError, Conflict, Forbidden, Invalid, NotFound, Stale
from app.core.translation import gettext, mark
from app.web.flash import Undo, flash
from app.web.forms import Form, FormDep, translate_error
from app.web.links import page_url
from app.web.navigation import ResponseException
from app.web.rendering import render
from app.web.resource_pages import ResourcePages

SELECTED = re.compile(r"select-(\d{1,18})")
VERSION = re.compile(r"\d{1,18}")
MAX_SELECTED = 100  # as many as a page of a list can have
NOTHING_SELECTED = mark("Select first what to delete.")
DELETED = mark("{count} deleted.")
DELETED_ALREADY = mark("This was deleted already.")
NOTHING_DELETED = mark("Nothing is deleted yet: see below.")
CHANGED = mark("This has changed meanwhile. Select it again to delete it as it is now.")


def add_bulk_delete(router: APIRouter, get_pages: Callable[..., Any], folder: str) -> None:
    """Add the pages `show_delete_FOLDER` and `delete_FOLDER` for a resource's ResourcePages."""

    @router.get("/delete", name=f"show_delete_{folder}")
    async def show_delete_selected(
        request: Request, pages: Annotated[ResourcePages, Depends(get_pages)]
    ) -> Response:
        form = Form(request.query_params)
        records = await find_selected(pages, form)
        return show(request, pages, records, form) if records else to_list(request, pages)

    @router.post("/delete", name=f"delete_{folder}")
    async def delete_selected(
        request: Request, form: FormDep, pages: Annotated[ResourcePages, Depends(get_pages)]
    ) -> Response:
        records = await find_selected(pages, form)
        try:
            form.confirm()
            undo = await pages.prepare_undo([record.id for record in records])
            await delete_all(pages, records, form)
        except Invalid as error:
            form.add_error(error)
        if form.status != 200:
            raise ResponseException(show(request, pages, records, form))
        if not records:
            return to_list(request, pages, DELETED_ALREADY if selection(form) else NOTHING_SELECTED)
        return to_list(request, pages, DELETED, undo, count=len(records))


def selection(form: Form) -> dict[int, int]:
    """Return the versions of the selected records by their IDs, in the order of the IDs.

    Two requests that delete in one order cannot wait for each other.
    """
    found = {
        int(match[1]): int(version)
        for name, version in form.values.items()
        if (match := SELECTED.fullmatch(name)) and VERSION.fullmatch(version)
    }
    if len(found) > MAX_SELECTED:
        raise Invalid("Select at most {limit}.", limit=MAX_SELECTED)
    return dict(sorted(found.items()))


async def find_selected(pages: ResourcePages, form: Form) -> list[Any]:
    """Return the selected records that still exist."""
    records = []
    for id_ in selection(form):
        try:
            records.append(await pages.service.get(id_))
        except NotFound:
            continue
    return records


async def delete_all(pages: ResourcePages, records: Sequence[Any], form: Form) -> None:
    """Delete the records, or note in the form which one cannot be deleted."""
    versions = selection(form)
    changed = [record for record in records if record.version != versions[record.id]]
    for record in changed:
        refuse(form, record.id, Stale(CHANGED))
    for record in [] if changed else records:
        try:
            await pages.service.delete(record.id, frozenset([record.version]))
        except NotFound:
            continue
        except Stale:
            return refuse(form, record.id, Stale(CHANGED))
        except (Conflict, Forbidden) as error:
            # The database may have ended the transaction: nothing more can be deleted or read.
            return refuse(form, record.id, error)


def refuse(form: Form, key: object, error: AppError) -> None:
    """Say why the record with a key is not deleted, and so none of them."""
    form.status, form.alert = 409, gettext(NOTHING_DELETED)
    form.errors[f"select-{key}"] = translate_error(error)


def show(request: Request, pages: ResourcePages, records: Sequence[Any], form: Form) -> Response:
    return render(
        request,
        "web/delete_selected.html",
        form=form,
        resource=pages.name,
        can_undo_delete=pages.can_undo_delete,
        records=[(record.id, record.version, pages.title_of(record)) for record in records],
        delete_url=page_url(request, f"delete_{pages.folder}", **pages.list_query),
        list_url=page_url(request, pages.list_page, **pages.list_query),
    )


def to_list(
    request: Request,
    pages: ResourcePages,
    text: str = NOTHING_SELECTED,
    undo: Undo | None = None,
    **values: Any,
) -> Response:
    url = page_url(request, pages.list_page, **pages.list_query)
    return flash(request, url, text, undo=undo, **values)
