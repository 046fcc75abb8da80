"""What code anywhere below a request may know of it, without being handed the request."""

from contextvars import ContextVar
from typing import Protocol


class CancellationWatch(Protocol):
    """What watches whether the request's client is still there."""

    may_cancel: bool


request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
watch_var: ContextVar[CancellationWatch | None] = ContextVar("disconnect_watch", default=None)


def disable_cancellation() -> None:
    """Let the current request run to its end from here on, whether its client waits or not.

    A commit must not be cut short: what follows it (jobs, events) would be lost.
    """
    if watch := watch_var.get():
        watch.may_cancel = False
