"""Filters of lists: what a query parameter compares. A repository names its own.

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
    """A condition on a parameter, and what the statement is given for the parameter's value."""

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
    """Match where one of the columns has the text in it, in any case."""

    def condition(param: Any) -> ColumnElement[bool]:
        return or_(*(lowered(column).like(lowered(param), escape="\\") for column in columns))

    # PostgreSQL plans for the text: some are in all rows, and some in one.
    return Filter(condition, like_pattern, custom_plan=True)


def like_pattern(text: str) -> str:
    for special in "\\%_":  # they stand for themselves
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"
