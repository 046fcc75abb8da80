"""The admin at `/admin`: pages over the slices' services, for superusers.

They sign in as on all other pages. Each slice declares its views in its `admin.py`.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.accounts.dependencies import Member
from app.accounts.pages.confirm import require_confirmation
from app.accounts.pages.second_factor import require_second_factor
from app.core.errors import Conflict, Forbidden, Invalid, Stale
from app.core.http.export import FORMATS, export
from app.core.resources import Resources, ResourcesDep, resources_of
from app.core.security.principal import Principal
from app.core.translation import mark
from app.discovery import discover
from app.web.admin_site import jobs
from app.web.admin_site.fields import fields_of
from app.web.admin_site.site import AdminSite, list_query, list_url
from app.web.admin_site.view import AdminView
from app.web.bulk_delete import (
    CHANGED,
    DELETED_ALREADY,
    MAX_SELECTED,
    NOTHING_SELECTED,
    refuse,
)
from app.web.bulk_delete import DELETED as SOME_DELETED
from app.web.flash import flash
from app.web.forms import FORM_ERRORS, Form, FormDep
from app.web.links import page_url
from app.web.navigation import Link, redirect
from app.web.once import new_form
from app.web.resource_pages import CREATED, DELETED, SAVED, flash_change, values_of

PATH = "/admin"
TEMPLATES = Path(__file__).parent / "web/admin_site/templates"  # `admin_site/list.html` and so on
LINKS = [
    Link(mark("Admin"), PATH, "superusers", order=9, place="menu"),
    Link(
        mark("Admin"),
        PATH,
        "anyone",
        mark("Manage the data. For superusers."),
        order=7,
        place="front page",
    ),
]
EDIT_ERRORS = (*FORM_ERRORS, Stale)
NOT_AVAILABLE = mark("This action is not available in the admin.")
SELECT = "select-"  # what the name of a field begins with that selects a record
logger = logging.getLogger("app.admin")


async def require_superuser(request: Request, principal: Member) -> None:
    """Refuse everybody but superusers, at each request: to remove the role takes effect at once."""
    require_second_factor(request, principal)
    if not principal.is_superuser:
        raise Forbidden("The admin is for superusers.")
    await require_confirmation(request, principal)


def views() -> Iterator[AdminView]:
    for module in (*discover("admin"), jobs):
        for view in module.VIEWS:
            yield view()


site = AdminSite(views())
router = APIRouter(prefix=PATH, include_in_schema=False, dependencies=[Depends(require_superuser)])


def get_view(identity: str) -> AdminView:
    return site.view(identity)


ViewDep = Annotated[AdminView, Depends(get_view)]


@router.get("/", name="show_admin_with_slash")
@router.get("")
async def show_admin(request: Request) -> Response:
    return redirect(list_of(request, site.views[0]))


@router.get("/{identity}/list")
async def show_admin_list(request: Request, view: ViewDep, resources: ResourcesDep) -> Response:
    async with resources.database.reading() as session:
        return await site.show_list(request, session, view)


@router.get("/{identity}/export/{format_}")
async def export_admin_list(
    request: Request, view: ViewDep, format_: str, resources: ResourcesDep
) -> Response:
    if format_ not in FORMATS:
        raise HTTPException(404)
    pages = view.pages(resources, request.query_params)
    return await export(pages, view.read_schema, format_, view.identity)


@router.get("/{identity}/details/{pk}")
async def show_admin_record(
    request: Request, view: ViewDep, pk: str, resources: ResourcesDep
) -> Response:
    async with resources.database.reading() as session:
        return await site.show_record(request, session, view, pk)


@router.get("/{identity}/create")
async def show_admin_create(request: Request, view: ViewDep) -> Response:
    return show_form(request, view, new_form())


@router.post("/{identity}/create")
async def create_admin_record(request: Request, view: ViewDep, form: FormDep) -> Response:
    require_schema(view.create_schema)
    try:
        record = await view.create(request, form)
    except EDIT_ERRORS as error:
        form.add_error(error, view.create_error_fields)
        return show_form(request, view, form)
    title = form.get(view.title_field) if record is None else view.title_of(record)
    if record is not None:
        log(request, "created", view, view.key_of(record))
    return flash_change(request, list_of(request, view), CREATED, title)


@router.get("/{identity}/edit/{pk}")
async def show_admin_edit(
    request: Request, view: ViewDep, pk: str, resources: ResourcesDep
) -> Response:
    record = await find_editable(view, pk, resources)
    schema = require_schema(view.edit_schema)
    names = [name for name in schema.model_fields if hasattr(record, name)]
    return show_form(request, view, Form(values_of(record, [*names, *view.hidden])), record)


@router.post("/{identity}/edit/{pk}")
async def edit_admin_record(
    request: Request, view: ViewDep, pk: str, form: FormDep, resources: ResourcesDep
) -> Response:
    record = await find_editable(view, pk, resources)
    try:
        form.confirm()
        changed = await view.edit(request, view.key_of(record), form)
    except EDIT_ERRORS as error:
        form.add_error(error)
        return show_form(request, view, form, record)
    log(request, "changed", view, view.key_of(record), *view.changes(form, record, changed))
    return flash_change(request, back_to_list(request, view), SAVED, view.title_of(changed))


@router.get("/{identity}/delete")
async def show_admin_delete(request: Request, view: ViewDep) -> Response:
    form = Form(request.query_params)
    records = await find_selected(request, view, form)
    if not records:
        return flash(request, back_to_list(request, view), NOTHING_SELECTED)
    return show_delete(request, view, form, records)


@router.post("/{identity}/delete")
async def delete_admin_records(request: Request, view: ViewDep, form: FormDep) -> Response:
    """Delete all records that are selected, or none. Those that are gone are no failure."""
    records, url = await find_selected(request, view, form), back_to_list(request, view)
    if not records:
        return flash(request, url, DELETED_ALREADY if selected(form) else NOTHING_SELECTED)
    refuse_changed(view, form, records)
    if form.errors:
        return show_delete(request, view, form, records)
    try:
        form.confirm()
        await view.delete(request, records)
    except EDIT_ERRORS as error:
        form.add_error(error)
        form.status = 409 if isinstance(error, Conflict | Stale) else form.status
        if isinstance(error, Stale):  # It has changed since it was read above.
            records = await find_selected(request, view, form)
            refuse_changed(view, form, records)
        return show_delete(request, view, form, records)
    for record in records:
        log(request, "deleted", view, view.key_of(record))
    if len(records) == 1:
        return flash_change(request, url, DELETED, view.title_of(records[0]))
    return flash(request, url, SOME_DELETED, count=len(records))


def require_schema(schema: type[BaseModel] | None) -> type[BaseModel]:
    """Return the schema of a form. Raise Forbidden if the view has no such form."""
    if schema is None:
        raise Forbidden(NOT_AVAILABLE)
    return schema


async def find_editable(view: AdminView, pk: str, resources: Resources) -> Any:
    require_schema(view.edit_schema)
    async with resources.database.reading() as session:
        record = await view.get(session, pk)
    if not view.is_editable(record):
        raise Forbidden(NOT_AVAILABLE)
    return record


def list_of(request: Request, view: AdminView) -> str:
    return page_url(request, "show_admin_list", identity=view.identity)


def back_to_list(request: Request, view: AdminView) -> str:
    """Return the URL of the list that led to the current page, as it was."""
    params = request.query_params
    return list_url(request, view, params, page=params.get("page"))


def show_form(request: Request, view: AdminView, form: Form, record: Any = None) -> Response:
    schema = require_schema(view.create_schema if record is None else view.edit_schema)
    template = view.edit_template if record is not None else "admin_site/form.html"
    fields = [*fields_of(schema, view.labels)]
    return site.render(request, template, view, form, record=record, fields=fields)


def selected(form: Form) -> Sequence[str]:
    return [name.removeprefix(SELECT) for name in form.values if name.startswith(SELECT)]


async def find_selected(request: Request, view: AdminView, form: Form) -> Sequence[Any]:
    """Return the selected records that still exist."""
    if not view.can_delete:
        raise Forbidden(NOT_AVAILABLE)
    pks = selected(form)
    if len(pks) > MAX_SELECTED:
        raise Invalid("Select at most {limit}.", limit=MAX_SELECTED)
    async with resources_of(request).database.reading() as session:
        return await view.get_many(session, pks)


def refuse_changed(view: AdminView, form: Form, records: Sequence[Any]) -> None:
    """Say which records have changed since the user confirmed their deletion."""
    for record in records:
        key = view.key_of(record)
        if form.get(f"{SELECT}{key}") != view.version_of(record):
            refuse(form, key, Stale(CHANGED))


def show_delete(request: Request, view: AdminView, form: Form, records: Sequence[Any]) -> Response:
    params = request.query_params
    query = list_query(view, params, page=params.get("page"))
    boxes = [(view.key_of(each), view.version_of(each), view.title_of(each)) for each in records]
    return site.render(
        request, "admin_site/delete.html", view, form, records=boxes, list_query=query
    )


def log(request: Request, action: str, view: AdminView, pk: Any, *fields: str) -> None:
    """Log which user changed which fields of which record, without the values."""
    names = f" ({', '.join(fields)})" if fields else ""
    principal: Principal = request.state.principal
    logger.info("User %s %s %s %s%s", principal.user_id, action, view.identity, pk, names)
