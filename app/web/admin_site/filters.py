"""The filters of the admin's lists."""

import operator
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, false

from app.core.schemas import UtcTime
from app.core.translation import (
    current_zone,
    format_day,
    format_time,
    gettext,
    mark,
    plain_number,
)
from app.web.admin_site.texts import choice_label, is_choice
from app.web.time_zone import from_local_time

OPERATIONS = {
    "equals": (mark("Is"), operator.eq),
    "greater_than": (mark("Is more than"), operator.gt),
    "less_than": (mark("Is less than"), operator.lt),
}
YES_OR_NO = (("true", mark("Yes")), ("false", mark("No")))


class AdminFilter:
    """A filter by the query parameter `name`: a choice, or a value that `NAME_op` compares with.

    Values that are not valid match nothing.
    """

    def __init__(self, name: str, label: str, column: Any, type_: Any) -> None:
        self.name = name
        self.label = label
        self.operation_name = f"{name}_op"
        self.choices = choices_of(type_)
        self._column = column
        stored = column.type.python_type
        self._is_amount = stored is Decimal
        self.is_time = stored is datetime
        self.is_date = stored is date
        # A schema that only shows a time, such as `created_at`, does not check it.
        self._adapter = TypeAdapter[Any](UtcTime if self.is_time else type_)

    @property
    def operations(self) -> Sequence[tuple[str, str]]:
        return [(name, label) for name, (label, _) in OPERATIONS.items()]

    @property
    def names(self) -> Sequence[str]:
        return [self.name] if self.choices else [self.name, self.operation_name]

    def condition(self, params: Mapping[str, str]) -> ColumnElement[bool] | None:
        """Return the condition that the query parameters ask for, or None."""
        value, operation = params.get(self.name, "").strip(), "equals"
        if not value:
            return None
        if not self.choices:
            operation = params.get(self.operation_name) or operation
        try:
            _, compare = OPERATIONS[operation]
            condition: ColumnElement[bool] = compare(self._column, self._parse(value))
        except (KeyError, ValidationError):
            return false()
        return condition

    def _parse(self, text: str) -> Any:
        """Return the value that a user typed as pages show it. Raise ValidationError."""
        value: Any = text
        if self._is_amount:
            value = plain_number(text)
        elif self.is_time:
            value = from_local_time(text, current_zone())
        return self._adapter.validate_python(value)

    def describe(self, params: Mapping[str, str]) -> str:
        """Return what is filtered by, in words."""
        value = params.get(self.name, "")
        if self.choices:
            return gettext(dict(self.choices).get(value, value))
        label, _ = OPERATIONS.get(params.get(self.operation_name, ""), OPERATIONS["equals"])
        return f"{gettext(label)} {self._in_words(value)}"

    def _in_words(self, text: str) -> str:
        try:
            value = self._parse(text)
        except ValidationError:
            return text
        match value:
            case datetime():
                return format_time(value)
            case date():
                return format_day(value)
        return text


def choices_of(type_: Any) -> Sequence[tuple[str, str]]:
    """Return the values of a type with few values, and their labels in English."""
    if type_ is bool:
        return YES_OR_NO
    if is_choice(type_):
        return [(each.value, choice_label(each)) for each in type_]
    return ()
