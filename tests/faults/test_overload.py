"""Tests of a server with many hostile clients at once."""

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.clients import (
    MAX_GROWTH_BYTES,
    MEGABYTE,
    connected,
    health,
    peak_memory,
    reset_peak_memory,
    send_until_cut,
)
from tests.server import serving_process

pytestmark = pytest.mark.slow("thousands of connections")

CLIENTS = 3000  # This is three times MAX_CONNECTIONS.
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WAITING = (b"", GET, GET + b"\r\n", POST + b"Content-Length: 1000\r\n\r\n")
ENDLESS = (
    (GET, 10_000 * b"a:b\r\n"),
    (GET + b"X: ", 100_000 * b"x"),
    (b"GET /", 100_000 * b"x"),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", 10_000 * b"a:b\r\n"),
    (b"", 5000 * (GET + b"\r\n")),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[httpx.Client, int]]:
    """Yield a client of a server and its process id.

    The server inherits the limit on open files.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    with serving_process(f"sqlite+aiosqlite:///{tmp_path}/app.db") as (client, pid):
        yield client, pid


def test_new_clients_are_served_while_thousands_of_connections_are_open(
    server: tuple[httpx.Client, int],
) -> None:
    client, pid = server
    before = reset_peak_memory(pid)
    with ExitStack() as stack:
        for number in range(CLIENTS):
            connection = stack.enter_context(connected(client))
            connection.sendall(WAITING[number % len(WAITING)])
            if number % 100 == 0:
                assert health(client).status_code == 200
    assert peak_memory(pid) - before < 3 * MAX_GROWTH_BYTES


def test_new_clients_are_served_during_attacks(server: tuple[httpx.Client, int]) -> None:
    client, pid = server
    before = reset_peak_memory(pid)

    def attack(number: int) -> None:
        start, piece = ENDLESS[number % len(ENDLESS)]
        with connected(client) as connection:
            connection.sendall(start)
            assert send_until_cut(connection, piece, 100 * MEGABYTE)

    with ThreadPoolExecutor(8) as threads:
        attacks = [threads.submit(attack, number) for number in range(400)]
        while not all(each.done() for each in attacks):
            assert health(client).status_code == 200
        for each in attacks:
            each.result()
    assert peak_memory(pid) - before < MAX_GROWTH_BYTES
