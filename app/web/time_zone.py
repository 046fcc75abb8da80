"""The reader's time zone, which the script of the pages sends in a cookie."""

import re
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from anyio import to_thread
from starlette.requests import HTTPConnection

COOKIE = "time_zone"
NAME = re.compile(r"[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")
# What an input of the type `datetime-local` sends.
LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?")

_zones = dict[str, ZoneInfo]()


async def set_time_zone(connection: HTTPConnection) -> None:
    """Let the page show times in the reader's time zone. Without one, they are in UTC."""
    if zone := await find_time_zone(connection.cookies.get(COOKIE, "")):
        connection.scope["time_zone"] = zone


async def find_time_zone(name: str) -> ZoneInfo | None:
    """Return the time zone with a name such as "Asia/Seoul", or None."""
    if not NAME.fullmatch(name):
        return None
    if name not in _zones:
        try:
            _zones[name] = await to_thread.run_sync(ZoneInfo, name)  # It reads a file.
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None
    return _zones[name]


def to_local_time(text: str, zone: tzinfo) -> str:
    """Return a time such as "2026-11-27T00:30Z" as `datetime-local` has it: "2026-11-27T09:30".

    It keeps its offset where it would be another time without: in the hour that a clock repeats,
    or with microseconds. A text that is no time with an offset is returned as it is, and so is a
    time whose offset has seconds, as those before 1900 have, which cannot be typed.
    """
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            return text
        local = time.astimezone(zone)
    except (ValueError, OverflowError):
        return text
    naive = local.replace(tzinfo=None, fold=0)
    if local.microsecond % 1000 or naive.replace(tzinfo=zone).utcoffset() != local.utcoffset():
        has_seconds = local.strftime("%z")[5:] != ""
        return text if has_seconds else local.isoformat()
    unit = "milliseconds" if local.microsecond else "seconds" if local.second else "minutes"
    return naive.isoformat(timespec=unit)


def from_local_time(text: str, zone: tzinfo) -> datetime | str:
    """Return the time that a user typed in a time zone. Another text is returned as it is."""
    return datetime.fromisoformat(text).replace(tzinfo=zone) if is_local_time(text) else text


def is_local_time(text: str) -> bool:
    try:
        return LOCAL_TIME.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:  # such as the 30th of February
        return False
