"""What GraphQL takes. The schemas of the REST API check it, so that the rules are the same."""

import re
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

import strawberry
from strawberry import UNSET

from app.core.database.repository import Versions
from app.core.errors import NotFound
from app.core.schemas import MAX_ID, Input
from app.features.orders.models import OrderStatus

ID = re.compile(r"[0-9]{1,19}", re.ASCII)
SchemaT = TypeVar("SchemaT", bound=Input)


@strawberry.enum
class ItemSort(Enum):
    ID = "id"
    NAME = "name"
    PRICE = "price"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    ID_DESC = "-id"
    NAME_DESC = "-name"
    PRICE_DESC = "-price"
    CREATED_AT_DESC = "-created_at"
    UPDATED_AT_DESC = "-updated_at"


@strawberry.enum
class OrderSort(Enum):
    ID = "id"
    CREATED_AT = "created_at"
    ID_DESC = "-id"
    CREATED_AT_DESC = "-created_at"


@strawberry.input
class ItemFilter:
    q: str | None = strawberry.field(
        default=UNSET, description="Text in the name or the description, ignoring case."
    )
    min_price: Decimal | None = UNSET
    max_price: Decimal | None = UNSET
    is_offer: bool | None = UNSET
    owner_id: strawberry.ID | None = strawberry.field(default=UNSET, description="For superusers.")


@strawberry.input
class OrderFilter:
    status: OrderStatus | None = UNSET


@strawberry.input
class ItemCreate:
    name: str
    description: str | None = UNSET
    price: Decimal
    is_offer: bool = False


@strawberry.input(description="Omitted fields stay as they are; null is a value.")
class ItemUpdate:
    name: str | None = UNSET
    description: str | None = UNSET
    price: Decimal | None = UNSET
    is_offer: bool | None = UNSET


@strawberry.input
class OrderLineInput:
    item_id: strawberry.ID
    quantity: int


@strawberry.input
class OrderCreate:
    note: str | None = UNSET
    lines: list[OrderLineInput] = strawberry.field(default_factory=list)


@strawberry.input(description="Omitted fields stay as they are. `lines` replaces all lines.")
class OrderUpdate:
    note: str | None = UNSET
    lines: list[OrderLineInput] | None = UNSET


def read(schema: type[SchemaT], given: object, **values: Any) -> SchemaT:
    """Return an input of the client, or None, with other values as a schema.

    Raise ValidationError.
    """
    return schema.model_validate(values_of(given) | values)


def values_of(given: object) -> dict[str, Any]:
    """Return the fields of an input that the client has sent."""
    fields = {} if given is None else vars(given)
    return {name: _plain(value) for name, value in fields.items() if value is not UNSET}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [values_of(each) for each in value]
    return value


def id_of(text: str, name: str) -> int:
    """Return the number of a record. Raise NotFound if no record can have this ID."""
    if ID.fullmatch(text) and int(text) <= MAX_ID:
        return int(text)
    raise NotFound(f"{name} Not Found (id: {text[:20]})")


def expecting(version: int | None) -> Versions:
    return None if version is None else frozenset({version})
