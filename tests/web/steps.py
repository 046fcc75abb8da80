from collections.abc import Iterator
from contextlib import contextmanager
from zoneinfo import ZoneInfo

from app.core.context import scope_var


@contextmanager
def read_in(zone: ZoneInfo) -> Iterator[None]:
    token = scope_var.set({"type": "http", "headers": [], "time_zone": zone})
    try:
        yield
    finally:
        scope_var.reset(token)
