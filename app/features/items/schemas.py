from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import MISSING, Field

from app.core.database.pagination import PageQuery, name_sorts
from app.core.http.export import ExportFormat
from app.core.schemas import MAX_ID, Input, Output, Price, Text
from app.core.translation import mark

SCOPES = {
    "items:read": mark("Read items."),
    "items:write": mark("Create, change and delete items."),
}
SUPERUSER_SCOPES = {"items:all": mark("Reach the items of all users.")}

Name = Annotated[str, Text(min_length=1, max_length=255), Field(examples=["Lamp"])]
Description = Annotated[str, Text(max_length=10_000), Field(examples=["Brass, green shade."])]
ItemPrice = Annotated[Price, Field(examples=["19.99"])]


class ItemCreate(Input):
    name: Name
    description: Description | None = None
    price: ItemPrice
    is_offer: bool = False


class ItemUpdate(Input):
    """The fields to change. Omitted fields stay as they are; `null` is a value."""

    name: Name | MISSING = MISSING
    description: Description | MISSING | None = MISSING
    price: ItemPrice | MISSING = MISSING
    is_offer: bool | MISSING = MISSING


class ItemRead(Output):
    id: int = Field(examples=[7])
    name: str = Field(examples=["Lamp"])
    description: str | None = Field(examples=["Brass, green shade."])
    price: Decimal = Field(examples=["19.99"])
    is_offer: bool = Field(examples=[False])
    owner_id: int = Field(examples=[1])
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="Counts the changes, from 1.", examples=[1])


class ItemFilter(Input):
    sort: Literal[
        "id", "name", "price", "created_at", "updated_at",
        "-id", "-name", "-price", "-created_at", "-updated_at",
    ] = Field(default="id", json_schema_extra=name_sorts)  # fmt: skip
    q: Annotated[str, Text(max_length=255)] | None = Field(
        default=None, description="Text in the name or the description, ignoring case."
    )
    min_price: Price | None = None
    max_price: Price | None = None
    is_offer: bool | None = None
    owner_id: int | None = Field(default=None, ge=1, le=MAX_ID, description="For superusers.")


class ItemQuery(ItemFilter, PageQuery): ...


class ItemExportQuery(ItemFilter):
    format: ExportFormat = "csv"
