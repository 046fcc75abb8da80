from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, bindparam, delete, false, insert, or_, select, update

from app.accounts.repository import (
    SessionRepository,
    caller_id,
    caller_is_ordinary,
    caller_may_call,
    claim,
    visible_to_caller,
)
from app.core.conditional import MAX_TAGS, Versions
from app.core.errors import Unauthenticated
from app.core.orm import lowered
from app.core.pagination import Position, Sort
from app.core.query import Query, columns_of, insert_where
from app.core.repository import Repository, page_of, page_params
from app.core.security import Caller, Claimant
from app.features.items.models import Item
from app.features.items.schemas import ItemFilter, ItemRead

# Of whom the items are, for a list: the claimant's, should they be no superuser; the caller's; or
# everybody's. That is one index each, where a condition for all of them would have none.
Whose = Literal["claimant", "caller", "everybody"]

COLUMNS = columns_of(Item, ItemRead)
NEW = [name for name in ItemRead.model_fields if name != "id"]
THE_ITEM = (Item.id == bindparam("item_id"), visible_to_caller(Item.owner_id))
GET = Query(select(*COLUMNS).where(*THE_ITEM), ItemRead)
CREATE = Query(insert_where(Item, NEW, caller_may_call).returning(*COLUMNS), ItemRead)

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
def page(whose: Whose, filters: frozenset[str], sort: Sort, *, is_first: bool) -> Query[ItemRead]:
    statement = select(*COLUMNS).where(*matching(whose, filters))
    # A plan for any text would not do: some are in all items, and some in one.
    return Query(
        page_of(Item, statement, sort, is_first=is_first), ItemRead, plan_anew="q" in filters
    )


@lru_cache(maxsize=256)
def change(names: frozenset[str], expected: int | None) -> Query[ItemRead]:
    """One statement, so that of many at once each is counted and none is lost, and of many that
    expect the same version one finds it."""
    values: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    values |= {"updated_at": bindparam("now"), "version": Item.version + 1}
    statement = update(Item).where(*THE_ITEM, *still(expected)).values(values)
    return Query(statement.returning(*COLUMNS), ItemRead)


@lru_cache(maxsize=256)
def deletion(expected: int | None) -> Query[ItemRead]:
    return Query(delete(Item).where(*THE_ITEM, *still(expected)).returning(*COLUMNS), ItemRead)


def still(expected: int | None) -> list[ColumnElement[bool]]:
    """At one of so many versions, or at any."""
    if expected is None:
        return []
    if expected == 0:
        return [false()]
    return [Item.version.in_([bindparam(f"expected_{n}") for n in range(expected)])]


def matching(whose: Whose, filters: frozenset[str]) -> list[ColumnElement[bool]]:
    conditions = [FILTERS[name] for name in sorted(filters)]
    if whose != "everybody":
        conditions.append(Item.owner_id == caller_id)
    if whose == "claimant":
        conditions.append(caller_is_ordinary)
    return conditions


def whose(caller: Caller) -> Whose:
    return "everybody" if caller.is_superuser else "caller"


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


def at(claimant: Claimant, item_id: int, expected: Versions) -> dict[str, Any]:
    given = [*(expected or ())]
    given += given[:1] * ((how_many(expected) or 0) - len(given))  # the first one, again and again
    versions = {f"expected_{n}": version for n, version in enumerate(given)}
    return claim(claimant) | versions | {"item_id": item_id}


class ItemRepository(Repository[Item]):
    model = Item

    async def get(self, claimant: Claimant, item_id: int) -> ItemRead | None:
        item = await self._session.fetch_one(GET, claim(claimant) | {"item_id": item_id})
        if item is None:  # but only who may call may know
            await self.confirm(claimant)
        return item

    async def list(
        self, claimant: Claimant, query: ItemFilter, after: Position | None, limit: int
    ) -> Sequence[ItemRead]:
        caller = claimant
        if not isinstance(caller, Caller):
            found = await self._page("claimant", caller, query, after, limit)
            if found:
                return found
            caller = await self.confirm(caller)
            if not caller.is_superuser:
                return found
        return await self._page(whose(caller), caller, query, after, limit)

    async def total(self, claimant: Claimant, query: ItemFilter) -> int:
        caller, filters = await self.confirm(claimant), filters_of(query)
        statement = select(Item).where(*matching(whose(caller), frozenset(filters)))
        return await self.count(statement, claim(caller) | filters)

    async def create(self, claimant: Claimant, values: Mapping[str, Any]) -> ItemRead:
        params = claim(claimant) | dict(values) | {"owner_id": claimant.user_id, "version": 1}
        params["created_at"] = params["updated_at"] = params["now"]
        with self._conflicts():
            item = await self._session.fetch_one(CREATE, params)
        if item is None:
            await self.confirm(claimant)
            raise Unauthenticated("The session has ended.")
        return item

    async def add_many(self, values: Sequence[Mapping[str, Any]]) -> None:
        # Without render_nulls, each null begins another statement.
        statement = insert(Item).execution_options(render_nulls=True)
        await self._session.execute(statement, values)

    async def change(
        self, claimant: Claimant, item_id: int, changes: Mapping[str, Any], expected: Versions
    ) -> ItemRead | None:
        query = change(frozenset(changes), how_many(expected))
        return await self._session.fetch_one(query, at(claimant, item_id, expected) | dict(changes))

    async def delete(self, claimant: Claimant, item_id: int, expected: Versions) -> ItemRead | None:
        query = deletion(how_many(expected))
        return await self._session.fetch_one(query, at(claimant, item_id, expected))

    async def _page(
        self,
        whose: Whose,
        claimant: Claimant,
        query: ItemFilter,
        after: Position | None,
        limit: int,
    ) -> Sequence[ItemRead]:
        filters, sort = filters_of(query), Sort(query.sort)
        params = claim(claimant) | filters | page_params(Item, sort, after, limit)
        shape = page(whose, frozenset(filters), sort, is_first=after is None)
        return await self._session.fetch(shape, params)

    async def confirm(self, claimant: Claimant) -> Caller:
        if isinstance(claimant, Caller):
            return claimant
        return await SessionRepository(self._session).confirm(claimant)
