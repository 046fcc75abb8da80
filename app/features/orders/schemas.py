from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import MISSING, Field

from app.core.database.pagination import PageQuery, name_sorts
from app.core.schemas import MAX_ID, Input, Output, Text
from app.core.translation import mark
from app.features.orders.models import OrderStatus

SCOPES = {
    "orders:read": mark("Read orders."),
    "orders:write": mark("Create, change, place and delete orders."),
}
SUPERUSER_SCOPES = {"orders:all": mark("Reach the orders of all users, and ship them.")}

MAX_LINES = 100

ItemId = Annotated[int, Field(ge=1, le=MAX_ID, examples=[7])]
Quantity = Annotated[int, Field(ge=1, le=1000, examples=[2])]
Note = Annotated[str, Text(max_length=1000), Field(examples=["Please ring twice."])]


class OrderLineInput(Input):
    item_id: ItemId
    quantity: Quantity


Lines = Annotated[
    list[OrderLineInput],
    Field(max_length=MAX_LINES, description="Each item at most once, in the order of the lines."),
]


class OrderCreate(Input):
    note: Note | None = None
    lines: Lines = Field(default_factory=list)


class OrderUpdate(Input):
    """Omitted fields stay as they are. `lines` replaces all lines.

    Lines of items that were in the order before keep their price.
    """

    note: Note | MISSING | None = MISSING
    lines: Lines | MISSING = MISSING


class OrderLineRead(Output):
    item_id: int = Field(examples=[7])
    item_name: str = Field(description="The item's current name.", examples=["Lamp"])
    quantity: int = Field(examples=[2])
    unit_price: Decimal = Field(
        description="The price of the item when the line was added.", examples=["19.99"]
    )
    total: Decimal = Field(examples=["39.98"])


class OrderSummary(Output):
    id: int = Field(examples=[3])
    number: int = Field(description="Counts the owner's orders, from 1.", examples=[1])
    status: OrderStatus
    note: str | None = Field(examples=["Please ring twice."])
    total: Decimal = Field(description="The sum of the lines.", examples=["39.98"])
    owner_id: int = Field(examples=[1])
    placed_at: datetime | None = Field(description="Null until the order is placed.")
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Counts the changes, from 1.", examples=[1])


class OrderRead(OrderSummary):
    lines: list[OrderLineRead]


class OrderQuery(PageQuery):
    sort: Literal["id", "created_at", "-id", "-created_at"] = Field(
        default="id", json_schema_extra=name_sorts
    )
    status: OrderStatus | None = None
