from typing import ClassVar, Literal

from app.accounts.ownership import OwnedEvent

OrderEventType = Literal[
    "order.created", "order.updated", "order.placed", "order.shipped", "order.deleted"
]


class OrderEvent(OwnedEvent):
    """A change of an order."""

    feed: ClassVar = "orders"

    type: OrderEventType
    order_id: int
    version: int  # of a deleted order the last one
