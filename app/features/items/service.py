from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext

from app.core.database.events import Events
from app.core.database.pagination import Cursors, Page, Sort
from app.core.database.repository import UnitsOfWork, Versions
from app.core.security.concurrency import ConcurrencyLimit
from app.core.security.principal import Principal
from app.features.items.events import ItemChange, ItemCreated, ItemDeleted, ItemUpdated
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemCreate, ItemFilter, ItemQuery, ItemRead, ItemUpdate

ROWS_OF_A_PAGE = 1000


class ItemService:
    """Rules of items. Knows neither HTTP nor SQL; raises the errors of app.core.errors."""

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

    async def list(self, query: ItemQuery) -> Page[ItemRead]:
        # These can read every item there is, and no connection is held while one waits.
        is_search = query.q is not None or query.with_total
        user_id = self._items.principal.user_id
        async with self._searches.hold(user_id) if is_search else nullcontext():
            sort = Sort(query.sort)
            after = self._cursors.read(query.cursor, sort)
            items = await self._items.list(query, sort, after, query.limit + 1)
            total = await self._items.total(query) if query.with_total else None
        return self._cursors.page(Page[ItemRead], items, query.limit, sort, total)

    async def get(self, item_id: int) -> ItemRead:
        return await self._items.get(item_id)

    async def create(self, data: ItemCreate) -> ItemRead:
        item = await self._items.create(data.model_dump())
        return self._record(ItemCreated, item)

    async def create_many(self, data: Sequence[ItemCreate]) -> Sequence[ItemRead]:
        """Create all of them or none, and return them in the order given."""
        items = await self._items.create_many([each.model_dump() for each in data])
        return [self._record(ItemCreated, item) for item in items]

    async def update(
        self, item_id: int, data: ItemCreate | ItemUpdate, expected: Versions
    ) -> ItemRead:
        """Replace (ItemCreate) or change (ItemUpdate) one.

        Raise NotFound, or Stale when the version is none of those expected.
        """
        changes = data.model_dump()  # without what is MISSING
        item = await self._items.update(item_id, changes, expected)
        return self._record(ItemUpdated, item) if changes else item

    async def delete(self, item_id: int, expected: Versions) -> None:
        self._record(ItemDeleted, await self._items.delete(item_id, expected))

    def _record(self, event: type[ItemChange], item: ItemRead) -> ItemRead:
        self._events.record(event(item_id=item.id, version=item.version, owner_id=item.owner_id))
        return item


class BulkItems:
    """Too many items for one transaction: each thousand has one of its own."""

    def __init__(
        self, items: UnitsOfWork[ItemRepository], principal: Principal, searches: ConcurrencyLimit
    ) -> None:
        self._items = items
        self._principal = principal
        self._searches = searches

    async def create(self, data: Sequence[ItemCreate]) -> None:
        async with self._items.transaction() as items:
            await items.create_many([each.model_dump() for each in data])

    async def pages(self, query: ItemFilter) -> AsyncIterator[Sequence[ItemRead]]:
        """Yield all that match, a thousand at a time. No connection is held between two pages, so
        that changes made meanwhile show from the next one on."""
        sort, after, is_last = Sort(query.sort), None, False
        while not is_last:
            async with (
                self._searches.hold(self._principal.user_id),
                self._items.reading() as items,
            ):
                rows = await items.list(query, sort, after, ROWS_OF_A_PAGE)
            is_last = len(rows) < ROWS_OF_A_PAGE
            after = None if is_last else sort.position(rows[-1])
            yield rows
            del rows  # before the next ones are read
