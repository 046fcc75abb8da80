"""The base of the admin views in the `admin.py` of the slices."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqladmin import ModelView
from sqladmin.formatters import BASE_FORMATTERS
from sqladmin.pagination import Pagination
from sqlalchemy import Select, false, func, or_, select
from sqlalchemy.sql.base import ExecutableOption
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.core.database.models import lowered, simple_lower
from app.core.errors import NotFound
from app.core.http.export import FORMATS
from app.core.resources import Resources, resources_of
from app.core.schemas import Output, Text
from app.core.security.principal import Principal
from app.core.translation import format_day, gettext
from app.web.admin_site.filters import BooleanFilter, ChoiceFilter, ValueFilter
from app.web.admin_site.texts import AdminText, choice_label, label_of
from app.web.forms import ErrorFields, Form, expected_version
from app.web.rendering import time_tag

EXPORT_PAGE_SIZE = 1000
SEARCH_TERM = TypeAdapter[str](Annotated[str, Text(max_length=255)])


def principal_of(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def _check_mark(value: bool) -> str:
    return gettext("Yes") if value else ""


def _yes_or_no(value: bool) -> str:
    return gettext("Yes") if value else gettext("No")


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


class AdminView(ModelView):
    """The admin's pages for one model.

    The library reads, and shows only the fields of `read_schema`: a field that is not in it, such
    as a password hash, is on no page and in no export.

    The slice writes: its `create`, `edit` and `delete` pass the form to a service. The form shows
    the errors that the service raises.
    """

    read_schema: ClassVar[type[Output]]
    create_schema: ClassVar[type[BaseModel]]
    edit_schema: ClassVar[type[BaseModel]]
    hidden: ClassVar[tuple[str, ...]] = ()
    """Fields of the record that the edit form has as hidden fields."""
    options: ClassVar[Sequence[ExecutableOption]] = ()
    """The loader options of the relationships that are shown."""
    references: ClassVar[Mapping[str, type["AdminView"]]] = {}
    """The views of the records that foreign keys refer to, by their fields. `app.admin` sets it."""
    create_error_fields: ClassVar[ErrorFields] = {}
    """The fields that domain errors are shown beside when a record is created."""

    filters: ClassVar[Sequence[str]] = ()
    """The fields that the list is filtered by, before the `column_filters`."""
    column_type_formatters: ClassVar = {
        **BASE_FORMATTERS,
        bool: _check_mark,
        date: format_day,
        datetime: time_tag,
        list: _listed,
        StrEnum: choice_label,
    }
    column_type_formatters_detail: ClassVar = column_type_formatters | {bool: _yes_or_no}
    export_types: ClassVar[list[str]] = [*FORMATS]
    page_size = 20
    page_size_options: ClassVar[list[int]] = [20, 50, 100]

    def __init_subclass__(cls) -> None:
        schemas = (getattr(cls, f"{name}_schema", None) for name in ("read", "create", "edit"))
        names = {name for schema in schemas if schema for name in schema.model_fields}
        own: dict[Any, str] = {name: AdminText(label) for name, label in cls.column_labels.items()}
        cls.column_labels = {name: label_of(name) for name in names} | own

    def get_filters(self) -> Any:
        return [*map(self._filter, self.filters), *self.column_filters]

    def _filter(self, name: str) -> Any:
        """Return the filter for a field. Its values are validated as those of the forms are."""
        column, title = getattr(self.model, name), self.column_labels[name]
        type_ = column.type.python_type
        if type_ is bool:
            return BooleanFilter(column, title)
        if issubclass(type_, StrEnum):
            return ChoiceFilter(column, title, type_)
        schemas = (getattr(self, "create_schema", self.read_schema), self.read_schema)
        field = next(each.model_fields[name] for each in schemas if name in each.model_fields)
        return ValueFilter(column, title, Annotated[field.annotation, field])

    def search_placeholder(self) -> str:
        return ", ".join(gettext(self.column_labels[name]) for name in self._search_fields)

    async def create(self, request: Request, form: Form) -> Any:
        raise NotImplementedError

    async def edit(self, request: Request, pk: Any, form: Form) -> Any:
        raise NotImplementedError

    async def delete(self, request: Request, pks: Sequence[Any]) -> None:
        """Delete all records, or none if one cannot be deleted."""
        raise NotImplementedError

    def key(self, pk: str) -> Any:
        """Parse the primary key of a URL. Raise NotFound."""
        (column,) = self.pk_columns
        try:
            type_: Any = self.read_schema.model_fields[column.name].annotation
            return TypeAdapter(type_).validate_python(pk)
        except ValidationError:
            raise NotFound(f"{self.name} Not Found (id: {pk})") from None

    def key_of(self, record: Any) -> Any:
        (column,) = self.pk_columns
        return getattr(record, column.name)

    def changes(self, form: Form, before: Any, after: Any) -> list[str]:
        """Return the names of the fields that an edit changed.

        A field that only the form has, such as a new password, counts when it was filled in.
        """
        return [
            name
            for name in self.edit_schema.model_fields
            if (form.get(name) and not hasattr(before, name))
            or getattr(before, name, None) != getattr(after, name, None)
        ]

    async def get(self, pk: str) -> Any:
        (column,) = self.pk_columns
        statement: Select[Any] = select(self.model).where(column == self.key(pk))
        statement = statement.options(*self.options)
        rows = await self._rows(statement)
        if not rows:
            raise NotFound(f"{self.name} Not Found (id: {pk})")
        return rows[0]

    async def get_object_for_details(self, request: Request) -> Any:
        record = await self.get(request.path_params["pk"])
        await self.note_names(request, [record])
        return record

    async def list(self, request: Request) -> Pagination:
        """Return a page. The library's own query would sort all rows to count them."""
        statement = await self.matching(request)
        page = self.validate_page_number(request.query_params.get("page"), 1)
        size = self.validate_page_number(request.query_params.get("pageSize"), self.page_size)
        if not 0 < size <= max(self.page_size_options):
            raise HTTPException(400, "Choose one of the page sizes in the list.")
        ids = statement.with_only_columns(*self.pk_columns).subquery()
        (count,) = await self._rows(select(func.count()).select_from(ids))
        page = min(max(page, 1), Pagination.max_page(count, size))
        ordered = self.sort_query(statement, request).order_by(*self.pk_columns)
        ordered = ordered.options(*self.options)
        rows = await self._rows(ordered.limit(size).offset((page - 1) * size))
        await self.note_names(request, rows)
        return Pagination(rows=[*rows], page=page, page_size=size, count=count)

    async def note_names(self, request: Request, rows: Sequence[Any]) -> None:
        """Note the names of what the rows refer to, by one statement for each foreign key.

        The name of a record is the first field that its view is searched by, or else its key. A
        record without a name is left out.
        """
        request.state.referred_to = referred_to = dict[str, tuple[str, dict[Any, str]]]()
        async with self.session_maker() as session:
            for field, view in self.references.items():
                (key,) = view.pk_columns
                name = getattr(view.model, str(next(iter(view.column_searchable_list), key.name)))
                pks = {getattr(row, field) for row in rows} - {None}
                found = await session.execute(select(key, name).where(key.in_(pks)))
                referred_to[field] = view.identity, {pk: str(text) for pk, text in found if text}

    async def pages(self, request: Request) -> AsyncIterator[Sequence[Any]]:
        """Yield all rows that match the list's filters, for `app.core.http.export`."""
        (column,) = self.pk_columns
        statement = (await self.matching(request)).options(*self.options)
        statement = statement.order_by(column).limit(EXPORT_PAGE_SIZE)
        rows = await self._rows(statement)
        while rows:
            yield rows
            rows = await self._rows(statement.where(column > self.key_of(rows[-1])))

    async def matching(self, request: Request) -> Select[Any]:
        statement, params = self.list_query(request), request.query_params
        filter_: Any  # the library has two unrelated base classes
        for filter_ in self.get_filters():
            value = params.get(filter_.parameter_name)
            operation = [params.get(f"{filter_.parameter_name}_op")] * filter_.has_operator
            if value and all(operation):
                statement = await filter_.get_filtered_query(
                    statement, *operation, value, self.model
                )
        term = params.get("search")
        return self.search_query(statement, term) if term else statement

    def search_query(self, stmt: Select[Any], term: str) -> Select[Any]:
        """Search as the API's `q` does: case-insensitively, with wildcards as plain characters."""
        try:
            part = simple_lower(SEARCH_TERM.validate_python(term))
        except ValidationError:  # such as NUL: no text contains it, and PostgreSQL refuses it
            return stmt.where(false())
        columns = (getattr(self.model, name) for name in self._search_fields)
        matches = (lowered(each).contains(part, autoescape=True) for each in columns)
        return stmt.where(or_(false(), *matches))

    def get_details_columns(self) -> Any:
        return [*self.read_schema.model_fields]

    get_export_columns = get_details_columns

    def get_form_columns(self) -> Any:
        return []  # see `app.web.admin_site.fields`

    async def _rows(self, statement: Select[Any]) -> Sequence[Any]:
        async with self.session_maker() as session:
            rows: Sequence[Any] = (await session.scalars(statement)).all()
            return rows


class ServiceView(AdminView):
    """The admin's pages for a resource whose service has `create`, `update` and `delete`."""

    service: ClassVar[Callable[[Principal, Resources], AbstractAsyncContextManager[Any]]]
    """Build the service, whose changes are committed at the end of the block."""

    hidden = ("version",)
    column_default_sort = ("id", True)

    async def create(self, request: Request, form: Form) -> Any:
        async with self._service(request) as service:
            return await service.create(form.read(self.create_schema))

    async def edit(self, request: Request, pk: Any, form: Form) -> Any:
        async with self._service(request) as service:
            data = form.read(self.edit_schema)
            return await service.update(pk, data, expected_version(form))

    async def delete(self, request: Request, pks: Sequence[Any]) -> None:
        async with self._service(request) as service:
            for pk in pks:
                await service.delete(pk, None)

    def _service(self, request: Request) -> AbstractAsyncContextManager[Any]:
        return type(self).service(principal_of(request), resources_of(request))
