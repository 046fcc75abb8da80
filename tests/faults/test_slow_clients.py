"""Clients that send or read slowly or not at all, and more connections than there may be."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.clients import connected, is_cut, is_readable, read_all, status_of, trickle
from tests.isolation import DEADLINE_SECONDS
from tests.server import serving

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
LARGE = b"GET /static/docs/swagger-ui-bundle.js HTTP/1.1\r\n"  # 1.5 MB
POST = b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SIZED = b"Content-Length: 50000\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MAX_CONNECTIONS = 20


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Nothing here gets as far as the database, which has no tables.

    Each request has a connection of its own, since the server closes an idle one after a second.
    """
    path: Path = tmp_path_factory.mktemp("server") / "app.db"
    limits = {
        "REQUEST_TIMEOUT": "1",
        "RESPONSE_TIMEOUT": "1",
        "MAX_CONNECTIONS": str(MAX_CONNECTIONS),
    }
    no_idle = httpx.Limits(max_keepalive_connections=0)
    with (
        serving(f"sqlite+aiosqlite:///{path}", **limits) as server,
        httpx.Client(base_url=server.base_url, timeout=DEADLINE_SECONDS, limits=no_idle) as client,
    ):
        yield client


def test_connection_without_a_request_is_closed(client: httpx.Client) -> None:
    with connected(client) as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"G", b"", id="stalled head"),
        pytest.param(b"GET /", b"x", id="target"),
        pytest.param(GET, b"a: b\r\n", id="field"),
        pytest.param(POST + SIZED, b"", id="stalled body"),
        pytest.param(POST + SIZED, b"x", id="body"),
        pytest.param(POST + CHUNKED, b"1\r\nx\r\n", id="chunked body"),
        pytest.param(POST + CHUNKED + b"1;", b"x", id="chunk extension"),
        pytest.param(POST + CHUNKED + b"0\r\n", b"a: b\r\n", id="trailer"),
        pytest.param(POST + b"Expect: 100-continue\r\n" + SIZED, b"", id="announced body"),
    ],
)
def test_slow_request_is_answered_408(client: httpx.Client, start: bytes, piece: bytes) -> None:
    with connected(client) as connection:
        connection.sendall(start)
        response = trickle(connection, piece, 0.1)
    response = response.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert status_of(response) == 408
    assert json.loads(response.partition(b"\r\n\r\n")[2])["title"] == "Request Timeout"
    assert client.get("/health/live").status_code == 200


def test_second_request_has_its_own_time(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall(GET + b"\r\n" + b"GET /slow")
        response = trickle(connection, b"", 0.1)
    assert response.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in response


def test_body_at_a_reasonable_pace_is_accepted(client: httpx.Client) -> None:
    """The whole takes several times REQUEST_TIMEOUT, in which there are at least 10 kB."""
    pieces, size = 25, 5000
    with connected(client) as connection:
        connection.sendall(POST + f"Content-Length: {pieces * size}\r\n\r\n".encode())
        for _ in range(pieces - 1):
            connection.sendall(size * b"x")
            assert not is_readable(connection, 0.15)
        connection.sendall(size * b"x")
        assert status_of(connection.recv(65_536)) == 422


def test_response_that_nobody_reads_is_cut(client: httpx.Client) -> None:
    with connected(client, receive_buffer=4096) as connection:
        connection.sendall(20 * (LARGE + b"Host: localhost\r\n\r\n"))
        assert is_cut(connection)


def test_idle_connections_make_room_for_a_new_one(client: httpx.Client) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(client)) for _ in range(10 * MAX_CONNECTIONS)]
        assert httpx.get(f"{client.base_url}/health/live").status_code == 200
        for connection in idle:
            read_all(connection)
