"""A list of the application's routes: `app routes`."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import WebSocketRoute


def route_rows(
    app: FastAPI, describe: Callable[[RouteContext], str] | None
) -> list[tuple[str, str, str, str, str]]:
    """Return the methods, path, endpoint and scopes of each route, and the router's description."""
    return [
        (
            methods_of(route),
            route.path or "-",
            endpoint_of(route),
            " ".join(sorted({*scopes_of(getattr(route, "dependant", None))})) or "-",
            describe(route) if describe else "FastAPI",
        )
        for route in iter_route_contexts(app.routes)
    ]


def methods_of(route: RouteContext) -> str:
    if isinstance(route.original_route, WebSocketRoute):
        return "WS"
    return ",".join(sorted(route.methods or [])) or "-"  # Of an application that is mounted.


def endpoint_of(route: RouteContext) -> str:
    """Return the module and the name of the function that serves a route, if it is one."""
    name = getattr(route.endpoint, "__qualname__", None)
    return f"{route.endpoint.__module__}.{name}" if route.endpoint and name else "-"


def scopes_of(dependant: Any) -> Iterator[str]:
    """Yield the scopes that a route and its dependencies require."""
    if dependant is not None:
        yield from dependant.own_oauth_scopes or []
        for dependency in dependant.dependencies:
            yield from scopes_of(dependency)
