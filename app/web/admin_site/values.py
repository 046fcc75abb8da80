"""What the admin's pages show of records: values in words, and links to what they refer to."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from markupsafe import Markup
from sqlalchemy import select
from starlette.requests import Request

from app.core.database.models import Base
from app.core.database.session import Session
from app.core.resources import resources_of
from app.core.translation import format_money, gettext
from app.web.admin_site.texts import choice_label
from app.web.links import page_url
from app.web.rendering import date_tag, time_tag
from app.web.resource_pages import format_value

Formats = Mapping[str, Callable[[Any, Request], object]]


def link_to_record(request: Request, identity: str, pk: Any, text: object) -> Markup:
    url = page_url(request, "show_admin_record", identity=identity, pk=pk)
    return Markup('<a href="{}" dir="auto">{}</a>').format(url, text)


def references_of(
    model: type[Base], fields: Collection[str], views: Iterable[Any]
) -> Mapping[str, Any]:
    """Return the views of what some fields of a model refer to."""
    by_table = {view.model.__table__: view for view in views}
    return {
        column.key: by_table[key.column.table]
        for column in model.__table__.columns
        for key in column.foreign_keys
        if column.key in fields and key.column.table in by_table
    }


class Values:
    """The values of records of one kind. A foreign key is a link with the name of its record."""

    def __init__(self, request: Request, formats: Formats, references: Mapping[str, Any]) -> None:
        self._request = request
        self._formats = formats
        self._references = references
        self._names = dict[str, dict[Any, str]]()
        self._currency = resources_of(request).settings.currency

    async def find_names(self, session: Session, records: Sequence[Any]) -> None:
        """Find the names of what the records refer to, by one statement for each foreign key."""
        for field, view in self._references.items():
            pks = {getattr(record, field) for record in records} - {None}
            self._names[field] = await names_of(session, view, pks)

    def show(self, record: Any, field: str) -> object:
        """Return a value of a record in words."""
        value = getattr(record, field)
        if format_ := self._formats.get(field):
            return format_(record, self._request)
        if field in self._references and value is not None:
            name = self._names[field].get(value) or value
            return link_to_record(self._request, self._references[field].identity, value, name)
        return self._in_words(value)

    def _in_words(self, value: Any) -> object:
        match value:
            case None:
                return ""
            case bool():
                return gettext("Yes") if value else gettext("No")
            case Decimal():
                return format_money(value, self._currency)
            case datetime():
                return time_tag(value)
            case date():
                return date_tag(value)
            case StrEnum():
                return gettext(choice_label(value))
            case dict():
                return format_value(value)
            case list():
                return ", ".join(map(str, value))
        return value


async def names_of(session: Session, view: Any, pks: Collection[Any]) -> dict[Any, str]:
    """Return the names of records by their keys, without those that have none."""
    if not view.title_field or not pks:
        return {}
    key, name = view.key_column, getattr(view.model, view.title_field)
    found = await session.execute(select(key, name).where(key.in_(pks)))
    return {pk: str(name) for pk, name in found if name is not None and str(name).strip()}
