"""What an ASGI scope says of its request."""

from typing import Any

from starlette.types import Message, Scope


def header(scope: Scope | Message, name: bytes) -> str:
    """The first of that name, in lower case as servers give them; "" when there is none."""
    for given, value in scope.get("headers", ()):
        if given == name:
            return bytes(value).decode("latin-1")
    return ""


def effective_route(scope: Scope) -> Any:
    """With the prefix and the dependencies of the routers around it, which Starlette's "route"
    lacks; None where there is no route."""
    included = scope.get("fastapi", {}).get("effective_route_context")
    return getattr(included, "starlette_route", None) or included or scope.get("route")


def route_of(scope: Scope) -> str | None:
    """The path's template."""
    return getattr(effective_route(scope), "path_format", None)
