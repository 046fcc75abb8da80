"""Rows that belong to a user.

For a principal, the rows of other users do not exist, unless it has the scope `RESOURCE:all`, named
after the table, which a slice grants to superusers.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Select,
    bindparam,
    delete,
    false,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.accounts.models import User
from app.accounts.undo import UndoRepository
from app.core.database.events import Event
from app.core.database.filters import Filter
from app.core.database.models import Base, utc_now
from app.core.database.pagination import Position, Sort
from app.core.database.queries import Query, columns_of
from app.core.database.repository import (
    MAX_COUNT,
    MAX_VERSIONS,
    Counts,
    Repository,
    Times,
    Versions,
    page_params,
    page_statement,
    words_of,
)
from app.core.database.session import Session
from app.core.errors import Conflict, Forbidden, InUse, NotFound
from app.core.schemas import Input, Output
from app.core.security.principal import Principal

ModelT = TypeVar("ModelT", bound=Base)
ReadT = TypeVar("ReadT", bound=Output)


class Owned:
    """A mixin of models whose rows belong to a user, and go with the account."""

    @declared_attr
    @classmethod
    def owner_id(cls) -> Mapped[int]:
        return mapped_column(ForeignKey("users.id", ondelete="CASCADE"))


async def lock_owner(session: Session, owner_id: int) -> None:
    """Let concurrent calls for the same owner wait for each other, up to the commit.

    Lock the owner before the owner's rows, as the deletion of an account does.
    """
    # key_share: the owner's other rows, which refer to the same account, need not wait.
    owner = select(User.id).where(User.id == owner_id).with_for_update(key_share=True)
    await session.execute(owner)


class OwnedEvent(Event):
    """An event about a row, which is published to the owner's feed of such events.

    `data` is the row as the owner sees it, for what is sent to other systems. The feed has the
    other fields only.
    """

    feed: ClassVar[str]

    type: str
    owner_id: int = Field(exclude=True)
    data: Output | None = Field(default=None, exclude=True)

    @classmethod
    def topic_of(cls, owner_id: int) -> str:
        """Return the topic of the owner's feed."""
        return f"{cls.feed}/{owner_id}"

    @property
    def topic(self) -> str:
        return self.topic_of(self.owner_id)


