from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, false, insert, or_, select, update

from app.core.conditional import MAX_TAGS, Versions
from app.core.orm import lowered, utc_now
from app.core.pagination import Position, Sort
from app.core.query import Query, columns_of
from app.core.repository import Repository, page_of, page_params
from app.core.security import Principal
from app.features.items.models import Item
from app.features.items.schemas import ItemFilter, ItemRead

COLUMNS = columns_of(Item, ItemRead)
NEW = [name for name in ItemRead.model_fields if name != "id"]
CREATE = Query(
    insert(Item).values({name: bindparam(name) for name in NEW}).returning(*COLUMNS), ItemRead
)


def visible_to(is_superuser: bool) -> list[ColumnElement[bool]]:
    """What is not yours does not exist, unless you are a superuser."""
    return [] if is_superuser else [Item.owner_id == bindparam("user_id", type_=Item.owner_id.type)]


def the_item(is_superuser: bool) -> list[ColumnElement[bool]]:
    return [Item.id == bindparam("item_id"), *visible_to(is_superuser)]


GET = {
    is_superuser: Query(select(*COLUMNS).where(*the_item(is_superuser)), ItemRead)
    for is_superuser in (False, True)
}

PATTERN = lowered(bindparam("q"))
FILTERS: dict[str, ColumnElement[bool]] = {
    "q": or_(
        lowered(Item.name).like(PATTERN, escape="\\"),
        lowered(Item.description).like(PATTERN, escape="\\"),
    ),
    "min_price": Item.price >= bindparam("min_price"),
    "max_price": Item.price <= bindparam("max_price"),
    "is_offer": Item.is_offer == bindparam("is_offer"),
    "owner_id": Item.owner_id == bindparam("owner_id"),
}


# One for each shape that clients ask for.
@lru_cache(maxsize=256)
def page(
    is_superuser: bool, filters: frozenset[str], sort: Sort, *, is_first: bool
) -> Query[ItemRead]:
    statement = select(*COLUMNS).where(*matching(is_superuser, filters))
    # A plan for any text would not do: some are in all items, and some in one.
    return Query(
        page_of(Item, statement, sort, is_first=is_first), ItemRead, plan_anew="q" in filters
    )


@lru_cache(maxsize=256)
def change(is_superuser: bool, names: frozenset[str], expected: int | None) -> Query[ItemRead]:
    """One statement, so that of many at once each is counted and none is lost, and of many that
    expect the same version one finds it."""
    values: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    values |= {"updated_at": bindparam("now"), "version": Item.version + 1}
    statement = update(Item).where(*the_item(is_superuser), *still(expected)).values(values)
    return Query(statement.returning(*COLUMNS), ItemRead)


@lru_cache(maxsize=256)
def deletion(is_superuser: bool, expected: int | None) -> Query[ItemRead]:
    conditions = [*the_item(is_superuser), *still(expected)]
    return Query(delete(Item).where(*conditions).returning(*COLUMNS), ItemRead)


def still(expected: int | None) -> list[ColumnElement[bool]]:
    """At one of so many versions, or at any."""
    if expected is None:
        return []
    if expected == 0:
        return [false()]
    return [Item.version.in_([bindparam(f"expected_{n}") for n in range(expected)])]


def matching(is_superuser: bool, filters: frozenset[str]) -> list[ColumnElement[bool]]:
    return [*(FILTERS[name] for name in sorted(filters)), *visible_to(is_superuser)]


def filters_of(query: ItemFilter) -> dict[str, Any]:
    """Those that are given, and their params."""
    filters = {name: value for name in FILTERS if (value := getattr(query, name)) is not None}
    if query.q is not None:
        filters["q"] = contains(query.q)
    return filters


def contains(q: str) -> str:
    for special in "\\%_":  # they stand for themselves
        q = q.replace(special, f"\\{special}")
    return f"%{q}%"


def how_many(expected: Versions) -> int | None:
    """Return one of few numbers: there is a statement for each."""
    return None if expected is None else len(expected) if len(expected) <= 1 else MAX_TAGS


def at(principal: Principal, item_id: int, expected: Versions) -> dict[str, Any]:
    given = [*(expected or ())]
    given += given[:1] * ((how_many(expected) or 0) - len(given))  # the first one, again and again
    versions = {f"expected_{n}": version for n, version in enumerate(given)}
    return versions | {"user_id": principal.user_id, "item_id": item_id, "now": utc_now()}


class ItemRepository(Repository[Item]):
    model = Item

    async def get(self, principal: Principal, item_id: int) -> ItemRead | None:
        params = {"user_id": principal.user_id, "item_id": item_id}
        return await self._session.fetch_one(GET[principal.is_superuser], params)

    async def list(
        self, principal: Principal, query: ItemFilter, after: Position | None, limit: int
    ) -> Sequence[ItemRead]:
        filters, sort = filters_of(query), Sort(query.sort)
        params = {"user_id": principal.user_id, **filters, **page_params(Item, sort, after, limit)}
        shape = page(principal.is_superuser, frozenset(filters), sort, is_first=after is None)
        return await self._session.fetch(shape, params)

    async def total(self, principal: Principal, query: ItemFilter) -> int:
        filters = filters_of(query)
        statement = select(Item).where(*matching(principal.is_superuser, frozenset(filters)))
        return await self.count(statement, {"user_id": principal.user_id, **filters})

    async def create(self, principal: Principal, values: Mapping[str, Any]) -> ItemRead:
        now = utc_now()
        own = {"owner_id": principal.user_id, "version": 1, "created_at": now, "updated_at": now}
        with self._conflicts():
            item = await self._session.fetch_one(CREATE, {**values, **own})
        assert item  # noqa: S101 - for mypy: an INSERT returns its row
        return item

    async def add_many(self, values: Sequence[Mapping[str, Any]]) -> None:
        # Without render_nulls, each null begins another statement.
        statement = insert(Item).execution_options(render_nulls=True)
        await self._session.execute(statement, values)

    async def change(
        self, principal: Principal, item_id: int, changes: Mapping[str, Any], expected: Versions
    ) -> ItemRead | None:
        query = change(principal.is_superuser, frozenset(changes), how_many(expected))
        params = at(principal, item_id, expected) | dict(changes)
        return await self._session.fetch_one(query, params)

    async def delete(
        self, principal: Principal, item_id: int, expected: Versions
    ) -> ItemRead | None:
        query = deletion(principal.is_superuser, how_many(expected))
        return await self._session.fetch_one(query, at(principal, item_id, expected))
