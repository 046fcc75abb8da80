"""The URLs of the pages, below the path prefix of a proxy (ROOT_PATH).

Templates have the functions `page_url`, `site_path` and `asset`.
"""

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from jinja2 import pass_context
from jinja2.runtime import Context
from starlette.requests import Request

from app.core.context import root_path, route_path
from app.web.forms import RESUME
from app.web.site import site_of


class PagePath(NamedTuple):
    template: str
    parameters: frozenset[str]


class PagePaths:
    """The paths of the pages, by the names of their endpoints."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._paths = dict[str, PagePath]()
        for router in routers:
            for route in iter_route_contexts(router.routes):
                name, template = str(route.name), str(route.path_format)
                if name in self._paths:
                    raise ValueError(f"Two pages have an endpoint {name!r}: rename one of them.")
                fields = {field for _, field, _, _ in Formatter().parse(template) if field}
                self._paths[name] = PagePath(template, frozenset(fields))

    def fill(self, name: str, values: Mapping[str, Any]) -> str:
        """Return the path of a page. The values that are not in the path become the query."""
        path = self._paths[name]
        quoted = {field: quote(str(values[field]), safe="") for field in path.parameters}
        query = {
            field: value
            for field, value in values.items()
            if field not in path.parameters and value is not None
        }
        filled = path.template.format_map(quoted)
        return f"{filled}?{urlencode(query, safe='/', quote_via=quote)}" if query else filled


def page_url(request: Request, name: str, /, **values: Any) -> str:
    """Return the URL of a page by the name of its endpoint, such as `show_items`."""
    return site_path(request, site_of(request).paths.fill(name, values))


def site_path(request: Request, path: str) -> str:
    """Return a path of this application, such as `/docs`, below the prefix of the proxy."""
    return root_path(request.scope) + path


def current_url(request: Request) -> str:
    path = site_path(request, route_path(request.scope))
    return f"{path}?{request.url.query}" if request.url.query else path


def form_url(request: Request) -> str:
    """Return the URL to which a form of the current page is sent, with the same query.

    It lacks the parameter with which a form comes back from a sign-in.
    """
    query = urlencode([each for each in request.query_params.multi_items() if each[0] != RESUME])
    path = site_path(request, route_path(request.scope))
    return f"{path}?{query}" if query else path


def current_page(request: Request) -> str:
    """Return the URL of a page that was opened, or of the front page after a form was sent."""
    is_page = request.method in ("GET", "HEAD")
    return current_url(request) if is_page else site_path(request, "/")


def asset_url(request: Request, name: str) -> str:
    return site_path(request, site_of(request).assets.path(name))


@pass_context
def _page_url(context: Context, name: str, /, **values: Any) -> str:
    return page_url(context["request"], name, **values)


@pass_context
def _site_path(context: Context, path: str) -> str:
    return site_path(context["request"], path)


@pass_context
def _asset(context: Context, name: str) -> str:
    return asset_url(context["request"], name)


TEMPLATE_FUNCTIONS = {"page_url": _page_url, "site_path": _site_path, "asset": _asset}
