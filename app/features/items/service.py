from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from typing import NoReturn, TypeVar

from app.core.concurrency import ConcurrencyLimit
from app.core.conditional import Versions
from app.core.errors import Forbidden, NotFound, Stale
from app.core.events import Events
from app.core.pagination import Cursors, Page, Sort
from app.core.repository import Units
from app.core.security import Principal
from app.features.items.events import ItemChange, ItemCreated, ItemDeleted, ItemUpdated
from app.features.items.models import Item
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemCreate, ItemFilter, ItemQuery, ItemRead, ItemUpdate

ROWS_OF_A_PAGE = 1000
ItemT = TypeVar("ItemT", Item, ItemRead)


class ItemService:
    def __init__(
        self,
        items: ItemRepository,
        events: Events,
        cursors: Cursors,
        searches: ConcurrencyLimit,
    ) -> None:
        self._items = items
        self._events = events
        self._cursors = cursors
        self._searches = searches

    async def list(self, principal: Principal, query: ItemQuery) -> Page[ItemRead]:
        # These can read every item there is, and no connection is held while one waits.
        is_search = query.q is not None or query.with_total
        async with self._searches.hold(principal.user_id) if is_search else nullcontext():
            return await self._list(principal, query)

    async def get(self, principal: Principal, item_id: int) -> ItemRead:
        item = await self._items.get(principal, item_id)
        if item is None:
            raise NotFound(f"Item Not Found (id: {item_id})")
        return item

    async def create(self, principal: Principal, data: ItemCreate) -> ItemRead:
        item = await self._items.create(principal, data.model_dump())
        return self._tell(ItemCreated, item)

    async def create_many(self, principal: Principal, data: Sequence[ItemCreate]) -> Sequence[Item]:
        """All or none, in their order."""
        items = await self._items.add_all(
            {"owner_id": principal.user_id, **each.model_dump()} for each in data
        )
        return [self._tell(ItemCreated, item) for item in items]

    async def replace(
        self, principal: Principal, item_id: int, data: ItemCreate, expected: Versions
    ) -> ItemRead:
        item = await self._items.change(principal, item_id, data.model_dump(), expected)
        return self._tell(ItemUpdated, item or await self._refuse(principal, item_id))

    async def update(
        self, principal: Principal, item_id: int, data: ItemUpdate, expected: Versions
    ) -> ItemRead:
        changes = data.model_dump()  # without what is MISSING
        if changes:
            item = await self._items.change(principal, item_id, changes, expected)
            return self._tell(ItemUpdated, item or await self._refuse(principal, item_id))
        item = await self.get(principal, item_id)
        if expected is not None and item.version not in expected:
            raise stale(item)
        return item

    async def delete(self, principal: Principal, item_id: int, expected: Versions) -> None:
        item = await self._items.delete(principal, item_id, expected)
        self._tell(ItemDeleted, item or await self._refuse(principal, item_id))

    async def _list(self, principal: Principal, query: ItemQuery) -> Page[ItemRead]:
        if query.owner_id not in (None, principal.user_id):
            check_superuser(principal)
        sort = Sort(query.sort)
        after = self._cursors.read(query.cursor, sort)
        items = await self._items.list(principal, query, after, query.limit + 1)
        total = await self._items.total(principal, query) if query.with_total else None
        return self._cursors.page(Page[ItemRead], items, query.limit, sort, total)

    def _tell(self, event: type[ItemChange], item: ItemT) -> ItemT:
        self._events.record(event(item_id=item.id, version=item.version, owner_id=item.owner_id))
        return item

    async def _refuse(self, principal: Principal, item_id: int) -> NoReturn:
        raise stale(await self.get(principal, item_id))


class BulkItems:
    """Too many for one transaction: each page of them is one of its own."""

    def __init__(self, items: Units[ItemRepository], searches: ConcurrencyLimit) -> None:
        self._items = items
        self._searches = searches

    async def create(self, owner_id: int, data: Sequence[ItemCreate]) -> None:
        async with self._items.transaction() as items:
            await items.add_many([{"owner_id": owner_id, **each.model_dump()} for each in data])

    async def pages(
        self, principal: Principal, query: ItemFilter
    ) -> AsyncIterator[Sequence[ItemRead]]:
        """All that match. No connection is held between two pages, so that changes made
        meanwhile show from the next one on."""
        if query.owner_id not in (None, principal.user_id):
            check_superuser(principal)
        sort, after, is_last = Sort(query.sort), None, False
        while not is_last:
            async with self._searches.hold(principal.user_id), self._items.reading() as items:
                rows = await items.list(principal, query, after, ROWS_OF_A_PAGE)
            is_last = len(rows) < ROWS_OF_A_PAGE
            after = None if is_last else sort.position(rows[-1])
            yield rows
            del rows  # before the next ones are read


def check_superuser(principal: Principal) -> None:
    if not principal.is_superuser:
        raise Forbidden("owner_id is for superusers.")


def stale(item: ItemRead) -> Stale:
    return Stale(f"The item has changed: it is version {item.version} now.")
