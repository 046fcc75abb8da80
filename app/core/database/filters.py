"""List filters: conditions that query parameters add to a list's statement.

A repository declares them by the names of their parameters:

    filters = {"q": contains(Item.name, Item.description), "min_price": at_least(Item.price)}
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, or_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database.models import lowered

Column = InstrumentedAttribute[Any]


@dataclass(frozen=True)
class Filter:
    """A condition on a bound parameter.

    `value` converts the query parameter's value into the bound one. With `custom_plan`, PostgreSQL
    plans the statement again for each value.
    """

    condition: Callable[[Any], ColumnElement[bool]]
    value: Callable[[Any], Any] = lambda value: value
    custom_plan: bool = False

    def on(self, name: str) -> ColumnElement[bool]:
        return self.condition(bindparam(name))


def equals(column: Column) -> Filter:
    return Filter(lambda param: column == param)


def at_least(column: Column) -> Filter:
    return Filter(lambda param: column >= param)


def at_most(column: Column) -> Filter:
    return Filter(lambda param: column <= param)


def contains(*columns: Column) -> Filter:
    """Match rows where a column contains the text, ignoring case."""

    def condition(param: Any) -> ColumnElement[bool]:
        return or_(*(lowered(column).like(lowered(param), escape="\\") for column in columns))

    # The best plan depends on the text: some texts are in all rows, others in one.
    return Filter(condition, like_pattern, custom_plan=True)


def like_pattern(text: str) -> str:
    """Return a pattern that matches the text anywhere, with its special characters escaped."""
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"
