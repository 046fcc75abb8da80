"""Context variables of the current request, for code that is not passed the request."""

from contextvars import ContextVar
from typing import Protocol

from starlette.types import Scope


class CancellationWatch(Protocol):
    """What cancels the request when its client disconnects."""

    may_cancel: bool


request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
scope_var: ContextVar[Scope | None] = ContextVar("scope", default=None)
watch_var: ContextVar[CancellationWatch | None] = ContextVar("disconnect_watch", default=None)


def disable_cancellation() -> None:
    """Let the current request run to its end, even if its client disconnects.

    A commit must not be cancelled: the jobs and events that follow it would be lost.
    """
    if watch := watch_var.get():
        watch.may_cancel = False


def root_path(scope: Scope) -> str:
    """Return the path prefix that a proxy has taken away, such as `/shop`."""
    # A mounted application's prefix is in "root_path" as well, and this one is not.
    prefix: str = scope.get("app_root_path", scope.get("root_path", ""))
    return prefix.rstrip("/")


def route_path(scope: Scope) -> str:
    """Return the path as the routes know it: without the prefix that a proxy has taken away."""
    path: str = scope["path"]
    prefix = root_path(scope)
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def is_health_check(scope: Scope) -> bool:
    return route_path(scope).startswith("/health/")
