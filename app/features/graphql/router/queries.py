# mypy: disable-error-code=untyped-decorator
# Strawberry's decorators return Any.

from functools import partial

import strawberry

from app.features.graphql.router.connections import (
    DEFAULT_PAGE_SIZE,
    After,
    Connection,
    First,
    connect,
)
from app.features.graphql.router.inputs import (
    ItemFilter,
    ItemSort,
    OrderFilter,
    OrderSort,
    id_of,
    read,
)
from app.features.graphql.router.types import Info, Item, Order
from app.features.items.schemas import ItemQuery
from app.features.orders.schemas import OrderQuery


# Fields are null where they fail, so that the others of the document are returned.
# Resolvers name their parameters as the arguments are named, such as `id` and `filter`.
@strawberry.type
class Query:
    @strawberry.field(description="Get an item.")
    async def item(self, info: Info, id: strawberry.ID) -> Item | None:  # noqa: A002
        async with info.context.items("items:read") as items:
            return Item.of(await items.get(id_of(id, "Item")))

    @strawberry.field(description="List your items. The scope items:all lists those of all users.")
    async def items(
        self,
        info: Info,
        first: First = DEFAULT_PAGE_SIZE,
        after: After = None,
        sort: ItemSort = ItemSort.ID,
        filter: ItemFilter | None = None,  # noqa: A002
    ) -> Connection[Item] | None:
        query = read(ItemQuery, filter, limit=first, cursor=after, sort=sort.value)
        service = partial(info.context.items, "items:read")
        return await connect(service, query, Item.of, info.context.cursors)

    @strawberry.field(description="Get an order.")
    async def order(self, info: Info, id: strawberry.ID) -> Order | None:  # noqa: A002
        async with info.context.orders("orders:read") as orders:
            return Order.of(await orders.get(id_of(id, "Order")))

    @strawberry.field(description="List your orders. The scope orders:all lists all users'.")
    async def orders(
        self,
        info: Info,
        first: First = DEFAULT_PAGE_SIZE,
        after: After = None,
        sort: OrderSort = OrderSort.ID,
        filter: OrderFilter | None = None,  # noqa: A002
    ) -> Connection[Order] | None:
        query = read(OrderQuery, filter, limit=first, cursor=after, sort=sort.value)
        service = partial(info.context.orders, "orders:read")
        return await connect(service, query, Order.of, info.context.cursors)
