"""What every repository does. Named queries belong to the subclass, and special cases too."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Select, func, insert, inspect, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import Executable

from app.core.db import Database
from app.core.errors import Conflict
from app.core.orm import Base
from app.core.pagination import Position, Sort

ModelT = TypeVar("ModelT", bound=Base)
SelectT = TypeVar("SelectT", bound=Select[Any])
RepositoriesT = TypeVar("RepositoriesT")
_adapter = lru_cache(TypeAdapter)


def identity_of(record: Base) -> Any:
    return inspect(record).identity


class Repository(Generic[ModelT]):
    model: type[ModelT]

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def one(self, statement: Executable) -> ModelT | None:
        """The row of a SELECT, or of an UPDATE or DELETE with RETURNING."""
        result: ModelT | None = (await self._session.scalars(statement)).one_or_none()
        return result

    async def add(self, record: ModelT) -> ModelT:
        """Flushed here, so that a constraint speaks here and not at the commit."""
        self._session.add(record)
        with self._conflicts():
            await self._session.flush()
        return record

    async def add_all(self, records: Iterable[Mapping[str, Any]]) -> Sequence[ModelT]:
        """In one INSERT, and answered in their order."""
        # To have them in order, SQLAlchemy would send them to SQLite one by one; that numbers them
        # in order, too.
        is_sqlite = self._session.get_bind().dialect.name == "sqlite"
        statement = insert(self.model).returning(self.model, sort_by_parameter_order=not is_sqlite)
        # Without render_nulls, each null begins another statement.
        options = {"render_nulls": True}
        with self._conflicts():
            result = await self._session.scalars(
                statement, list(records), execution_options=options
            )
            added = result.all()
        return sorted(added, key=identity_of) if is_sqlite else added

    async def count(self, statement: Select[ModelT]) -> int:
        return (
            await self._session.scalar(select(func.count()).select_from(statement.subquery())) or 0
        )

    async def page(
        self, statement: Select[ModelT], sort: Sort, after: Position | None, limit: int
    ) -> Sequence[ModelT]:
        """The rows behind `after`: nothing is skipped or repeated while others write."""
        statement = self._page_of(statement, sort, after, limit)
        return (await self._session.scalars(statement)).all()

    async def rows(
        self, statement: Select[ModelT], sort: Sort, after: Position | None, limit: int
    ) -> Sequence[Any]:
        """The same page as plain rows, which take a fraction of the time that entities do."""
        plain = statement.with_only_columns(*self.model.__table__.columns)
        return (await self._session.execute(self._page_of(plain, sort, after, limit))).all()

    def _page_of(
        self, statement: SelectT, sort: Sort, after: Position | None, limit: int
    ) -> SelectT:
        columns = [getattr(self.model, name) for name in sort.names]
        if after is not None:
            values = [
                _adapter(column.type.python_type).validate_python(value)
                for column, value in zip(columns, after, strict=True)
            ]
            key = tuple_(*columns)
            statement = statement.where(key < values if sort.descending else key > values)
        order = [column.desc() if sort.descending else column.asc() for column in columns]
        return statement.order_by(*order).limit(limit)

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Conflict(f"{self.model.__name__} conflicts with what is stored.") from error


class Units(Generic[RepositoriesT]):
    """Short units of work, for what must let go of the database while it awaits something else."""

    def __init__(
        self, repositories: Callable[[AsyncSession], RepositoriesT], database: Database
    ) -> None:
        self._repositories = repositories
        self._database = database

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[RepositoriesT]:
        async with self._database.reading() as session:
            yield self._repositories(session)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[RepositoriesT]:
        async with self._database.transaction() as session:
            yield self._repositories(session)
