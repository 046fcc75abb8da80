"""The texts of the admin's views: their names, labels, filters and choices.

sqladmin takes them when the application starts, for all languages. An AdminText is translated
where a page shows it. `python -m app.translations.catalogs` collects them from the views.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from markupsafe import escape

from app.core.translation import gettext, mark

# sqladmin's filters have these.
OTHERS = (mark("All"), mark("Yes"), mark("No"))


class AdminText(str):
    """An English text that a page shows in the reader's language."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(escape(gettext(str(self))))


def label_of(name: str) -> AdminText:
    """Return the label of a field without one of its own, such as "Created at"."""
    if name == "id":
        return AdminText("ID")
    words = name.removeprefix("is_").removesuffix("_id").replace("_", " ")
    return AdminText(words.capitalize())


def choice_label(value: str) -> AdminText:
    return AdminText(value.replace("_", " ").capitalize())


def texts_of(view: Any) -> Iterator[str]:
    """Yield the texts of a view, for the catalogs."""
    yield from (view.name, view.name_plural, *view.column_labels.values())
    for field in view.read_schema.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum):
            yield from map(choice_label, field.annotation)
