from typing import ClassVar, Literal

from app.accounts.ownership import OwnedEvent

ItemEventType = Literal["item.created", "item.updated", "item.deleted"]


class ItemEvent(OwnedEvent):
    """A change of an item. The owner's WebSockets receive it as JSON."""

    feed: ClassVar = "items"
    type: ItemEventType
    item_id: int
    version: int  # of a deleted item the last one
