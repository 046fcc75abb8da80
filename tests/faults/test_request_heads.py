"""Request heads, trailers and pipelined requests without an end."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

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
from tests.server import serving_process

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = (
    b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
ENDLESS = 100 * MEGABYTE
FIELDS = 10_000 * b"a:b\r\n"
LETTERS = 100_000 * b"x"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, int]]:
    """Nothing here gets as far as the database, which has no tables."""
    path: Path = tmp_path_factory.mktemp("server") / "app.db"
    with serving_process(f"sqlite+aiosqlite:///{path}") as (client, pid):
        yield client, pid


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
def test_endless_head_is_cut_without_being_held(
    server: tuple[httpx.Client, int], start: bytes, piece: bytes
) -> None:
    client, pid = server
    before = reset_peak_memory(pid)
    with connected(client) as connection:
        connection.sendall(start)
        assert send_until_cut(connection, piece, ENDLESS)
        response = read_all(connection)
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
    assert response == b"" or status_of(response) in (400, 431)
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(GET + 99 * b"a: b\r\n" + b"\r\n", 200, id="100 fields"),
        pytest.param(GET + 100 * b"a: b\r\n" + b"\r\n", 431, id="101 fields"),
        pytest.param(GET + b"a: " + 65_000 * b"x" + b"\r\n\r\n", 200, id="65 kB"),
        pytest.param(GET + b"a: " + 66_000 * b"x" + b"\r\n\r\n", 431, id="66 kB"),
        pytest.param(GET + b"a: " + 200_000 * b"x" + b"\r\n\r\n", 431, id="200 kB"),
        pytest.param(b"GET /health/live?" + 66_000 * b"x" + b" HTTP/1.1\r\n\r\n", 431, id="target"),
        pytest.param(CHUNKED + b"0\r\n" + 101 * b"a: b\r\n" + b"\r\n", 431, id="101 trailers"),
        pytest.param(CHUNKED + b"0\r\na: " + 70_000 * b"x" + b"\r\n\r\n", 431, id="70 kB trailer"),
        pytest.param(GET + b"a: b\r\n folded\r\n\r\n", 400, id="folded line"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2"),
    ],
)
def test_head_beyond_the_limits_is_answered_431(
    server: tuple[httpx.Client, int], head: bytes, status: int
) -> None:
    client, _ = server
    with connected(client) as connection:
        connection.sendall(head)
        if status == 200:
            assert status_of(connection.recv(65_536)) == 200
            return
        response = read_all(connection)
    assert status_of(response) == status
    fields, _, body = response.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["instance"] in ("/health/live", "/api/v1/users", "*")
    assert f"x-request-id: {problem['request_id']}".encode() in fields
    assert b"content-type: application/problem+json" in fields
    assert b"connection: close" in fields


def test_pipelined_requests_are_answered_in_order(server: tuple[httpx.Client, int]) -> None:
    client, _ = server
    with connected(client) as connection:
        connection.sendall(20 * (GET + b"\r\n"))
        connection.sendall(GET + b"Connection: close\r\n\r\n")
        response = read_all(connection)
    assert len(re.findall(rb"HTTP/1.1 200", response)) == 21


def test_large_head_behind_another_request_is_refused(server: tuple[httpx.Client, int]) -> None:
    client, _ = server
    with connected(client) as connection:
        connection.sendall(GET + b"\r\n" + GET + b"X-Long: " + LETTERS + b"\r\n\r\n")
        response = read_all(connection)
    assert response.count(b"HTTP/1.1 200") <= 1


def test_endless_pipelined_requests_are_cut(server: tuple[httpx.Client, int]) -> None:
    client, pid = server
    before = reset_peak_memory(pid)
    with connected(client) as connection:
        assert send_until_cut(connection, 5000 * (GET + b"\r\n"), ENDLESS)
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
