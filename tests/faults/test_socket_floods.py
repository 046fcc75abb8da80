"""WebSocket clients that send more than they may, and sockets that fill the server."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.conftest import only
from tests.databases import Databases
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
from tests.server import serving_process, sign_up
from tests.sockets import LIVE

pytestmark = only("sqlite")
CONTINUATION, TEXT, PING, CLOSE = 0, 1, 9, 0x88
MAX_CONNECTIONS = 5


def frame(opcode: int, payload: bytes, *, is_last: bool = True) -> bytes:
    """Return a client's frame; its mask is zero."""
    return bytes([(0x80 if is_last else 0) | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


@pytest.fixture(scope="module")
def server(databases: Databases, template_url: str) -> Iterator[tuple[httpx.Client, int]]:
    """The client is signed in."""
    url = databases.create(template_url)
    with serving_process(url, MAX_CONNECTIONS=str(MAX_CONNECTIONS)) as (client, pid):
        sign_up(client)
        yield client, pid
    databases.drop(url)


def handshake(client: httpx.Client, *fields: str) -> bytes:
    lines = [
        f"GET {LIVE} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        f"Authorization: {client.headers['Authorization']}",
        *fields,
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
    server: tuple[httpx.Client, int], start: bytes, piece: bytes
) -> None:
    client, pid = server
    before = reset_peak_memory(pid)
    with open_socket(client) as connection:
        connection.sendall(start)
        assert send_until_cut(connection, 10_000 * piece, 30 * MEGABYTE)
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
    assert client.get("/health/live").status_code == 200


def test_small_amounts_of_frames_are_answered(server: tuple[httpx.Client, int]) -> None:
    client, _ = server
    with open_socket(client) as connection:
        connection.sendall(100 * frame(PING, b"x") + 100 * frame(TEXT, b"x"))
        pongs = b""
        while len(pongs) < 100 * 3:
            pongs += connection.recv(4096)
    assert pongs == 100 * b"\x8a\x01x"


def test_message_of_too_many_fragments_is_closed_with_1009(
    server: tuple[httpx.Client, int],
) -> None:
    client, _ = server
    with open_socket(client) as connection:
        fragments = 100 * frame(CONTINUATION, b"", is_last=False)
        connection.sendall(frame(TEXT, b"x", is_last=False) + fragments)
        assert connection.recv(4096)[:4] == bytes([CLOSE, 20, *(1009).to_bytes(2)])


def test_handshake_with_a_long_field_is_answered_431(server: tuple[httpx.Client, int]) -> None:
    client, _ = server
    with connected(client) as connection:
        connection.sendall(handshake(client, "X-Long: " + 9000 * "x"))
        assert status_of(read_all(connection)) == 431


def test_open_sockets_are_kept_and_a_new_connection_is_answered_503(
    server: tuple[httpx.Client, int],
) -> None:
    client, _ = server
    with ExitStack() as stack:
        sockets = [stack.enter_context(open_socket(client)) for _ in range(MAX_CONNECTIONS)]
        response = httpx.get(f"{client.base_url}/health/live")
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.json()["detail"] == "Too many connections are open."
        for connection in sockets:
            connection.sendall(frame(PING, b"x"))
            assert connection.recv(3) == b"\x8a\x01x"
    assert client.get("/health/live").status_code == 200
