from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, insert, or_, select, true, update

from app.core.conditional import Versions
from app.core.orm import lowered
from app.core.pagination import Position, Sort
from app.core.repository import Repository
from app.core.security import Caller
from app.features.items.models import Item
from app.features.items.schemas import ItemFilter


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """Ownership is part of each query: what is not yours does not exist."""
    return true() if caller.is_superuser else Item.owner_id == caller.user_id


def still(expected: Versions, caller: Caller, item_id: int) -> list[ColumnElement[bool]]:
    conditions = [Item.id == item_id, visible_to(caller)]
    return conditions if expected is None else [*conditions, Item.version.in_(expected)]


def contains(q: str) -> ColumnElement[bool]:
    for special in "\\%_":  # they stand for themselves
        q = q.replace(special, f"\\{special}")
    pattern = lowered(f"%{q}%")
    columns = (Item.name, Item.description)
    return or_(*(lowered(column).like(pattern, escape="\\") for column in columns))


def matching(caller: Caller, query: ItemFilter) -> Select[Item]:
    statement = select(Item).where(visible_to(caller))
    if query.q is not None:
        statement = statement.where(contains(query.q))
    if query.min_price is not None:
        statement = statement.where(Item.price >= query.min_price)
    if query.max_price is not None:
        statement = statement.where(Item.price <= query.max_price)
    if query.is_offer is not None:
        statement = statement.where(Item.is_offer == query.is_offer)
    if query.owner_id is not None:
        statement = statement.where(Item.owner_id == query.owner_id)
    return statement


class ItemRepository(Repository[Item]):
    model = Item

    async def get(self, caller: Caller, item_id: int) -> Item | None:
        return await self.one(select(Item).where(Item.id == item_id, visible_to(caller)))

    async def list(
        self, caller: Caller, query: ItemFilter, after: Position | None, limit: int
    ) -> Sequence[Item]:
        return await self.page(matching(caller, query), Sort(query.sort), after, limit)

    async def list_rows(
        self, caller: Caller, query: ItemFilter, after: Position | None, limit: int
    ) -> Sequence[Any]:
        return await self.rows(matching(caller, query), Sort(query.sort), after, limit)

    async def total(self, caller: Caller, query: ItemFilter) -> int:
        return await self.count(matching(caller, query))

    async def add_many(self, values: Sequence[Mapping[str, Any]]) -> None:
        # Without render_nulls, each null begins another statement.
        statement = insert(Item).execution_options(render_nulls=True)
        await self._session.execute(statement, values)

    async def change(
        self, caller: Caller, item_id: int, changes: Mapping[str, Any], expected: Versions
    ) -> Item | None:
        """One statement, so that of many at once each is counted and none is lost, and of many
        that expect the same version one finds it."""
        statement = update(Item).where(*still(expected, caller, item_id))
        statement = statement.values({**changes, "version": Item.version + 1})
        return await self.one(statement.returning(Item))

    async def delete(self, caller: Caller, item_id: int, expected: Versions) -> Item | None:
        return await self.one(delete(Item).where(*still(expected, caller, item_id)).returning(Item))
