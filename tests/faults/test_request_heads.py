"""Tests of endless request heads, trailers and pipelined requests.

`tests/core/http/test_server.py` has the requests that end but are too long.
"""

import httpx
import pytest

from tests.conftest import only
from tests.faults.clients import (
    MAX_GROWTH_BYTES,
    MEGABYTE,
    connected,
    peak_memory,
    read_all,
    reset_peak_memory,
    send_until_cut,
    status_of,
)

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = (
    b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
pytestmark = only("sqlite")
ENDLESS = 100 * MEGABYTE
FIELDS = 10_000 * b"a:b\r\n"
LETTERS = 100_000 * b"x"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(GET + b"X-Long: ", LETTERS, id="header value"),
        pytest.param(GET + b"X-", LETTERS, id="header name"),
        pytest.param(GET, FIELDS, id="fields"),
        pytest.param(b"GET /", LETTERS, id="target"),
        pytest.param(b"", b"\r\n" * 10_000, id="empty lines"),
        pytest.param(CHUNKED + b"1\r\n{\r\n0\r\n", FIELDS, id="trailers"),
        pytest.param(CHUNKED + b"1;", LETTERS, id="chunk extension"),
        pytest.param(CHUNKED, b"0" * 10_000, id="chunk size"),
    ],
)
def test_endless_head_is_cut_without_using_memory(
    small_server: tuple[httpx.Client, int], start: bytes, piece: bytes
) -> None:
    client, pid = small_server
    before = reset_peak_memory(pid)
    with connected(client) as connection:
        connection.sendall(start)
        assert send_until_cut(connection, piece, ENDLESS)
        response = read_all(connection)
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
    assert response == b"" or status_of(response) in (400, 431)
    assert client.get("/health/live").status_code == 200


def test_endless_pipelined_requests_are_cut(small_server: tuple[httpx.Client, int]) -> None:
    client, pid = small_server
    before = reset_peak_memory(pid)
    with connected(client) as connection:
        assert send_until_cut(connection, 5000 * (GET + b"\r\n"), ENDLESS)
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
