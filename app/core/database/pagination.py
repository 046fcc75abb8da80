"""Keyset pagination: a cursor holds the position of a page's last row.

Cursors are signed, so that clients cannot forge one.
"""

import asyncio
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import MISSING, BaseModel, Field, PrivateAttr
from pydantic_core import to_json

from app.core.errors import Invalid
from app.core.schemas import Input, Output

ItemT = TypeVar("ItemT")
ReadT = TypeVar("ReadT", bound=BaseModel)
# The records of a page that are loaded and read at once, if each may have a hundred children.
PARENTS_AT_ONCE = 25
# The sort column's value and the id of a page's last row.
Position = Sequence[Any]


async def read_in_turns(schema: type[ReadT], parents: Sequence[object]) -> list[ReadT]:
    """Return records with children as the schema, and let other requests run in between."""
    reads = list[ReadT]()
    for number, parent in enumerate(parents):
        if number % PARENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        reads.append(schema.model_validate(parent))
    return reads


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort order such as `price`, or `-price` for descending. Equal rows are ordered by ID."""

    field: str

    @property
    def descending(self) -> bool:
        return self.field.startswith("-")

    @property
    def names(self) -> tuple[str, ...]:
        name = self.field.removeprefix("-")
        return ("id",) if name == "id" else (name, "id")

    def position(self, row: object) -> Position:
        return [getattr(row, name) for name in self.names]


def name_sorts(schema: dict[str, Any]) -> None:
    """Name the values of the enum for client generators, since few languages allow `-id`."""
    schema["x-enum-varnames"] = [
        value.lstrip("-").upper() + "_DESC" * value.startswith("-") for value in schema["enum"]
    ]


class PageQuery(Input):
    """The query parameters of a list."""

    limit: int = Field(default=20, ge=1, le=100, description="Maximum number of results.")
    cursor: str | None = Field(
        default=None, max_length=4096, description="The `next` value of the previous page."
    )
    with_total: bool = Field(
        default=False, description="Also count all results, which requires another query."
    )
    _max_total: int | None = PrivateAttr(default=None)

    @property
    def total_limit(self) -> int | None:
        """The number at which counting ends, or None to count all results."""
        return None if self._max_total is None else self._max_total + 1

    def limit_total(self, max_total: int) -> None:
        """Let the total be one more than `max_total` if there are more results."""
        self._max_total = max_total


class Page(Output, Generic[ItemT]):
    results: list[ItemT]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")
    total: int | MISSING = Field(default=MISSING, description="Only with `with_total`.")


PageT = TypeVar("PageT", bound=Page[Any])


class Cursors:
    """Writes and reads signed cursors."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def page(
        self, type_: type[PageT], rows: Sequence[Any], limit: int, sort: Sort, total: int | None
    ) -> PageT:
        """Return a page. `rows` has one more row than `limit` if there is another page."""
        next_cursor = self.write(sort, rows[limit - 1]) if len(rows) > limit else None
        values = {"results": rows[:limit], "next": next_cursor}
        return type_.model_validate(values if total is None else values | {"total": total})

    def write(self, sort: Sort, last: object) -> str:
        body = urlsafe_b64encode(to_json([sort.field, sort.position(last)])).decode()
        return f"{body}.{self._sign(body)}"

    def read(self, cursor: str | None, sort: Sort) -> Position | None:
        """Return the position that the cursor holds, or None without a cursor."""
        if cursor is None:
            return None
        body, _, signature = cursor.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            raise Invalid(
                "The cursor is invalid. Send the `next` value of the previous page.",
                "query",
                "cursor",
            )
        field, position = json.loads(urlsafe_b64decode(body))
        if field != sort.field:
            raise Invalid(
                "The cursor belongs to another sort order. Start without a cursor.",
                "query",
                "cursor",
            )
        last: Position = position
        return last

    def _sign(self, body: str) -> str:
        return hmac.digest(self._key, body.encode(), "sha256").hex()[:32]
