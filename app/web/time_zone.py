"""The reader's time zone, which the script of the pages sends in a cookie."""

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from anyio import to_thread
from starlette.requests import HTTPConnection

COOKIE = "time_zone"
NAME = re.compile(r"[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")

_zones = dict[str, ZoneInfo]()


async def set_time_zone(connection: HTTPConnection) -> None:
    """Let the page show times in the reader's time zone. Without one, they are in UTC."""
    name = connection.cookies.get(COOKIE, "")
    if not NAME.fullmatch(name):
        return
    if name not in _zones:
        try:
            _zones[name] = await to_thread.run_sync(ZoneInfo, name)  # It reads a file.
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return
    connection.scope["time_zone"] = _zones[name]