class OwnedRepository(Repository[ModelT], Generic[ModelT, ReadT]):
    """The rows of the principal, or of all users for a principal with the scope `RESOURCE:all`.

    Each method is one prepared statement. A subclass names its model, which is Owned and Versioned,
    the schema of what it returns, its filters by the names of their query parameters, and the
    conditions on which a row that is visible may be changed.

    The statements' own parameters have names that start with an underscore, so that a column
    `user_id`, or a filter by it, does not replace the user to whom the rows have to belong.
    """

    schema: type[ReadT]
    filters: ClassVar[Mapping[str, Filter]] = {}
    changeable: ClassVar[Sequence[ColumnElement[bool]]] = ()

    def __init__(self, session: Session, principal: Principal) -> None:
        super().__init__(session)
        self.principal = principal

    @property
    def _type(self) -> Any:  # mypy does not find classes hashable
        return type(self)

    @property
    def _sees_all(self) -> bool:
        return self.principal.sees_all(self.model.__tablename__)

    @property
    def visible(self) -> list[ColumnElement[bool]]:
        """The condition of a statement of one's own, which takes the parameter `_user_id`."""
        return visible_to(self.model, self._sees_all)

    async def get(self, id_: int) -> ReadT:
        """Return the row. Raise NotFound when there is none that is visible."""
        query = get_query(self._type, self._sees_all)
        row: ReadT | None = await self._session.fetch_one(query, self._params(_id=id_))
        return self.require_found(row, id_)

    async def get_many(self, ids: Collection[int]) -> Sequence[ReadT]:
        """Return the visible rows with these IDs, in no order."""
        model: Any = self.model
        statement = select(*columns_of(self.model, self.schema))
        statement = statement.where(model.id.in_(ids), *self.visible)
        rows = await self._session.execute(statement, self._params())
        return [self.schema.model_validate(row) for row in rows]

    async def list(
        self, filters: Input, sort: Sort, after: Position | None, limit: int
    ) -> Sequence[ReadT]:
        """Return the rows after a position, or the first ones.

        Raise Forbidden when a filter on the owner names another user whose rows are not visible.
        """
        given = self._filter_values(filters)
        query = page_query(
            self._type,
            self._sees_all,
            frozenset(given),
            sort,
            is_first=after is None,
        )
        params = self._params(**given, **page_params(self.model, sort, after, limit))
        return await self._session.fetch(query, params)

    async def total(self, filters: Input, limit: int | None = None) -> int:
        """Count the rows, up to a limit."""
        given = self._filter_values(filters)
        conditions = filter_conditions(self._type, self._sees_all, frozenset(given))
        statement: Select[Any] = select(self.model).where(*conditions)
        return await self.count(statement, self._params(**given), limit)

    async def count_created(self, times: Times) -> Counts:
        """Count the rows, and those created between each two of the times, in one statement.

        If there are too many to count, the oldest are left out.
        """
        model: Any = self.model
        ids = select(model.id).where(*self.visible).limit(MAX_COUNT)
        total = select(func.count()).select_from(ids.subquery()).scalar_subquery()
        made = select(model.created_at).where(*self.visible, model.created_at >= times[0])
        newest = made.order_by(model.created_at.desc()).limit(MAX_COUNT)
        made_at = newest.subquery().c.created_at
        statement = select(
            total, *(func.count().filter(made_at >= a, made_at < b) for a, b in pairwise(times))
        )
        counted = (await self._session.execute(statement, self._params())).one()
        return Counts(counted[0], counted[1:])

    async def create(self, values: Mapping[str, Any]) -> ReadT:
        values = {**values, **self._system_values()}
        with self._raise_conflicts():
            query = create_query(self._type, frozenset(values))
            row: ReadT | None = await self._session.fetch_one(query, values)
        assert row  # noqa: S101 - for mypy: an INSERT returns its row
        return row

    async def create_many(self, values: Sequence[Mapping[str, Any]]) -> Sequence[ReadT]:
        """Create all of them or none, and return them in the order given."""
        rows = await self.add_all({**each, **self._system_values()} for each in values)
        return [self.schema.model_validate(row) for row in rows]

    async def update(self, id_: int, changes: Mapping[str, Any], expected: Versions) -> ReadT:
        """Change the row, and return it.

        Raise NotFound, Stale when the version is none of those expected, or Forbidden when the row
        may not be changed. It is one statement, so that no change is lost, and one of many that
        expect one version wins.
        """
        if not changes:
            row = await self.get(id_)
            self.require_version(row, expected)
            return row
        query = update_query(
            self._type, self._sees_all, frozenset(changes), placeholder_count(expected)
        )
        return await self._change(id_, query, changes, expected)

    async def delete(self, id_: int, expected: Versions) -> ReadT:
        """Delete the row and return it as it was.

        Raise NotFound, Stale, Forbidden, or InUse when another table refers to the row.
        """
        query = delete_query(self._type, self._sees_all, placeholder_count(expected))
        try:
            return await self._change(id_, query, {}, expected)
        except Conflict as error:
            name = words_of(self.model).lower()
            raise InUse("This {name} is in use and cannot be deleted.", name=name) from error

    async def prepare_undo(self, ids: Collection[int]) -> UUID | None:
        """Copy rows that this transaction is going to delete, and return the ID for `undo_delete`.

        Return None when the rows of other tables are deleted or changed with them.
        """
        await lock_owner(self._session, self.principal.user_id)  # to whom the copies belong
        model: Any = self.model
        columns = [getattr(model, each.key) for each in inspect(model).column_attrs]
        statement = select(*columns).where(model.id.in_(ids), *self.visible)
        # While they are locked, no row can begin to refer to them.
        statement = statement.order_by(model.id).with_for_update()
        found = (await self._session.execute(statement, self._params())).mappings()
        rows = [{**row} for row in found]
        undo = UndoRepository(self._session)
        if not rows or await undo.has_dependents(model, ids):
            return None
        return await undo.save(self.principal.user_id, model, rows)

    async def undo_delete(self, undo_id: UUID) -> Sequence[ReadT]:
        """Create deleted rows again, with their IDs, and return them, or none the second time.

        Raise NotFound when the copies have expired, or Conflict when they cannot be stored now.
        """
        await lock_owner(self._session, self.principal.user_id)
        model: Any = self.model
        undo = UndoRepository(self._session)
        rows = await undo.take(undo_id, self.principal.user_id, model)
        if not self._sees_all and any(row["owner_id"] != self.principal.user_id for row in rows):
            raise NotFound("This deletion can no longer be undone.")
        ids = select(model.id).where(model.id.in_([row["id"] for row in rows]))
        taken, now = {*await self._session.scalars(ids)}, utc_now()
        values = [{**row, "version": row["version"] + 1, "updated_at": now} for row in rows]
        # SQLite gives the ID of the newest row again. Rows whose ID is taken get others, the last.
        others = [{**row, "id": None} for row in values if row["id"] in taken]
        restored = [row for row in values if row["id"] not in taken]
        added = await self.add_all(restored + others) if values else ()
        return [self.schema.model_validate(row) for row in added]

    async def _change(
        self, id_: int, query: Query[Any], changes: Mapping[str, Any], expected: Versions
    ) -> ReadT:
        params = self._params(_id=id_, _now=utc_now(), **changes, **version_params(expected))
        with self._raise_conflicts():
            row: ReadT | None = await self._session.fetch_one(query, params)
        if row is None:
            self.require_version(await self.get(id_), expected)
            name = words_of(self.model).lower()
            raise Forbidden("This {name} cannot be changed any more.", name=name)
        return row

    def _system_values(self) -> dict[str, Any]:
        now = utc_now()
        own = {"owner_id": self.principal.user_id, "version": 1}
        return own | {"created_at": now, "updated_at": now}

    def _filter_values(self, filters: Input) -> dict[str, Any]:
        values = {name: getattr(filters, name) for name in self.filters}
        others = (None, self.principal.user_id)
        if values.get("owner_id") not in others and not self._sees_all:
            scope = f"{self.model.__tablename__}:all"
            raise Forbidden("Another owner_id requires the scope {scope}.", scope=scope)
        return {
            name: self.filters[name].value(value)
            for name, value in values.items()
            if value is not None
        }

    def _params(self, **params: Any) -> dict[str, Any]:
        return {"_user_id": self.principal.user_id, **params}


