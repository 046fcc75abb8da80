"""Tests of clients that send or read slowly or not at all.

`tests/core/http/test_server.py` has more of them, with a clock that the tests advance.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.clients import connected, is_cut, status_of, trickle
from tests.server import serving

LARGE = b"GET /static/docs/swagger-ui-bundle.js HTTP/1.1\r\n"  # 1.5 MB


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of a server whose database has no tables: no test here uses it."""
    path: Path = tmp_path_factory.mktemp("server") / "app.db"
    limits = {"REQUEST_TIMEOUT": "1", "RESPONSE_TIMEOUT": "1"}
    with serving(f"sqlite+aiosqlite:///{path}", **limits) as client:
        yield client


def test_slow_request_returns_408(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\n")
        response = trickle(connection, b"a: b\r\n", 0.1)
    assert status_of(response) == 408
    assert json.loads(response.partition(b"\r\n\r\n")[2])["title"] == "Request timeout"
    assert client.get("/health/live").status_code == 200


def test_unread_response_is_cut(client: httpx.Client) -> None:
    with connected(client, receive_buffer=4096) as connection:
        connection.sendall(20 * (LARGE + b"Host: localhost\r\n\r\n"))
        assert is_cut(connection)
