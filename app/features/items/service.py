from collections.abc import AsyncIterator, Collection, Sequence
from uuid import UUID

from app.accounts.listing import OwnedListing
from app.core.database.events import Events
from app.core.database.pagination import Page
from app.core.database.repository import Counts, Times, Versions
from app.features.items.events import ItemEvent, ItemEventType
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemCreate, ItemFilter, ItemQuery, ItemRead, ItemUpdate


class ItemService:
    """Rules of items. Knows neither HTTP nor SQL; raises the errors of app.core.errors."""

    def __init__(
        self, items: ItemRepository, listing: OwnedListing[ItemRead], events: Events
    ) -> None:
        self._items = items
        self._listing = listing
        self._events = events

    async def list(self, query: ItemQuery) -> Page[ItemRead]:
        return await self._listing.page(query)

    def export(self, query: ItemFilter) -> AsyncIterator[Sequence[ItemRead]]:
        """Return all items that match, a thousand at a time."""
        return self._listing.export(query)

    async def count_created(self, times: Times) -> Counts:
        return await self._items.count_created(times)

    async def get(self, item_id: int) -> ItemRead:
        return await self._items.get(item_id)

    async def get_many(self, item_ids: Collection[int]) -> Sequence[ItemRead]:
        return await self._items.get_many(item_ids)

    async def create(self, data: ItemCreate) -> ItemRead:
        return self._record("item.created", await self._items.create(data.model_dump()))

    async def create_many(self, data: Sequence[ItemCreate]) -> Sequence[ItemRead]:
        items = await self._items.create_many([each.model_dump() for each in data])
        return [self._record("item.created", item) for item in items]

    async def update(
        self, item_id: int, data: ItemCreate | ItemUpdate, expected: Versions
    ) -> ItemRead:
        """Replace (ItemCreate) or change (ItemUpdate) an item. Raise NotFound or Stale."""
        changes = data.model_dump()  # omits the fields that are MISSING
        item = await self._items.update(item_id, changes, expected)
        return self._record("item.updated", item) if changes else item

    async def delete(self, item_id: int, expected: Versions) -> None:
        """Delete an item. Raise NotFound, Stale, or Conflict if another table refers to it."""
        self._record("item.deleted", await self._items.delete(item_id, expected))

    async def prepare_undo(self, item_ids: Collection[int]) -> UUID | None:
        """Copy items that are going to be deleted. Return None if more is deleted with them."""
        return await self._items.prepare_undo(item_ids)

    async def undo_delete(self, undo_id: UUID) -> None:
        """Create deleted items again. Raise NotFound after an hour, or Conflict."""
        for item in await self._items.undo_delete(undo_id):
            self._record("item.created", item)

    def _record(self, type_: ItemEventType, item: ItemRead) -> ItemRead:
        event = ItemEvent(
            type=type_, item_id=item.id, version=item.version, owner_id=item.owner_id, data=item
        )
        self._events.record(event)
        return item
