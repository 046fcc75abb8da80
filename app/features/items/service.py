from app.core.errors import Forbidden, NotFound
from app.core.pagination import Cursors, Page, Sort
from app.core.security import Caller
from app.features.items.models import Item
from app.features.items.repository import ItemRepository
from app.features.items.schemas import ItemCreate, ItemQuery, ItemRead, ItemUpdate


class ItemService:
    def __init__(self, items: ItemRepository, cursors: Cursors) -> None:
        self._items = items
        self._cursors = cursors

    async def list(self, caller: Caller, query: ItemQuery) -> Page[ItemRead]:
        if query.owner_id not in (None, caller.user_id) and not caller.is_superuser:
            raise Forbidden("owner_id is for superusers.")
        sort = Sort(query.sort)
        after = self._cursors.read(query.cursor, sort)
        items = await self._items.list(caller, query, after, query.limit + 1)
        total = await self._items.total(caller, query) if query.with_total else None
        return self._cursors.page(Page[ItemRead], items, query.limit, sort, total)

    async def get(self, caller: Caller, item_id: int) -> Item:
        return self._found(await self._items.get(caller, item_id), item_id)

    async def create(self, caller: Caller, data: ItemCreate) -> Item:
        return await self._items.add(Item(owner_id=caller.user_id, **data.model_dump()))

    async def replace(self, caller: Caller, item_id: int, data: ItemCreate) -> Item:
        return self._found(await self._items.change(caller, item_id, data.model_dump()), item_id)

    async def update(self, caller: Caller, item_id: int, data: ItemUpdate) -> Item:
        changes = data.model_dump()  # without what is MISSING
        if not changes:
            return await self.get(caller, item_id)
        return self._found(await self._items.change(caller, item_id, changes), item_id)

    async def delete(self, caller: Caller, item_id: int) -> None:
        self._found(await self._items.delete(caller, item_id), item_id)

    def _found(self, item: Item | None, item_id: int) -> Item:
        if item is None:
            raise NotFound(f"Item Not Found (id: {item_id})")
        return item
