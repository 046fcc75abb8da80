"""What happens to items. The owner's sockets get it as JSON."""

from typing import Literal

from pydantic import Field

from app.core.database.events import Event


def items_of(owner_id: int) -> str:
    return f"items/{owner_id}"


class ItemEvent(Event):
    type: str
    item_id: int
    version: int
    owner_id: int = Field(exclude=True)

    @property
    def topic(self) -> str:
        return items_of(self.owner_id)


class ItemCreated(ItemEvent):
    type: Literal["item.created"] = "item.created"


class ItemUpdated(ItemEvent):
    type: Literal["item.updated"] = "item.updated"


class ItemDeleted(ItemEvent):
    """With the last version that there was."""

    type: Literal["item.deleted"] = "item.deleted"


ItemChange = ItemCreated | ItemUpdated | ItemDeleted
