"""What every repository does. Named queries belong to the subclass, and special cases too."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Select, bindparam, func, insert, inspect, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.base import Executable

from app.core.database.models import Base
from app.core.database.pagination import Position, Sort
from app.core.database.queries import Params
from app.core.database.session import Session
from app.core.database.unit_of_work import Database
from app.core.errors import Conflict, NotFound, Stale

ModelT = TypeVar("ModelT", bound=Base)
FoundT = TypeVar("FoundT")
SelectT = TypeVar("SelectT", bound=Select[Any])
RepositoriesT = TypeVar("RepositoriesT")
MAX_ROWS_PER_INSERT = 100
MAX_VERSIONS = 50
Versions = frozenset[int] | None  # those that a change expects; None is any
_adapter = lru_cache(TypeAdapter)


def identity_of(record: Base) -> Any:
    return inspect(record).identity


def page_statement(model: type[Base], statement: SelectT, sort: Sort, *, is_first: bool) -> SelectT:
    """Where it begins and ends is in `page_params`."""
    columns = [getattr(model, name) for name in sort.names]
    if not is_first:
        key = tuple_(*columns)
        after = tuple_(*(bindparam(f"after_{column.key}", type_=column.type) for column in columns))
        statement = statement.where(key < after if sort.descending else key > after)
    order = [column.desc() if sort.descending else column.asc() for column in columns]
    return statement.order_by(*order).limit(bindparam("limit"))


def page_params(
    model: type[Base], sort: Sort, after: Position | None, limit: int
) -> dict[str, Any]:
    params: dict[str, Any] = {"limit": limit}
    for name, value in zip(sort.names, after or (), strict=after is not None):
        type_ = getattr(model, name).type.python_type
        params[f"after_{name}"] = _adapter(type_).validate_python(value)
    return params


class Repository(Generic[ModelT]):
    model: type[ModelT]

    def __init__(self, session: Session) -> None:
        self._session = session

    def require_found(self, record: FoundT | None, id_: int) -> FoundT:
        """Return the record. Raise NotFound when there is none."""
        if record is None:
            raise NotFound(f"{self.model.__name__} Not Found (id: {id_})")
        return record

    def require_version(self, record: Any, expected: Versions) -> None:
        """Raise Stale when the record's version is none of those expected."""
        if expected is not None and record.version not in expected:
            name = self.model.__name__.lower()
            raise Stale(f"The {name} has changed: it is version {record.version} now.")

    async def one_or_none(self, statement: Executable) -> ModelT | None:
        """The row of a SELECT, or of an UPDATE or DELETE with RETURNING."""
        result: ModelT | None = (await self._session.scalars(statement)).one_or_none()
        return result

    async def add(self, record: ModelT) -> ModelT:
        """Flushed here, so that a constraint speaks here and not at the commit."""
        self._session.add(record)
        with self._raise_conflicts():
            await self._session.flush()
        return record

    async def add_all(self, records: Iterable[Mapping[str, Any]]) -> Sequence[ModelT]:
        """In one INSERT, and answered in their order."""
        # To have them in order, SQLAlchemy would send them to SQLite one by one; that numbers them
        # in order, too.
        is_sqlite = self._session.get_bind().dialect.name == "sqlite"
        statement = insert(self.model).returning(self.model, sort_by_parameter_order=not is_sqlite)
        # Without render_nulls, each null begins another statement. Each number of rows is another
        # too, which every connection keeps prepared: at most so many, and of that length.
        options = {"render_nulls": True, "insertmanyvalues_page_size": MAX_ROWS_PER_INSERT}
        with self._raise_conflicts():
            result = await self._session.scalars(
                statement, list(records), execution_options=options
            )
            added = result.all()
        return sorted(added, key=identity_of) if is_sqlite else added

    async def count(self, statement: Select[ModelT], params: Params | None = None) -> int:
        counted = select(func.count()).select_from(statement.subquery())
        return await self._session.scalar(counted, params) or 0

    async def page(
        self, statement: Select[ModelT], sort: Sort, after: Position | None, limit: int
    ) -> Sequence[ModelT]:
        """The rows behind `after`: nothing is skipped or repeated while others write."""
        statement = page_statement(self.model, statement, sort, is_first=after is None)
        params = page_params(self.model, sort, after, limit)
        return (await self._session.scalars(statement, params)).all()

    @contextmanager
    def _raise_conflicts(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Conflict(f"{self.model.__name__} conflicts with what is stored.") from error


class UnitsOfWork(Generic[RepositoriesT]):
    """Short units of work, for what must let go of the database while it awaits something else."""

    def __init__(
        self, repositories: Callable[[Session], RepositoriesT], database: Database
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
