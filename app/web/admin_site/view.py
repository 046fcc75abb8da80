"""The base of the admin views in the `admin.py` of the slices."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from itertools import chain
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Select, false, func, inspect, or_, select
from sqlalchemy.sql.base import ExecutableOption
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.core.database.models import Base, lowered, simple_lower
from app.core.database.repository import adapter_of, words_of
from app.core.database.session import Session
from app.core.errors import NotFound
from app.core.resources import Resources, resources_of
from app.core.schemas import Output, Text
from app.core.security.principal import Principal
from app.core.translation import gettext, mark
from app.web.admin_site.filters import AdminFilter
from app.web.admin_site.texts import is_choice, label_of
from app.web.admin_site.values import Formats
from app.web.forms import ErrorFields, Form, expected_version
from app.web.once import SubmitOnce, get_submit_once

EXPORT_PAGE_SIZE = 1000
PAGE_SIZES = (20, 50, 100)
SEARCH_TERM = TypeAdapter[str](Annotated[str, Text(max_length=255)])


class AdminPage(NamedTuple):
    rows: Sequence[Any]
    number: int
    size: int
    total: int

    @property
    def first(self) -> int:
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


class AdminView:
    """The admin's pages for one model.

    They show only the fields of `read_schema`: a field that is not in it, such as a password hash,
    is on no page and in no export.

    The slice writes: its `create`, `edit` and `delete` pass the form to a service. The form shows
    the errors that the service raises. Without a schema for it, there is no such form.
    """

    model: ClassVar[type[Base]]
    name: ClassVar[str]
    """One record in words. By default the name of the model."""
    plural: ClassVar[str]
    read_schema: ClassVar[type[Output]]
    create_schema: ClassVar[type[BaseModel] | None] = None
    edit_schema: ClassVar[type[BaseModel] | None] = None
    filter_schema: ClassVar[type[BaseModel] | None] = None
    """The schema that validates filters, if it is not that of the forms."""
    can_delete: ClassVar[bool] = False

    title_field: ClassVar[str] = ""
    """The field by which pages name a record. By default they name its key."""
    columns: ClassVar[Sequence[str]] = ()
    search_fields: ClassVar[Sequence[str]] = ()
    sort_fields: ClassVar[Sequence[str]] = ()
    default_sort: ClassVar[Sequence[str]] = ("-id",)
    filters: ClassVar[Sequence[str]] = ()
    labels: ClassVar[Mapping[str, str]] = {}
    """The labels of the fields that are not called by their names."""
    formats: ClassVar[Formats] = {}
    """Functions that return a value of a record as the pages show it, by the name of its field."""
    rows: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The relationships whose records the page of a record shows as tables, and their columns."""
    options: ClassVar[Sequence[ExecutableOption]] = ()
    """The loader options of the relationships that are shown."""
    hidden: ClassVar[tuple[str, ...]] = ()
    """Fields of the record that the edit form has as hidden fields."""
    create_error_fields: ClassVar[ErrorFields] = {}
    """The fields that domain errors are shown beside when a record is created."""
    edit_template: ClassVar[str] = "admin_site/form.html"
    edit_label: ClassVar[str] = mark("Edit")

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "model"):
            return
        words = words_of(cls.model)
        cls.name = cls.__dict__.get("name", words.capitalize())
        cls.plural = cls.__dict__.get("plural", f"{cls.name}s")
        schemas = (cls.read_schema, cls.create_schema, cls.edit_schema)
        names = [name for schema in schemas if schema for name in schema.model_fields]
        names += [*cls.rows, *chain(*cls.rows.values())]
        cls.labels = {name: label_of(name) for name in names} | dict(cls.labels)

    @property
    def identity(self) -> str:
        """Return the name in URLs, such as "order-line"."""
        return words_of(self.model).lower().replace(" ", "-")

    @property
    def key_column(self) -> Any:
        (column,) = inspect(self.model).primary_key
        return column

    @property
    def link_column(self) -> str:
        """Return the column that links to the page of the record."""
        if self.title_field in self.columns:
            return self.title_field
        own = (name for name in self.columns if not self._is_reference(name))
        return next(own, self.columns[0])

    def _is_reference(self, name: str) -> bool:
        column = self.model.__table__.columns.get(name)
        return column is not None and bool(column.foreign_keys)

    def title_of(self, record: Any) -> str:
        """Return the words by which a page names a record."""
        title = getattr(record, self.title_field) if self.title_field else None
        has_title = title is not None and str(title).strip()
        return str(title) if has_title else f"{gettext(self.name)} {self.key_of(record)}"

    @classmethod
    def model_of_rows(cls, name: str) -> type[Base]:
        model: type[Base] = getattr(cls.model, name).property.mapper.class_
        return model

    def is_editable(self, record: Any) -> bool:
        return self.edit_schema is not None

    async def create(self, request: Request, form: Form) -> Any:
        """Create a record and return it, or None for a form that is submitted again."""
        raise NotImplementedError

    async def edit(self, request: Request, pk: Any, form: Form) -> Any:
        raise NotImplementedError

    async def delete(self, request: Request, records: Sequence[Any]) -> None:
        """Delete all records, or none if one cannot be deleted."""
        raise NotImplementedError

    def version_of(self, record: Any) -> str:
        """Return what changes with a record, so that nobody deletes what they have not seen."""
        return str(getattr(record, "version", "on"))

    def key(self, pk: str) -> Any:
        """Parse the primary key of a URL. Raise NotFound."""
        type_: Any = self.read_schema.model_fields[self.key_column.key].annotation
        if "\0" not in pk:  # which PostgreSQL refuses, and no key has
            with suppress(ValidationError):
                return adapter_of(type_).validate_python(pk)
        raise NotFound(f"{self.name} Not Found (id: {pk})")

    def key_of(self, record: Any) -> Any:
        return getattr(record, self.key_column.key)

    def changes(self, form: Form, before: Any, after: Any) -> list[str]:
        """Return the names of the fields that an edit changed.

        A field that only the form has, such as a new password, counts when it was filled in.
        """
        assert self.edit_schema  # noqa: S101 - for mypy: there is a form
        return [
            name
            for name in self.edit_schema.model_fields
            if (form.get(name) and not hasattr(before, name))
            or getattr(before, name, None) != getattr(after, name, None)
        ]

    async def get(self, session: Session, pk: str) -> Any:
        statement: Select[Any] = select(self.model).where(self.key_column == self.key(pk))
        record = await session.scalar(statement.options(*self.options))
        if record is None:
            raise NotFound(f"{self.name} Not Found (id: {pk})")
        return record

    async def get_many(self, session: Session, pks: Iterable[str]) -> Sequence[Any]:
        """Return the records that exist, in the order of their keys.

        Two requests that delete in one order cannot wait for each other.
        """
        keys = set[Any]()
        for pk in pks:
            with suppress(NotFound):
                keys.add(self.key(pk))
        statement = select(self.model).where(self.key_column.in_(keys)).order_by(self.key_column)
        return (await session.scalars(statement.options(*self.options))).all()

    async def list(self, session: Session, params: Mapping[str, str]) -> AdminPage:
        """Return the page that the query parameters ask for."""
        statement = self._matching(params)
        number, size = _number(params, "page", 1), _number(params, "page_size", PAGE_SIZES[0])
        if size not in PAGE_SIZES:
            raise HTTPException(400, "Choose one of the page sizes in the list.")
        ids = statement.with_only_columns(self.key_column).subquery()
        total = await session.scalar(select(func.count()).select_from(ids)) or 0
        number = max(1, min(number, -(-total // size)))
        statement = statement.order_by(*self._order(params.get("sort", "")), self.key_column)
        statement = statement.options(*self.options).limit(size).offset((number - 1) * size)
        rows = (await session.scalars(statement)).all()
        return AdminPage(rows, number, size, total)

    def _order(self, sort: str) -> Sequence[Any]:
        known = (*self.default_sort, *self.sort_fields, *(f"-{name}" for name in self.sort_fields))
        if sort and sort not in known:
            raise HTTPException(400, "Choose one of the columns that the list is sorted by.")
        return [
            getattr(self.model, each.removeprefix("-")).desc()
            if each.startswith("-")
            else getattr(self.model, each)
            for each in ([sort] if sort else self.default_sort)
        ]

    async def pages(
        self, resources: Resources, params: Mapping[str, str]
    ) -> AsyncIterator[Sequence[Any]]:
        """Yield all records that match, for `app.core.http.export`."""
        statement = self._matching(params).options(*self.options)
        statement = statement.order_by(self.key_column).limit(EXPORT_PAGE_SIZE)
        after: Any = None
        while True:
            rest = statement if after is None else statement.where(self.key_column > after)
            async with resources.database.reading() as session:
                rows = (await session.scalars(rest)).all()
            if not rows:
                return
            after = self.key_of(rows[-1])
            yield rows

    def _matching(self, params: Mapping[str, str]) -> Select[Any]:
        statement: Select[Any] = select(self.model)
        for filter_ in self.list_filters:
            condition = filter_.condition(params)
            if condition is not None:
                statement = statement.where(condition)
        term = params.get("search")
        return self._search(statement, term) if term else statement

    def _search(self, statement: Select[Any], term: str) -> Select[Any]:
        """Search as the API's `q` does: case-insensitively, with wildcards as plain characters."""
        try:
            part = simple_lower(SEARCH_TERM.validate_python(term))
        except ValidationError:  # such as NUL: no text contains it, and PostgreSQL refuses it
            return statement.where(false())
        columns = (getattr(self.model, name) for name in self.search_fields)
        matches = (lowered(each).contains(part, autoescape=True) for each in columns)
        return statement.where(or_(false(), *matches))

    @cached_property
    def list_filters(self) -> Sequence[AdminFilter]:
        return [
            AdminFilter(name, self.labels[name], getattr(self.model, name), self._type_of(name))
            for name in self.filters
        ]

    def _type_of(self, name: str) -> Any:
        """Return the type of a filter's values, which are validated as those of the forms are."""
        type_: Any = getattr(self.model, name).type.python_type
        if type_ is bool or is_choice(type_):
            return type_
        schemas = (self.create_schema, self.edit_schema, self.filter_schema, self.read_schema)
        fields = (schema.model_fields.get(name) for schema in schemas if schema)
        field = next(each for each in fields if each)
        type_ = field.annotation
        return type_ if is_choice(type_) else Annotated[type_, field]


class ServiceView(AdminView):
    """The admin's pages for a resource whose service has `create`, `update` and `delete`."""

    get_service: ClassVar[Callable[[Session, Principal, Resources], Awaitable[Any]]]

    create_schema: ClassVar[type[BaseModel]]
    edit_schema: ClassVar[type[BaseModel]]
    can_delete = True
    hidden = ("version",)

    async def create(self, request: Request, form: Form) -> Any:
        async with self._open(request) as (service, once):
            data = form.read(self.create_schema)
            is_first = await once.is_first(request.state.principal, form)
            return await service.create(data) if is_first else None

    async def edit(self, request: Request, pk: Any, form: Form) -> Any:
        async with self._open(request) as (service, _):
            data = form.read(self.edit_schema)
            return await service.update(pk, data, expected_version(form))

    async def delete(self, request: Request, records: Sequence[Any]) -> None:
        async with self._open(request) as (service, _):
            for record in records:
                with suppress(NotFound):  # It is gone already, as it was to be.
                    await service.delete(self.key_of(record), frozenset([record.version]))

    @asynccontextmanager
    async def _open(self, request: Request) -> AsyncIterator[tuple[Any, SubmitOnce]]:
        """Build the service for a transaction, which is committed at the end of the block."""
        principal, resources = request.state.principal, resources_of(request)
        async with resources.database.transaction() as session:
            service = await type(self).get_service(session, principal, resources)
            yield service, await get_submit_once(session)


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(params.get(name) or default)
    except ValueError:
        raise HTTPException(400, "Choose one of the pages of the list.") from None
