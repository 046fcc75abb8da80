"""The admin's views, and what its pages show."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from app.core.database.session import Session
from app.core.errors import NotFound
from app.core.schemas import Output
from app.core.translation import gettext
from app.web.admin_site.values import Values, references_of
from app.web.admin_site.view import PAGE_SIZES, AdminView
from app.web.forms import Form
from app.web.links import page_url
from app.web.rendering import render


class AdminSite:
    def __init__(self, views: Iterable[AdminView]) -> None:
        self.views = [*views]

    def view(self, identity: str) -> AdminView:
        for view in self.views:
            if view.identity == identity:
                return view
        raise NotFound("There is no such page.")

    def render(
        self, request: Request, template: str, view: AdminView, form: Form, **context: Any
    ) -> Response:
        return render(request, template, form=form, view=view, views=self.views, **context)

    async def values(
        self, request: Request, session: Session, view: AdminView, records: Sequence[Output]
    ) -> Values:
        """Return the values of the records of a view."""
        references = references_of(view.model, view.read_schema.model_fields, self.views)
        values = Values(request, view.formats, references)
        await values.find_names(session, records)
        return values

    async def tables(
        self, request: Request, session: Session, view: AdminView, record: Any
    ) -> Sequence[tuple[str, Sequence[str], Sequence[Any], Values]]:
        """Return the tables of the record's page: each has a name, columns, rows and values."""
        tables = []
        for name, columns in view.rows.items():
            rows, model = getattr(record, name), view.model_of_rows(name)
            values = Values(request, {}, references_of(model, columns, self.views))
            await values.find_names(session, rows)
            tables.append((name, columns, rows, values))
        return tables

    async def show_list(self, request: Request, session: Session, view: AdminView) -> Response:
        form, filters = Form(request.query_params), view.list_filters
        chosen = [(each.name, gettext(each.label), each.describe(form.values)) for each in filters]
        chosen = [("search", gettext("Search"), form.get("search")), *chosen]
        page = await view.list(session, form.values)
        rows = [(each, view.read_schema.model_validate(each)) for each in page.rows]
        return self.render(
            request,
            "admin_site/list.html",
            view,
            form,
            page=page,
            rows=rows,
            values=await self.values(request, session, view, [row for _, row in rows]),
            columns=columns_of(view),
            filters=filters,
            chosen=chosen,
            search_hint=", ".join(gettext(view.labels[name]) for name in view.search_fields),
            sort=form.get("sort") or view.default_sort[0],
            sizes=PAGE_SIZES,
            is_narrowed=any(form.get(name) for name, *_ in chosen),
            list_url=lambda **changes: list_url(request, view, form.values, **changes),
            kept={name: form.get(name) for name in (*list_names(view), "page") if form.get(name)},
            all_pages=list_query(view, form.values),
            this_page=list_query(view, form.values, page=form.get("page")),
        )

    async def show_record(
        self, request: Request, session: Session, view: AdminView, pk: str
    ) -> Response:
        record = await view.get(session, pk)
        row = view.read_schema.model_validate(record)
        return self.render(
            request,
            "admin_site/record.html",
            view,
            Form(),
            record=record,
            row=row,
            values=await self.values(request, session, view, [row]),
            tables=await self.tables(request, session, view, record),
        )


def columns_of(view: AdminView) -> Sequence[tuple[str, str, str, str]]:
    """Return the columns for the macros of `web/lists.html`."""
    sorts = {name: (name, f"-{name}") for name in view.sort_fields}
    return [(gettext(view.labels[name]), "", *sorts.get(name, ("", ""))) for name in view.columns]


def list_names(view: AdminView) -> Sequence[str]:
    """Return the names of the query parameters that say what a list shows."""
    return ["search", "sort", "page_size", *chain(*(each.names for each in view.list_filters))]


def list_query(view: AdminView, params: Mapping[str, str], /, **changes: Any) -> str:
    """Return the query of the same list with some changes, such as "?sort=name", or "".

    Without the parameter `page` it is the first page.
    """
    names = list_names(view)
    values = {name: value for name, value in params.items() if name in names} | changes
    given = {name: value for name, value in values.items() if value}
    return f"?{urlencode(given)}" if given else ""


def list_url(
    request: Request, view: AdminView, params: Mapping[str, str], /, **changes: Any
) -> str:
    """Return the URL of the same list with some changes."""
    url = page_url(request, "show_admin_list", identity=view.identity)
    return url + list_query(view, params, **changes)
