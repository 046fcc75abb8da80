"""Keys and responses of idempotent requests."""

import httpx

INVALID_KEYS = [
    "",
    '""',
    '"',
    '"x',
    'x y',
    "x" * 256,
    "x" * 10_240,
    f'"{"x" * 256}"',
    r'"a\b"',
    '"a"b"',
    '"x";q=1',
    '"x", "x"',
    "é",
    '"é"',
    "\x7f",
    "x\n",
    "\x00",
]  # fmt: skip


def comparable(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return what a replayed response has in common with the first one."""
    own = ("x-request-id", "idempotency-replayed")
    headers = [each for each in response.headers.multi_items() if each[0] not in own]
    return response.status_code, response.content, sorted(headers)
