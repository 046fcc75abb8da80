# mypy: disable-error-code=untyped-decorator
# Strawberry's decorators return Any.

from typing import Annotated

import strawberry

from app.features.graphql.router import inputs
from app.features.graphql.router.inputs import expecting, id_of, read
from app.features.graphql.router.types import Info, Item, Order
from app.features.items import schemas as item_schemas
from app.features.orders import schemas as order_schemas

ExpectedVersion = Annotated[
    int | None,
    strawberry.argument(description="Change the record only if this is its version."),
]


# Fields are not null, so that the first error ends the document: see `mutate` in the package.
# Resolvers name their parameters as the arguments are named, such as `id` and `input`.
@strawberry.type
class Mutation:
    @strawberry.mutation(description="Create an item.")
    async def create_item(self, info: Info, input: inputs.ItemCreate) -> Item:  # noqa: A002
        async with info.context.items("items:write") as items:
            return Item.of(await items.create(read(item_schemas.ItemCreate, input)))

    @strawberry.mutation(description="Change the fields of an item that are sent.")
    async def update_item(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        input: inputs.ItemUpdate,  # noqa: A002
        expected_version: ExpectedVersion = None,
    ) -> Item:
        data = read(item_schemas.ItemUpdate, input)
        async with info.context.items("items:write") as items:
            item = await items.update(id_of(id, "Item"), data, expecting(expected_version))
            return Item.of(item)

    @strawberry.mutation(description="Delete an item, and return its ID. One in use stays.")
    async def delete_item(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        expected_version: ExpectedVersion = None,
    ) -> strawberry.ID:
        async with info.context.items("items:write") as items:
            await items.delete(id_of(id, "Item"), expecting(expected_version))
        return id

    @strawberry.mutation(description="Create a draft of your items, at their current prices.")
    async def create_order(self, info: Info, input: inputs.OrderCreate) -> Order:  # noqa: A002
        async with info.context.orders("orders:write") as orders:
            return Order.of(await orders.create(read(order_schemas.OrderCreate, input)))

    @strawberry.mutation(
        description="Change a draft. Lines of items that were in it before keep their price."
    )
    async def update_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        input: inputs.OrderUpdate,  # noqa: A002
        expected_version: ExpectedVersion = None,
    ) -> Order:
        data = read(order_schemas.OrderUpdate, input)
        async with info.context.orders("orders:write") as orders:
            order = await orders.update(id_of(id, "Order"), data, expecting(expected_version))
            return Order.of(order)

    @strawberry.mutation(description="Delete a draft, and return its ID.")
    async def delete_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        expected_version: ExpectedVersion = None,
    ) -> strawberry.ID:
        async with info.context.orders("orders:write") as orders:
            await orders.delete(id_of(id, "Order"), expecting(expected_version))
        return id

    @strawberry.mutation(description="Place a draft that has lines. The owner gets a mail.")
    async def place_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        expected_version: ExpectedVersion = None,
    ) -> Order:
        async with info.context.orders("orders:write") as orders:
            return Order.of(await orders.place(id_of(id, "Order"), expecting(expected_version)))

    @strawberry.mutation(description="Ship a placed order. This requires the scope orders:all.")
    async def ship_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002
        expected_version: ExpectedVersion = None,
    ) -> Order:
        async with info.context.orders("orders:write") as orders:
            return Order.of(await orders.ship(id_of(id, "Order"), expecting(expected_version)))