RepositoryType = type[OwnedRepository[Any, Any]]


def placeholder_count(expected: Versions) -> int | None:
    """Return the number of versions that the statement compares with.

    It is one of few numbers, since there is a statement for each.
    """
    return None if expected is None else len(expected) if len(expected) <= 1 else MAX_VERSIONS


def version_params(expected: Versions) -> dict[str, Any]:
    versions, count = [*(expected or ())], placeholder_count(expected) or 0
    versions += versions[:1] * (count - len(versions))  # the first one, again and again
    return {f"_expected_{n}": version for n, version in enumerate(versions)}


def visible_to(model: Any, sees_all: bool) -> list[ColumnElement[bool]]:
    if sees_all:
        return []
    return [model.owner_id == bindparam("_user_id", type_=model.owner_id.type)]


def row_conditions(repository: RepositoryType, sees_all: bool, expected: int | None) -> list[Any]:
    model: Any = repository.model
    conditions = [model.id == bindparam("_id"), *visible_to(model, sees_all)]
    if expected == 0:
        conditions.append(false())
    elif expected is not None:
        versions: list[Any] = [bindparam(f"_expected_{n}") for n in range(expected)]
        conditions.append(model.version.in_(versions))
    return conditions


def filter_conditions(
    repository: RepositoryType, sees_all: bool, filters: frozenset[str]
) -> list[ColumnElement[bool]]:
    conditions = [repository.filters[name].on(name) for name in sorted(filters)]
    return [*conditions, *visible_to(repository.model, sees_all)]


# The statements, built once for each shape that clients ask for. The caches are bounded, since a
# client can vary the shape: by the filters that it gives, and the fields that it changes.


@lru_cache(maxsize=256)
def get_query(repository: RepositoryType, sees_all: bool) -> Query[Any]:
    columns = columns_of(repository.model, repository.schema)
    conditions = row_conditions(repository, sees_all, None)
    return Query(select(*columns).where(*conditions), repository.schema)


@lru_cache(maxsize=256)
def page_query(
    repository: RepositoryType,
    sees_all: bool,
    filters: frozenset[str],
    sort: Sort,
    *,
    is_first: bool,
) -> Query[Any]:
    columns = columns_of(repository.model, repository.schema)
    statement = select(*columns).where(*filter_conditions(repository, sees_all, filters))
    statement = page_statement(repository.model, statement, sort, is_first=is_first)
    custom_plan = any(repository.filters[name].custom_plan for name in filters)
    return Query(statement, repository.schema, custom_plan=custom_plan)


@lru_cache(maxsize=256)
def create_query(repository: RepositoryType, names: frozenset[str]) -> Query[Any]:
    columns = columns_of(repository.model, repository.schema)
    values: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    return Query(insert(repository.model).values(values).returning(*columns), repository.schema)


@lru_cache(maxsize=256)
def update_query(
    repository: RepositoryType, sees_all: bool, names: frozenset[str], expected: int | None
) -> Query[Any]:
    model: Any = repository.model
    values: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    values |= {"updated_at": bindparam("_now"), "version": model.version + 1}
    conditions = [*row_conditions(repository, sees_all, expected), *repository.changeable]
    statement = update(model).where(*conditions).values(values)
    columns = columns_of(model, repository.schema)
    return Query(statement.returning(*columns), repository.schema)


@lru_cache(maxsize=256)
def delete_query(repository: RepositoryType, sees_all: bool, expected: int | None) -> Query[Any]:
    columns = columns_of(repository.model, repository.schema)
    conditions = [*row_conditions(repository, sees_all, expected), *repository.changeable]
    statement = delete(repository.model).where(*conditions)
    return Query(statement.returning(*columns), repository.schema)
