"""Links from records to those that their foreign keys refer to, with the names of these."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from starlette.requests import Request


def views_referred_to(view: Any, views: Sequence[Any]) -> dict[str, Any]:
    """Return the views of what the foreign keys of a view's records refer to, by their fields."""
    by_table = {each.model.__table__: each for each in views}
    return {
        column.key: by_table[key.column.table]
        for column in view.model.__table__.columns
        for key in column.foreign_keys
        if column.key in view.read_schema.model_fields and key.column.table in by_table
    }


def link_to_record(request: Request, identity: str, pk: Any, text: str) -> Markup:
    url = request.url_for("admin:details", identity=identity, pk=pk)
    return Markup('<a href="{}">{}</a>').format(url, text)


def link_by_key(record: Any, field: str, request: Request) -> Markup | str:
    """Format a foreign key, for `column_formatters`: `AdminView.note_names` has found the name."""
    pk = getattr(record, field)
    if pk is None:
        return ""
    identity, names = request.state.referred_to[field]
    return link_to_record(request, identity, pk, names.get(pk, str(pk)))
