import operator
from enum import StrEnum
from typing import Any

import sqladmin.filters
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Select, false

from app.core.translation import gettext, mark
from app.web.admin_site.texts import AdminText, choice_label

OPERATIONS = {
    "equals": (mark("Is"), operator.eq),
    "greater_than": (mark("Is more than"), operator.gt),
    "less_than": (mark("Is less than"), operator.lt),
}


class BooleanFilter(sqladmin.filters.BooleanFilter):
    """A filter by yes or no."""

    def __init__(self, column: Any, title: str) -> None:
        super().__init__(column, AdminText(title))

    async def lookups(self, *arguments: Any) -> list[tuple[str, str]]:
        return [(value, AdminText(label)) for value, label in await super().lookups(*arguments)]


class ValueFilter(sqladmin.filters.OperationColumnFilter):
    """A filter by a value of the given type. Values that are not valid match nothing.

    The library's own filter would send almost any value to the database.
    """

    template = "sqladmin/filters/value_filter.html"

    def __init__(self, column: Any, title: str, type_: Any) -> None:
        super().__init__(column, AdminText(title))
        self._adapter = TypeAdapter[Any](type_)

    def get_operation_options(self, column_obj: Any) -> list[tuple[str, str]]:
        return [(name, gettext(label)) for name, (label, _) in OPERATIONS.items()]

    async def get_filtered_query(
        self, query: Select[Any], operation: str, value: Any, model: Any
    ) -> Select[Any]:
        return query.where(self._condition(operation, value))

    def _condition(self, operation: str, value: str) -> ColumnElement[bool]:
        try:
            _, compare = OPERATIONS[operation]
            condition: ColumnElement[bool] = compare(
                self.column, self._adapter.validate_python(value.strip())
            )
        except (KeyError, ValidationError):
            return false()
        return condition


class ChoiceFilter(sqladmin.filters.StaticValuesFilter):
    """A filter by one of the values of an enum. Other values match nothing."""

    def __init__(self, column: Any, title: str, choices: type[StrEnum]) -> None:
        values: list[tuple[str, str]] = [(each.value, choice_label(each)) for each in choices]
        super().__init__(column, values, AdminText(title))

    async def lookups(self, *arguments: Any) -> list[tuple[str, str]]:
        return [(value, AdminText(label)) for value, label in await super().lookups(*arguments)]

    async def get_filtered_query(self, query: Select[Any], value: Any, model: Any) -> Select[Any]:
        if value in ("__all", *dict(self.values)):
            return await super().get_filtered_query(query, value, model)
        return query.where(false())
