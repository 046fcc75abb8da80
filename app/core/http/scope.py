"""Helpers that read an ASGI scope."""

from typing import Any

from starlette.types import Message, Scope


def header(scope: Scope | Message, name: bytes) -> str:
    """Return the first header of that name, which is in lower case, or an empty string."""
    for key, value in scope.get("headers", ()):
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


def effective_route(scope: Scope) -> Any:
    """Return the matched route or None, with its routers' prefix and dependencies.

    Starlette's `scope["route"]` lacks these.
    """
    included = scope.get("fastapi", {}).get("effective_route_context")
    return getattr(included, "starlette_route", None) or included or scope.get("route")


def route_of(scope: Scope) -> str | None:
    """Return the path template of the matched route, or None."""
    return getattr(effective_route(scope), "path_format", None)
