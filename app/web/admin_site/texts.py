"""The texts of the admin's views: their names, labels and choices, in English.

A page translates them. `python -m app.translations.catalogs` collects them from the views.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any


def label_of(name: str) -> str:
    """Return the label of a field without one of its own, such as "Created at"."""
    if name == "id":
        return "ID"
    words = name.removeprefix("is_").removesuffix("_id").replace("_", " ")
    return words.capitalize()


def is_choice(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, StrEnum)


def choice_label(value: str) -> str:
    return value.replace("_", " ").capitalize()


def texts_of(view: Any) -> Iterator[str]:
    """Yield the texts of a view, for the catalogs."""
    yield from (view.name, view.plural, *view.labels.values())
    types: list[Any] = [field.annotation for field in view.read_schema.model_fields.values()]
    for model in (view.model, *map(view.model_of_rows, view.rows)):
        types += [column.type.python_type for column in model.__table__.columns]
    for each in types:
        if is_choice(each):
            yield from map(choice_label, each)
