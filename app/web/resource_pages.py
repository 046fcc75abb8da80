"""The pages that every resource has: its list, and the forms that create, edit and delete it."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.core.database.pagination import PageQuery
from app.core.errors import AppError, Conflict, NotFound, Stale
from app.core.resources import resources_of
from app.core.security.principal import Principal
from app.core.translation import gettext, mark
from app.web.flash import Undo, flash
from app.web.forms import FORM_ERRORS, Form, expected_version, translate_error
from app.web.links import form_url, page_url
from app.web.navigation import ResponseException
from app.web.once import SubmitOnce, new_form
from app.web.paging import page_with_previous
from app.web.rendering import render

NEWEST_FIRST = "-id"
MAX_TOTAL = 1000  # A list counts its results up to here, since each one takes time.
# The messages about a record with a title, and about one without.
CREATED = mark("“{title}” created."), mark("Created.")
SAVED = mark("“{title}” saved."), mark("Changes saved.")
DELETED = mark("“{title}” deleted."), mark("Deleted.")
RESTORED = mark("Restored.")
UNDO_EXPIRED = mark("This deletion can no longer be undone.")
NOT_RESTORABLE = mark("This cannot be restored: it conflicts with what is stored now.")
RECORD_DELETED = mark("This was deleted meanwhile. Save yours as a new one?")
CHANGED = mark("This has changed since you opened it. This is the current version.")


class ResourcePages:
    """The pages of a resource, for the user who is signed in.

    A subclass names the record as its templates do, the folder of its templates, the endpoint of
    its list, the field that messages call a record by, and the schemas of its list's query and of
    its form. `service` has the methods `list`, `get`, `create`, `update` and `delete`, as far as
    the pages are used. `update` returns the record as it is then. If it has `prepare_undo` and
    `undo_delete`, a deletion can be undone by the page `undo_delete_FOLDER`.

    A form that fails is raised as a ResponseException, so that nothing is committed.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    list_page: ClassVar[str]
    title_field: ClassVar[str] = ""
    query: ClassVar[type[PageQuery]]
    schema: ClassVar[type[BaseModel]]
    rows: ClassVar[Mapping[str, type[BaseModel]]] = {}
    """The fields that are lists of rows, and the schema of a row."""
    recent_first: ClassVar[str] = "-updated_at"
    """The sort order of the dashboard's recent records."""
    conflicts: ClassVar[tuple[type[AppError], ...]] = (Stale,)
    """The errors that a page shows beside the current state of the record. An error that comes from
    the database cannot be among them, since it ends the transaction."""

    def __init__(self, request: Request, principal: Principal, service: Any) -> None:
        self._request = request
        self._principal = principal
        self.service = service
        self.context = dict[str, Any]()
        """What every template gets, such as the records that a form offers."""

    def render(self, template: str, form: Form | None = None, **context: Any) -> Response:
        return render(
            self._request,
            f"{self.folder}/{template}.html",
            form=form,
            can_undo_delete=self.can_undo_delete,
            list_query=self.list_query,
            **self.context,
            **context,
        )

    async def show(self, template: str, id_: int, form: Form | None = None) -> Response:
        """Render a page of a record. Raise NotFound."""
        return self.render(template, form, **{self.name: await self.service.get(id_)})

    async def show_list(self, **context: Any) -> Response:
        """Render the page of the list that the query parameters ask for, newest first by default.

        The template gets the page, or None when a parameter is not valid, the sort order,
        `max_total`, and `list_url`, which returns the URL of the same list, or of another page for
        it, with other parameters.
        """
        form, page = Form(self._request.query_params), None
        cursors, sort = resources_of(self._request).cursors, form.get("sort") or NEWEST_FIRST
        try:
            query = form.read(self.query, sort=sort, with_total=True)
            query.limit_total(MAX_TOTAL)
            page = await page_with_previous(self.service.list, query, form.get("before"), cursors)
        except FORM_ERRORS as error:
            form.add_error(error)
        context |= {"list_url": partial(self._list_url, form), "max_total": MAX_TOTAL}
        return self.render("list", form, page=page, sort=sort, **context)

    @property
    def list_query(self) -> Mapping[str, str]:
        """Return the query parameters by which the list, or a page that it led to, was opened."""
        names, params = (*self._filters, "cursor", "before"), self._request.query_params
        return {name: value for name, value in params.items() if value and name in names}

    @property
    def _filters(self) -> Sequence[str]:
        return [name for name in self.query.model_fields if name not in PageQuery.model_fields]

    def record_url(self, record: Any) -> str:
        """Return the URL of the page of a record."""
        values = {f"{self.name}_id": record.id}
        return page_url(self._request, f"show_{self.name}", **values)

    def title_of(self, record: Any) -> str:
        """Return the words by which a page names a record."""
        if not self.title_field:
            return f"#{record.id}"
        title = str(getattr(record, self.title_field))
        return title if title.strip() else gettext("No name")

    def show_new(self) -> Response:
        return self.render("new", new_form())

    async def create(self, form: Form, once: SubmitOnce) -> Response:
        """Create a record, once for a form that is submitted again."""
        try:
            data = self._read(form)
            is_first = await once.is_first(self._principal, form)
            created = await self.service.create(data) if is_first else None
        except FORM_ERRORS as error:
            form.add_error(error)
            raise ResponseException(self.render("new", form)) from error
        return self._flash_on_list(CREATED, form.get(self.title_field), record=created)

    async def show_edit(self, id_: int) -> Response:
        record = await self.service.get(id_)
        return self.render("edit", self.form_of(record), **{self.name: record})

    def form_of(self, record: Any) -> Form:
        """Return the form that edits a record, with its values and its version."""
        names = [name for name in self.schema.model_fields if name not in self.rows]
        form = Form(values_of(record, [*names, "version"]))
        for name, row in self.rows.items():
            form.put_rows(
                name, [values_of(each, row.model_fields) for each in getattr(record, name)]
            )
        return form

    async def edit(self, id_: int, form: Form) -> Response:
        """Update a record. A conflict shows the submitted values beside the current ones."""
        try:
            # It is read before the update, since an error of the database ends the transaction.
            record = await self.service.get(id_)
            saved = await self._update(id_, form)
        except NotFound as error:
            raise ResponseException(self._offer_new(form)) from error
        except Stale as error:
            raise ResponseException(await self._show_conflict(id_, form)) from error
        except FORM_ERRORS as error:
            form.add_error(error)
            raise ResponseException(self.render("edit", form, **{self.name: record})) from error
        undo = self._undo(record, saved)
        return self._flash_on_list(SAVED, form.get(self.title_field), undo, saved)

    async def _show_conflict(self, id_: int, form: Form) -> Response:
        """Show the submitted values beside the current ones, and which of them differ."""
        form.status, record, mine = 409, await self.service.get(id_), self._read(form)
        theirs = self.schema.model_validate(record, from_attributes=True)
        names = self.schema.model_fields
        differing = [name for name in names if getattr(mine, name) != getattr(theirs, name)]
        return self.render("conflict", form, differing=differing, **{self.name: record})

    def _undo(self, before: Any, saved: Any) -> Undo | None:
        """Return the form that saves a record as it was before, or None if nothing has changed."""
        fields = self.form_of(before).values | {"version": str(saved.version)}
        if fields == self.form_of(saved).values:
            return None
        return Undo(form_url(self._request), fields)

    def _offer_new(self, form: Form) -> Response:
        """Show the values of a form whose record is gone, to create another record with them."""
        form.status, form.alert = 404, gettext(form.unconfirmed or RECORD_DELETED)
        form.values |= new_form().values
        return self.render("new", form)

    async def delete(self, id_: int, form: Form) -> Response:
        record = await self.service.get(id_)
        undo = await self.prepare_undo([id_])
        async with self.show_conflicts("delete", id_, form):
            await self.service.delete(id_, expected_version(form))
        return self._flash_on_list(DELETED, getattr(record, self.title_field, ""), undo)

    @property
    def can_undo_delete(self) -> bool:
        return hasattr(self.service, "prepare_undo")

    async def prepare_undo(self, ids: Collection[int]) -> Undo | None:
        """Return the form that restores records which are going to be deleted, if that is possible.

        It is not when something else is deleted with them.
        """
        undo_id = await self.service.prepare_undo(ids) if self.can_undo_delete else None
        if undo_id is None:
            return None
        url = page_url(self._request, f"undo_delete_{self.folder}", **self.list_query)
        return Undo(url, {"undo_id": str(undo_id)})

    async def undo_delete(self, form: Form) -> Response:
        url = page_url(self._request, self.list_page, **self.list_query)
        try:
            await self.service.undo_delete(read_uuid(form.get("undo_id")))
        except NotFound as error:
            raise ResponseException(flash(self._request, url, UNDO_EXPIRED)) from error
        except Conflict as error:
            raise ResponseException(flash(self._request, url, NOT_RESTORABLE)) from error
        return flash(self._request, url, RESTORED)

    @asynccontextmanager
    async def show_conflicts(self, template: str, id_: int, form: Form) -> AsyncIterator[None]:
        """Show the current state of the record, and why the block could not change it."""
        try:
            yield
        except self.conflicts as error:
            form.status, form.alert = 409, translate_error(error)
            if isinstance(error, Stale):
                form.alert = gettext(CHANGED)
            raise ResponseException(await self.show(template, id_, form)) from error

    def _read(self, form: Form) -> Any:
        rows = {
            name: [form.normalize(schema, row) for row in form.take_rows(name)]
            for name, schema in self.rows.items()
        }
        return form.read(self.schema, **rows)

    async def _update(self, id_: int, form: Form) -> Any:
        data = self._read(form)
        try:
            return await self.service.update(id_, data, expected_version(form))
        except Stale:
            # A form that is submitted twice finds its own changes, which is no conflict.
            record = await self.service.get(id_)
            if self.schema.model_validate(record, from_attributes=True) != data:
                raise
            return record

    def _flash_on_list(
        self, texts: tuple[str, str], title: object, undo: Undo | None = None, record: Any = None
    ) -> Response:
        """Lead back to the list as it was, with a message and the record lit up."""
        url = page_url(self._request, self.list_page, **self.list_query)
        return flash_change(
            self._request, url, texts, title, undo=undo, record=record and record.id
        )

    def _list_url(self, form: Form, page: str = "", **params: str) -> str:
        values = {name: form.get(name) for name in self._filters if form.get(name)}
        if page:  # such as an export, which takes values in the notation of the API
            values = form.normalize(self.query, values)
        query = {name: value for name, value in (values | params).items() if value}
        return page_url(self._request, page or self.list_page, **query)


def flash_change(
    request: Request,
    url: str,
    texts: tuple[str, str],
    title: object,
    *,
    undo: Undo | None = None,
    record: int | None = None,
) -> Response:
    """Leave one of two texts: about a record with a title, or about one without."""
    text = texts[0] if title else texts[1]
    return flash(request, url, text, undo=undo, record=record, title=title)


def read_uuid(text: str) -> UUID:
    """Read an ID that a form has. Raise NotFound if somebody has changed it."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such ID.") from None


def values_of(record: Any, names: Iterable[str]) -> dict[str, str]:
    values = {name: getattr(record, name) for name in names}
    return {name: format_value(value) for name, value in values.items()}


def format_value(value: object) -> str:
    """Format a value as a form submits it."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool | dict) else str(value)
