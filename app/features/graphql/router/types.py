"""The types that GraphQL returns, with the fields of the REST API's."""

# mypy: disable-error-code=untyped-decorator
# Strawberry's decorators return Any.

from datetime import datetime
from decimal import Decimal
from typing import Self

import strawberry

from app.features.graphql.dependencies import GraphqlContext
from app.features.items.schemas import ItemRead
from app.features.orders.models import OrderStatus
from app.features.orders.schemas import OrderLineRead, OrderRead

Info = strawberry.Info[GraphqlContext, None]
strawberry.enum(OrderStatus)  # So that types can name it.


@strawberry.type
class Item:
    id: strawberry.ID
    name: str
    description: str | None
    price: Decimal
    is_offer: bool
    owner_id: strawberry.ID
    created_at: datetime
    updated_at: datetime
    version: int = strawberry.field(description="Counts the changes, from 1.")

    @classmethod
    def of(cls, item: ItemRead) -> Self:
        return cls(**dict(item))


@strawberry.type
class OrderLine:
    item_id: strawberry.ID
    item_name: str = strawberry.field(description="The item's current name.")
    quantity: int
    unit_price: Decimal = strawberry.field(
        description="The price of the item when the line was added."
    )
    total: Decimal

    @classmethod
    def of(cls, line: OrderLineRead) -> Self:
        return cls(**dict(line))

    @strawberry.field(description="Null if you cannot see it. Takes the scope items:read.")
    async def item(self, info: Info) -> Item | None:
        item = await info.context.items_by_id.load(int(self.item_id))
        return None if item is None else Item.of(item)


@strawberry.type
class Order:
    id: strawberry.ID
    number: int = strawberry.field(description="Counts the owner's orders, from 1.")
    status: OrderStatus
    note: str | None
    total: Decimal = strawberry.field(description="The sum of the lines.")
    owner_id: strawberry.ID
    placed_at: datetime | None = strawberry.field(description="Null until the order is placed.")
    created_at: datetime
    updated_at: datetime
    version: int = strawberry.field(description="Counts the changes, from 1.")
    line_reads: strawberry.Private[list[OrderLineRead]]

    @classmethod
    def of(cls, order: OrderRead) -> Self:
        fields = dict(order)
        return cls(line_reads=fields.pop("lines"), **fields)

    @strawberry.field
    async def lines(self, info: Info) -> list[OrderLine]:
        await info.context.let_others_run(len(self.line_reads))
        return [OrderLine.of(line) for line in self.line_reads]
