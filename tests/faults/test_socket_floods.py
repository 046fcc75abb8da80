"""Tests of WebSocket clients that send or open more than the limits allow."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.conftest import only
from tests.faults.clients import (
    MAX_GROWTH_BYTES,
    MEGABYTE,
    connected,
    health,
    peak_memory,
    reset_peak_memory,
    send_until_cut,
    status_of,
)
from tests.faults.conftest import MAX_CONNECTIONS
from tests.protocols import CONTINUATION, PING, TEXT, frame
from tests.server import http_client
from tests.slices import needs
from tests.sockets import LIVE

pytestmark = only("sqlite")


def handshake(client: httpx.Client) -> bytes:
    lines = [
        f"GET {LIVE} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        f"Authorization: {client.headers['Authorization']}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def open_socket(client: httpx.Client) -> Iterator[socket.socket]:
    with connected(client, receive_buffer=4096) as connection:
        connection.sendall(handshake(client))
        response = b""
        while not response.endswith(b"\r\n\r\n"):
            response += connection.recv(1)
        assert status_of(response) == 101
        yield connection


@needs("items/live.py")
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"", frame(PING, 125 * b"x"), id="pings"),
        pytest.param(b"", frame(PING, b""), id="empty pings"),
        pytest.param(b"", frame(TEXT, b"x"), id="messages"),
        pytest.param(
            frame(TEXT, b"", is_last=False),
            frame(CONTINUATION, b"", is_last=False),
            id="empty fragments",
        ),
    ],
)
def test_flood_of_frames_closes_the_socket(
    small_server: tuple[httpx.Client, int], start: bytes, piece: bytes
) -> None:
    client, pid = small_server
    before = reset_peak_memory(pid)
    with open_socket(client) as connection:
        connection.sendall(start)
        assert send_until_cut(connection, 10_000 * piece, 30 * MEGABYTE)
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
    assert client.get("/health/live").status_code == 200


@needs("items/live.py")
def test_new_connection_returns_503_while_open_sockets_are_kept(
    small_server: tuple[httpx.Client, int],
) -> None:
    client, _ = small_server
    with ExitStack() as stack:
        sockets = [stack.enter_context(open_socket(client)) for _ in range(MAX_CONNECTIONS)]
        assert health(client).status_code == 200
        with http_client(str(client.base_url)) as another:
            response = another.get("/api/v1/items")
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.json()["detail"] == "Too many connections are open. Try again in a moment."
        for connection in sockets:
            connection.sendall(frame(PING, b"x"))
            assert connection.recv(3) == b"\x8a\x01x"
    assert client.get("/health/live").status_code == 200
