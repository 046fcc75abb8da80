"""The base of all repositories. A subclass adds the queries that its slice needs."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    tuple_,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.base import Executable

from app.core.database.models import Base
from app.core.database.pagination import Position, Sort
from app.core.database.queries import Params
from app.core.database.session import Session
from app.core.errors import Conflict, NotFound, Stale

ModelT = TypeVar("ModelT", bound=Base)
FoundT = TypeVar("FoundT")
SelectT = TypeVar("SelectT", bound=Select[Any])
MAX_ROWS_PER_INSERT = 100
MAX_VERSIONS = 50
MAX_COUNT = 10_000
MAX_DELETED = 100  # at once
Versions = frozenset[int] | None  # the versions that a change expects, or None for any
Times = Sequence[datetime]
adapter_of = lru_cache(TypeAdapter)


class Counts(NamedTuple):
    """How many rows there are, and how many were created between each two of some times.

    No more than MAX_COUNT rows are counted.
    """

    total: int
    created: Sequence[int]


def identity_of(record: Base) -> Any:
    return inspect(record).identity


def words_of(model: type[Base]) -> str:
    """Return the name of a model in words, such as "Order Line"."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", model.__name__)


def page_statement(model: type[Base], statement: SelectT, sort: Sort, *, is_first: bool) -> SelectT:
    """Return the statement of one page, whose start and length are given by `page_params`.

    The names of its parameters start with an underscore: no column and no filter has such a name.
    """
    columns = [getattr(model, name) for name in sort.names]
    if not is_first:
        key = tuple_(*columns)
        after = tuple_(
            *(bindparam(f"_after_{column.key}", type_=column.type) for column in columns)
        )
        statement = statement.where(key < after if sort.descending else key > after)
    order = [column.desc() if sort.descending else column.asc() for column in columns]
    return statement.order_by(*order).limit(bindparam("_limit"))


def page_params(
    model: type[Base], sort: Sort, after: Position | None, limit: int
) -> dict[str, Any]:
    """Return the parameters of `page_statement`."""
    params: dict[str, Any] = {"_limit": limit}
    for name, value in zip(sort.names, after or (), strict=after is not None):
        type_ = getattr(model, name).type.python_type
        params[f"_after_{name}"] = adapter_of(type_).validate_python(value)
    return params


class Repository(Generic[ModelT]):
    """The queries of one model."""

    model: type[ModelT]

    def __init__(self, session: Session) -> None:
        self._session = session

    def require_found(self, record: FoundT | None, id_: int) -> FoundT:
        """Return the record. Raise NotFound if it is None."""
        if record is None:
            raise NotFound(f"{words_of(self.model)} Not Found (id: {id_})")
        return record

    def require_version(self, record: Any, expected: Versions) -> None:
        """Raise Stale if the record's version is not one of the expected versions."""
        if expected is not None and record.version not in expected:
            name = words_of(self.model).lower()
            raise Stale(
                "The {name} has changed. The current version is {version}.",
                name=name,
                version=record.version,
            )

    async def one_or_none(self, statement: Executable) -> ModelT | None:
        """Return the row of a SELECT, or of an UPDATE or DELETE with RETURNING, or None."""
        result: ModelT | None = (await self._session.scalars(statement)).one_or_none()
        return result

    async def add(self, record: ModelT) -> ModelT:
        """Add a record, and flush it, so that a violated constraint is a Conflict here."""
        self._session.add(record)
        with self._raise_conflicts():
            await self._session.flush()
        return record

    async def add_all(self, records: Iterable[Mapping[str, Any]]) -> Sequence[ModelT]:
        """Insert records by as few statements as possible, and return them in their order."""
        # To keep the order, SQLAlchemy would insert them one by one on SQLite. There, IDs are in
        # the order of the records, so sorting by them does the same.
        is_sqlite = self._session.get_bind().dialect.name == "sqlite"
        statement = insert(self.model).returning(self.model, sort_by_parameter_order=not is_sqlite)
        # Without render_nulls, rows with other nulls would need another statement. So does each
        # number of rows, which every connection keeps prepared: the page size bounds how many.
        options = {"render_nulls": True, "insertmanyvalues_page_size": MAX_ROWS_PER_INSERT}
        with self._raise_conflicts():
            result = await self._session.scalars(
                statement, list(records), execution_options=options
            )
            added = result.all()
        return sorted(added, key=identity_of) if is_sqlite else added

    async def count(
        self, statement: Select[ModelT], params: Params | None = None, limit: int | None = None
    ) -> int:
        """Count the rows of a statement, up to a limit."""
        count = select(func.count()).select_from(statement.limit(limit).subquery())
        return await self._session.scalar(count, params) or 0

    async def delete_some(self, condition: ColumnElement[bool]) -> int:
        """Delete some of the rows that match, and return their number.

        Rows that another transaction is deleting are left to it.
        """
        model: Any = self.model
        found = select(model.id).where(condition).limit(MAX_DELETED)
        found = found.with_for_update(skip_locked=True)
        statement = delete(model).where(model.id.in_(found)).returning(model.id)
        return len((await self._session.scalars(statement)).all())

    async def page(
        self, statement: Select[ModelT], sort: Sort, after: Position | None, limit: int
    ) -> Sequence[ModelT]:
        """Return the rows after a position. No row is skipped or repeated while others write."""
        statement = page_statement(self.model, statement, sort, is_first=after is None)
        params = page_params(self.model, sort, after, limit)
        return (await self._session.scalars(statement, params)).all()

    @contextmanager
    def _raise_conflicts(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            name = words_of(self.model).lower()
            raise Conflict("This {name} conflicts with the stored data.", name=name) from error
